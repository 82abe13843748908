//! Durations as flags and configurations write them: as the rest of a topology file does.

use std::time::Duration;

/// Reads `10s`, `500ms`, `1.5m`, or a number of seconds; at most a hundred years.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    lictor::topology::duration(text.trim()).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_duration_is() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("500ms", 500_000_000),
            ("1.5", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("0", 0),
            ("1 s", 1_000_000_000),
            ("1e3s", 1_000_000_000_000),
            ("1e-5", 10_000),
            ("100ns", 100),
            ("5µs", 5_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "s", "-1s", "5 years", "1e99", "1e400s", "nan", "inf", "1.2.3", "36501d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
