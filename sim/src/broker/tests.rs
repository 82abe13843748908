#![allow(clippy::wildcard_enum_match_arm, reason = "most actions are not what a test looks at")]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::stream::{Purpose, Streams};

const A: Client = Client(0);
const B: Client = Client(1);
const C: Client = Client(2);
const TO_B: Subject = Subject(1);
const BROKERS: [Medium; 3] = [Medium::NatsCore, Medium::JetStream, Medium::ZeroMq];

fn config() -> Config {
    Config {
        clients: 3,
        window: 2,
        pending: 3,
        payload: 100,
        ack_wait: Duration::from_secs(1),
        deliveries: 3,
        unacknowledged: 4,
        duplicates: Duration::from_secs(10),
    }
}

/// A broker, and the hand that leads it.
struct Table {
    broker: Broker,
    now: Instant,
}

impl Table {
    fn new(medium: Medium) -> Self {
        Self { broker: Broker::new(medium, config()).unwrap(), now: Instant::ZERO }
    }

    /// With all connected, and B subscribed to its subject, and every publisher knowing so.
    fn ready(medium: Medium) -> Self {
        let mut table = Self::new(medium);
        for client in [A, B, C] {
            table.is(Event::Connected(client));
        }
        table.joins(B);
        table
    }

    fn joins(&mut self, client: Client) {
        for action in self.is(Event::Subscribed(client, Subject(client.0))) {
            if let Action::Forward(publisher, subject) = action {
                self.is(Event::Learned(publisher, subject));
            }
        }
    }

    fn is(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.broker.handle(self.now, event, &mut actions);
        actions
    }

    fn publish(&mut self, from: Client, number: u32, mode: Mode) -> Vec<Action> {
        let parcel = Parcel(number);
        self.is(Event::Published { from, to: TO_B, parcel, size: 1, mode })
    }

    fn at(&mut self, seconds: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.now = Instant::from_millis(seconds * 1_000);
        self.broker.handle_timeout(self.now, &mut actions);
        actions
    }
}

const fn given(number: u32) -> Action {
    Action::Deliver { to: B, parcel: Parcel(number), again: false }
}

const fn again(number: u32) -> Action {
    Action::Deliver { to: B, parcel: Parcel(number), again: true }
}

const fn dropped(number: u32, why: Why) -> Action {
    Action::Dropped(Parcel(number), why)
}

const fn stored(number: u32, known: bool) -> Action {
    Action::Stored { to: A, parcel: Parcel(number), known }
}

