//! Durations: a number of seconds, or a number with a unit. Read exactly, without `f64`.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Quoted;

/// The longest duration that is accepted: a hundred years.
pub(crate) const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
    ("d", 86_400 * SECOND),
];

const SECOND: u128 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QuantityFault {
    NotANumber,
    Negative,
    TooLong,
}

/// A duration as topology files write it: a number of seconds (`1.5`, `1e3`), or a number with one
/// of the units `ns`, `us`, `ms`, `s`, `m`, `h` and `d`. Rounded down to nanoseconds.
///
/// ```
/// use std::time::Duration;
///
/// use lictor_topology::duration;
///
/// assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
/// assert!(duration("soon").is_err());
/// ```
///
/// # Errors
/// It is no duration, is negative, or is longer than a hundred years.
pub fn duration(text: &str) -> Result<Duration, BadDuration> {
    let has_unit = text.ends_with(char::is_alphabetic);
    let read = if has_unit { with_unit(text) } else { seconds(text) };
    read.map_err(|fault| BadDuration { text: text.to_owned(), fault })
}

/// Why a text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadDuration {
    text: String,
    fault: QuantityFault,
}

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Quoted(&self.text);
        match self.fault {
            QuantityFault::NotANumber => {
                write!(f, "{text} is not a duration; write it as 10s, 500ms or 1.5")
            }
            QuantityFault::Negative => write!(f, "{text} is a negative duration"),
            QuantityFault::TooLong => write!(f, "{text} is longer than a hundred years"),
        }
    }
}

impl std::error::Error for BadDuration {}

/// Reads a number of seconds, such as `1.5` or `1e3`.
pub(crate) fn seconds(text: &str) -> Result<Duration, QuantityFault> {
    decimal(text, SECOND)
}

/// Reads a number with a unit, such as `500ms`.
pub(crate) fn with_unit(text: &str) -> Result<Duration, QuantityFault> {
    // From behind, since `1e3s` has a letter in its number, too.
    let number = text.trim_end_matches(char::is_alphabetic);
    let unit = &text[number.len()..];
    let (_, nanos) =
        UNITS.iter().find(|(name, _)| *name == unit).ok_or(QuantityFault::NotANumber)?;
    decimal(number.trim_end_matches(' '), *nanos)
}

/// `text * unit`, rounded down to nanoseconds.
fn decimal(text: &str, unit: u128) -> Result<Duration, QuantityFault> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = match exponent.parse() {
        Ok(exponent) => exponent,
        Err(_) if is_digits(exponent.trim_start_matches(['-', '+'])) => {
            if exponent.starts_with('-') { i64::MIN } else { i64::MAX }
        }
        Err(_) => return Err(QuantityFault::NotANumber),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if !digits().all(|b| b.is_ascii_digit()) || digits().next().is_none() {
        return Err(QuantityFault::NotANumber);
    }
    if digits().all(|b| b == b'0') {
        return Ok(Duration::ZERO);
    }
    if negative {
        return Err(QuantityFault::Negative);
    }
    scale(digits(), whole.len(), exponent, unit)
}

/// The digits as a number whose point stands after `whole` digits, times `10^exponent * unit`.
fn scale(
    digits: impl Iterator<Item = u8>,
    whole: usize,
    exponent: i64,
    unit: u128,
) -> Result<Duration, QuantityFault> {
    // Value of a digit at index `i`: digit * 10^(whole - 1 - i + exponent). All that matters lies
    // between 10^-30 and 10^30, so a clamped exponent changes nothing.
    let top = i64::try_from(whole).unwrap_or(i64::MAX).saturating_sub(1).saturating_add(exponent);
    let mut sum: u128 = 0;
    let mut power = top;
    // Digits are summed at 15 places behind the point; that is exact enough for any unit.
    const PLACES: i64 = 15;
    for digit in digits {
        if digit != b'0' {
            if power > 19 {
                return Err(QuantityFault::TooLong);
            }
            if power < -PLACES {
                break;
            }
            let shift = u32::try_from(power + PLACES).unwrap_or(0);
            sum = sum.saturating_add(u128::from(digit - b'0').saturating_mul(10_u128.pow(shift)));
        }
        power = power.saturating_sub(1);
    }
    let nanos = sum.checked_mul(unit).ok_or(QuantityFault::TooLong)? / 10_u128.pow(15);
    if nanos > MAX.as_nanos() {
        return Err(QuantityFault::TooLong);
    }
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        for (text, nanos) in [
            ("60", 60_000_000_000_u64),
            ("60.0", 60_000_000_000),
            ("0.1", 100_000_000),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("1.5E-3", 1_500_000),
            ("0.0000000001", 0),
            ("-0.0", 0),
            ("1e-99999999999999999999", 0),
            ("0e99999999999999999999", 0),
            ("123456789.123456789", 123_456_789_123_456_789),
        ] {
            assert_eq!(seconds(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, nanos) in [
            ("500ms", 500_000_000_u64),
            ("10s", 10_000_000_000),
            ("2m", 120_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1 d", 86_400_000_000_000),
            ("7ns", 7),
            ("7us", 7_000),
            ("0.5µs", 500),
            ("1e3s", 1_000_000_000_000),
            ("1.5E-3 ms", 1_500),
        ] {
            assert_eq!(with_unit(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "s", "5", "5 years", "five s", "1.2.3s", "1e s", "--1s", "0x1s"] {
            assert_eq!(with_unit(text), Err(QuantityFault::NotANumber), "{text}");
        }
        assert_eq!(with_unit("-1s"), Err(QuantityFault::Negative));
        for text in ["36501d", "1e400s"] {
            assert_eq!(with_unit(text), Err(QuantityFault::TooLong), "{text}");
        }
        for text in ["1e99", "99999999999999999999999", "1e99999999999999999999", "3153600001"] {
            assert_eq!(seconds(text), Err(QuantityFault::TooLong), "{text}");
        }
        assert_eq!(seconds("3153600000"), Ok(MAX));
    }
}
