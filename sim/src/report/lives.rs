//! What a run looks like from above: the state of each name over time, what waits at it, and which
//! way messages went.

use std::collections::BTreeMap;

use lictor_kernel::{ExitReason, Status};

use crate::plan::Plan;
use crate::record::{MessageId, NodeIx, Process, Record, Stage, What, Who};

/// The state of a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum State {
    Absent,
    Starting,
    Up,
    Stopping,
    Crashed,
    Waiting,
    Stopped,
    Suspended,
}

impl State {
    pub(super) const ALL: [Self; 8] = [
        Self::Absent,
        Self::Starting,
        Self::Up,
        Self::Stopping,
        Self::Crashed,
        Self::Waiting,
        Self::Stopped,
        Self::Suspended,
    ];

    pub(super) const fn glyph(self) -> char {
        match self {
            Self::Absent => '.',
            Self::Starting => '^',
            Self::Up => 'O',
            Self::Stopping => 'v',
            Self::Crashed => 'X',
            Self::Waiting => '~',
            Self::Stopped => '_',
            Self::Suspended => 'z',
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Absent => "not there",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Crashed => "crashed",
            Self::Waiting => "waits for its restart",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
        }
    }
}

/// A state that holds from one record on, until another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) state: State,
    /// Which incarnation: of the supervisor, and under it.
    pub(super) incarnation: (u64, u64),
}

/// What a name has to do, from a record on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) from: u32,
    pub(super) queued: u32,
    pub(super) in_hand: Option<MessageId>,
}

/// A message on its way to a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hop {
    pub(super) message: MessageId,
    /// Who sent it or passed it on; `None` for somebody outside.
    pub(super) from: Option<Who>,
    pub(super) to: Who,
    /// Records: when it left, and when it was there.
    pub(super) left: u32,
    pub(super) came: u32,
}

/// Where a message is.
#[derive(Clone, Copy)]
enum Place {
    Queued(Who),
    InHand(Who),
}

/// All of it, by number of the name.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) spans: Vec<Vec<Span>>,
    pub(super) loads: Vec<Vec<Load>>,
    pub(super) hops: Vec<Hop>,
}

struct Builder<'a> {
    plan: &'a Plan,
    lives: Lives,
    places: BTreeMap<MessageId, Place>,
    /// Who has sent a message last, and at which record.
    senders: BTreeMap<MessageId, (Option<Who>, u32)>,
}

impl Lives {
    pub(super) fn of(plan: &Plan, records: &[Record]) -> Self {
        let names = plan.scenario.len();
        let lives =
            Self { spans: vec![Vec::new(); names], loads: vec![Vec::new(); names], hops: vec![] };
        let mut builder =
            Builder { plan, lives, places: BTreeMap::new(), senders: BTreeMap::new() };
        for (index, record) in (0..).zip(records) {
            builder.see(index, record);
        }
        builder.lives
    }
}

