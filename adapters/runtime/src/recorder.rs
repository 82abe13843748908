//! A witness of everything that the kernel of a runtime hears and decides.

use std::fmt::Debug;

use lictor_kernel::node::{Action, Event};
use lictor_kernel::{Instant, NameId};

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
