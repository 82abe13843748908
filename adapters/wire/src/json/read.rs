//! JSON in: strictly the grammar, within limits, with the place of every fault.

use std::borrow::Cow;

use crate::error::{DecodeError, Fault};
use crate::limits::Limits;
use crate::message::{self, Fresh, Message, Source, has_duplicates};
use crate::value::{Float, Int, Map, Value};

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
