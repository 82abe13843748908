//! What must hold, whatever happens: one file for each, with its source.
//!
//! An invariant sees records and keeps books of its own. It shares nothing with the kernel and
//! nothing with the world, so it can judge any engine; and it costs a few nanoseconds a record, so
//! that all of them can be on all the time.
//!
//! Each looks only at the records that concern it; a new kind of record concerns none until it is
//! said which.
#![allow(clippy::wildcard_enum_match_arm, reason = "see the end of the head of this module")]

mod books;
mod liveness;
mod messages;
mod observer;
mod pauses;
mod placed;
mod s01_one_incarnation;
mod s02_delivery;
mod s03_intensity;
mod s04_order;
mod s05_restart_types;
mod s06_backoff;
mod s07_no_orphan;
mod s08_dead_deadlines;
mod s09_names;
mod s10_ownership;
mod s11_routing;
mod s12_conservation;
mod s13_limits;
mod sends;
mod shows;

use std::fmt;

use lictor_kernel::{ExitReason, Instant};
use serde::Serialize;

use self::books::Books;
use crate::marks::{Mark, Marks};
use crate::plan::Plan;
use crate::record::{NodeIx, Record, What};
use crate::scenario::Scenario;

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// Which: `S1` to `S14`, `L1` to `L7`, or [`MODEL`](crate::outcome::MODEL).
    pub invariant: &'static str,
    /// When it showed, on the world's clock, in nanoseconds.
    #[serde(serialize_with = "as_nanos")]
    pub at: Instant,
    /// Where it showed.
    pub node: NodeIx,
    /// What was expected and what was seen.
    pub text: String,
    /// The number of the record at which it showed, from 0.
    pub record: u64,
}

impl Violation {
    /// The same for people to read: its text has names instead of numbers, as
    /// [`names`](crate::trace::names) has them.
    #[must_use]
    pub fn named(&self, scenario: &Scenario) -> Self {
        Self { text: crate::trace::names(scenario, &self.text), ..self.clone() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_nanos<S: serde::Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(at.as_nanos())
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = std::time::Duration::from_nanos(self.at.as_nanos());
        write!(f, "{} at {seconds:?} on node {}: {}", self.invariant, self.node.0, self.text)
    }
}

/// What an invariant says of a record that it finds wrong.
type Verdict = Result<(), String>;

/// What several invariants say of it together: the first that finds it wrong, and why.
type Judgement = Result<(), (&'static str, String)>;

/// All of them, and the books that they share.
#[derive(Clone, Debug)]
pub struct Checks {
    books: Books,
    windows: s03_intensity::Windows,
    order: s04_order::Order,
    waits: s06_backoff::Waits,
    ownership: s10_ownership::Ownership,
    routing: s11_routing::Routing,
    conservation: s12_conservation::Conservation,
    sends: sends::Sends,
    /// Only in the kernel world.
    limits: Option<s13_limits::Limits>,
    observer: observer::Observer,
    /// Only where agents run on other nodes than their supervisors.
    placed: Option<Box<placed::Placed>>,
    /// Only where a node stands still for a while.
    pauses: Option<Box<pauses::Pauses>>,
}

impl Checks {
    /// For a run of this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            books: Books::new(plan),
            windows: s03_intensity::Windows::new(plan),
            order: s04_order::Order::new(plan),
            waits: s06_backoff::Waits::new(plan),
            ownership: s10_ownership::Ownership::new(plan),
            routing: s11_routing::Routing::new(plan),
            conservation: s12_conservation::Conservation::default(),
            sends: sends::Sends::new(plan),
            limits: None,
            observer: observer::Observer::new(plan),
            placed: plan.places().then(|| Box::new(placed::Placed::new(plan))),
            pauses: pauses::Pauses::new(plan),
        }
    }

    /// For the kernel world. There the kernel ends what is asked over a wire, by its clock also
    /// when its timers are late; and what is spawned is spawned or refused at once.
    #[must_use]
    pub fn of_kernel_world(plan: &Plan) -> Self {
        let all = Self::new(plan);
        let limits = Some(s13_limits::Limits::new(plan));
        Self { routing: all.routing.by_kernel(), limits, ..all }
    }

