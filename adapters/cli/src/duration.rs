//! Durations as flags and configurations write them.

use std::time::Duration;

const UNITS: [(&str, f64); 6] =
    [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Reads `10s`, `500ms`, `1.5m`, or a number of seconds; at most a hundred years.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is not a duration; write it as 10s, 500ms or 1.5");
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = if unit.is_empty() {
        1.0
    } else {
        UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?.1
    };
    let digits = number.trim_end();
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(fault());
    }
    let number: f64 = digits.parse().map_err(|_| fault())?;
    let seconds = number * scale;
    if seconds > 100.0 * 365.0 * 86_400.0 {
        return Err(format!("{text:?} is longer than a hundred years"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_duration_is() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1.5", 1500),
            ("2m", 120_000),
            ("0", 0),
            ("1 s", 1000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 years", "1e99", "nan", "inf", "+1", "1.2.3", "36501d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
