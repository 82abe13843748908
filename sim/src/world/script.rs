//! What the plan lets happen, in its order: a cursor, and not a thousand events in the queue, whose
//! cost grows with what it holds.

use lictor_kernel::Instant;

use super::Event;
use crate::plan::Plan;

/// The part of a plan that is still to come.
#[derive(Debug)]
pub(super) struct Script<'p> {
    plan: &'p Plan,
    operation: usize,
    fault: usize,
    healed: bool,
    calm: bool,
    /// When the next of it is, and what.
    next: Option<(u64, Event)>,
}

impl<'p> Script<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        let (operation, fault) = (0, 0);
        let mut script = Self { plan, operation, fault, healed: false, calm: false, next: None };
        script.turn();
        script
    }

    /// Finds the next: of one instant operations come before faults, and these before the healing.
    fn turn(&mut self) {
        let operation = self.plan.operations.get(self.operation).map(|o| o.at);
        let fault = self.plan.faults.get(self.fault).map(|fault| fault.at);
        let last = match (self.healed, self.calm) {
            (false, _) => Some((self.plan.heals(), Event::Heals)),
            (true, false) => Some((self.plan.ends(), Event::Calm)),
            (true, true) => None,
        };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let before = |at: Instant, other: Option<Instant>| other.is_none_or(|other| at <= other);
        let last_at = last.map(|(at, _)| at);
        let (at, event) = match (operation, fault) {
            (Some(at), fault) if before(at, fault) && before(at, last_at) => {
                (at, Event::Operation(number(self.operation)))
            }
            (_, Some(at)) if before(at, last_at) => (at, Event::Begins(number(self.fault))),
            _ => {
                self.next = last.map(|(at, event)| (at.as_nanos(), event));
                return;
            }
        };
        self.next = Some((at.as_nanos(), event));
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.next.map(|(at, _)| at)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are never in it")]
    pub(super) fn pop(&mut self) -> Option<Event> {
        let (_, event) = self.next?;
        match event {
            Event::Operation(_) => self.operation += 1,
            Event::Begins(_) => self.fault += 1,
            Event::Heals => self.healed = true,
            Event::Calm => self.calm = true,
            other => unreachable!("{other:?} is in no plan"),
        }
        self.turn();
        Some(event)
    }
}
