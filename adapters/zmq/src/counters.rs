//! What was dropped, refused and lost, counted.

use lictor_zmtp::ConnectionError;

use crate::drive::{Cause, Ended};

/// What became of connections and messages, since the client or the forwarder was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Connections whose handshake was done.
    pub opened: u64,
    /// Attempts to connect that were refused, failed or took too long.
    pub refused: u64,
    /// Connections that ended, after their handshake or before, for whatever reason.
    pub ended: u64,
    /// Of these, those that a fault of the peer has ended: bytes that are no ZMTP, limits, keys.
    pub faulty: u64,
    /// Of these, those of which nothing was heard any more.
    pub silent: u64,
    /// Connections closed at once because there were too many.
    pub too_many: u64,
    /// Attempts to listen that failed. Another process may be the forwarder.
    pub unbound: u64,
    /// Messages taken to be published.
    pub accepted: u64,
    /// Messages refused because the queue was full.
    pub refused_full: u64,
    /// Messages handed to the operating system whole.
    pub sent: u64,
    /// Messages that were being sent when their connection ended, or waited when the client did.
    pub lost: u64,
    /// Messages that came and were handed on.
    pub received: u64,
    /// Messages that came and do not have two frames, an address and its zero byte.
    pub malformed: u64,
    /// Messages that came and that nobody here has asked for.
    pub unwanted: u64,
    /// Messages that came and that the inbox had no room for.
    pub inbox_full: u64,
    /// Copies that the forwarder dropped because a subscriber's queue was full.
    pub dropped: u64,
    /// Copies that waited for a subscriber when it left.
    pub left: u64,
    /// Commands and messages of peers that this end has no use for.
    pub ignored: u64,
}

impl Counters {
    pub(crate) fn end(&mut self, ended: &Ended) {
        let add = |counter: &mut u64, more: u64| *counter = counter.saturating_add(more);
        add(&mut self.ended, 1);
        add(&mut self.lost, ended.lost);
        add(&mut self.ignored, ended.ignored);
        match &ended.cause {
            Cause::Closed | Cause::Io(_) => {}
            Cause::Protocol(ConnectionError::Silent { .. } | ConnectionError::PeerExpired) => {
                add(&mut self.silent, 1);
            }
            Cause::Protocol(_) | Cause::Refused(_) => add(&mut self.faulty, 1),
        }
    }
}
