//! What must be the same on every engine: the abstract trace of a run.
//!
//! Engines differ in how long things take and in what happens between two nodes at the same time.
//! What each supervisor decides, how each name fares, which incarnation gets which message, how a
//! question ends and who is seen where at the end must not differ. Incarnations are counted, since
//! their numbers are the engine's own; nothing here has a time but for people.
//!
//! The hard case is a plan in which two things meet: a crash in the microseconds in which a message
//! is in hand is another story on an engine that takes a millisecond over it. Such plans say
//! nothing about who is right, so [`settled`] moves what they do until nothing meets.

mod settle;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant, Signal, Status};

pub use self::settle::settled;
use crate::engine::{Engine, EngineError};
use crate::invariants::Violation;
use crate::outcome::{Options, Outcome};
use crate::plan::{Mix, Plan, Profile, duration_text};
use crate::record::{Ending, MessageId, NodeIx, Process, Record, Stage, What, Who};
use crate::scenario::Scenario;
use crate::trace::{message_text, names};
use crate::world;

/// What a step is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum About {
    /// What a supervisor hears and decides.
    Supervisor(Who),
    /// How a name fares.
    Name(Who),
    /// What an agent gets.
    Agent(Who),
    /// How a question ends.
    Question(MessageId),
    /// Where a node sees an agent at the end.
    View(NodeIx, Who),
}

/// A step; incarnations are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// A child is started.
    Start(Who, u32),
    /// A child is told to end.
    Signal(Who, u32, Signal),
    /// A child is up.
    Started(Who, u32),
    /// A child had nothing to start.
    Ignored(Who, u32),
    /// The start of a child failed.
    Failed(Who, u32),
    /// A child ended.
    Exited(Who, u32, ExitReason),
    /// A restart is put off by so many nanoseconds.
    Scheduled(Who, u64),
    /// The budget is used up by this child.
    GaveUp(Who),
    /// A child did not stop as told.
    ShutdownError(Who, u32, ExitReason),
    /// A child is forgotten.
    Removed(Who),
    /// The supervisor itself is here in its life.
    Stage(Stage),
    /// The status of a name.
    Status(Status),
    /// A message is given to this incarnation.
    Delivered(MessageId, u32),
    /// A question ends.
    Answered(Ending),
    /// Where a name is seen.
    Sees(Option<NodeIx>),
}

/// The abstract trace of a run.
#[derive(Clone, Debug, Default)]
pub struct Abstract {
    steps: BTreeMap<About, Vec<(Instant, Step)>>,
}

/// The first difference between two runs of one plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is about.
    pub about: About,
    /// The number of the step, from 0.
    pub step: usize,
    /// When, and what, in the first run; `None` if it has no such step.
    pub first: Option<(Instant, Step)>,
    /// As well, in the second run.
    pub second: Option<(Instant, Step)>,
}

