//! One call to a supervisor, and everything that can be seen of it.

use lictor_kernel::supervisor::{
    Action, ChildState, Counts, DeleteChildError, Event, Phase, RestartChildError, StartChildError,
    TerminateChildError, Terminated,
};
use lictor_kernel::{ChildId, ChildSpec, Instant, Pid, Supervisor};

/// One call to a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Input {
    /// `start`.
    Start,
    /// `handle`.
    Event(Event),
    /// `handle_timeout`.
    Timeout,
    /// `shutdown` with its deadline.
    Shutdown(Option<Instant>),
    /// `kill`.
    Kill,
    /// `start_child`.
    StartChild(ChildId, ChildSpec),
    /// `terminate_child`.
    TerminateChild(ChildId),
    /// `restart_child`.
    RestartChild(ChildId),
    /// `delete_child`.
    DeleteChild(ChildId),
}

/// What a command answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Of `start_child`.
    StartChild(Result<Pid, StartChildError>),
    /// Of `terminate_child`.
    TerminateChild(Result<Terminated, TerminateChildError>),
    /// Of `restart_child`.
    RestartChild(Result<Pid, RestartChildError>),
    /// Of `delete_child`.
    DeleteChild(Result<(), DeleteChildError>),
}

/// Everything that can be seen of one call and of the state after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What was pushed, in order.
    pub actions: Vec<Action>,
    /// What a command answered.
    pub reply: Option<Reply>,
    /// `which_children`, in start order.
    pub children: Vec<(ChildId, ChildState)>,
    /// `count_children`.
    pub counts: Counts,
    /// `poll_timeout`.
    pub timeout: Option<Instant>,
    /// `is_busy`.
    pub busy: bool,
    /// `is_stopped`.
    pub stopped: bool,
    /// It has begun to stop and has not ended.
    pub stopping: bool,
}

/// Makes the call to the kernel's machine and looks at it.
pub fn drive(kernel: &mut Supervisor, now: Instant, input: Input) -> Step {
    let mut actions = Vec::new();
    let out = &mut actions;
    let mut reply = None;
    match input {
        Input::Start => kernel.start(now, out),
        Input::Event(event) => kernel.handle(now, event, out),
        Input::Timeout => kernel.handle_timeout(now, out),
        Input::Shutdown(deadline) => kernel.shutdown(now, deadline, out),
        Input::Kill => kernel.kill(now, out),
        Input::StartChild(id, spec) => {
            reply = Some(Reply::StartChild(kernel.start_child(now, id, spec, out)));
        }
        Input::TerminateChild(id) => {
            reply = Some(Reply::TerminateChild(kernel.terminate_child(now, id, out)));
        }
        Input::RestartChild(id) => {
            reply = Some(Reply::RestartChild(kernel.restart_child(now, id, out)));
        }
        Input::DeleteChild(id) => {
            reply = Some(Reply::DeleteChild(kernel.delete_child(now, id, out)));
        }
    }
    Step {
        actions,
        reply,
        children: kernel.which_children().collect(),
        counts: kernel.count_children(),
        timeout: kernel.poll_timeout(),
        busy: kernel.is_busy(),
        stopped: kernel.is_stopped(),
        stopping: matches!(kernel.phase(), Phase::Stopping { .. }),
    }
}
