//! What is promised to who sends otherwise than by name.
//!
//! - S2: a message whose time to live is over is not handled, and a message of a timer by no other
//!   incarnation than the one that has set it (unless it crashed with it in hand, and its policy is
//!   to redeliver). S12: nothing expires before its time.
//! - S11: what an agent publishes goes to names that match, in byte order, never to itself, to
//!   a supervisor's or a system's name; and to everybody on its node who matches and is up. What
//!   goes by turns to those who offer something goes twice in a row to one only if no other one on
//!   that node is up.
//!
//! Source: civitas, kernel rules T3, T4, T5. Of other nodes nothing is demanded: what is known of
//! them may be old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Glob, Instant, Status};

use super::books::{Books, Life};
use super::{Judgement, Verdict, by};
use crate::plan::{Act, Plan, Short};
use crate::record::{Fate, MessageId, NodeIx, Process, Record, What, Who};
use crate::scenario::Scenario;

/// A message that not everybody may handle, or not for ever.
#[derive(Clone, Copy, Debug)]
struct Letter {
    expires: Instant,
    /// Who alone may handle it, if a timer has sent it.
    only_for: Option<Option<Process>>,
    to: Who,
    /// It has been given to nobody since it was queued.
    fresh: bool,
}

/// What an agent has just published.
#[derive(Clone, Debug)]
struct Cast {
    number: u32,
    at: Instant,
    by: Who,
    /// Who must get it yet.
    owed: BTreeSet<Who>,
    last: Option<Who>,
}

#[derive(Clone, Debug)]
pub(super) struct Sends {
    scenario: Arc<Scenario>,
    /// Only those that this is about, so that most plans cost nothing.
    acts: BTreeMap<u32, Act>,
    letters: BTreeMap<MessageId, Letter>,
    cast: Option<Cast>,
    /// To whom something went last, by node and by what was asked for.
    last: BTreeMap<(NodeIx, Short), Who>,
    tick: Duration,
}

impl Sends {
    pub(super) fn new(plan: &Plan) -> Self {
        let acts = (0..).zip(&plan.operations).map(|(number, operation)| (number, operation.act));
        Self {
            scenario: Arc::clone(&plan.scenario),
            acts: acts.filter(|(_, act)| is_of_this(act)).collect(),
            letters: BTreeMap::new(),
            cast: None,
            last: BTreeMap::new(),
            tick: Duration::ZERO,
        }
    }

    pub(super) const fn in_steps_of(&mut self, tick: Duration) {
        self.tick = tick;
    }

    #[inline]
    pub(super) fn see(&mut self, books: &Books, record: &Record) -> Judgement {
        if self.acts.is_empty() { Ok(()) } else { self.looks(books, record) }
    }

    fn looks(&mut self, books: &Books, record: &Record) -> Judgement {
        let ends = matches!(record.what, What::Operation(_) | What::Halted | What::Over);
        let over = |cast: &mut Cast| record.at > cast.at || ends;
        if let Some(cast) = self.cast.take_if(over)
            && let Some(missed) = cast.owed.first()
        {
            let text = format!("what {:?} publishes does not reach {missed:?}", cast.by);
            return Err(("S11", text));
        }
        match record.what {
            What::Operation(number) => {
                if let Some(Act::Publish(who, pattern)) = self.acts.get(&number).copied() {
                    self.publishes(books, record.at, number, who, pattern);
                }
                Ok(())
            }
            What::Refused(_) => {
                self.cast = None;
                Ok(())
            }
            What::Halted => {
                self.last.retain(|(node, _), _| *node != record.node);
                Ok(())
            }
            What::Sent(message, to, _) if message.ticker.is_none() => {
                self.sent(books, record, message, to)
            }
            What::Delivered(message, process) => by("S2", self.delivered(record, message, process)),
            What::PutBack(message, _) => {
                if let Some(letter) = self.letters.get_mut(&message) {
                    (letter.fresh, letter.only_for) = (true, None);
                }
                Ok(())
            }
            What::Ended(message, fate) => by("S12", self.ended(record, message, fate)),
            _ => Ok(()),
        }
    }

    fn publishes(&mut self, books: &Books, at: Instant, number: u32, by: Who, pattern: Short) {
        let Ok(glob) = Glob::new(pattern.as_str()) else { return };
        let node = books.of(by).node;
        // Whom an agent on another node than its supervisor sees is not known here.
        let is_at_home = |who: Who| books.of(who).home() == node;
        let owed = self.scenario.all().filter(|(who, entity)| {
            let book = books.of(*who);
            *who != by
                && is_at_home(by)
                && is_at_home(*who)
                && book.agent
                && book.node == node
                && book.life == Life::Up
                && matches!(book.status, Some(Status::Up | Status::Suspended))
                && !entity.name.starts_with('_')
                && glob.matches(&entity.name)
        });
        let owed = owed.map(|(who, _)| who).collect();
        self.cast = Some(Cast { number, at, by, owed, last: None });
    }