impl Abstract {
    /// Of all records of a run of this plan.
    #[must_use]
    pub fn of(plan: &Plan, records: &[Record]) -> Self {
        let mut made = Self::default();
        let mut counts: BTreeMap<Who, Vec<Process>> = BTreeMap::new();
        let parent = |who: Who| plan.scenario.entity(who).parent;
        for record in records {
            if let What::Start(process) = record.what {
                counts.entry(process.who).or_default().push(process);
            }
            let ordinal = |process: Process| {
                let known = counts.get(&process.who);
                // The newest one of this number: a node that boots again counts from the beginning.
                let at = known.and_then(|known| known.iter().rposition(|p| *p == process));
                (process.who, at.map_or(0, |at| u32::try_from(at + 1).unwrap_or(u32::MAX)))
            };
            let Some((about, step)) = step(&record.what, record.node, &parent, &ordinal) else {
                continue;
            };
            made.steps.entry(about).or_default().push((record.at, step));
        }
        made
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.values().map(Vec::len).sum()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

fn step(
    what: &What,
    node: NodeIx,
    parent: &dyn Fn(Who) -> Option<Who>,
    ordinal: &dyn Fn(Process) -> (Who, u32),
) -> Option<(About, Step)> {
    let of_child = |process: Process, step: &dyn Fn(Who, u32) -> Step| {
        let (who, number) = ordinal(process);
        Some((About::Supervisor(parent(who)?), step(who, number)))
    };
    match *what {
        What::Start(process) => of_child(process, &Step::Start),
        What::Started(process) => of_child(process, &Step::Started),
        What::StartIgnored(process) => of_child(process, &Step::Ignored),
        What::StartFailed(process) => of_child(process, &Step::Failed),
        What::Signal(process, signal) => {
            of_child(process, &|who, number| Step::Signal(who, number, signal))
        }
        What::Exited(process, reason) => {
            of_child(process, &|who, number| Step::Exited(who, number, reason))
        }
        What::ShutdownError(process, reason) => {
            of_child(process, &|who, number| Step::ShutdownError(who, number, reason))
        }
        What::RestartScheduled { who, delay, .. } => {
            Some((About::Supervisor(parent(who)?), Step::Scheduled(who, delay)))
        }
        What::RestartsExhausted { child, .. } => {
            Some((About::Supervisor(parent(child)?), Step::GaveUp(child)))
        }
        What::Removed(who) => Some((About::Supervisor(parent(who)?), Step::Removed(who))),
        What::Supervisor { who, stage, .. } => Some((About::Supervisor(who), Step::Stage(stage))),
        What::Status(who, status) => Some((About::Name(who), Step::Status(status))),
        What::Delivered(message, process) => {
            let (who, number) = ordinal(process);
            Some((About::Agent(who), Step::Delivered(message, number)))
        }
        What::Answered(message, ending) => Some((About::Question(message), Step::Answered(ending))),
        What::Sees(who, at) => Some((About::View(node, who), Step::Sees(at))),
        What::Stale(_)
        | What::Restored(..)
        | What::Shows(..)
        | What::Sent(..)
        | What::Queued(..)
        | What::PutBack(..)
        | What::Ended(..)
        | What::Suppressed(_)
        | What::LateAnswer(_)
        | What::FrameSent(_)
        | What::FrameLost(_)
        | What::PeerUp(_)
        | What::PeerDown(_)
        | What::Booted(_)
        | What::Halted
        | What::Operation(_)
        | What::Refused(_)
        | What::Fault(..)
        | What::Healed
        | What::Over
        | What::Here(..)
        | What::Has(..)
        | What::Placed(..)
        | What::Outlives(..)
        | What::Calm => None,
    }
}

/// The first difference between two traces, the earliest in either.
#[must_use]
pub fn compare(first: &Abstract, second: &Abstract) -> Option<Difference> {
    let mut abouts: Vec<About> = first.steps.keys().chain(second.steps.keys()).copied().collect();
    abouts.sort_unstable();
    abouts.dedup();
    let none = Vec::new();
    let differences = abouts.into_iter().filter_map(|about| {
        let a = first.steps.get(&about).unwrap_or(&none);
        let b = second.steps.get(&about).unwrap_or(&none);
        let step = (0..a.len().max(b.len())).find(|at| {
            let what = |steps: &[(Instant, Step)]| steps.get(*at).map(|(_, step)| *step);
            !same(what(a), what(b))
        })?;
        let (first, second) = (a.get(step).copied(), b.get(step).copied());
        Some(Difference { about, step, first, second })
    });
    let at = |difference: &Difference| {
        let when = |side: Option<(Instant, Step)>| side.map_or(Instant::MAX, |(at, _)| at);
        when(difference.first).min(when(difference.second))
    };
    differences.min_by_key(at)
}

/// Of a crash whose handling was held up only the rest of its wait is left, and that depends on
/// when it was handled; an engine with ticks is up to one of them off.
const TICK: u64 = 1_000_000;

/// Whether two steps are the same but for time.
fn same(one: Option<Step>, other: Option<Step>) -> bool {
    match (one, other) {
        (Some(Step::Scheduled(who, wait)), Some(Step::Scheduled(whose, other))) => {
            who == whose && wait.abs_diff(other) <= TICK
        }
        (one, other) => one == other,
    }
}

impl Difference {
    /// In words, with the names of the plan.
    #[must_use]
    pub fn text(&self, plan: &Plan, first: &str, second: &str) -> String {
        let scenario = &plan.scenario;
        let name = |who: Who| scenario.entity(who).name.as_str();
        let about = match self.about {
            About::Supervisor(who) => format!("supervisor {}", name(who)),
            About::Name(who) => format!("the status of {}", name(who)),
            About::Agent(who) => format!("what {} is given", name(who)),
            About::Question(message) => format!("the question {}", message_text(message, scenario)),
            About::View(node, who) => format!("where node {} sees {}", node.0, name(who)),
        };
        let side = |side: Option<(Instant, Step)>| match side {
            Some((at, step)) => {
                let at = duration_text(Duration::from_nanos(at.as_nanos()));
                names(scenario, &format!("{step:?} at {at}"))
            }
            None => "nothing more".to_owned(),
        };
        format!(
            "{about}, step {}\n  {first:>8}: {}\n  {second:>8}: {}",
            self.step,
            side(self.first),
            side(self.second)
        )
    }
}

/// What a comparison came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// All engines agree on so many steps.
    Same(usize),
    /// Two engines differ.
    Differs(Engine, Engine, Difference),
    /// They differ, and so does the kernel's own world when all takes a trifle more or less: things
    /// meet in this plan, so it says nothing about who is right.
    Meets,
    /// An invariant does not hold on an engine.
    Violates(Engine, Violation),
}

/// The plan of a seed for comparing these engines.
#[must_use]
pub fn plan(scenario: &Arc<Scenario>, seed: u64, engines: &[Engine]) -> Plan {
    settled(&Plan::generate(scenario, seed, &Profile::new(Mix::Parity)), engines)
}

/// Runs a plan on engines, the first of which is the measure, and compares.
///
/// # Errors
/// [`EngineError`], if an engine cannot run it.
pub fn check(plan: &Plan, engines: &[Engine]) -> Result<Verdict, EngineError> {
    let options = Options { trace: true, ..Options::default() };
    let mut measure: Option<(Engine, Abstract)> = None;
    let mut steps = 0;
    for engine in engines {
        let Outcome { violation, trace, .. } = engine.run(plan, options)?;
        if let Some(violation) = violation {
            return Ok(Verdict::Violates(*engine, violation));
        }
        let made = Abstract::of(plan, &trace);
        match &measure {
            None => {
                steps = made.len();
                measure = Some((*engine, made));
            }
            Some((first, known)) => {
                if let Some(difference) = compare(known, &made) {
                    return Ok(if meets(plan, engines) {
                        Verdict::Meets
                    } else {
                        Verdict::Differs(*first, *engine, difference)
                    });
                }
            }
        }
    }
    Ok(Verdict::Same(steps))
}

/// In how many ways durations are drawn anew to see whether things meet.
const DRAWS: u64 = 8;

/// Whether what happens depends on a trifle: on the order within an instant, or, for an engine that
/// rounds, within its steps.
///
/// What a plan does is kept apart from all else by [`settled`]. What follows from it may still
/// meet, where a child crashes while its supervisor starts another. The kernel's world, too, is
/// then another one when each start, stop and message takes up to so much longer.
fn meets(plan: &Plan, engines: &[Engine]) -> bool {
    let most = if engines.contains(&Engine::Turmoil) { 2 * TICK } else { TICK / 1000 };
    let options = Options { trace: true, ..Options::default() };
    let usual = Abstract::of(plan, &world::run(plan, options).trace);
    (1..=DRAWS).any(|draw| {
        let other = world::run_a_trifle_later(plan, options, draw, most);
        compare(&usual, &Abstract::of(plan, &other.trace)).is_some()
    })
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
