//! Signatures of civitas (v=2): whom we believe, and as whom we speak.

use std::sync::{Mutex, PoisonError};

use lictor_runtime::transport::Frame;
use lictor_wire::{Ambient, Fresh, Message, Policy, SigningKeys, Verifier};

use crate::codec::{Heard, Rejected};

/// The keys of a node and those that it trusts. With it everything that is sent is signed, and
/// whoever is known must sign.
#[derive(Debug)]
pub struct Signing {
    keys: SigningKeys,
    verifier: Mutex<Verifier>,
    limits: lictor_wire::Limits,
}

impl Signing {
    /// Signs with these keys, of our agents and of the node itself, and judges by this keyring.
    #[must_use]
    pub const fn new(keys: SigningKeys, keyring: lictor_wire::Keyring, policy: Policy) -> Self {
        let limits = policy.limits;
        Self { keys, verifier: Mutex::new(Verifier::new(keyring, policy)), limits }
    }

    /// The public key of one of our agents, as announcements carry it.
    pub(crate) fn public(&self, name: &str) -> Option<String> {
        self.keys.public(name).map(|key| key.to_base64())
    }

    pub(crate) fn seal(&self, message: &Message, ambient: &dyn Ambient) -> Result<Frame, String> {
        let nonce = ambient.nonce().ok_or("the host has no random bytes")?;
        let sealed = self.keys.seal(message, nonce, &self.limits);
        sealed.map(Frame::new).map_err(|error| error.to_string())
    }

    /// The message, and whether its sender has signed it.
    pub(crate) fn open(
        &self,
        bytes: &[u8],
        address: &str,
        fresh: Fresh,
        ambient: &dyn Ambient,
    ) -> Result<Heard, Rejected> {
        let mut verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = verifier.open(bytes, Some(address), ambient.unix_time(), || fresh);
        opened
            .map(|opened| Heard { message: opened.message, is_sure: opened.is_verified })
            .map_err(|refusal| Rejected::Unsigned(refusal.to_string()))
    }
}
