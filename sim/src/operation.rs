//! One vocabulary for everything that can be done to a kernel machine.
//!
//! Fuzz targets, properties and the exhaustive search all speak it: an [`Operation`] is a command,
//! a fact, a step of time or a death. It names no process; it picks one of those that exist by a
//! number, so that a history stays meaningful when a part of it is taken away. A [`Session`] plays
//! operations upon a [`Subject`] (a machine of the kernel, with its reference model beside it if
//! there is one) and judges what comes of each by the rules S1 to S9.
//!
//! The world around the machine answers only as a driver can: what was started comes up or not,
//! what was told to end ends in some way or takes its time. [`Operation::Nonsense`] is the rest.

mod decode;
mod judge;
mod rules;
mod subject;
mod world;

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use lictor_kernel::dynamic_supervisor::SpawnerId;
use lictor_kernel::supervisor::Event;
use lictor_kernel::tree::Action;
use lictor_kernel::{ChildId, ChildSpec, ExitReason, Instant, ProcessId, Shutdown, SupervisorId};

pub use self::decode::{Bytes, dynamic_setup, operation, supervisor_setup};
pub use self::subject::{Dynamic, Static, Whole};
pub use self::world::{Planned, Process, World};

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// `start` (again).
    Begin,
    /// A process that is asked to start or to end answers.
    Answer {
        /// Which of them, modulo how many there are.
        which: u16,
        /// What it says.
        how: Answer,
    },
    /// The first process that is asked to start or to end does as told.
    Obey,
    /// A process that is up ends by itself.
    Die {
        /// Which of them, modulo how many there are.
        which: u16,
        /// Why.
        reason: ExitReason,
    },
    /// Everyone who is up ends, within this instant.
    AllDie {
        /// The last that was started first.
        reversed: bool,
        /// Why.
        reason: ExitReason,
    },
    /// A command to a supervisor.
    Command {
        /// Which of them, modulo how many there are.
        at: u16,
        /// What.
        command: Command,
    },
    /// Time goes on.
    Advance(Advance),
    /// `handle_timeout`, due or not.
    Timeout,
    /// The parent says shutdown.
    Shutdown {
        /// Within this time, if it is bounded.
        within: Option<Duration>,
    },
    /// The parent kills.
    Kill,
    /// A fact that cannot be, or comes too late.
    Nonsense {
        /// About whom, and what: any number is fine.
        what: u8,
        /// Which of them, modulo how many there are.
        which: u16,
        /// The reason, if it is an exit.
        reason: ExitReason,
    },
}

/// How a process answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// As it was asked to.
    Well,
    /// It says that it is up, although it was told to end meanwhile.
    Late,
    /// There was nothing to start; crashed, if it was to end.
    Ignored,
    /// It could not be started; crashed, if it was to end.
    Failed,
    /// It ended, for this reason.
    Exited(ExitReason),
}

/// How far time goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Advance {
    /// To the next deadline, which is then served.
    ToDeadline,
    /// To one nanosecond before the next deadline.
    BeforeDeadline,
    /// Past the next deadline by this much, and what comes next finds it overdue.
    PastDeadline(Duration),
    /// To when the oldest crash leaves a restart window, and this many nanoseconds more.
    ToWindowEdge(i8),
    /// By this much.
    By(Duration),
}

/// A command to a supervisor. What one kind of supervisor does not know leaves it alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// `start_child`, or `spawn`.
    Add {
        /// The id it is to have.
        id: ChildId,
        /// How it is supervised.
        spec: ChildSpec,
        /// Who asks, under a dynamic supervisor.
        spawner: Option<SpawnerId>,
    },
    /// `terminate_child`.
    Terminate {
        /// Which.
        id: ChildId,
        /// How, under a dynamic supervisor.
        how: Option<Shutdown>,
    },
    /// `restart_child` of a static supervisor.
    Restart(ChildId),
    /// `delete_child` of a static supervisor.
    Delete(ChildId),
    /// `forget_spawner` of a dynamic supervisor.
    Forget(SpawnerId),
}

/// One call to a machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `start`.
    Start,
    /// `handle`, to this supervisor.
    Fact(SupervisorId, Event),
    /// `handle_timeout`.
    Timeout,
    /// `shutdown`, with its deadline.
    Shutdown(Option<Instant>),
    /// `kill`; nothing for a whole tree.
    Kill,
    /// A command to this supervisor.
    Command(SupervisorId, Command),
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What was pushed, in order; of a machine alone as if it were a tree of one.
    pub actions: Vec<Action>,
    /// The next deadline.
    pub timeout: Option<Instant>,
    /// Whether a command was accepted.
    pub accepted: bool,
    /// The id that a child which was added has in fact.
    pub added: Option<ChildId>,
}

