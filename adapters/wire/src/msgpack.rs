//! MessagePack, as much of it as messages need.
//!
//! Written by hand: what is signed must be the bytes that `msgpack-python` would write, and what
//! comes from strangers is read within limits, with the place of every fault. `rmp-serde` takes
//! bytes after the message, and a list where a map belongs; it is the oracle of the tests instead.

use std::borrow::Cow;

use crate::error::{DecodeError, EncodeError, Fault};
use crate::limits::Limits;
use crate::message::{self, Fresh, KEYS, Message, Source, has_duplicates};
use crate::value::{Float, Int, Map, Value};

/// Reads from a slice; whatever it returns borrows from it.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    limits: Limits,
    /// Keys of the message that are still to come.
    keys: usize,
}

/// The first byte of a value, understood.
enum Head {
    Null,
    Bool(bool),
    Int(Int),
    Float(f64),
    Text(usize),
    Bytes(usize),
    List(usize),
    Map(usize),
    Extension,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.bytes {
            let fault = Fault::TooLarge { limit: limits.bytes };
            return Err(DecodeError::new(limits.bytes, fault));
        }
        Ok(Self { bytes, at: 0, items: limits.items, limits: *limits, keys: 0 })
    }

    /// Nothing may follow.
    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(DecodeError::new(self.at, Fault::Trailing))
        }
    }

    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((found, _)) = rest.split_first_chunk::<N>() else {
            return Err(DecodeError::new(self.bytes.len(), Fault::Ends));
        };
        self.at += N;
        Ok(*found)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len > self.limits.text {
            let fault = Fault::TextTooLong { limit: self.limits.text };
            return Err(DecodeError::new(self.at, fault));
        }
        let end = self.at.saturating_add(len);
        let Some(found) = self.bytes.get(self.at..end) else {
            return Err(DecodeError::new(self.bytes.len(), Fault::Ends));
        };
        self.at = end;
        Ok(found)
    }

    fn utf8(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let fault =
            |error: std::str::Utf8Error| DecodeError::new(at + error.valid_up_to(), Fault::NotText);
        std::str::from_utf8(self.take(len)?).map_err(fault)
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let [byte] = self.array()?;
        Ok(match byte {
            0x00..=0x7f => Head::Int(u64::from(byte).into()),
            0x80..=0x8f => Head::Map(usize::from(byte & 0x0f)),
            0x90..=0x9f => Head::List(usize::from(byte & 0x0f)),
            0xa0..=0xbf => Head::Text(usize::from(byte & 0x1f)),
            0xc0 => Head::Null,
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4 => Head::Bytes(self.len8()?),
            0xc5 => Head::Bytes(self.len16()?),
            0xc6 => Head::Bytes(self.len32()?),
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Int(u64::from(u8::from_be_bytes(self.array()?)).into()),
            0xcd => Head::Int(u64::from(u16::from_be_bytes(self.array()?)).into()),
            0xce => Head::Int(u64::from(u32::from_be_bytes(self.array()?)).into()),
            0xcf => Head::Int(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Head::Int(i64::from(i8::from_be_bytes(self.array()?)).into()),
            0xd1 => Head::Int(i64::from(i16::from_be_bytes(self.array()?)).into()),
            0xd2 => Head::Int(i64::from(i32::from_be_bytes(self.array()?)).into()),
            0xd3 => Head::Int(i64::from_be_bytes(self.array()?).into()),
            0xd9 => Head::Text(self.len8()?),
            0xda => Head::Text(self.len16()?),
            0xdb => Head::Text(self.len32()?),
            0xdc => Head::List(self.len16()?),
            0xdd => Head::List(self.len32()?),
            0xde => Head::Map(self.len16()?),
            0xdf => Head::Map(self.len32()?),
            0xe0..=0xff => Head::Int(i64::from(i8::from_be_bytes([byte])).into()),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => Head::Extension,
        })
    }

    fn len8(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|[byte]| usize::from(byte))
    }

    fn len16(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn len32(&mut self) -> Result<usize, DecodeError> {
        let len = u32::from_be_bytes(self.array()?);
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Counts so many values that are to come, each of at least `least` bytes. What the bytes
    /// cannot hold is refused before anything is set aside for it.
    fn claim(&mut self, at: usize, count: usize, least: usize) -> Result<(), DecodeError> {
        if count > (self.bytes.len() - self.at) / least {
            return Err(DecodeError::new(self.bytes.len(), Fault::Ends));
        }
        let Some(left) = self.items.checked_sub(count) else {
            let fault = Fault::TooManyItems { limit: self.limits.items };
            return Err(DecodeError::new(at, fault));
        };
        self.items = left;
        Ok(())
    }

    const fn deeper(&self, at: usize, depth: u8) -> Result<u8, DecodeError> {
        match depth.checked_sub(1) {
            Some(depth) => Ok(depth),
            None => Err(DecodeError::new(at, Fault::TooDeep { limit: self.limits.depth })),
        }
    }

    /// Recursive, and no deeper than `depth`.
    fn value(&mut self, depth: u8) -> Result<Value, DecodeError> {
        let at = self.at;
        Ok(match self.head()? {
            Head::Null => Value::Null,
            Head::Bool(value) => Value::Bool(value),
            Head::Int(number) => Value::Int(number),
            Head::Float(number) => Value::Float(finite(at, number)?),
            Head::Text(len) => Value::Text(self.utf8(len)?.to_owned()),
            Head::Bytes(len) => Value::Bytes(self.take(len)?.to_owned()),
            Head::List(count) => {
                let depth = self.deeper(at, depth)?;
                self.claim(at, count, 1)?;
                let mut list = Vec::with_capacity(count);
                for _ in 0..count {
                    list.push(self.value(depth)?);
                }
                Value::List(list)
            }
            Head::Map(count) => Value::Map(self.map(at, count, depth)?),
            Head::Extension => return Err(expected(at, "no extension type", "a value")),
        })
    }

    fn map(&mut self, at: usize, count: usize, depth: u8) -> Result<Map, DecodeError> {
        let depth = self.deeper(at, depth)?;
        self.claim(at, count, 2)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.string("a key")?.to_owned();
            entries.push((key, self.value(depth)?));
        }
        if has_duplicates(&entries) {
            return Err(DecodeError::new(at, Fault::DuplicateKey));
        }
        Ok(Map::of_unique(entries))
    }

    /// How many entries a map has.
    pub(crate) fn map_len(&mut self, of: &'static str) -> Result<usize, DecodeError> {
        let at = self.at;
        let Head::Map(count) = self.head()? else { return Err(expected(at, "a map", of)) };
        self.claim(at, count, 2)?;
        Ok(count)
    }

    pub(crate) fn string(&mut self, of: &'static str) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let Head::Text(len) = self.head()? else { return Err(expected(at, "a text", of)) };
        self.utf8(len)
    }

    pub(crate) fn binary(&mut self, of: &'static str) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        let Head::Bytes(len) = self.head()? else { return Err(expected(at, "bytes", of)) };
        self.take(len)
    }

    pub(crate) fn natural(&mut self, of: &'static str) -> Result<u64, DecodeError> {
        let at = self.at;
        let wrong = || expected(at, "an integer that is not negative", of);
        let Head::Int(number) = self.head()? else { return Err(wrong()) };
        number.as_u64().ok_or_else(wrong)
    }

    /// Whether a map is next whose first key is this.
    pub(crate) fn is_map_with_first_key(&self, keys: &[&str]) -> bool {
        let mut ahead = Reader { keys: 0, ..*self };
        ahead.map_len("").is_ok_and(|count| count > 0)
            && ahead.string("").is_ok_and(|key| keys.contains(&key))
    }
}