    /// On an engine whose time goes in steps of this length: a deadline within a step shows at its
    /// end.
    pub(crate) const fn in_steps_of(&mut self, tick: std::time::Duration) {
        self.sends.in_steps_of(tick);
        self.routing.tick = crate::plan::nanos(tick);
    }

    /// Takes a record in, and notes what it reaches. Allocates nothing once warm, unless something
    /// is wrong.
    ///
    /// # Errors
    /// The first invariant that it violates.
    #[inline]
    pub fn see(&mut self, record: &Record, marks: &mut Marks) -> Result<(), Violation> {
        let mut verdict = if is_of_messages(&record.what) {
            self.messages(record)
        } else {
            self.supervision(record)
        };
        if let (Some(pauses), Ok(())) = (&mut self.pauses, &verdict) {
            verdict = by("S10", pauses.see(&self.books, record, marks));
        }
        if self.ownership.resolved {
            marks.reach(Mark::ConflictResolved);
        }
        self.observer.see(&self.books, record, marks);
        if let Some(placed) = &mut self.placed {
            placed.notes(&self.books, record, marks);
        }
        let index = self.books.index;
        self.books.update(record);
        verdict.map_err(|(invariant, text)| Violation {
            invariant,
            at: record.at,
            node: record.node,
            text,
            record: index,
        })
    }

    fn messages(&mut self, record: &Record) -> Judgement {
        let Self { books, placed, sends, .. } = self;
        match placed.as_mut().filter(|placed| placed.is_of_hosts(books, record)) {
            Some(placed) => placed.message(books, record)?,
            None => by("S2", s02_delivery::see(books, record))?,
        }
        sends.see(books, record)?;
        by("S12", self.conservation.see(record))?;
        self.routing.see(record)
    }

    fn supervision(&mut self, record: &Record) -> Judgement {
        let Self { books, windows, order, waits, ownership, limits, placed, sends, .. } = self;
        if let Some(placed) = placed {
            placed.see(books, record)?;
        }
        sends.see(books, record)?;
        by("S1", s01_one_incarnation::see(books, record))?;
        by("S8", s08_dead_deadlines::see(books, record))?;
        by("S3", windows.see(books, record))?;
        by("S4", order.see(books, record))?;
        by("S4", shows::see(books, record))?;
        by("S5", s05_restart_types::see(books, record))?;
        by("S6", waits.see(books, record))?;
        by("S7", s07_no_orphan::see(books, record))?;
        by("S9", s09_names::see(books, record))?;
        by("S10", ownership.see(record))?;
        if let Some(limits) = limits {
            by("S13", limits.see(books, record))?;
        }
        by("L6", liveness::no_livelock(books, record))?;
        match record.what {
            What::Halted => self.routing.see(record),
            What::Sees(who, _) if ownership.is_claimed(who) => Ok(()),
            What::Sees(..) => by("L3", liveness::registries_agree(books, record)),
            What::Calm => by("L1", liveness::all_up(books, record)),
            What::Over => {
                by("L2", liveness::stop_ends(books, record))?;
                by("S12", self.conservation.see(record))?;
                self.routing.see(record)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a transient child stays down after this end (OTP: normal, shutdown, {shutdown, _}). Said
/// once more: the kernel's own word for it is what is judged.
pub(crate) const fn is_clean(reason: ExitReason) -> bool {
    matches!(reason, ExitReason::Normal | ExitReason::Shutdown | ExitReason::ShutdownBecause)
}

fn by(id: &'static str, verdict: Verdict) -> Judgement {
    verdict.map_err(|text| (id, text))
}

const fn is_of_messages(what: &What) -> bool {
    matches!(
        what,
        What::Sent(..)
            | What::Queued(..)
            | What::Delivered(..)
            | What::PutBack(..)
            | What::Ended(..)
            | What::Answered(..)
            | What::Suppressed(_)
            | What::LateAnswer(_)
    )
}
