//! Writes to standard output from a thread of its own: a reader that is slow, or a terminal that
//! is paused, must not keep the session from hearing signals.

use std::io::{self, Write};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Texts that may wait.
const WAITING: usize = 1024;

/// Kept free of events, for what is said at the end.
const RESERVE: usize = 16;

pub(super) struct Writer {
    texts: Option<mpsc::Sender<String>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writer {
    pub(super) fn start() -> Self {
        let (texts, mut waiting) = mpsc::channel::<String>(WAITING);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(text) = waiting.blocking_recv() {
                let mut out = io::stdout().lock();
                // The dropped receiver tells that nobody reads.
                out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
            }
            Ok(())
        });
        Self { texts: Some(texts), thread: Some(thread) }
    }

    /// Whether there is room for more events.
    pub(super) fn is_ready(&self) -> bool {
        self.texts.as_ref().is_none_or(|texts| texts.is_closed() || texts.capacity() > RESERVE)
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.texts.as_ref().is_none_or(|texts| texts.capacity() == WAITING)
    }

    /// Writes a text. What nobody reads is dropped.
    pub(super) fn write(&self, text: String) {
        if let Some(texts) = self.texts.as_ref().filter(|_| !text.is_empty()) {
            let _ = texts.try_send(text);
        }
    }

    /// Waits until standard output is closed.
    pub(super) async fn closed(&self) {
        match &self.texts {
            Some(texts) => texts.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until everything is written, or cannot be.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.texts = None;
        match self.thread.take() {
            Some(thread) => thread.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}
