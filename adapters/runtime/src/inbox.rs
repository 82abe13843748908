//! What the driver hears: facts from processes and commands from outside, in order of arrival.
//!
//! Facts are bounded by the processes that are alive (each reports one start and one end), commands
//! by the tasks that wait for their answers, what peers say by a limit of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lictor_kernel::{ExitReason, NodeId, ProcessId};

use crate::driver::Command;
use crate::frame::Body;
use crate::sync::{Mutex, wake};

/// Something a process did.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) process: ProcessId,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Started { incarnation: u64 },
    Ignored,
    StartFailed { detail: Arc<str> },
    Exited { reason: ExitReason, detail: Option<Arc<str>> },
}

pub(crate) enum Input {
    Fact(Fact),
    Command(Box<Command>),
    /// The link to a peer is there, or gone.
    Link(NodeId, bool),
    /// A peer has said something of its membership.
    Peer(NodeId, Box<Body>),
}

/// What peers say waits behind at most so many inputs.
const LINK_INPUTS_MAX: usize = 1 << 16;

pub(crate) struct Inbox(Mutex<State>);

struct State {
    inputs: VecDeque<Input>,
    waker: Option<Waker>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { inputs: VecDeque::new(), waker: None, closed: false }))
    }

    pub(crate) fn fact(&self, fact: Fact) {
        self.push(Input::Fact(fact));
    }

    /// Hands a command to the driver; `false` if there is none (any more).
    pub(crate) fn command(&self, command: Command) -> bool {
        self.push(Input::Command(Box::new(command)))
    }

    /// Hands over what came from a peer; `false` if there is no driver, or too much waits for it.
    pub(crate) fn link(&self, input: Input) -> bool {
        if self.0.lock().inputs.len() >= LINK_INPUTS_MAX {
            return false;
        }
        self.push(input)
    }

    fn push(&self, input: Input) -> bool {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            // A command's waiter learns of it by the drop, outside the lock.
            drop(input);
            return false;
        }
        state.inputs.push_back(input);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            wake(waker);
        }
        true
    }

    /// Takes everything that is in; pending if there is nothing.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<Input>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.inputs.is_empty() {
            let stale = state.waker.replace(cx.waker().clone());
            drop(state);
            drop(stale);
            return Poll::Pending;
        }
        std::mem::swap(&mut state.inputs, into);
        Poll::Ready(())
    }

    /// From now on nobody listens, or somebody listens again.
    pub(crate) fn set_closed(&self, closed: bool) -> VecDeque<Input> {
        let mut state = self.0.lock();
        state.closed = closed;
        std::mem::take(&mut state.inputs)
    }
}