    fn sent(&mut self, books: &Books, record: &Record, message: MessageId, to: Who) -> Judgement {
        let local = books.of(to).home() == record.node;
        let mut letter = Letter { expires: Instant::MAX, only_for: None, to, fresh: true };
        match self.acts.get(&message.number).copied() {
            Some(Act::TellWithin(_, ttl))
                if local && !books.clock_is_odd[usize::from(record.node.0)] =>
            {
                letter.expires = record.at.saturating_add(ttl);
                self.letters.insert(message, letter);
                Ok(())
            }
            // Of one that runs elsewhere its owner may have lost sight.
            Some(Act::SendAfter(..)) if local && books.of(to).node == record.node => {
                letter.only_for = Some(books.of(to).newest);
                self.letters.insert(message, letter);
                Ok(())
            }
            Some(Act::Publish(_, pattern)) => by("S11", self.reaches(message, to, pattern)),
            Some(Act::TellCapable(tag)) => by("S11", self.turns(books, record.node, tag, to)),
            Some(_) | None => Ok(()),
        }
    }

    /// One more gets what an agent publishes.
    fn reaches(&mut self, message: MessageId, to: Who, pattern: Short) -> Verdict {
        let name = |who: Who| self.scenario.entity(who).name.as_str();
        let Some(cast) = self.cast.as_mut().filter(|cast| cast.number == message.number) else {
            return Err(format!("{message:?} is sent to {to:?}, and nobody publishes it"));
        };
        let matches = Glob::new(pattern.as_str()).is_ok_and(|glob| glob.matches(name(to)));
        let is_agent = self.scenario.agent(to).is_some();
        if to == cast.by || !matches || !is_agent || name(to).starts_with('_') {
            return Err(format!("{:?} publishes to {pattern:?}, and {to:?} gets it", cast.by));
        }
        cast.owed.remove(&to);
        match cast.last.replace(to) {
            Some(last) if name(last) >= name(to) => {
                Err(format!("what {:?} publishes goes to {to:?} after {last:?}", cast.by))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whose turn it is.
    fn turns(&mut self, books: &Books, node: NodeIx, tag: Short, to: Who) -> Verdict {
        let offers = |who: Who| {
            let agent = self.scenario.agent(who);
            agent.is_some_and(|agent| agent.capabilities.iter().any(|it| it == tag.as_str()))
        };
        if !offers(to) {
            return Err(format!("{to:?} gets what is for {tag:?}, and does not offer it"));
        }
        // A name of another node gets a new number when it comes back, and turns go by numbers; and
        // whether an agent shows as up that runs elsewhere is not known here.
        let is_at_home = |who: Who| books.of(who).node == node && books.of(who).home() == node;
        let is_up = |who: Who| is_at_home(who) && books.of(who).life == Life::Up;
        let shows = |who: Who| is_up(who) && books.of(who).status == Some(Status::Up);
        if self.last.insert((node, tag), to) != Some(to) || !is_at_home(to) {
            return Ok(());
        }
        let other = self
            .scenario
            .all()
            .map(|(who, _)| who)
            .find(|who| *who != to && offers(*who) && shows(*who));
        other.map_or(Ok(()), |other| {
            Err(format!("{to:?} gets what is for {tag:?} twice in a row, and {other:?} is up"))
        })
    }

    fn delivered(&mut self, record: &Record, message: MessageId, process: Process) -> Verdict {
        let tick = self.tick;
        let Some(letter) = self.letters.get_mut(&message) else { return Ok(()) };
        // What was passed on is a message like any other.
        if !std::mem::take(&mut letter.fresh) || process.who != letter.to {
            return Ok(());
        }
        if letter.expires.saturating_add(tick) <= record.at {
            return Err(format!(
                "{message:?} is given to {process:?}, and was over at {:?}",
                letter.expires
            ));
        }
        match letter.only_for {
            Some(other) if other != Some(process) => {
                Err(format!("{message:?} is given to {process:?}, and is of a timer of {other:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn ended(&mut self, record: &Record, message: MessageId, fate: Fate) -> Verdict {
        let letter = self.letters.remove(&message);
        let expires = letter.map_or(record.at, |letter| letter.expires);
        if fate == Fate::Expired && record.at.saturating_add(self.tick) < expires {
            return Err(format!("{message:?} has expired, and lives until {expires:?}"));
        }
        Ok(())
    }
}

const fn is_of_this(act: &Act) -> bool {
    matches!(act, Act::TellWithin(..) | Act::SendAfter(..) | Act::Publish(..) | Act::TellCapable(_))
}
