//! Commands: frames that are for the protocol and not for the user.

use alloc::vec::Vec;

use crate::frame::{Kind, put_header};
use crate::{ConnectionError, SocketType};

/// The longest command of a handshake that is taken. Ours have below 700 bytes.
pub(crate) const HANDSHAKE_MAX: usize = 8192;

/// The longest context of a PING, by the protocol.
pub(crate) const CONTEXT_MAX: usize = 16;

/// A command taken apart: its name and what follows.
pub(crate) fn split(body: &[u8]) -> Result<(&[u8], &[u8]), ConnectionError> {
    let (length, rest) = body.split_first().ok_or(ConnectionError::BadCommand)?;
    match rest.split_at_checked(usize::from(*length)) {
        Some((name, content)) if !name.is_empty() => Ok((name, content)),
        Some(_) | None => Err(ConnectionError::BadCommand),
    }
}

/// The body of a command.
pub(crate) fn body(name: &str, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|piece| piece.len()).sum();
    let mut body = Vec::with_capacity(1 + name.len() + length);
    // All names are ours, and short.
    body.push(u8::try_from(name.len()).unwrap_or_default());
    body.extend_from_slice(name.as_bytes());
    for piece in content {
        body.extend_from_slice(piece);
    }
    body
}

/// Appends a command as a frame.
pub(crate) fn put(name: &str, content: &[&[u8]], wire: &mut Vec<u8>) {
    let body = body(name, content);
    put_header(Kind::Command, body.len(), wire);
    wire.extend_from_slice(&body);
}

/// What a peer says of itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Metadata {
    pub(crate) socket: SocketType,
    pub(crate) identity: Vec<u8>,
}

impl Metadata {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |name: &str, value: &[u8]| {
            bytes.push(u8::try_from(name.len()).unwrap_or_default());
            bytes.extend_from_slice(name.as_bytes());
            // Our values have at most 255 bytes.
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or_default().to_be_bytes());
            bytes.extend_from_slice(value);
        };
        put("Socket-Type", self.socket.name().as_bytes());
        if !self.identity.is_empty() {
            put("Identity", &self.identity);
        }
        bytes
    }

    /// Reads what a peer says. Properties that are not ours are passed over; `socket` is ours, and
    /// the peer's must go with it.
    pub(crate) fn decode(mut bytes: &[u8], socket: SocketType) -> Result<Self, ConnectionError> {
        let (mut theirs, mut identity) = (None, Vec::new());
        while !bytes.is_empty() {
            let (name, value, rest) = property(bytes).ok_or(ConnectionError::BadMetadata)?;
            bytes = rest;
            if name.eq_ignore_ascii_case(b"Socket-Type") {
                let fits = SocketType::of_name(value)
                    .filter(|theirs| theirs.publishes() != socket.publishes());
                let other = || ConnectionError::OtherSocket { theirs: text(value) };
                theirs = Some(fits.ok_or_else(other)?);
            } else if name.eq_ignore_ascii_case(b"Identity") && value.len() <= 255 {
                identity = value.to_vec();
            }
        }
        let socket = theirs.ok_or(ConnectionError::BadMetadata)?;
        Ok(Self { socket, identity })
    }
}

fn property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

/// At most 64 bytes of what a peer sent, for a person to read.
pub(crate) fn text(bytes: &[u8]) -> alloc::string::String {
    let shown = bytes.get(..64).unwrap_or(bytes);
    alloc::string::String::from_utf8_lossy(shown).into_owned()
}

/// The reason in an ERROR.
pub(crate) fn reason(content: &[u8]) -> Result<ConnectionError, ConnectionError> {
    match content.split_first() {
        Some((length, reason)) if usize::from(*length) == reason.len() => {
            Ok(ConnectionError::Refused { reason: text(reason) })
        }
        Some(_) | None => Err(ConnectionError::BadCommand),
    }
}