fn delivered(actions: &[Action]) -> Vec<u32> {
    let number = |action: &Action| match action {
        Action::Deliver { parcel, .. } => Some(parcel.0),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

// Guarantees: BK1, BK2, BK16.
#[test]
fn order_is_kept_behind_a_full_connection() {
    for medium in [Medium::NatsCore, Medium::ZeroMq] {
        let mut table = Table::ready(medium);
        let mut seen = Vec::new();
        for number in 0..5 {
            seen.extend(delivered(&table.publish(A, number, Mode::Plain)));
        }
        assert_eq!(seen, [0, 1], "the connection takes two");
        for _ in 0..7 {
            seen.extend(delivered(&table.is(Event::Taken(B))));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4], "{medium:?}");
    }
}

// Guarantee: BK3.
#[test]
fn nothing_is_kept_for_who_is_not_there() {
    let mut table = Table::ready(Medium::NatsCore);
    table.is(Event::Disconnected(B));
    let lost = [dropped(0, Why::NobodyThere)];
    assert_eq!(table.publish(A, 0, Mode::Plain), lost);
    table.is(Event::Connected(B));
    assert_eq!(table.publish(A, 1, Mode::Plain), [dropped(1, Why::NobodyThere)]);
    table.joins(B);
    assert_eq!(table.publish(A, 2, Mode::Plain), [given(2)]);
    table.is(Event::Disconnected(A));
    assert_eq!(table.publish(A, 3, Mode::Plain), [dropped(3, Why::NotConnected)]);
    assert_eq!(table.is(Event::Offered(A, TO_B, Parcel(3))), [dropped(3, Why::NotConnected)]);
}

// Guarantee: BK4.
#[test]
fn a_slow_consumer_is_cut_off_and_nobody_else() {
    let mut table = Table::ready(Medium::NatsCore);
    table.is(Event::Subscribed(C, TO_B));
    for number in 0..5 {
        table.publish(A, number, Mode::Plain);
        table.is(Event::Taken(C));
    }
    let mut expected = vec![Action::CutOff(B)];
    expected.extend([2, 3, 4, 5].map(|number| dropped(number, Why::SlowConsumer)));
    expected.push(Action::Deliver { to: C, parcel: Parcel(5), again: false });
    assert_eq!(table.publish(A, 5, Mode::Plain), expected);
    assert_eq!(delivered(&table.publish(A, 6, Mode::Plain)), [6], "C is there yet");
    table.is(Event::Connected(B));
    table.joins(B);
    assert_eq!(delivered(&table.publish(A, 7, Mode::Plain)), [7], "B again, C is behind");
}

// Guarantee: BK5.
#[test]
fn what_is_too_large_is_refused() {
    let mut table = Table::ready(Medium::NatsCore);
    let mode = Mode::Plain;
    for (size, taken) in [(100, true), (101, false)] {
        let parcel = Parcel(size);
        let event = Event::Published { from: A, to: TO_B, parcel, size, mode };
        let told = [dropped(size, Why::TooLarge), Action::CutOff(A)];
        let expected: &[Action] = if taken { &[given(size)] } else { &told };
        assert_eq!(table.is(event), expected);
    }
}

// Guarantee: BK6.
#[test]
fn a_request_to_nobody_is_answered_at_once() {
    let mut table = Table::ready(Medium::NatsCore);
    assert_eq!(table.publish(A, 0, Mode::Request), [given(0)]);
    table.is(Event::Disconnected(B));
    assert_eq!(table.publish(A, 1, Mode::Request), [Action::NoResponders(A, Parcel(1))]);
}

// Guarantee: BK7.
#[test]
fn a_restart_ends_everything_until_the_clients_are_back() {
    for medium in [Medium::NatsCore, Medium::ZeroMq] {
        let mut table = Table::ready(medium);
        for number in 0..4 {
            table.publish(A, number, Mode::Plain);
        }
        let expected = [dropped(2, Why::Restarted), dropped(3, Why::Restarted)];
        assert_eq!(table.is(Event::Restarted { with_state: true }), expected);
        assert_eq!(table.publish(A, 4, Mode::Plain), [dropped(4, Why::NotConnected)]);
        table.is(Event::Connected(A));
        assert_eq!(table.publish(A, 5, Mode::Plain), [dropped(5, Why::NobodyThere)]);
        table.is(Event::Connected(B));
        table.joins(B);
        assert_eq!(table.publish(A, 6, Mode::Plain), [given(6)]);
        assert_eq!(table.broker.held(), 0);
    }
}

// Guarantee: BK8.
#[test]
fn what_is_stored_waits_for_its_consumer() {
    let mut table = Table::ready(Medium::JetStream);
    table.is(Event::Disconnected(B));
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, false)]);
    table.is(Event::Disconnected(A));
    table.is(Event::Connected(B));
    assert_eq!(table.is(Event::Subscribed(B, TO_B)), [given(0)]);
    assert_eq!(table.broker.held(), 1);
    assert_eq!(table.is(Event::Handled(B, Parcel(0))), [Action::Settled(Parcel(0))]);
    assert_eq!(table.is(Event::Handled(B, Parcel(0))), []);
    assert_eq!((table.broker.held(), table.broker.poll_timeout()), (0, None));
}

// Guarantee: BK9.
#[test]
fn an_id_is_known_for_the_window() {
    let mut table = Table::ready(Medium::JetStream);
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, false), given(0)]);
    table.is(Event::Handled(B, Parcel(0)));
    table.now = Instant::from_millis(9_999);
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, true)]);
    table.now = Instant::from_millis(10_000);
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, false), given(0)]);
}

