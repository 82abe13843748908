//! Recorded traces of real OTP supervisors, replayed against the kernel's [`Tree`].
//!
//! A trace file holds a scenario and what OTP did in it. The runner builds the same tree, plays the
//! outside of it (workers, start functions, mailboxes, time), writes down what happens in the same
//! form, and compares line by line: order, reports, results, and the state at the end.
//!
//! [`Tree`]: lictor_kernel::Tree

mod calls;
mod mailbox;
mod play;
mod reports;
/// Scenarios.
pub mod scenario;
/// Trace files.
pub mod trace;
mod world;

use self::trace::{Difference, Malformed, Trace};

/// What became of one file.
#[derive(Debug)]
pub struct Verdict {
    /// The scenario's name.
    pub name: String,
    /// Where the kernel did otherwise than OTP, if it did.
    pub difference: Option<Difference>,
}

/// Replays one trace file.
///
/// # Errors
/// [`Malformed`] if it is not a trace file.
pub fn replay(bytes: &[u8]) -> Result<Verdict, Malformed> {
    let trace = Trace::read(bytes)?;
    let got = play::play(&trace.scenario)?;
    let difference = trace.difference(&got);
    Ok(Verdict { name: trace.scenario.name, difference })
}