pub(crate) const fn expected(at: usize, expected: &'static str, of: &'static str) -> DecodeError {
    DecodeError::new(at, Fault::Expected { expected, of })
}

fn finite(at: usize, number: f64) -> Result<Float, DecodeError> {
    Float::new(number).ok_or_else(|| DecodeError::new(at, Fault::Number))
}

impl<'a> Source<'a> for Reader<'a> {
    fn at(&self) -> usize {
        self.at
    }

    fn begin(&mut self) -> Result<(), DecodeError> {
        self.keys = self.map_len("the message")?;
        Ok(())
    }

    fn key(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let Some(left) = self.keys.checked_sub(1) else { return Ok(None) };
        self.keys = left;
        self.string("a key").map(|key| Some(Cow::Borrowed(key)))
    }

    fn null(&mut self) -> Result<bool, DecodeError> {
        let is_null = self.bytes.get(self.at) == Some(&0xc0);
        self.at += usize::from(is_null);
        Ok(is_null)
    }

    fn text(&mut self, of: &'static str) -> Result<String, DecodeError> {
        self.string(of).map(str::to_owned)
    }

    fn integer(&mut self, of: &'static str) -> Result<i64, DecodeError> {
        let at = self.at;
        let Head::Int(number) = self.head()? else { return Err(expected(at, "an integer", of)) };
        number.as_i64().ok_or_else(|| DecodeError::new(at, Fault::Number))
    }

    fn float(&mut self, of: &'static str) -> Result<Float, DecodeError> {
        let at = self.at;
        match self.head()? {
            Head::Float(number) => finite(at, number),
            // A Python program that says `ttl=30` means 30.0.
            Head::Int(number) => {
                number.as_float().ok_or_else(|| DecodeError::new(at, Fault::Number))
            }
            Head::Null
            | Head::Bool(_)
            | Head::Text(_)
            | Head::Bytes(_)
            | Head::List(_)
            | Head::Map(_)
            | Head::Extension => Err(expected(at, "a number", of)),
        }
    }

    fn payload(&mut self) -> Result<Map, DecodeError> {
        let at = self.at;
        let Head::Map(count) = self.head()? else { return Err(expected(at, "a map", "payload")) };
        self.map(at, count, self.limits.depth)
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        // Not worth a second reader: what is read is dropped at once.
        self.value(self.limits.depth).map(drop)
    }
}

