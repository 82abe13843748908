//! How far long work is, on standard error if that is a terminal; and numbers for people.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::output;

/// Shows how far it is, once it takes longer than a second.
pub(super) struct Meter {
    begun: Instant,
    next: Duration,
    terminal: bool,
    shown: bool,
}

impl Meter {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { begun: Instant::now(), next: Duration::from_secs(1), terminal, shown: false }
    }

    /// Shows a line if it is time for it.
    pub(super) fn show(&mut self, line: impl FnOnce(Duration) -> String) {
        let elapsed = self.begun.elapsed();
        if !self.terminal || elapsed < self.next {
            return;
        }
        self.next = elapsed + Duration::from_millis(200);
        self.shown = true;
        output::complain(&format!("\r\x1b[K{}", line(elapsed)));
    }

    /// Clears the line, and says how long it took.
    pub(super) fn end(&mut self) -> Duration {
        if self.shown {
            output::complain("\r\x1b[K");
            self.shown = false;
        }
        self.begun.elapsed()
    }
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-6)
}

/// `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large rate: `2.4 M`, `310 k`, `12`.
pub(super) fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.1} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0} k", rate / 1e3),
        rate if rate >= 10.0 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// A time for people: `3.2 days`, `4.1 h`, `12 min`, `3.4 s`, `12 ms`.
pub(super) fn long(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s >= 2.0 * 86_400.0 => format!("{:.1} days", s / 86_400.0),
        s if s >= 3.0 * 3_600.0 => format!("{:.1} h", s / 3_600.0),
        s if s >= 180.0 => format!("{:.0} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1e3),
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn plural(number: usize, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", thousands(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(short(2_400_000.0), "2.4 M");
        assert_eq!(short(310_400.0), "310 k");
        assert_eq!(short(12.3), "12");
        assert_eq!(long(Duration::from_secs(86_400 * 4)), "4.0 days");
        assert_eq!(long(Duration::from_millis(12)), "12 ms");
        assert_eq!(plural(1, "node"), "1 node");
        assert_eq!(plural(0, "fault"), "0 faults");
    }
}
