//! JSON out: what Python's `json` or `orjson` would write, to the byte.

use std::fmt::Write as _;

use super::Spacing;
use crate::error::EncodeError;
use crate::limits::Limits;
use crate::message::{KEYS, Message};
use crate::msgpack::all_or_nothing;
use crate::value::{Float, Int, Map, Value};

struct Writer {
    out: String,
    spacing: Spacing,
    limits: Limits,
    items: usize,
}

impl Writer {
    fn comma(&mut self) {
        self.out.push_str(if self.spacing == Spacing::Wide { ", " } else { "," });
    }

    fn key(&mut self, key: &str) -> Result<(), EncodeError> {
        self.text(key)?;
        self.out.push_str(if self.spacing == Spacing::Wide { ": " } else { ":" });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        if text.len() > self.limits.text || text.len() > self.limits.bytes {
            return Err(EncodeError::TextTooLong { limit: self.limits.text });
        }
        self.out.push('"');
        let is_plain = |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            self.out.push_str(text);
            self.out.push('"');
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..'\u{20}' => self.unit(u32::from(character)),
                '\u{7f}'.. if self.spacing == Spacing::Wide => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        self.unit(u32::from(*unit));
                    }
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
        Ok(())
    }

    fn unit(&mut self, unit: u32) {
        // Writing to a text cannot fail.
        let _ = write!(self.out, "\\u{unit:04x}");
    }

    fn int(&mut self, number: Int) {
        let _ = write!(self.out, "{number}");
    }

    /// As Python's `repr`, or as `orjson`: the shortest digits that are this number and no other.
    fn float(&mut self, number: Float) {
        let (digits, exponent) = shortest(number);
        if number.get().is_sign_negative() {
            self.out.push('-');
        }
        // From here on a number has an exponent; `orjson` writes one more zero.
        let least = if self.spacing == Spacing::Wide { -4 } else { -5 };
        if !(least..16).contains(&exponent) {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            let exponent = exponent.unsigned_abs();
            let width = if self.spacing == Spacing::Wide { 2 } else { 1 };
            // Writing to a text cannot fail.
            let _ = write!(self.out, "{first}{point}{rest}e{sign}{exponent:0width$}");
        } else if let Ok(before) = usize::try_from(exponent) {
            let (whole, rest) = digits.split_at(digits.len().min(before + 1));
            let rest = if rest.is_empty() { "0" } else { rest };
            let _ = write!(self.out, "{whole:0<width$}.{rest}", width = before + 1);
        } else {
            let width = digits.len() - 1 + usize::try_from(-exponent).unwrap_or_default();
            let _ = write!(self.out, "0.{digits:0>width$}");
        }
    }

    fn claim(&mut self, count: usize) -> Result<(), EncodeError> {
        let limit = self.limits.items;
        self.items = self.items.checked_sub(count).ok_or(EncodeError::TooManyItems { limit })?;
        // Not only at the end, so that a payload cannot fill the memory on its way there.
        if self.out.len() > self.limits.bytes {
            return Err(EncodeError::TooLarge { limit: self.limits.bytes });
        }
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: u8) -> Result<(), EncodeError> {
        let limit = self.limits.depth;
        let depth = depth.checked_sub(1).ok_or(EncodeError::TooDeep { limit })?;
        self.claim(map.len())?;
        self.out.push('{');
        for (at, (key, value)) in map.iter().enumerate() {
            if at > 0 {
                self.comma();
            }
            self.key(key)?;
            self.value(value, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    /// Recursive, and no deeper than `depth`.
    fn value(&mut self, value: &Value, depth: u8) -> Result<(), EncodeError> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => self.float(*number),
            Value::Text(text) => self.text(text)?,
            Value::Bytes(_) => return Err(EncodeError::BytesInJson),
            Value::List(list) => {
                let limit = self.limits.depth;
                let depth = depth.checked_sub(1).ok_or(EncodeError::TooDeep { limit })?;
                self.claim(list.len())?;
                self.out.push('[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        self.comma();
                    }
                    self.value(value, depth)?;
                }
                self.out.push(']');
            }
            Value::Map(map) => self.map(map, depth)?,
        }
        Ok(())
    }

    fn optional(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        match text {
            Some(text) => self.text(text)?,
            None => self.out.push_str("null"),
        }
        Ok(())
    }

    fn field(&mut self, message: &Message, index: usize) -> Result<(), EncodeError> {
        match index {
            0 => self.int(message.schema_version.into()),
            1 => self.text(&message.id)?,
            2 => self.text(&message.kind)?,
            3 => self.text(&message.sender)?,
            4 => self.text(&message.recipient)?,
            5 => self.optional(message.correlation_id.as_deref())?,
            6 => self.optional(message.reply_to.as_deref())?,
            7 => self.map(&message.payload, self.limits.depth)?,
            8 => self.float(message.timestamp),
            9 => self.text(&message.trace_id)?,
            10 => self.text(&message.span_id)?,
            11 => self.optional(message.parent_span_id.as_deref())?,
            12 => self.int(message.attempt.into()),
            13 => self.int(message.priority.into()),
            14 => match message.ttl {
                Some(ttl) => self.float(ttl),
                None => self.out.push_str("null"),
            },
            _ => match message.seq {
                Some(seq) => self.int(seq.into()),
                None => self.out.push_str("null"),
            },
        }
        Ok(())
    }
}

/// The digits of a number without its sign, and the power of ten of the first one.
///
/// They are taken from what `serde_json` writes: of two shortest texts that are equally near, it
/// and Python take the even one, and the standard library does not.
fn shortest(number: Float) -> (String, i32) {
    let text = serde_json::Number::from_f64(number.get().abs()).map(|number| number.to_string());
    let text = text.unwrap_or_default();
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return ("0".to_owned(), 0);
    }
    // No text of a number is longer than a few hundred characters.
    let small = |len: usize| i32::try_from(len).unwrap_or_default();
    let zeros = all.len() - digits.len();
    let exponent = power.parse().unwrap_or(0) + small(whole.len()) - 1 - small(zeros);
    (digits.trim_end_matches('0').to_owned(), exponent)
}

/// Appends a message.
pub(crate) fn write(
    message: &Message,
    spacing: Spacing,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut writer =
        Writer { out: String::with_capacity(512), spacing, limits: *limits, items: limits.items };
    writer.claim(KEYS.len())?;
    writer.out.push('{');
    for (index, key) in KEYS.iter().enumerate() {
        if index > 0 {
            writer.comma();
        }
        writer.key(key)?;
        writer.field(message, index)?;
    }
    writer.out.push('}');
    all_or_nothing(out, limits, |out| {
        out.extend_from_slice(writer.out.as_bytes());
        Ok(())
    })
}
