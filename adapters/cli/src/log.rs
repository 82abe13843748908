//! Where `tracing` goes: to standard error, or into the live view.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Level as TracingLevel, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::Level;

/// Lines that wait for the live view; more make the oldest go.
const PANE_LINES: usize = 200;

/// Log lines for the live view.
#[derive(Clone, Default)]
pub(crate) struct Pane(Arc<Mutex<VecDeque<String>>>);

impl Pane {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines since the last time.
    pub(crate) fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.lock())
    }
}

/// One log line on its way into the pane.
struct PaneWriter(Pane);

impl Write for PaneWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        for line in String::from_utf8_lossy(bytes).lines() {
            if lines.len() == PANE_LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sets up the log of this process: into the pane if there is one.
pub(crate) fn start(level: Option<Level>, pane: Option<&Pane>) {
    let wanted = filter_fn(move |metadata| is_wanted(level, metadata));
    let layer = tracing_subscriber::fmt::layer().with_ansi(false);
    // A log that is set up already, by a program that calls this one, is left as it is.
    let _ = match pane {
        Some(pane) => {
            let pane = pane.clone();
            let layer = layer.without_time().with_writer(move || PaneWriter(pane.clone()));
            tracing_subscriber::registry().with(layer).with(wanted).try_init()
        }
        None => {
            let layer = layer.with_writer(io::stderr);
            tracing_subscriber::registry().with(layer).with(wanted).try_init()
        }
    };
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The panic of an agent becomes an event; only one of our own must not go unseen.
        if std::thread::current().name() == Some("main") {
            default(panic);
        } else {
            tracing::debug!(target: "lictor::panic", "{panic}");
        }
    }));
}

/// Logs what a process has written. A line of a log of ours keeps its level, and loses its time:
/// ours is told before it.
pub(crate) fn hand_on(process: &str, line: &str, is_ours: bool) {
    let (level, text) = Some(line).filter(|_| is_ours).and_then(split).unwrap_or(("INFO", line));
    match level {
        "ERROR" => tracing::error!(target: "lictor::process", "[{process}] {text}"),
        "WARN" => tracing::warn!(target: "lictor::process", "[{process}] {text}"),
        "DEBUG" => tracing::debug!(target: "lictor::process", "[{process}] {text}"),
        "TRACE" => tracing::trace!(target: "lictor::process", "[{process}] {text}"),
        _ => tracing::info!(target: "lictor::process", "[{process}] {text}"),
    }
}

/// The level and the rest of a line as [`start`] has them written: `TIME LEVEL target: text`.
fn split(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.ends_with('Z') && time.contains('T') && time.starts_with("20");
    let (level, text) = rest.trim_start().split_once(' ')?;
    let is_level = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level);
    (is_time && is_level).then_some((level, text))
}

fn is_wanted(level: Option<Level>, metadata: &Metadata<'_>) -> bool {
    let filter = match level {
        // What the runtime logs is what its events say.
        None if metadata.target() == "lictor" => LevelFilter::OFF,
        None if matches!(metadata.target(), "lictor::exec" | "lictor::process") => {
            LevelFilter::INFO
        }
        None | Some(Level::Warn) => LevelFilter::from_level(TracingLevel::WARN),
        Some(Level::Off) => LevelFilter::OFF,
        Some(Level::Error) => LevelFilter::ERROR,
        Some(Level::Info) => LevelFilter::INFO,
        Some(Level::Debug) => LevelFilter::DEBUG,
        Some(Level::Trace) => LevelFilter::TRACE,
    };
    *metadata.level() <= filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_our_own_log_is_told_by_its_time_and_level() {
        let ours = "2026-11-26T02:11:08.123456Z  WARN lictor::wire: no connection";
        assert_eq!(split(ours), Some(("WARN", "lictor::wire: no connection")));
        for line in ["thread 'main' panicked", "2026 WARN x", "2026-11-26T02:11:08Z LOUD x", ""] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
