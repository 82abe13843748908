//! The traffic of a connection that has shaken hands: every frame in a box of its own.

use alloc::vec::Vec;

use super::sealed::{SharedKey, TAG};
use crate::ConnectionError;
use crate::frame::{Kind, put_header};

const NAME: &[u8; 8] = b"\x07MESSAGE";
const CLIENT: &[u8; 16] = b"CurveZMQMESSAGEC";
const SERVER: &[u8; 16] = b"CurveZMQMESSAGES";

const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// The keys and counters of both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    key: SharedKey,
    is_server: bool,
    /// Of the last box that was sealed here.
    sent: u64,
    /// Of the last box that was opened here.
    heard: u64,
}

impl Session {
    /// What a frame is longer for the box around it.
    pub(crate) const OVERHEAD: usize = NAME.len() + 8 + TAG + 1;

    pub(super) const fn new(key: SharedKey, is_server: bool, sent: u64, heard: u64) -> Self {
        Self { key, is_server, sent, heard }
    }

    /// Appends a frame, sealed.
    pub(crate) fn seal(&mut self, kind: Kind, body: &[u8], wire: &mut Vec<u8>) {
        // 2^64 boxes are never reached: at a million a second that is half a million years.
        self.sent = self.sent.saturating_add(1);
        let flags = match kind {
            Kind::Part { more: false } => 0,
            Kind::Part { more: true } => MORE,
            Kind::Command => COMMAND,
        };
        // Not a command outside, though the RFC calls it one: this is what libzmq sends.
        put_header(Kind::Part { more: false }, Self::OVERHEAD + body.len(), wire);
        wire.extend_from_slice(NAME);
        wire.extend_from_slice(&self.sent.to_be_bytes());
        let start = wire.len();
        wire.resize(start + TAG, 0);
        wire.push(flags);
        wire.extend_from_slice(body);
        let nonce = nonce(if self.is_server { SERVER } else { CLIENT }, self.sent);
        if let Some(sealed) = wire.get_mut(start..) {
            self.key.seal(&nonce, sealed);
        }
    }

    /// Opens a frame into `plain`, whose body begins at 1 then.
    pub(crate) fn open(
        &mut self,
        frame: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<Kind, ConnectionError> {
        let rest = frame.strip_prefix(NAME).ok_or(ConnectionError::BadCommand)?;
        let (count, sealed) = rest.split_first_chunk().ok_or(ConnectionError::BadCommand)?;
        let count = u64::from_be_bytes(*count);
        if count <= self.heard {
            return Err(ConnectionError::BadNonce);
        }
        let nonce = nonce(if self.is_server { CLIENT } else { SERVER }, count);
        plain.clear();
        plain.extend_from_slice(sealed);
        self.key.open(&nonce, plain)?;
        self.heard = count;
        plain.drain(..TAG);
        match plain.first() {
            Some(0) => Ok(Kind::Part { more: false }),
            Some(&MORE) => Ok(Kind::Part { more: true }),
            Some(&COMMAND) => Ok(Kind::Command),
            Some(flags) => Err(ConnectionError::BadFlags { flags: *flags }),
            None => Err(ConnectionError::BadCommand),
        }
    }
}

/// A prefix that says what is sealed, and a counter.
pub(super) fn nonce(prefix: &[u8; 16], count: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    let (front, back) = nonce.split_at_mut(16);
    front.copy_from_slice(prefix);
    back.copy_from_slice(&count.to_be_bytes());
    nonce
}
