//! Frames: the unit in which ZMTP 3 cuts its stream.
//!
//! A byte of flags, a length in one byte or in eight, and a body. A length is believed only as far
//! as the bytes are there: what is announced reserves nothing, and what is above the limit is
//! refused when its header is whole. Most frames lie in one piece in what was read; those are lent
//! out where they lie, and only a frame that is cut is gathered.

use alloc::vec::Vec;

use crate::ConnectionError;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The longest header: flags and eight bytes of length.
const HEADER_MAX: usize = 9;

/// A buffer for frames that were cut is given back above so many bytes.
const KEEP: usize = 64 << 10;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// A part of a message.
    Part {
        /// Further parts follow.
        more: bool,
    },
    /// A command.
    Command,
}

impl Kind {
    const fn flags(self) -> u8 {
        match self {
            Self::Part { more: false } => 0,
            Self::Part { more: true } => MORE,
            Self::Command => COMMAND,
        }
    }
}

/// One frame, lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
}

/// The longest bodies that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Bounds {
    pub(crate) part: usize,
    pub(crate) command: usize,
}

/// Cuts a stream into frames.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Decoder {
    header: [u8; HEADER_MAX],
    have: usize,
    /// The header of the frame that is being read, once it is whole.
    open: Option<(Kind, usize)>,
    body: Vec<u8>,
    /// The body was lent out with the last call.
    lent: bool,
}

impl Decoder {
    /// Takes the next frame from the front of `input`, or all of it if the frame is not whole.
    pub(crate) fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
        bounds: Bounds,
    ) -> Result<Option<Frame<'a>>, ConnectionError> {
        if self.lent {
            self.lent = false;
            self.body.clear();
            if self.body.capacity() > KEEP {
                self.body = Vec::new();
            }
        }
        let (kind, length) = match self.open {
            Some(open) => open,
            None => match self.read_header(input, bounds)? {
                Some(open) => open,
                None => return Ok(None),
            },
        };
        if self.body.is_empty()
            && let Some((body, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            self.open = None;
            return Ok(Some(Frame { kind, body }));
        }
        let (piece, rest) = input.split_at((length - self.body.len()).min(input.len()));
        *input = rest;
        self.body.extend_from_slice(piece);
        if self.body.len() < length {
            self.open = Some((kind, length));
            return Ok(None);
        }
        self.open = None;
        self.lent = true;
        Ok(Some(Frame { kind, body: &self.body }))
    }

    fn read_header(
        &mut self,
        input: &mut &[u8],
        bounds: Bounds,
    ) -> Result<Option<(Kind, usize)>, ConnectionError> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.header[self.have] = *byte;
            self.have += 1;
            let flags = self.header[0];
            let kind = match flags & !LONG {
                0 => Kind::Part { more: false },
                MORE => Kind::Part { more: true },
                COMMAND => Kind::Command,
                _ => return Err(ConnectionError::BadFlags { flags }),
            };
            let length = match (flags & LONG != 0, self.have) {
                (false, 2) => u64::from(self.header[1]),
                (true, HEADER_MAX) => {
                    self.header[1..].iter().fold(0, |length, byte| (length << 8) | u64::from(*byte))
                }
                (false | true, _) => continue,
            };
            self.have = 0;
            let limit = match kind {
                Kind::Part { .. } => bounds.part,
                Kind::Command => bounds.command,
            };
            return match usize::try_from(length) {
                Ok(length) if length <= limit => Ok(Some((kind, length))),
                Ok(_) | Err(_) => Err(ConnectionError::FrameTooLong { length, limit }),
            };
        }
        Ok(None)
    }
}

/// Appends the header of a frame, in the short form where that is possible.
pub(crate) fn put_header(kind: Kind, length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(length) => out.extend_from_slice(&[kind.flags(), length]),
        Err(_) => {
            out.push(kind.flags() | LONG);
            // A usize has at most 64 bits wherever this is built.
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// How long the header is that [`put_header`] writes.
pub(crate) const fn header_length(length: usize) -> usize {
    if length <= 255 { 2 } else { HEADER_MAX }
}

/// Reads a header that [`put_header`] wrote: whether more follow, the length, the rest.
pub(crate) fn split_header(wire: &[u8]) -> Option<(bool, usize, &[u8])> {
    let (flags, rest) = wire.split_first()?;
    let more = flags & MORE != 0;
    if flags & LONG == 0 {
        let (length, rest) = rest.split_first()?;
        return Some((more, usize::from(*length), rest));
    }
    let (length, rest) = rest.split_first_chunk()?;
    Some((more, usize::try_from(u64::from_be_bytes(*length)).ok()?, rest))
}
