//! Finds numbers that JSON does not have, before they become `null` in silence.
//!
//! `serde_json` writes NaN and the infinities as `null`, which is read back as something else or
//! not at all: a checkpoint would be lost when it is needed. So a value is walked once before it is
//! converted, by a serializer that writes nothing.

use std::fmt::Display;

use serde::ser::{self, Serialize};

use crate::message::DecodeError;

impl ser::Error for DecodeError {
    fn custom<T: Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// Checks that all numbers in a value are finite.
///
/// # Errors
/// One is not; or the value cannot be serialized at all.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), DecodeError> {
    value.serialize(Walk)
}

#[derive(Clone, Copy)]
struct Walk;

type Checked = Result<(), DecodeError>;

macro_rules! nothing_to_check {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Checked { Ok(()) })*
    };
}

fn finite(is_finite: bool) -> Checked {
    if is_finite { Ok(()) } else { Err(DecodeError("a number is not finite".to_owned())) }
}

impl ser::Serializer for Walk {
    type Ok = ();
    type Error = DecodeError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    nothing_to_check! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_u128: u128, serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, number: f32) -> Checked {
        finite(number.is_finite())
    }

    fn serialize_f64(self, number: f64) -> Checked {
        finite(number.is_finite())
    }

    fn serialize_none(self) -> Checked {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Checked {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Checked {
        Ok(())
    }

    fn serialize_newtype_struct<T>(self, _: &'static str, value: &T) -> Checked
    where
        T: Serialize + ?Sized,
    {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Checked
    where
        T: Serialize + ?Sized,
    {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, DecodeError> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, DecodeError> {
        Ok(self)
    }
}

/// Compound values: each part by itself.
macro_rules! parts {
    ($($trait:ident { $method:ident($($name:ty)?) })*) => {
        $(impl ser::$trait for Walk {
            type Ok = ();
            type Error = DecodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Checked {
                value.serialize(*self)
            }

            fn end(self) -> Checked {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeStruct { serialize_field(&'static str) }
    SerializeStructVariant { serialize_field(&'static str) }
}

impl ser::SerializeMap for Walk {
    type Ok = ();
    type Error = DecodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Checked {
        // What cannot be a key, the conversion refuses.
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Checked {
        value.serialize(*self)
    }

    fn end(self) -> Checked {
        Ok(())
    }
}
