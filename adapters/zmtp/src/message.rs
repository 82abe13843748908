//! Messages: one part or more, kept as the bytes that go over a wire.
//!
//! A forwarder writes the same message to many peers. It is therefore encoded once and shared; a
//! NULL connection copies the bytes, and only CURVE, whose bytes differ for each peer, takes the
//! parts out again.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use bytes::Bytes;

use crate::frame::{Kind, header_length, put_header, split_header};
use crate::{ConnectionError, Limits};

/// A message of one part or more. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Headers in their shortest form, and bodies.
    wire: Bytes,
}

impl Message {
    /// A message of a first part, which subscriptions look at, and of others. `O(bytes)`.
    #[must_use]
    pub fn new(topic: &[u8], rest: &[&[u8]]) -> Self {
        let room = |part: &[u8]| header_length(part.len()) + part.len();
        let length: usize = rest.iter().map(|part| room(part)).sum();
        let mut wire = Vec::with_capacity(room(topic) + length);
        put_part(!rest.is_empty(), topic, &mut wire);
        for (at, part) in rest.iter().enumerate() {
            put_part(at + 1 < rest.len(), part, &mut wire);
        }
        Self { wire: wire.into() }
    }

    /// The first part: what subscriptions look at.
    #[must_use]
    pub fn topic(&self) -> &[u8] {
        self.parts().next().unwrap_or_default()
    }

    /// The parts, in their order; one at least.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts { rest: &self.wire }
    }

    /// The bytes of all frames as a NULL connection sends them.
    #[must_use]
    pub const fn wire(&self) -> &Bytes {
        &self.wire
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.wire.len();
        write!(f, "Message({} parts, {bytes} bytes)", self.parts().count())
    }
}

/// The parts of a [`Message`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (_, length, rest) = split_header(self.rest)?;
        let (part, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(part)
    }
}

impl FusedIterator for Parts<'_> {}

fn put_part(more: bool, part: &[u8], wire: &mut Vec<u8>) {
    put_header(Kind::Part { more }, part.len(), wire);
    wire.extend_from_slice(part);
}

/// Gathers the parts of a message as they come in.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Assembly {
    wire: Vec<u8>,
    parts: usize,
    bytes: usize,
}

impl Assembly {
    /// Takes a part, and gives the message if it was the last one.
    pub(crate) fn push(
        &mut self,
        more: bool,
        part: &[u8],
        limits: &Limits,
    ) -> Result<Option<Message>, ConnectionError> {
        self.parts += 1;
        self.bytes = self.bytes.saturating_add(part.len());
        if self.parts > limits.parts {
            return Err(ConnectionError::TooManyParts { limit: limits.parts });
        }
        if self.bytes > limits.message {
            return Err(ConnectionError::MessageTooLong { limit: limits.message });
        }
        let room = header_length(part.len()) + part.len();
        // Nearly all messages have one part or two: no byte too much for those.
        if self.parts <= 2 {
            self.wire.reserve_exact(room)
        } else {
            self.wire.reserve(room)
        }
        put_part(more, part, &mut self.wire);
        if more {
            return Ok(None);
        }
        let whole = core::mem::take(self);
        Ok(Some(Message { wire: whole.wire.into() }))
    }
}
