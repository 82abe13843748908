//! `JetStream`: what was published is kept until it is handled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lictor_kernel::Instant;

use super::{Action, Client, Config, Parcel, Subject, Why};

/// How many of those that were handled can be delivered once more by [`Stream::repeat`]: what a
/// server would keep for who looks at the past of a stream.
const PAST: usize = 64;

/// What a consumer was given and has not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Given {
    until: Instant,
    times: u32,
}

/// The durable consumer of a subject.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Consumer {
    /// Who is connected as this consumer.
    client: Option<Client>,
    /// To be given, and how often each was given before.
    waiting: VecDeque<(Parcel, u32)>,
    given: BTreeMap<Parcel, Given>,
    deadlines: BTreeSet<(Instant, Parcel)>,
    /// What was handled last.
    past: VecDeque<Parcel>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stream {
    config: Config,
    consumers: BTreeMap<Subject, Consumer>,
    /// Ids that were published within the window.
    ids: BTreeSet<Parcel>,
    published: VecDeque<(Instant, Parcel)>,
}

impl Stream {
    pub(super) fn new(config: Config) -> Self {
        let (consumers, ids, published) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Self { config, consumers, ids, published }
    }

    pub(super) fn published(
        &mut self,
        now: Instant,
        from: Client,
        to: Subject,
        parcel: Parcel,
        actions: &mut Vec<Action>,
    ) {
        while let Some((at, old)) = self.published.front().copied()
            && now.saturating_since(at) >= self.config.duplicates
        {
            self.published.pop_front();
            self.ids.remove(&old);
        }
        let known = !self.ids.insert(parcel);
        actions.push(Action::Stored { to: from, parcel, known });
        if known {
            return;
        }
        self.published.push_back((now, parcel));
        let consumer = self.consumers.entry(to).or_default();
        consumer.waiting.push_back((parcel, 0));
        consumer.give(now, &self.config, actions);
    }

    pub(super) fn attach(
        &mut self,
        now: Instant,
        subject: Subject,
        client: Client,
        actions: &mut Vec<Action>,
    ) {
        let consumer = self.consumers.entry(subject).or_default();
        consumer.client = Some(client);
        consumer.give(now, &self.config, actions);
    }

    pub(super) fn detach(&mut self, client: Client) {
        self.detach_all(|gone| gone == client);
    }

    pub(super) fn detach_all(&mut self, gone: impl Fn(Client) -> bool) {
        for consumer in self.consumers.values_mut() {
            consumer.client = consumer.client.filter(|client| !gone(*client));
        }
    }

    /// Acknowledged, in time or later: what is kept is not needed any more.
    pub(super) fn handled(
        &mut self,
        now: Instant,
        client: Client,
        parcel: Parcel,
        actions: &mut Vec<Action>,
    ) {
        let config = self.config;
        for consumer in self.consumers.values_mut().filter(|c| c.client == Some(client)) {
            if consumer.settle(parcel) {
                actions.push(Action::Settled(parcel));
                if consumer.past.len() == PAST {
                    consumer.past.pop_front();
                }
                consumer.past.push_back(parcel);
                consumer.give(now, &config, actions);
            }
        }
    }

    /// To be delivered again at once, or a dead letter if it was delivered often enough.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        client: Client,
        parcel: Parcel,
        actions: &mut Vec<Action>,
    ) {
        let config = self.config;
        for consumer in self.consumers.values_mut().filter(|c| c.client == Some(client)) {
            let Some(given) = consumer.given.remove(&parcel) else { continue };
            consumer.deadlines.remove(&(given.until, parcel));
            consumer.over(parcel, given.times, &config, actions);
            consumer.give(now, &config, actions);
        }
    }

    /// Kept no more, though it was not handled.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        client: Client,
        parcel: Parcel,
        actions: &mut Vec<Action>,
    ) {
        let config = self.config;
        for consumer in self.consumers.values_mut().filter(|c| c.client == Some(client)) {
            if consumer.settle(parcel) {
                actions.push(Action::Dropped(parcel, Why::DeadLetter));
                consumer.give(now, &config, actions);
            }
        }
    }

    pub(super) fn repeat(&self, client: Client, count: usize, actions: &mut Vec<Action>) {
        for consumer in self.consumers.values().filter(|c| c.client == Some(client)) {
            let skip = consumer.past.len().saturating_sub(count);
            let past = consumer.past.iter().skip(skip);
            actions.extend(past.map(|parcel| Action::Deliver {
                to: client,
                parcel: *parcel,
                again: true,
            }));
        }
    }

    /// With its state it knows what is stored and the ids of that. What it has no message for any
    /// more it has no id for, and what it had delivered when, and how often, it wrote too late: a
    /// server that is killed begins with that anew.
    pub(super) fn restarted(&mut self, with_state: bool, actions: &mut Vec<Action>) {
        let mut kept = BTreeSet::new();
        for consumer in self.consumers.values_mut() {
            consumer.client = None;
            consumer.deadlines.clear();
            let given = std::mem::take(&mut consumer.given).into_keys();
            let waiting = consumer.waiting.drain(..).map(|(parcel, _)| parcel);
            let all: BTreeSet<Parcel> = waiting.chain(given).collect();
            if with_state {
                consumer.waiting = all.iter().map(|parcel| (*parcel, 0)).collect();
                kept.extend(all);
            } else {
                actions.extend(all.into_iter().map(|p| Action::Dropped(p, Why::Restarted)));
                consumer.past.clear();
            }
        }
        self.ids.retain(|id| kept.contains(id));
        self.published.retain(|(_, id)| kept.contains(id));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let first = |consumer: &Consumer| consumer.deadlines.first().map(|(at, _)| *at);
        self.consumers.values().filter_map(first).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for consumer in self.consumers.values_mut() {
            while let Some((at, parcel)) = consumer.deadlines.first().copied()
                && at <= now
            {
                consumer.deadlines.pop_first();
                let Some(given) = consumer.given.remove(&parcel) else { continue };
                consumer.over(parcel, given.times, &self.config, actions);
            }
            consumer.give(now, &self.config, actions);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.consumers.values().map(|c| c.waiting.len() + c.given.len()).sum()
    }
}

impl Consumer {
    /// Gives the consumer what waits, as far as it may have more.
    fn give(&mut self, now: Instant, config: &Config, actions: &mut Vec<Action>) {
        let Some(to) = self.client else { return };
        while self.given.len() < config.unacknowledged
            && let Some((parcel, before)) = self.waiting.pop_front()
        {
            let until = now.saturating_add(config.ack_wait);
            self.given.insert(parcel, Given { until, times: before + 1 });
            self.deadlines.insert((until, parcel));
            actions.push(Action::Deliver { to, parcel, again: before > 0 });
        }
    }

    /// A delivery is over, and was in vain.
    fn over(&mut self, parcel: Parcel, times: u32, config: &Config, actions: &mut Vec<Action>) {
        if times >= config.deliveries {
            actions.push(Action::Dropped(parcel, Why::DeadLetter));
        } else {
            self.waiting.push_front((parcel, times));
        }
    }

    /// Whether it was kept until now.
    fn settle(&mut self, parcel: Parcel) -> bool {
        if let Some(given) = self.given.remove(&parcel) {
            self.deadlines.remove(&(given.until, parcel));
            return true;
        }
        // Its time was over, and nobody has connected since.
        let at = self.waiting.iter().position(|(waits, times)| *waits == parcel && *times > 0);
        at.is_some_and(|at| self.waiting.remove(at).is_some())
    }
}
