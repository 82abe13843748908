//! JSON, as much of it as messages need, in the two forms in which civitas writes it.
//!
//! Written by hand, for the places of faults, for keys that appear twice, and because `serde_json`
//! turns an integer that is too large into a float that is not the same. It is the oracle of the
//! tests instead.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::error::{DecodeError, EncodeError, Fault};
use crate::limits::Limits;
use crate::message::{self, Fresh, KEYS, Message, Source, has_duplicates};
use crate::msgpack::all_or_nothing;
use crate::value::{Float, Int, Map, Value};

/// How JSON is written. Every reader takes both.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Spacing {
    /// As Python's `json`: `", "` and `": "`, and nothing beyond ASCII.
    #[default]
    Wide,
    /// As `orjson`: no spaces, and UTF-8.
    Compact,
}

enum Number {
    Int(Int),
    Float(Float),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    items: usize,
    limits: Limits,
    is_first: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.bytes {
            let fault = Fault::TooLarge { limit: limits.bytes };
            return Err(DecodeError::new(limits.bytes, fault));
        }
        let fault =
            |error: std::str::Utf8Error| DecodeError::new(error.valid_up_to(), Fault::NotText);
        let text = std::str::from_utf8(bytes).map_err(fault)?;
        Ok(Self { text, at: 0, items: limits.items, limits: *limits, is_first: true })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over this byte, if it is next.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(
        &mut self,
        byte: u8,
        expected: &'static str,
        of: &'static str,
    ) -> Result<(), DecodeError> {
        if self.eat(byte) { Ok(()) } else { Err(self.wrong(expected, of)) }
    }

    /// Something else stands here, or nothing.
    fn wrong(&self, expected: &'static str, of: &'static str) -> DecodeError {
        let fault = match self.peek() {
            Some(_) => Fault::Expected { expected, of },
            None => Fault::Ends,
        };
        DecodeError::new(self.at, fault)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn item(&mut self) -> Result<(), DecodeError> {
        let Some(left) = self.items.checked_sub(1) else {
            let fault = Fault::TooManyItems { limit: self.limits.items };
            return Err(DecodeError::new(self.at, fault));
        };
        self.items = left;
        Ok(())
    }

    fn string(&mut self, of: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.expect(b'"', "a text", of)?;
        let start = self.at;
        let mut unescaped = String::new();
        let mut plain = start;
        loop {
            let Some(byte) = self.peek() else { return Err(self.wrong("", "")) };
            match byte {
                b'"' => break,
                b'\\' => {
                    unescaped.push_str(&self.text[plain..self.at]);
                    let at = self.at;
                    self.at += 1;
                    unescaped.push(self.escape(at)?);
                    plain = self.at;
                }
                // A control character as it is.
                0..0x20 => return Err(self.wrong("an escape", of)),
                _ => self.at += 1,
            }
            if unescaped.len() + (self.at - plain) > self.limits.text {
                let fault = Fault::TextTooLong { limit: self.limits.text };
                return Err(DecodeError::new(start, fault));
            }
        }
        let rest = &self.text[plain..self.at];
        self.at += 1;
        if plain == start {
            return Ok(Cow::Borrowed(rest));
        }
        unescaped.push_str(rest);
        Ok(Cow::Owned(unescaped))
    }

    /// What follows a backslash that is at `at`.
    fn escape(&mut self, at: usize) -> Result<char, DecodeError> {
        let Some(byte) = self.peek() else { return Err(self.wrong("", "")) };
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let lone = DecodeError::new(at, Fault::NotText);
                let mut code = u32::from(self.four_digits()?);
                if (0xd800..0xdc00).contains(&code) {
                    if !self.word("\\u") {
                        return Err(lone);
                    }
                    let low = u32::from(self.four_digits()?);
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(lone);
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                return char::from_u32(code).ok_or(lone);
            }
            _ => return Err(self.wrong("an escape", "a text")),
        };
        self.at += 1;
        Ok(character)
    }