/// Reads a message and nothing after it.
pub(crate) fn read(
    bytes: &[u8],
    limits: &Limits,
    fresh: impl FnOnce() -> Fresh,
) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(bytes, limits)?;
    let message = message::read(&mut reader, fresh)?;
    reader.end()?;
    Ok(message)
}

/// Appends to a vector.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    limits: Limits,
    items: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>, limits: &Limits) -> Self {
        Self { out, limits: *limits, items: limits.items }
    }

    /// The shortest head for so many, from the forms that there are: one byte below `fix`, then
    /// one, two and four bytes of length.
    fn head(&mut self, len: usize, fix: Option<(u8, usize)>, wide: [Option<u8>; 3]) {
        let [one, two, four] = wide;
        match (fix, one, u8::try_from(len), u16::try_from(len)) {
            (Some((base, below)), _, Ok(len8), _) if len < below => self.out.push(base | len8),
            (_, Some(one), Ok(len), _) => self.out.extend([one, len]),
            (_, _, _, Ok(len)) => {
                self.out.push(two.unwrap_or_default());
                self.out.extend(len.to_be_bytes());
            }
            _ => {
                // `Limits::text` and `items` are checked first; a claim that is too small would
                // only be refused by the reader.
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                self.out.push(four.unwrap_or_default());
                self.out.extend(len.to_be_bytes());
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        self.fits(text.len())?;
        self.head(text.len(), Some((0xa0, 32)), [Some(0xd9), Some(0xda), Some(0xdb)]);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.fits(bytes.len())?;
        self.head(bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)]);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn map_len(&mut self, len: usize) -> Result<(), EncodeError> {
        self.claim(len)?;
        self.head(len, Some((0x80, 16)), [None, Some(0xde), Some(0xdf)]);
        Ok(())
    }

    const fn fits(&self, len: usize) -> Result<(), EncodeError> {
        if len > self.limits.text || len > self.limits.bytes {
            return Err(EncodeError::TextTooLong { limit: self.limits.text });
        }
        Ok(())
    }

    fn claim(&mut self, count: usize) -> Result<(), EncodeError> {
        let limit = self.limits.items;
        self.items = self.items.checked_sub(count).ok_or(EncodeError::TooManyItems { limit })?;
        Ok(())
    }

    pub(crate) fn int(&mut self, number: Int) {
        if let Some(number) = number.as_u64() {
            let out = &mut *self.out;
            match (u8::try_from(number), u16::try_from(number), u32::try_from(number)) {
                (Ok(small), _, _) if small < 0x80 => out.push(small),
                (Ok(small), _, _) => out.extend([0xcc, small]),
                (_, Ok(number), _) => tagged(out, 0xcd, &number.to_be_bytes()),
                (_, _, Ok(number)) => tagged(out, 0xce, &number.to_be_bytes()),
                _ => tagged(out, 0xcf, &number.to_be_bytes()),
            }
        } else if let Some(number) = number.as_i64() {
            let out = &mut *self.out;
            match (i8::try_from(number), i16::try_from(number), i32::try_from(number)) {
                (Ok(small), _, _) if small >= -32 => out.extend(small.to_be_bytes()),
                (Ok(small), _, _) => tagged(out, 0xd0, &small.to_be_bytes()),
                (_, Ok(number), _) => tagged(out, 0xd1, &number.to_be_bytes()),
                (_, _, Ok(number)) => tagged(out, 0xd2, &number.to_be_bytes()),
                _ => tagged(out, 0xd3, &number.to_be_bytes()),
            }
        }
    }

    fn float(&mut self, number: Float) {
        tagged(self.out, 0xcb, &number.get().to_be_bytes());
    }

    fn optional(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        if let Some(text) = text {
            return self.text(text);
        }
        self.out.push(0xc0);
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: u8) -> Result<(), EncodeError> {
        let limit = self.limits.depth;
        let depth = depth.checked_sub(1).ok_or(EncodeError::TooDeep { limit })?;
        self.map_len(map.len())?;
        for (key, value) in map.iter() {
            self.text(key)?;
            self.value(value, depth)?;
        }
        Ok(())
    }

    /// Recursive, and no deeper than `depth`.
    fn value(&mut self, value: &Value, depth: u8) -> Result<(), EncodeError> {
        match value {
            Value::Null => self.out.push(0xc0),
            Value::Bool(value) => self.out.push(0xc2 + u8::from(*value)),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => self.float(*number),
            Value::Text(text) => self.text(text)?,
            Value::Bytes(bytes) => self.bytes(bytes)?,
            Value::List(list) => {
                let limit = self.limits.depth;
                let depth = depth.checked_sub(1).ok_or(EncodeError::TooDeep { limit })?;
                self.claim(list.len())?;
                self.head(list.len(), Some((0x90, 16)), [None, Some(0xdc), Some(0xdd)]);
                for value in list {
                    self.value(value, depth)?;
                }
            }
            Value::Map(map) => self.map(map, depth)?,
        }
        Ok(())
    }

    pub(crate) fn message(&mut self, message: &Message) -> Result<(), EncodeError> {
        self.map_len(KEYS.len())?;
        let mut keys = KEYS.iter();
        let mut key = |writer: &mut Self| {
            let key = keys.next().copied().unwrap_or_default();
            // All keys are short, so the head is one byte.
            writer.out.push(0xa0 | u8::try_from(key.len()).unwrap_or_default());
            writer.out.extend_from_slice(key.as_bytes());
        };
        key(self);
        self.int(message.schema_version.into());
        for text in [&message.id, &message.kind, &message.sender, &message.recipient] {
            key(self);
            self.text(text)?;
        }
        for text in [&message.correlation_id, &message.reply_to] {
            key(self);
            self.optional(text.as_deref())?;
        }
        key(self);
        self.map(&message.payload, self.limits.depth)?;
        key(self);
        self.float(message.timestamp);
        for text in [&message.trace_id, &message.span_id] {
            key(self);
            self.text(text)?;
        }
        key(self);
        self.optional(message.parent_span_id.as_deref())?;
        for number in [message.attempt, message.priority] {
            key(self);
            self.int(number.into());
        }
        key(self);
        match message.ttl {
            Some(ttl) => self.float(ttl),
            None => self.out.push(0xc0),
        }
        key(self);
        match message.seq {
            Some(seq) => self.int(seq.into()),
            None => self.out.push(0xc0),
        }
        Ok(())
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

/// Calls `write` and takes back what it has written if it fails, or has written too much.
pub(crate) fn all_or_nothing(
    out: &mut Vec<u8>,
    limits: &Limits,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let mut written = write(out);
    if written.is_ok() && out.len() - start > limits.bytes {
        written = Err(EncodeError::TooLarge { limit: limits.bytes });
    }
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a message.
pub(crate) fn write(
    message: &Message,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    all_or_nothing(out, limits, |out| Writer::new(out, limits).message(message))
}
