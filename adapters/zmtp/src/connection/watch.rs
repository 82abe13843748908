//! The deadlines of a connection.

use core::time::Duration;

use lictor_kernel::Instant;

use crate::{ConnectionError, Heartbeat};

/// What is due when. Each is there only while it is waited for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Watch {
    /// The handshake must be over.
    handshake: Option<Instant>,
    /// The next PING goes out.
    ping: Option<Instant>,
    /// Something must have come since a PING.
    answer: Option<Instant>,
    /// Something must have come since a PING of the peer, as it asked.
    expiry: Option<Instant>,
}

impl Watch {
    pub(super) fn new(now: Instant, handshake: Duration) -> Self {
        let handshake = Some(now.saturating_add(handshake));
        Self { handshake, ping: None, answer: None, expiry: None }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let all = [self.handshake, self.ping, self.answer, self.expiry];
        all.into_iter().flatten().min()
    }

    /// The handshake is over. A peer that does not know PING is not asked.
    pub(super) fn open(&mut self, now: Instant, heartbeat: Option<&Heartbeat>) {
        self.handshake = None;
        self.ping = heartbeat.map(|heartbeat| now.saturating_add(heartbeat.every));
    }

    /// Something came, whatever it was.
    pub(super) const fn heard(&mut self) {
        self.answer = None;
        self.expiry = None;
    }

    /// The peer wants to be given up after so many tenths of a second of silence; 0 for never.
    pub(super) fn expect(&mut self, now: Instant, tenths: u16) {
        let ttl = Duration::from_millis(u64::from(tenths) * 100);
        self.expiry = (tenths > 0).then(|| now.saturating_add(ttl));
    }

    /// Whether the handshake has taken too long. What comes at the very deadline is in time.
    pub(super) fn check_handshake(
        &self,
        now: Instant,
        after: Duration,
        has_input: bool,
    ) -> Result<(), ConnectionError> {
        match self.handshake {
            Some(by) if by < now || (by == now && !has_input) => {
                Err(ConnectionError::HandshakeTimeout { after })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn check_expiry(&self, now: Instant) -> Result<(), ConnectionError> {
        match self.expiry {
            Some(by) if by <= now => Err(ConnectionError::PeerExpired),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a PING must go out now.
    pub(super) fn fire(
        &mut self,
        now: Instant,
        heartbeat: &Heartbeat,
    ) -> Result<bool, ConnectionError> {
        if self.answer.is_some_and(|by| by <= now) {
            return Err(ConnectionError::Silent { after: heartbeat.timeout });
        }
        if self.ping.is_none_or(|at| at > now) {
            return Ok(false);
        }
        self.ping = Some(now.saturating_add(heartbeat.every));
        self.answer.get_or_insert_with(|| now.saturating_add(heartbeat.timeout));
        Ok(true)
    }
}
