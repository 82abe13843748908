//! The greeting: the 64 bytes that both ends send first.
//!
//! A signature that no older protocol can mistake, a version, the name of a mechanism, and who is
//! the server of it. A peer that is none is refused at its first byte.

use crate::ConnectionError;

/// The length of a greeting.
pub(crate) const GREETING: usize = 64;

const MECHANISM: core::ops::Range<usize> = 12..32;
const AS_SERVER: usize = 32;

/// What a greeting says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Greeting {
    /// Of version 3.
    pub(crate) minor: u8,
    pub(crate) mechanism: [u8; 20],
    pub(crate) as_server: bool,
}

/// The name of a mechanism as greetings carry it.
pub(crate) fn mechanism(name: &str) -> [u8; 20] {
    let mut field = [0; 20];
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    field
}

impl Greeting {
    pub(crate) fn encode(&self) -> [u8; GREETING] {
        let mut bytes = [0; GREETING];
        bytes[0] = 0xff;
        bytes[9] = 0x7f;
        bytes[10] = 3;
        bytes[11] = self.minor;
        bytes[MECHANISM].copy_from_slice(&self.mechanism);
        bytes[AS_SERVER] = u8::from(self.as_server);
        bytes
    }

    /// Refuses what cannot become a greeting, however much of it is there.
    pub(crate) fn check_start(bytes: &[u8]) -> Result<(), ConnectionError> {
        // The lowest bit of the tenth byte tells later versions from the first.
        let first = bytes.first().is_none_or(|byte| *byte == 0xff);
        let tenth = bytes.get(9).is_none_or(|byte| byte & 1 == 1);
        match bytes.get(10) {
            _ if !first || !tenth => Err(ConnectionError::NotZmtp),
            Some(major) if *major < 3 => Err(ConnectionError::OldVersion { major: *major }),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads a whole greeting that [`Self::check_start`] found nothing wrong with.
    pub(crate) fn decode(bytes: &[u8; GREETING]) -> Self {
        let mut mechanism = [0; 20];
        mechanism.copy_from_slice(&bytes[MECHANISM]);
        Self { minor: bytes[11], mechanism, as_server: bytes[AS_SERVER] & 1 == 1 }
    }
}
