//! What a host must give: a clock, a sleep, a spawn. Everything else is built on these once.
//!
//! Panic capture, kill, mailboxes, calls and deadlines live above this trait, so hosts cannot
//! differ in them. The trait has no join handle, no cancellation and no timer id on purpose: each
//! of these is one more thing in which two hosts would differ.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use lictor_kernel::Instant;

/// A unit of work, or a sleep, in the only shape in which an [`Executor`] sees it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A host of tasks, used as `Arc<dyn Executor>`.
///
/// The suite `conformance::executor` (feature `conformance`) checks this contract; every
/// implementation runs it.
pub trait Executor: Debug + Send + Sync + 'static {
    /// The time since this executor's origin. It never decreases, on whichever thread it is read.
    ///
    /// It is the clock that [`Executor::sleep_until`] obeys: when a sleep is over, `now()` is not
    /// before its deadline.
    fn now(&self) -> Instant;

    /// A task that is over at `deadline` and never before.
    ///
    /// A deadline that has passed is over soon, without the clock having to advance. Several
    /// sleeps end in the order of their deadlines, as far as the granularity of the host's timers
    /// can tell them apart. Dropping the task cancels the sleep.
    fn sleep_until(&self, deadline: Instant) -> Task;

    /// Runs `task` detached, concurrently with the caller, which goes on at once.
    ///
    /// A panic of the task ends that task and no other. The task is dropped, finished or not, when
    /// the host is shut down.
    fn spawn(&self, task: Task);

    /// As [`Executor::spawn`], for a host that shows its tasks or steers them. Most do not, and
    /// need not implement it.
    fn spawn_as(&self, role: Role<'_>, task: Task) {
        let _ = role;
        self.spawn(task);
    }
}

/// What a task of a runtime is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Role<'a> {
    /// The driver: one for each runtime with a tree.
    Driver,
    /// The one sleep of a runtime: none, or one.
    Timers,
    /// What moves the frames of a runtime that has a transport.
    Wire,
    /// One incarnation of the agent of this name.
    Agent(&'a str),
    /// A message that the agent of this name has delayed.
    Delayed(&'a str),
    /// A message of another node to the agent of this name, which waits for room or its answer.
    Remote(&'a str),
}
