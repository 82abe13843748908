//! What a process writes, and what becomes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor::{Drain, Message, ReplyFailure, ReplyTo, Runtime, Value};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::watch;

use super::Exit;
use super::line::{self, Read, Said};
use crate::builtins::Counts;

/// How long output is still read after the process has ended; longer it can only last if a
/// descendant that left the group holds it.
const AFTER_THE_END: Duration = Duration::from_secs(1);

/// So many faults of a kind are logged; then only each whose number is a power of two.
const LOGGED: u64 = 10;

/// How long what was spawned may take to stop.
const STOP: Duration = Duration::from_secs(5);

/// The questions that the process has not answered.
pub(super) struct Pending {
    max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    open: BTreeMap<u64, ReplyTo<Value>>,
}

impl Pending {
    pub(super) fn new(max: usize) -> Self {
        Self { max, waiting: Mutex::new(Waiting::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps where an answer goes, under a number that no other question has. When there are too
    /// many the oldest fails: most likely nobody waits for it any more.
    pub(super) fn add(&self, reply_to: ReplyTo<Value>) -> u64 {
        let mut waiting = self.lock();
        waiting.last += 1;
        let id = waiting.last;
        let oldest = if waiting.open.len() < self.max { None } else { waiting.open.pop_first() };
        waiting.open.insert(id, reply_to);
        drop(waiting);
        if let Some((_, oldest)) = oldest {
            oldest.fail(ReplyFailure::Evicted);
        }
        id
    }

    fn take(&self, id: u64) -> Option<ReplyTo<Value>> {
        self.lock().open.remove(&id)
    }

    /// The question has not reached the process. Its message is in hand still, and what becomes of
    /// that decides what the asker is told.
    pub(super) fn forget(&self, id: Option<u64>) {
        drop(id.and_then(|id| self.take(id)));
    }

    /// None of them will be answered.
    pub(super) fn fail(&self, failure: ReplyFailure) {
        for (_, reply_to) in std::mem::take(&mut self.lock().open) {
            reply_to.fail(failure);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.fail(ReplyFailure::Stopped);
    }
}

/// Reads standard output.
pub(super) struct Reader {
    pub(super) runtime: Runtime,
    pub(super) name: String,
    pub(super) counts: Counts,
    pub(super) pending: std::sync::Arc<Pending>,
    pub(super) max_line: usize,
}

impl Reader {
    /// Reads to the end, or to a moment after the end of the process.
    pub(super) async fn output<R: AsyncRead + Unpin>(
        &self,
        output: R,
        exited: watch::Receiver<Option<Exit>>,
    ) {
        tokio::select! {
            () = self.lines(output) => {}
            () = after(exited) => {}
        }
    }

    async fn lines<R: AsyncRead + Unpin>(&self, output: R) {
        let mut output = BufReader::new(output);
        let mut buffer = Vec::new();
        loop {
            match line::read(&mut output, &mut buffer, self.max_line).await {
                Ok(Read::Line) if buffer.trim_ascii().is_empty() => {}
                Ok(Read::Line) => {
                    self.counts.one("lines_out");
                    match line::parse(&buffer) {
                        Ok(said) => self.act(said).await,
                        Err(error) => self.fault("garbage", &error, &buffer),
                    }
                }
                Ok(Read::TooLong) => {
                    let limit = format!("longer than {} bytes", self.max_line);
                    self.fault("too_long", &limit, &buffer);
                }
                Ok(Read::End) | Err(_) => return,
            }
        }
    }

    fn fault(&self, what: &'static str, error: &str, line: &[u8]) {
        let line = line.get(..80).unwrap_or(line).escape_ascii();
        self.count(what, format_args!("{error}: {line}"));
    }

    /// Counts what went wrong, and logs it as long as it is rare: a process that writes nothing
    /// else must not fill the disk with our words.
    fn count(&self, what: &'static str, why: fmt::Arguments<'_>) {
        let n = self.counts.one(what);
        if n <= LOGGED || n.is_power_of_two() {
            tracing::warn!(target: "lictor::exec", agent = self.name, n, "{what}: {why}");
        }
    }

    async fn act(&self, said: Said) {
        let (what, done) = match said {
            Said::Answer { id, payload } => {
                let taken = self.pending.take(id).is_some_and(|reply_to| reply_to.send(payload));
                self.counts.one(if taken { "answers" } else { "late" });
                return;
            }
            Said::Refuse { id, error } => {
                let taken = self.pending.take(id);
                let _ = taken.is_some_and(|reply_to| reply_to.fail(ReplyFailure::Skipped));
                ("refused", Err(error))
            }
            Said::Send { to, kind, payload } => {
                let sent = self.runtime.send(&to, Message::new(kind, payload)).await;
                ("undelivered", sent.map_err(|error| error.to_string()))
            }
            Said::Spawn { kind, name, under, config } => {
                let spawned = self.runtime.spawn(&under, &kind, &name, config).await;
                ("unspawned", spawned.map_err(|error| error.to_string()))
            }
            Said::Despawn { name } => {
                let gone = self.runtime.stop_agent(&name, Drain::Current, STOP).await;
                ("unspawned", gone.map_err(|error| error.to_string()))
            }
        };
        if let Err(error) = done {
            self.count(what, format_args!("{error}"));
        }
    }
}

/// Logs standard error, line by line; of a long line only its beginning.
pub(super) async fn errors<R: AsyncRead + Unpin>(
    errors: R,
    name: &str,
    max: usize,
    exited: watch::Receiver<Option<Exit>>,
) {
    let lines = async {
        let mut errors = BufReader::new(errors);
        let mut buffer = Vec::new();
        while let Ok(Read::Line | Read::TooLong) = line::read(&mut errors, &mut buffer, max).await {
            let line = String::from_utf8_lossy(&buffer);
            tracing::info!(target: "lictor::exec", agent = name, "{}", line.trim_end());
        }
    };
    tokio::select! {
        () = lines => {}
        () = after(exited) => {}
    }
}

async fn after(mut exited: watch::Receiver<Option<Exit>>) {
    let _ = exited.wait_for(Option::is_some).await;
    tokio::time::sleep(AFTER_THE_END).await;
}