    fn four_digits(&mut self) -> Result<u16, DecodeError> {
        let Some(digits) = self.text.as_bytes().get(self.at..self.at + 4) else {
            return Err(DecodeError::new(self.text.len(), Fault::Ends));
        };
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let number = std::str::from_utf8(digits).ok().filter(|_| is_hex);
        let number = number.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| self.wrong("four hexadecimal digits", "an escape"))?;
        self.at += 4;
        Ok(number)
    }

    /// The text of a number, and whether it is an integer.
    fn digits(&mut self, of: &'static str) -> Result<(&'a str, bool), DecodeError> {
        let start = self.at;
        self.eat(b'-');
        let zero = self.eat(b'0');
        if !zero && !self.run_of_digits() {
            self.at = start;
            return Err(self.wrong("a number", of));
        }
        let mut is_integer = true;
        if self.eat(b'.') {
            is_integer = false;
            if !self.run_of_digits() {
                return Err(self.wrong("a digit", of));
            }
        }
        if self.eat(b'e') || self.eat(b'E') {
            is_integer = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            if !self.run_of_digits() {
                return Err(self.wrong("a digit", of));
            }
        }
        Ok((&self.text[start..self.at], is_integer))
    }

    fn run_of_digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self, of: &'static str) -> Result<Number, DecodeError> {
        let at = self.at;
        let fault = DecodeError::new(at, Fault::Number);
        let (digits, is_integer) = self.digits(of)?;
        if is_integer {
            let int = match digits.parse::<u64>() {
                Ok(number) => Some(Int::from(number)),
                Err(_) => digits.parse::<i64>().ok().map(Int::from),
            };
            return int.map(Number::Int).ok_or(fault);
        }
        let float = digits.parse().ok().and_then(Float::new);
        float.map(Number::Float).ok_or(fault)
    }

    /// Recursive, and no deeper than `depth`.
    fn value(&mut self, depth: u8) -> Result<Value, DecodeError> {
        self.item()?;
        self.space();
        match self.peek() {
            Some(b'{') => self.map(depth, "a value").map(Value::Map),
            Some(b'[') => self.list(depth).map(Value::List),
            Some(b'"') => Ok(Value::Text(self.string("a value")?.into_owned())),
            Some(b'n') if self.word("null") => Ok(Value::Null),
            Some(b't') if self.word("true") => Ok(Value::Bool(true)),
            Some(b'f') if self.word("false") => Ok(Value::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number("a value").map(|number| match number {
                Number::Int(number) => Value::Int(number),
                Number::Float(number) => Value::Float(number),
            }),
            Some(_) | None => Err(self.wrong("a value", "JSON")),
        }
    }

    const fn deeper(&self, depth: u8) -> Result<u8, DecodeError> {
        match depth.checked_sub(1) {
            Some(depth) => Ok(depth),
            None => Err(DecodeError::new(self.at, Fault::TooDeep { limit: self.limits.depth })),
        }
    }

    fn list(&mut self, depth: u8) -> Result<Vec<Value>, DecodeError> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        let mut list = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(list);
        }
        loop {
            list.push(self.value(depth)?);
            self.space();
            if self.eat(b']') {
                return Ok(list);
            }
            self.expect(b',', "a comma or the end", "a list")?;
        }
    }

    fn map(&mut self, depth: u8, of: &'static str) -> Result<Map, DecodeError> {
        let start = self.at;
        self.expect(b'{', "a map", of)?;
        let depth = self.deeper(depth)?;
        let mut entries = Vec::new();
        let mut is_first = true;
        while let Some(key) = self.next_key(&mut is_first)? {
            entries.push((key.into_owned(), self.value(depth)?));
        }
        if has_duplicates(&entries) {
            return Err(DecodeError::new(start, Fault::DuplicateKey));
        }
        Ok(Map::of_unique(entries))
    }

    fn next_key(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        self.space();
        if self.eat(b'}') {
            return Ok(None);
        }
        if !std::mem::take(is_first) {
            self.expect(b',', "a comma or the end", "a map")?;
            self.space();
        }
        let key = self.string("a key")?;
        self.space();
        self.expect(b':', "a colon", "what follows a key")?;
        self.space();
        Ok(Some(key))
    }
}

impl<'a> Source<'a> for Reader<'a> {
    fn at(&self) -> usize {
        self.at
    }

    fn begin(&mut self) -> Result<(), DecodeError> {
        self.space();
        self.expect(b'{', "a map", "the message")
    }

    fn key(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let mut is_first = self.is_first;
        let key = self.next_key(&mut is_first);
        self.is_first = is_first;
        if let Ok(Some(_)) = key {
            self.item()?;
        }
        key
    }

    fn null(&mut self) -> Result<bool, DecodeError> {
        Ok(self.word("null"))
    }

    fn text(&mut self, of: &'static str) -> Result<String, DecodeError> {
        self.string(of).map(Cow::into_owned)
    }

    fn integer(&mut self, of: &'static str) -> Result<i64, DecodeError> {
        let at = self.at;
        match self.number(of)? {
            Number::Int(number) => {
                number.as_i64().ok_or_else(|| DecodeError::new(at, Fault::Number))
            }
            Number::Float(_) => {
                Err(DecodeError::new(at, Fault::Expected { expected: "an integer", of }))
            }
        }
    }

    fn float(&mut self, of: &'static str) -> Result<Float, DecodeError> {
        let at = self.at;
        let number = match self.number(of)? {
            Number::Float(number) => Some(number),
            Number::Int(number) => number.as_float(),
        };
        number.ok_or_else(|| DecodeError::new(at, Fault::Number))
    }

    fn payload(&mut self) -> Result<Map, DecodeError> {
        self.map(self.limits.depth, "payload")
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.value(self.limits.depth).map(drop)
    }
}

/// Reads a message, and nothing after it but space.
pub(crate) fn read(
    bytes: &[u8],
    limits: &Limits,
    fresh: impl FnOnce() -> Fresh,
) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(bytes, limits)?;
    let message = message::read(&mut reader, fresh)?;
    reader.space();
    match reader.peek() {
        Some(_) => Err(DecodeError::new(reader.at, Fault::Trailing)),
        None => Ok(message),
    }
}

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
        let text = format!("{:e}", number.get());
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        // From here on a number has an exponent; `orjson` writes one more zero.
        let least = if self.spacing == Spacing::Wide { -4 } else { -5 };
        if (least..16).contains(&exponent) {
            // Debug keeps `.0`, and writes exponents only beyond this.
            let plain = format!("{}", number.get());
            self.out.push_str(&plain);
            if !plain.contains('.') {
                self.out.push_str(".0");
            }
            return;
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let exponent = exponent.unsigned_abs();
        let _ = match self.spacing {
            Spacing::Wide => write!(self.out, "{digits}e{sign}{exponent:02}"),
            Spacing::Compact => write!(self.out, "{digits}e{sign}{exponent}"),
        };
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

/// Appends a message.
pub(crate) fn write(
    message: &Message,
    spacing: Spacing,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut writer = Writer { out: String::new(), spacing, limits: *limits, items: limits.items };
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