/// Where a supervisor is in its life, as it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing is under way.
    Settled,
    /// It starts, restarts, or carries out a command.
    Busy,
    /// It stops its children.
    Stopping,
    /// It kills its children.
    Killing,
    /// There is none (yet, or any more).
    Gone,
}

/// A machine of the kernel that can be explored, with its reference model if it has one.
pub trait Subject: Clone + Hash {
    /// Makes the call.
    ///
    /// # Errors
    /// [`Fault::Differs`] if the model does otherwise.
    fn call(&mut self, now: Instant, call: Call) -> Result<Seen, Fault>;

    /// The supervisor that runs as this process (`None`: as the root), as it was planned.
    fn planned(&self, process: Option<ProcessId>) -> Option<Planned>;

    /// Where a supervisor is in its life.
    fn standing(&self, supervisor: SupervisorId) -> Standing;

    /// What a child is called in a history.
    fn label(&self, child: ChildId) -> String {
        format!("child{}", child.0)
    }

    /// Whether names are owned by those who live and by nobody else (S9).
    ///
    /// # Errors
    /// [`Fault::Broken`] if one is not.
    fn names(&self, _world: &World) -> Result<(), Fault> {
        Ok(())
    }
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The machine and its model differ.
    Differs {
        /// What the machine did.
        kernel: String,
        /// What the model did.
        model: String,
    },
    /// A rule is broken.
    Broken {
        /// Which: `S1` to `S9`, or `L2`.
        rule: &'static str,
        /// How.
        what: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { kernel, model } => {
                write!(f, "kernel and model differ\n  kernel {kernel}\n  model  {model}")
            }
            Self::Broken { rule, what } => write!(f, "{rule}: {what}"),
        }
    }
}

impl core::error::Error for Fault {}

/// A machine at work in a world that a driver could make.
#[derive(Clone, Debug)]
pub struct Session<S> {
    /// The machine.
    pub subject: S,
    /// Who lives, what time it is, and what was seen.
    pub world: World,
}

/// What died long ago makes no difference to what can still happen, and is no part of the state.
impl<S: Hash> Hash for Session<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.subject.hash(state);
        self.world.hash(state);
    }
}

impl<S: Subject> Session<S> {
    /// A machine that was told nothing yet, at this instant.
    #[must_use]
    pub const fn new(subject: S, now: Instant) -> Self {
        Self { subject, world: World::new(now) }
    }

    /// Plays one operation.
    ///
    /// # Errors
    /// The first [`Fault`] that shows.
    pub fn play(&mut self, operation: Operation) -> Result<(), Fault> {
        self.play_told(operation, &mut |_, _, _| ())
    }

    /// As [`Session::play`], and tells of each call that it amounts to, with its instant.
    ///
    /// # Errors
    /// The first [`Fault`] that shows.
    pub fn play_told(
        &mut self,
        operation: Operation,
        tell: &mut dyn FnMut(Instant, Call, &Seen),
    ) -> Result<(), Fault> {
        for call in self.world.calls(operation) {
            let before = self.world.standings(&self.subject);
            let seen = self.subject.call(self.world.now, call)?;
            tell(self.world.now, call, &seen);
            self.world.judge(&self.subject, &before, call, &seen)?;
        }
        Ok(())
    }

    /// Everyone does as told until nobody is asked any more, or so many answers were given.
    ///
    /// # Errors
    /// The first [`Fault`] that shows.
    pub fn obey(&mut self, most: u32) -> Result<(), Fault> {
        for _ in 0..most {
            if self.world.asked().next().is_none() {
                break;
            }
            self.play(Operation::Obey)?;
        }
        Ok(())
    }

    /// Told to stop, and obeyed by everybody, it ends (L2).
    ///
    /// # Errors
    /// The first [`Fault`] that shows.
    pub fn ends(mut self) -> Result<(), Fault> {
        self.play(Operation::Shutdown { within: None })?;
        self.obey(10_000)?;
        if self.world.has_ended() {
            return Ok(());
        }
        Err(Fault::Broken { rule: "L2", what: "a stop that everyone obeys does not end".into() })
    }
}
