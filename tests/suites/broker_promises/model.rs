//! The simulator's model on the stage: its actions are carried out at once and in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_sim::broker::{
    Action, Broker, Client, Config, Event, Medium, Mode, Parcel, Subject, Why,
};

use crate::store::{
    ACK_WAIT, DELIVERIES, Delivery, REMEMBERED, Restart, Store, UNACKNOWLEDGED, Word,
};
use crate::suite::{Going, Needs, Said, Stage, Who};

const SUBJECT: Subject = Subject(7);
const PAYLOAD: u32 = 1 << 10;

const fn client(who: Who) -> Client {
    Client(who as u8)
}

/// One client's end.
#[derive(Default)]
struct End {
    is_connected: bool,
    is_stalled: bool,
    /// On its connection, and not read.
    arrived: VecDeque<u32>,
    heard: VecDeque<(u32, bool)>,
}

/// A model, and what is around it.
pub(crate) struct Model {
    medium: Medium,
    broker: Broker,
    now: Instant,
    ends: BTreeMap<Client, End>,
    said: Option<Said>,
    known: Option<bool>,
    dead: Vec<u32>,
}

impl Model {
    pub(crate) fn new(medium: Medium) -> Self {
        let config = Config {
            clients: 3,
            window: 4,
            pending: 8,
            payload: PAYLOAD,
            ack_wait: ACK_WAIT,
            deliveries: DELIVERIES,
            unacknowledged: UNACKNOWLEDGED,
            duplicates: REMEMBERED,
        };
        Self {
            medium,
            broker: Broker::new(medium, config).unwrap(),
            now: Instant::ZERO,
            ends: Who::ALL.into_iter().map(|who| (client(who), End::default())).collect(),
            said: None,
            known: None,
            dead: Vec::new(),
        }
    }

    fn end(&mut self, who: Who) -> &mut End {
        self.ends.get_mut(&client(who)).unwrap()
    }

    fn is(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.broker.handle(self.now, event, &mut actions);
        self.carry(actions);
    }

    fn carry(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Deliver { to, parcel, again } => self.arrives(to, parcel, again),
                Action::Dropped(Parcel(number), Why::DeadLetter) => self.dead.push(number),
                Action::Dropped(_, Why::TooLarge) => self.said = Some(Said::TooLarge),
                Action::NoResponders(..) => self.said = Some(Said::NoResponders),
                Action::Stored { known, .. } => self.known = Some(known),
                Action::CutOff(who) => self.ends.get_mut(&who).unwrap().is_connected = false,
                Action::Forward(who, subject) => self.is(Event::Learned(who, subject)),
                Action::Carry(_) | Action::Dropped(..) | Action::Settled(_) => {}
            }
        }
    }

    fn arrives(&mut self, to: Client, Parcel(number): Parcel, again: bool) {
        let end = self.ends.get_mut(&to).unwrap();
        if end.is_stalled {
            end.arrived.push_back(number);
        } else {
            end.heard.push_back((number, again));
            // What the stream delivers is bounded by what is not acknowledged instead.
            if self.medium != Medium::JetStream {
                self.is(Event::Taken(to));
            }
        }
    }

    fn published(&mut self, from: Who, number: u32, size: usize, mode: Mode) {
        (self.said, self.known) = (None, None);
        let (from, parcel) = (client(from), Parcel(number));
        let mut actions = Vec::new();
        self.broker.handle(self.now, Event::Offered(from, SUBJECT, parcel), &mut actions);
        if actions == [Action::Carry(parcel)] {
            let size = u32::try_from(size).unwrap();
            self.is(Event::Published { from, to: SUBJECT, parcel, size, mode });
        }
    }

    fn heard(&mut self, who: Who) -> Vec<u32> {
        self.end(who).heard.drain(..).map(|(number, _)| number).collect()
    }
}

impl Stage for Model {
    fn medium(&self) -> Medium {
        self.medium
    }

    fn can(&self, what: Needs) -> bool {
        match what {
            Needs::Nothing | Needs::Stall => true,
            Needs::Request | Needs::Oversize => self.medium != Medium::ZeroMq,
        }
    }

    fn connects(&mut self, who: Who) {
        *self.end(who) = End { is_connected: true, ..End::default() };
        self.is(Event::Connected(client(who)));
    }

    fn goes(&mut self, who: Who, _: Going) {
        self.end(who).is_connected = false;
        self.is(Event::Disconnected(client(who)));
    }

    fn subscribes(&mut self, who: Who) {
        self.is(Event::Subscribed(client(who), SUBJECT));
    }

    fn publishes(&mut self, from: Who, number: u32, size: usize) -> Said {
        self.published(from, number, size, Mode::Plain);
        self.said.unwrap_or(Said::Nothing)
    }

    fn asks(&mut self, from: Who, number: u32) -> Said {
        self.published(from, number, 20, Mode::Request);
        self.said.unwrap_or(Said::Answered)
    }

    fn hears(&mut self, who: Who, _: usize) -> Vec<u32> {
        self.heard(who)
    }

    fn quiet(&mut self, who: Who) -> Vec<u32> {
        self.heard(who)
    }

    fn stalls(&mut self, who: Who, does: bool) {
        self.end(who).is_stalled = true;
        while !does && let Some(number) = self.end(who).arrived.pop_front() {
            self.end(who).heard.push_back((number, false));
            self.is(Event::Taken(client(who)));
        }
        self.end(who).is_stalled = does;
    }

    fn is_connected(&mut self, who: Who, _: bool) -> bool {
        self.end(who).is_connected
    }

    fn restarts(&mut self) {
        self.is(Event::Restarted { with_state: true });
        self.ends.values_mut().for_each(|end| end.is_connected = false);
    }

    fn largest(&self) -> usize {
        usize::try_from(PAYLOAD).unwrap()
    }

    fn flood(&self) -> (u32, usize) {
        (40, 20)
    }
}

impl Store for Model {
    fn now(&mut self) -> Duration {
        self.now.saturating_since(Instant::ZERO)
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let mut actions = Vec::new();
            self.broker.handle_timeout(self.now, &mut actions);
            self.carry(actions);
        }
        self.now = end;
    }

    fn stores(&mut self, number: u32) -> bool {
        if !self.end(Who::A).is_connected {
            self.connects(Who::A);
        }
        self.published(Who::A, number, 20, Mode::Stored);
        self.known.expect("it is acknowledged")
    }

    fn attaches(&mut self) {
        self.connects(Who::B);
        self.subscribes(Who::B);
    }

    fn detaches(&mut self, how: Going) {
        self.goes(Who::B, how);
    }

    fn next(&mut self, within: Duration) -> Option<Delivery> {
        let end = self.now.saturating_add(within);
        loop {
            if let Some((number, again)) = self.end(Who::B).heard.pop_front() {
                return Some(Delivery { number, again });
            }
            let next = self.broker.poll_timeout().filter(|at| *at <= end);
            self.passes(next.unwrap_or(end).saturating_since(self.now));
            next?;
        }
    }

    fn says(&mut self, number: u32, word: Word) {
        let (who, parcel) = (client(Who::B), Parcel(number));
        self.is(match word {
            Word::Handled => Event::Handled(who, parcel),
            Word::Refused => Event::Refused(who, parcel),
            Word::Ended => Event::Ended(who, parcel),
        });
    }

    fn dead(&mut self) -> BTreeSet<u32> {
        self.dead.iter().copied().collect()
    }

    fn restarts(&mut self, how: Restart) {
        let with_state = how != Restart::WithoutState;
        self.is(Event::Restarted { with_state });
        self.ends.values_mut().for_each(|end| *end = End::default());
    }
}