// Guarantees: BK10, BK11.
#[test]
fn what_is_not_acknowledged_comes_again_and_is_a_dead_letter_then() {
    let mut table = Table::ready(Medium::JetStream);
    table.publish(A, 0, Mode::Stored);
    assert_eq!(table.broker.poll_timeout(), Some(Instant::from_millis(1_000)));
    table.now = Instant::from_millis(999);
    assert_eq!(table.is(Event::Taken(B)), []);
    assert_eq!(table.at(1), [again(0)]);
    table.is(Event::Disconnected(B));
    assert_eq!(table.at(2), [], "there is nobody to give it to");
    assert_eq!(table.at(60), []);
    table.is(Event::Connected(B));
    assert_eq!(table.is(Event::Subscribed(B, TO_B)), [again(0)]);
    assert_eq!(table.at(61), [dropped(0, Why::DeadLetter)]);
    assert_eq!(table.broker.held(), 0);
}

// Guarantee: BK10.
#[test]
fn an_acknowledgement_after_its_time_still_counts() {
    let mut table = Table::ready(Medium::JetStream);
    table.publish(A, 0, Mode::Stored);
    table.is(Event::Disconnected(B));
    table.at(2);
    table.is(Event::Connected(B));
    table.is(Event::Subscribed(B, TO_B));
    assert_eq!(table.is(Event::Handled(B, Parcel(0))), [Action::Settled(Parcel(0))]);
    assert_eq!(table.at(9), []);
}

// Guarantee: BK12.
#[test]
fn a_consumer_is_given_so_much_and_no_more() {
    let mut table = Table::ready(Medium::JetStream);
    let all: Vec<Action> = (0..6).flat_map(|n| table.publish(A, n, Mode::Stored)).collect();
    assert_eq!(delivered(&all), [0, 1, 2, 3]);
    assert_eq!(delivered(&table.is(Event::Handled(B, Parcel(2)))), [4]);
}

// Guarantee: BK13.
#[test]
fn a_restart_keeps_the_state_or_loses_it() {
    for with_state in [true, false] {
        let mut table = Table::ready(Medium::JetStream);
        table.publish(A, 0, Mode::Stored);
        let lost = table.is(Event::Restarted { with_state });
        let expected: &[Action] = if with_state { &[] } else { &[dropped(0, Why::Restarted)] };
        assert_eq!(lost, expected);
        table.is(Event::Connected(A));
        assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, with_state)]);
        table.is(Event::Connected(B));
        // A server that is killed has forgotten that it was delivered.
        assert_eq!(table.is(Event::Subscribed(B, TO_B)), [given(0)]);
        assert_eq!(table.at(1), [again(0)], "its time has begun anew");
    }
}

// Guarantee: BK13.
#[test]
fn with_its_message_an_id_is_forgotten_in_a_restart() {
    let mut table = Table::ready(Medium::JetStream);
    table.publish(A, 0, Mode::Stored);
    table.is(Event::Handled(B, Parcel(0)));
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, true)]);
    table.is(Event::Restarted { with_state: true });
    table.is(Event::Connected(A));
    assert_eq!(table.publish(A, 0, Mode::Stored), [stored(0, false)]);
}

// Guarantee: BK20.
#[test]
fn what_is_refused_comes_again_at_once_and_what_is_ended_never() {
    let mut table = Table::ready(Medium::JetStream);
    table.publish(A, 0, Mode::Stored);
    table.publish(A, 1, Mode::Stored);
    for _ in 1..config().deliveries {
        assert_eq!(table.is(Event::Refused(B, Parcel(0))), [again(0)]);
    }
    assert_eq!(table.is(Event::Refused(B, Parcel(0))), [dropped(0, Why::DeadLetter)]);
    assert_eq!(table.is(Event::Refused(B, Parcel(0))), [], "it is over");
    assert_eq!(table.is(Event::Ended(B, Parcel(1))), [dropped(1, Why::DeadLetter)]);
    assert_eq!(table.at(9), []);
    assert_eq!(table.broker.held(), 0);
}

