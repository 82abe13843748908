//! What a run comes to.

use lictor_kernel::Instant;

use crate::buggify::Fired;
use crate::executor::Schedule;
use crate::invariants::Violation;
use crate::marks::Marks;
use crate::record::{Record, Who};

/// How a plan is run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// Whether every record is kept.
    pub trace: bool,
    /// The run ends here, if it has not ended before; nothing that needs the end is judged then.
    pub until: Option<Instant>,
    /// What holds the events to come. It cannot change what happens.
    pub queue: Queue,
    /// Which of the tasks that are ready runs next, on the virtual executor.
    pub schedule: Schedule,
    /// Whether the reference model of supervision runs beside each kernel of the kernel world, and
    /// a difference is a violation. Not where waits have jitter, which no model foretells.
    pub model: bool,
    /// After so many events the run is ended, [`EVENTS_MAX`] at most.
    pub events_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trace: false,
            until: None,
            queue: Queue::Heap,
            schedule: Schedule::Fifo,
            model: false,
            events_max: EVENTS_MAX,
        }
    }
}

/// What a difference from the reference model of supervision is called among the invariants.
pub const MODEL: &str = "MODEL";

impl Options {
    /// The usual ones, with what it takes to see a violation of this invariant.
    #[must_use]
    pub fn to_see(invariant: &str) -> Self {
        Self { model: invariant == MODEL, ..Self::default() }
    }
}

/// What holds the events to come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Queue {
    /// A heap of four children to a node.
    Heap,
    /// Buckets of equal spans of time.
    Calendar,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Over every record, in order.
    pub digest: u64,
    /// Events of the world that were handled.
    pub events: u64,
    /// Records that were made.
    pub records: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// The first invariant that did not hold; the run ended there.
    pub violation: Option<Violation>,
    /// What was reached.
    pub marks: Marks,
    /// Where what is simulated has misbehaved.
    pub fired: Fired,
    /// Every record, if they were asked for.
    pub trace: Vec<Record>,
    /// When it ended.
    pub ended: Instant,
    /// It was ended since it had as many events as a run may have; who had most to do then.
    pub cut_short: Option<Option<Who>>,
}

/// Events of one run: a run with more is taken for one that has no end. They take some seconds, and
/// what is kept of them some hundreds of megabytes.
pub const EVENTS_MAX: u64 = 5_000_000;

impl Default for Outcome {
    /// Of a run in which nothing happened.
    fn default() -> Self {
        Self {
            digest: 0,
            events: 0,
            records: 0,
            faults: 0,
            violation: None,
            marks: Marks::default(),
            fired: Fired::default(),
            trace: Vec::new(),
            ended: Instant::ZERO,
            cut_short: None,
        }
    }
}
