//! How far long work has come, on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Work that is over sooner than this is not talked about.
const QUIET: Duration = Duration::from_secs(1);

/// The line is drawn again no sooner than this.
const PAUSE: Duration = Duration::from_millis(100);

/// A line on the terminal that says how far the work is, how fast, and how long it will take.
/// Draws nothing where standard error is no terminal.
pub(crate) struct Meter {
    what: &'static str,
    begun: Instant,
    drawn: Option<Mutex<Option<Instant>>>,
}

impl Meter {
    /// Work that is counted in `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        let drawn = io::stderr().is_terminal().then(|| Mutex::new(None));
        Self { what, begun: Instant::now(), drawn }
    }

    /// So much is done.
    pub(crate) fn tell(&self, done: u64, total: u64) {
        let elapsed = self.begun.elapsed();
        if elapsed < QUIET {
            return;
        }
        // Whoever finds another drawing goes on with the work.
        let Some(Ok(mut last)) = self.drawn.as_ref().map(Mutex::try_lock) else { return };
        if last.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
        let line = line(self.what, done, total, elapsed);
        // There is nowhere left to say that this failed.
        let _ = write!(io::stderr().lock(), "\r\x1b[K{line}");
    }

    /// The work is over; the line is taken away.
    pub(crate) fn finish(self) {
        let drawn = self.drawn.and_then(|drawn| drawn.into_inner().ok()).flatten();
        if drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    let left = total.saturating_sub(done).saturating_mul(millis) / done.max(1) / 1000;
    let percent = done.saturating_mul(100) / total.max(1);
    let left = if left >= 120 { format!("{} min", left / 60) } else { format!("{left} s") };
    format!("{done} of {total} {what}, {percent} %, {rate}/s, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left() {
        let line = line("runs", 250, 1000, Duration::from_millis(2500));
        assert_eq!(line, "250 of 1000 runs, 25 %, 100/s, 7 s left");
    }
}