// Guarantee: BK14.
#[test]
fn a_slow_joiner_misses_what_was_before() {
    let mut table = Table::new(Medium::ZeroMq);
    for client in [A, B] {
        table.is(Event::Connected(client));
    }
    let offer = |number| Event::Offered(A, TO_B, Parcel(number));
    assert_eq!(table.is(offer(0)), [dropped(0, Why::NobodyThere)]);
    let forwarded = table.is(Event::Subscribed(B, TO_B));
    assert!(forwarded.contains(&Action::Forward(A, TO_B)));
    assert_eq!(table.is(offer(1)), [dropped(1, Why::NobodyThere)], "it does not know yet");
    table.is(Event::Learned(A, TO_B));
    assert_eq!(table.is(offer(2)), [Action::Carry(Parcel(2))]);
    // A publisher that comes later is told of what there is.
    assert_eq!(table.is(Event::Connected(C)), [Action::Forward(C, TO_B)]);
}

// Guarantee: BK15.
#[test]
fn above_the_mark_the_newest_is_dropped() {
    let mut table = Table::ready(Medium::ZeroMq);
    for number in 0..5 {
        table.publish(A, number, Mode::Plain);
    }
    assert_eq!(table.publish(A, 5, Mode::Plain), [dropped(5, Why::HighWater)]);
    assert_eq!(table.is(Event::Taken(B)), [given(2)], "it is there, and in order");
    table.is(Event::Bounded(B, Some(1)));
    assert_eq!(table.publish(A, 6, Mode::Plain), [dropped(6, Why::HighWater)]);
}

// Guarantee: BK17.
#[test]
fn a_peer_that_goes_loses_its_queue_and_its_subscriptions() {
    let mut table = Table::ready(Medium::ZeroMq);
    for number in 0..4 {
        table.publish(A, number, Mode::Plain);
    }
    let expected = [dropped(2, Why::Disconnected), dropped(3, Why::Disconnected)];
    assert_eq!(table.is(Event::Connected(B)), expected);
    assert_eq!(table.publish(A, 4, Mode::Plain), [dropped(4, Why::NobodyThere)]);
}

/// What chance does to a broker, and what came of it.
struct Life {
    table: Table,
    other: Broker,
    published: BTreeSet<u32>,
    /// By parcel: delivered for the first time, and dropped or settled.
    given: BTreeMap<u32, u32>,
    over: BTreeMap<u32, u32>,
    order: BTreeMap<(Client, Client), u32>,
    from: BTreeMap<u32, Client>,
}

impl Life {
    fn new(medium: Medium) -> Self {
        Self {
            table: Table::new(medium),
            other: Broker::new(medium, config()).unwrap(),
            published: BTreeSet::new(),
            given: BTreeMap::new(),
            over: BTreeMap::new(),
            order: BTreeMap::new(),
            from: BTreeMap::new(),
        }
    }

    fn lives(&mut self, medium: Medium, seed: u64, steps: u32) {
        let streams = Streams::new(seed);
        for step in 0..steps {
            let nth = |n| streams.draw(Purpose::User, n, u64::from(step));
            let client = Client(u8::try_from(nth(0) % 3).unwrap());
            let subject = Subject(client.0);
            let event = match nth(1) % 100 {
                0..=4 => Event::Connected(client),
                5..=6 => Event::Disconnected(client),
                7..=16 => Event::Subscribed(client, subject),
                17..=46 => Event::Taken(client),
                47..=56 => Event::Handled(client, Parcel(step.saturating_sub(1 + step % 7))),
                57 => Event::Bounded(client, (step % 2 == 0).then_some(1)),
                58 => Event::Restarted { with_state: step % 2 == 0 },
                59..=62 => {
                    self.time(nth(2) % 1_500);
                    continue;
                }
                _ => {
                    self.published.insert(step);
                    self.from.insert(step, client);
                    let to = Subject(u8::try_from(nth(3) % 3).unwrap());
                    let mode = if medium == Medium::JetStream { Mode::Stored } else { Mode::Plain };
                    let size = u32::try_from(nth(4) % 104).unwrap();
                    Event::Published { from: client, to, parcel: Parcel(step), size, mode }
                }
            };
            let actions = self.table.is(event);
            if medium == Medium::JetStream && event == (Event::Restarted { with_state: true }) {
                // What is not over may be given as for the first time.
                self.given.retain(|parcel, _| self.over.contains_key(parcel));
                self.order.clear();
            }
            let mut same = Vec::new();
            self.other.handle(self.table.now, event, &mut same);
            // Guarantee: BK19.
            assert_eq!(actions, same);
            self.note(&actions);
            self.adds_up(medium);
        }
    }

