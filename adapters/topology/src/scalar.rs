//! Which type a plain scalar has: the core schema of YAML 1.2, so `no` and `on` are text.

/// What a scalar is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    /// `None`: beyond 128 bits.
    Int(Option<i128>),
    Float(f64),
    /// A number with leading zeros, which YAML readers understand differently.
    LeadingZero,
    Text,
}

pub(crate) fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        _ => resolve_number(text),
    }
}

fn resolve_number(text: &str) -> Resolved {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(b'0'..=b'9' | b'.') => (false, text),
        Some(_) | None => return Resolved::Text,
    };
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if all(digits, 10) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Resolved::LeadingZero;
        }
        return Resolved::Int(digits.parse().ok().map(|n: i128| if negative { -n } else { n }));
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && all(digits, radix)
        {
            return Resolved::Int(i128::from_str_radix(digits, radix).ok());
        }
    }
    match digits {
        ".inf" | ".Inf" | ".INF" if negative => return Resolved::Float(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Resolved::Float(f64::INFINITY),
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return Resolved::Float(f64::NAN),
        _ => {}
    }
    if !is_decimal(digits) {
        return Resolved::Text;
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
        return Resolved::LeadingZero;
    }
    text.parse().map_or(Resolved::Text, Resolved::Float)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_decimal(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    });
    let mantissa_holds = mantissa.bytes().any(|b| b.is_ascii_digit())
        && mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && mantissa.bytes().filter(|b| *b == b'.').count() <= 1;
    mantissa_holds && exponent_holds
}