impl Builder<'_> {
    fn state(&self, who: Who) -> State {
        self.lives.spans[usize::from(who.0)].last().map_or(State::Absent, |span| span.state)
    }

    fn set(&mut self, index: u32, who: Who, state: State, incarnation: Option<(u64, u64)>) {
        let spans = &mut self.lives.spans[usize::from(who.0)];
        let incarnation =
            incarnation.or_else(|| spans.last().map(|span| span.incarnation)).unwrap_or((0, 0));
        let same = |span: &Span| span.state == state && span.incarnation == incarnation;
        if !spans.last().is_some_and(same) {
            spans.push(Span { from: index, state, incarnation });
        }
    }

    fn process(&mut self, index: u32, process: Process, state: State) {
        let incarnation = (process.supervisor, process.incarnation);
        self.set(index, process.who, state, Some(incarnation));
    }

    fn see(&mut self, index: u32, record: &Record) {
        match record.what {
            What::Start(it) => self.process(index, it, State::Starting),
            What::Signal(it, _) => {
                if matches!(self.state(it.who), State::Starting | State::Up | State::Suspended) {
                    self.process(index, it, State::Stopping);
                }
            }
            What::Started(it) => {
                if self.state(it.who) != State::Stopping {
                    self.process(index, it, State::Up);
                }
            }
            What::StartIgnored(it) => self.process(index, it, State::Stopped),
            What::StartFailed(it) => self.process(index, it, State::Crashed),
            What::Exited(it, reason) => {
                let state = self.after(it.who, reason);
                self.process(index, it, state);
            }
            What::Supervisor { who, id, process, stage } => {
                let incarnation = process.map_or((0, id), |it| (it.supervisor, it.incarnation));
                let state = match stage {
                    Stage::Initializing => State::Starting,
                    Stage::Ready => State::Up,
                    Stage::Exited(reason) => self.after(who, reason),
                };
                self.set(index, who, state, Some(incarnation));
            }
            What::RestartScheduled { who, .. } => self.set(index, who, State::Waiting, None),
            What::Removed(who) => self.set(index, who, State::Absent, None),
            What::Status(who, Status::Suspended) => self.set(index, who, State::Suspended, None),
            What::Status(who, Status::Up) if self.state(who) == State::Suspended => {
                self.set(index, who, State::Up, None);
            }
            What::Status(who, Status::Down) if self.state(who) == State::Waiting => {
                self.set(index, who, State::Stopped, None);
            }
            What::Halted => self.halted(index, record.node),
            _ => self.messages(index, record),
        }
    }

    /// The state that an end leaves behind.
    fn after(&self, who: Who, reason: ExitReason) -> State {
        let told = self.state(who) == State::Stopping;
        if reason.is_clean() || told && reason == ExitReason::Killed {
            State::Stopped
        } else {
            State::Crashed
        }
    }

    fn halted(&mut self, index: u32, node: NodeIx) {
        for (who, entity) in self.plan.scenario.all() {
            if entity.node == node && self.state(who) != State::Absent {
                self.set(index, who, State::Absent, None);
            }
        }
    }

    fn messages(&mut self, index: u32, record: &Record) {
        match record.what {
            What::Sent(id, _, _) => {
                self.senders.insert(id, (id.ticker, index));
            }
            What::Queued(id, to) => {
                if let Some((from, left)) = self.senders.remove(&id) {
                    self.lives.hops.push(Hop { message: id, from, to, left, came: index });
                }
                self.moves(index, id, Some(Place::Queued(to)));
            }
            What::PutBack(id, who) => self.moves(index, id, Some(Place::Queued(who))),
            What::Delivered(id, it) => {
                // It may be passed on from there.
                self.senders.insert(id, (Some(it.who), index));
                self.moves(index, id, Some(Place::InHand(it.who)));
            }
            What::Ended(id, _) => self.moves(index, id, None),
            _ => {}
        }
    }

    /// A message goes from where it is to another place.
    fn moves(&mut self, index: u32, id: MessageId, to: Option<Place>) {
        let before = match to {
            Some(place) => self.places.insert(id, place),
            None => self.places.remove(&id),
        };
        match before {
            Some(Place::Queued(who)) => {
                self.load(index, who, |load| load.queued = load.queued.saturating_sub(1));
            }
            Some(Place::InHand(who)) => self.load(index, who, |load| {
                if load.in_hand == Some(id) {
                    load.in_hand = None;
                }
            }),
            None => {}
        }
        match to {
            Some(Place::Queued(who)) => {
                self.load(index, who, |load| load.queued = load.queued.saturating_add(1));
            }
            Some(Place::InHand(who)) => self.load(index, who, |load| load.in_hand = Some(id)),
            None => {}
        }
    }

    fn load(&mut self, index: u32, who: Who, change: impl FnOnce(&mut Load)) {
        let loads = &mut self.lives.loads[usize::from(who.0)];
        let last = loads.last().copied();
        let mut load = last.unwrap_or(Load { from: index, queued: 0, in_hand: None });
        load.from = index;
        change(&mut load);
        match loads.last_mut() {
            Some(last) if last.from == index => *last = load,
            _ => loads.push(load),
        }
    }
}