    fn time(&mut self, ms: u64) {
        let mut actions = Vec::new();
        let mut same = Vec::new();
        self.table.now = self.table.now.saturating_add(Duration::from_millis(ms));
        self.table.broker.handle_timeout(self.table.now, &mut actions);
        self.other.handle_timeout(self.table.now, &mut same);
        assert_eq!(actions, same);
        self.note(&actions);
        actions.clear();
        self.table.broker.handle_timeout(self.table.now, &mut actions);
        assert_eq!(actions, [], "a spurious call does nothing");
    }

    fn note(&mut self, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::Deliver { parcel, again: false, to } => {
                    *self.given.entry(parcel.0).or_default() += 1;
                    // Guarantees: BK1, BK16. Of the stream, too, for what is given first.
                    let pair = (self.from[&parcel.0], to);
                    let last = self.order.insert(pair, parcel.0);
                    assert!(
                        last.is_none_or(|last| last < parcel.0),
                        "{pair:?} {last:?} {parcel:?}"
                    );
                }
                Action::Dropped(parcel, _)
                | Action::Settled(parcel)
                | Action::NoResponders(_, parcel) => {
                    *self.over.entry(parcel.0).or_default() += 1;
                }
                _ => {}
            }
        }
    }

    /// Guarantees: BK2, BK8, BK18.
    fn adds_up(&self, medium: Medium) {
        let once = |counts: &BTreeMap<u32, u32>| counts.values().all(|count| *count == 1);
        assert!(once(&self.given) && once(&self.over));
        let over: BTreeSet<u32> = self.over.keys().copied().collect();
        let given: BTreeSet<u32> = self.given.keys().copied().collect();
        let ended: BTreeSet<u32> = if medium == Medium::JetStream {
            over
        } else {
            // Guarantee: BK4, BK15.
            assert!(self.table.broker.held() <= 3 * config().pending);
            assert!(given.is_disjoint(&over));
            given.union(&over).copied().collect()
        };
        assert_eq!(self.published.len() - ended.len(), self.table.broker.held());
    }
}

// Guarantees: BK1, BK2, BK4, BK8, BK15, BK16, BK18, BK19.
#[test]
fn whatever_happens_everything_is_accounted_for() {
    for medium in BROKERS {
        let (mut given, mut over) = (0, 0);
        for seed in 0..30 {
            let mut life = Life::new(medium);
            life.lives(medium, seed, 400);
            given += life.given.len();
            over += life.over.len();
        }
        assert!(given > 250 && over > 250, "{medium:?}: {given} delivered, {over} over");
    }
}

#[test]
fn only_a_direct_medium_has_no_broker() {
    assert_eq!(Broker::new(Medium::Direct, config()), None);
    assert!(BROKERS.iter().all(|medium| Broker::new(*medium, config()).is_some()));
    let words: BTreeSet<&str> = Medium::ALL.iter().map(|medium| medium.word()).collect();
    assert_eq!(words.len(), Medium::ALL.len());
}

/// The docs of the module and these tests name the same guarantees.
#[test]
fn every_guarantee_has_a_test() {
    let numbers = |text: &str| -> BTreeSet<u32> {
        let parts = text.split("BK").skip(1);
        let digits =
            |part: &str| -> String { part.chars().take_while(char::is_ascii_digit).collect() };
        parts.filter_map(|part| digits(part).parse().ok()).collect()
    };
    let claimed = numbers(include_str!("../broker.rs"));
    assert_eq!(claimed, (1..=20).collect());
    assert_eq!(numbers(include_str!("tests.rs")), claimed);
}
