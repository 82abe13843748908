//! Witnesses: of everything that the kernel of a runtime hears and decides, and of what passes over
//! a wire.

use std::fmt::Debug;
use std::time::Duration;

use lictor_kernel::node::{Action, Event};
use lictor_kernel::{Instant, NameId};

use crate::frame::Body;
use crate::message::Value;
use crate::transport::Frame;

/// Is told, in order and under the runtime's lock, what the kernel was given and what it decided.
/// For simulators, traces and tests. It must be quick, and must not call the runtime.
pub trait Recorder: Debug + Send + Sync + 'static {
    /// An id stands for this name from now on.
    fn name(&self, id: NameId, name: &str);

    /// The kernel is about to handle this.
    fn event(&self, now: Instant, event: &Event);

    /// The kernel has decided this: of the last event, of a deadline, or of a command.
    fn action(&self, now: Instant, action: &Action);
}

/// A message for an agent, in a frame between two runtimes. For who looks into a wire; the receiver
/// may yet refuse it.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Passing {
    /// For which boot of the receiver it is.
    pub boot: u64,
    /// What it says.
    pub payload: Value,
    /// How long it may wait for room and for its answer; `None` for ever.
    pub wait: Option<Duration>,
    /// How long it may wait to be handled; `None` for ever.
    pub ttl: Option<Duration>,
}

impl Passing {
    /// `None` for any other frame. Reads the whole frame.
    #[must_use]
    pub fn in_frame(frame: &Frame) -> Option<Self> {
        let Body::Post(post) = Body::decode(frame)? else { return None };
        let (wait, ttl) = (post.wait.map(Duration::from_nanos), post.ttl.map(Duration::from_nanos));
        Some(Self { boot: post.stamp.to, payload: post.payload, wait, ttl })
    }

    /// Of which boot of its sender a frame is, and for which of its receiver, if it has a message,
    /// an answer or news of a dead letter. The receiver takes none for another boot than its own,
    /// and none of an older boot than one of which it has taken such a frame. Reads the whole
    /// frame.
    #[must_use]
    pub fn boots_in(frame: &Frame) -> Option<(u64, u64)> {
        let stamp = Body::decode(frame)?.stamp()?;
        Some((stamp.from, stamp.to))
    }
}
