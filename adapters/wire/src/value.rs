//! What a payload can hold: exactly what the wire can carry.
//!
//! civitas takes any Python object that `json.dumps` takes, and finds out on the way that the wire
//! does not: NaN, keys that are integers, integers beyond 64 bits, lone surrogates (D64). Here such
//! a value cannot be made. The alternative, a check when a message is written, would tell the
//! sender too late and somewhere else.

use std::error::Error;
use std::fmt;

use serde_json::Value as Json;

/// A part of a payload.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(Int),
    /// A number with a fraction, or a large one.
    Float(Float),
    /// Unicode text.
    Text(String),
    /// Bytes. MessagePack alone can carry them; a civitas node refuses them.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Self>),
    /// Values by their keys, in the order in which they were put in.
    Map(Map),
}

/// An integer from -2^63 to 2^64 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int(Sign);

/// In order: whatever is negative is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sign {
    Negative(i64),
    Natural(u64),
}

impl Int {
    /// It, if it is not negative.
    #[must_use]
    pub const fn as_u64(self) -> Option<u64> {
        match self.0 {
            Sign::Natural(number) => Some(number),
            Sign::Negative(_) => None,
        }
    }

    /// It, if it is less than 2^63.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Sign::Natural(number) => i64::try_from(number).ok(),
            Sign::Negative(number) => Some(number),
        }
    }

    /// The same number as a float, if there is one.
    pub(crate) fn as_float(self) -> Option<Float> {
        /// Up to here every integer is a float.
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let size = match self.0 {
            Sign::Natural(number) => number,
            Sign::Negative(number) => number.unsigned_abs(),
        };
        if size > EXACT {
            return None;
        }
        // In two halves, each of which converts without a cast.
        let high = u32::try_from(size >> 32).ok()?;
        let low = u32::try_from(size & u64::from(u32::MAX)).ok()?;
        let size = f64::from(high) * 4_294_967_296.0 + f64::from(low);
        Some(Float(if matches!(self.0, Sign::Negative(_)) { -size } else { size }))
    }
}

impl From<i64> for Int {
    fn from(number: i64) -> Self {
        Self(u64::try_from(number).map_or(Sign::Negative(number), Sign::Natural))
    }
}

impl From<u64> for Int {
    fn from(number: u64) -> Self {
        Self(Sign::Natural(number))
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Sign::Natural(number) => number.fmt(f),
            Sign::Negative(number) => number.fmt(f),
        }
    }
}

impl fmt::Debug for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number with a fraction; neither NaN nor infinite, which JSON does not have.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Float(f64);

impl Float {
    /// Zero.
    pub const ZERO: Self = Self(0.0);

    /// This number, if it is finite.
    #[must_use]
    pub const fn new(number: f64) -> Option<Self> {
        if number.is_finite() { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Values by texts, in the order in which they were put in; each key once. What a payload is.
#[derive(Clone, Default, PartialEq)]
pub struct Map {
    entries: Vec<(String, Value)>,
}

impl Map {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The caller has seen to it that no key is there twice.
    pub(crate) const fn of_unique(entries: Vec<(String, Value)>) -> Self {
        Self { entries }
    }

    /// Puts a value in, at the end, or in the place of what has its key, which is returned. `O(n)`.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some((_, held)) = self.entries.iter_mut().find(|(held, _)| *held == key) {
            return Some(std::mem::replace(held, value));
        }
        self.entries.push((key, value));
        None
    }

    /// The value of a key. `O(n)`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(held, _)| held == key).map(|(_, value)| value)
    }

    /// Takes a value out; the others keep their order. `O(n)`.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(held, _)| held == key)?;
        Some(self.entries.remove(at).1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, in order, taken out.
    #[must_use]
    pub fn into_entries(self) -> Vec<(String, Value)> {
        self.entries
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

macro_rules! from {
    ($($type:ty: $from:ident => $value:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($from: $type) -> Self {
                $value
            }
        })*
    };
}

from! {
    bool: value => Self::Bool(value);
    i32: value => Self::Int(i64::from(value).into());
    i64: value => Self::Int(value.into());
    u32: value => Self::Int(u64::from(value).into());
    u64: value => Self::Int(value.into());
    Int: value => Self::Int(value);
    Float: value => Self::Float(value);
    &str: value => Self::Text(value.to_owned());
    String: value => Self::Text(value);
    Vec<Self>: value => Self::List(value);
    Map: value => Self::Map(value);
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    /// A key that is given twice has the last of its values.
    fn from(entries: [(K, V); N]) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// Why JSON of `serde_json` is no payload, or a payload no such JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConvertError {
    /// A number is neither finite nor an integer of 64 bits.
    Number,
    /// JSON has no bytes.
    Bytes,
    /// A payload is a map, and this is something else.
    NotAMap,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number that no message can carry",
            Self::Bytes => "bytes, which JSON does not have",
            Self::NotAMap => "a payload is a map",
        })
    }
}

impl Error for ConvertError {}

/// What the runtime's own messages hold. Recursive: as deep as the value, which whoever read it
/// has bounded.
impl TryFrom<Json> for Value {
    type Error = ConvertError;

    fn try_from(json: Json) -> Result<Self, ConvertError> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Self::Int(number.into()),
                (None, Some(number)) => Self::Int(number.into()),
                (None, None) => {
                    let float = number.as_f64().and_then(Float::new);
                    Self::Float(float.ok_or(ConvertError::Number)?)
                }
            },
            Json::String(text) => Self::Text(text),
            Json::Array(list) => {
                Self::List(list.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Json::Object(map) => {
                let entry = |(key, value)| Ok((key, Self::try_from(value)?));
                Self::Map(Map::of_unique(map.into_iter().map(entry).collect::<Result<_, _>>()?))
            }
        })
    }
}

impl TryFrom<Json> for Map {
    type Error = ConvertError;

    fn try_from(json: Json) -> Result<Self, ConvertError> {
        match Value::try_from(json)? {
            Value::Map(map) => Ok(map),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::List(_) => Err(ConvertError::NotAMap),
        }
    }
}

impl TryFrom<Value> for Json {
    type Error = ConvertError;

    fn try_from(value: Value) -> Result<Self, ConvertError> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(Int(Sign::Natural(number))) => number.into(),
            Value::Int(Int(Sign::Negative(number))) => number.into(),
            Value::Float(number) => number.get().into(),
            Value::Text(text) => Self::String(text),
            Value::Bytes(_) => return Err(ConvertError::Bytes),
            Value::List(list) => {
                Self::Array(list.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Value::Map(map) => Self::try_from(map)?,
        })
    }
}

impl TryFrom<Map> for Json {
    type Error = ConvertError;

    fn try_from(map: Map) -> Result<Self, ConvertError> {
        let entry = |(key, value)| Ok((key, Self::try_from(value)?));
        Ok(Self::Object(map.entries.into_iter().map(entry).collect::<Result<_, _>>()?))
    }
}
