//! The receiver's half: off the stream, to the agent, and what became of it back to the stream.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::{AckKind, Message, PublishMessage};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lictor_runtime::ReplyFailure;
use lictor_runtime::durable::Intake;
use lictor_runtime::executor::Task;
use lictor_runtime::transport::Frame;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout, timeout_at};

use super::{JetStream, NoStream, count};
use crate::link::whole;

/// Messages that were settled and of which that is remembered, so that one that comes again because
/// the server had not heard of it is not given to the agent again; and as many that have failed.
const KNOWN_MAX: usize = 1 << 14;

/// How often the server is told what became of a message before it is left to hand it out again.
const TELL_MAX: u32 = 10;

/// What is on its way when a service ends is waited for so long, to be given back; and what it
/// gives back comes again so much later, when nobody hands it to that service any more.
const LAST: Duration = Duration::from_millis(50);

/// How often, at most and at least, the server is told that a message is being handled.
const WORD_LEAST: Duration = Duration::from_millis(1);
const WORD_MOST: Duration = Duration::from_secs(24 * 3600);

/// A message, whatever the server does: a stream that was lost and made anew counts from one, but
/// not at the same time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    sequence: u64,
    published: i128,
}

/// The service of one name.
struct Service {
    stream: Arc<JetStream>,
    name: Arc<str>,
    intake: Intake,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Messages that are being handled, and where the newest word about each goes.
    active: BTreeMap<Key, Subject>,
    /// What became of messages that were settled, and these from the oldest on.
    settled: BTreeMap<Key, Settled>,
    settled_in_order: VecDeque<Key>,
    /// How often the agent has failed on a message.
    failures: BTreeMap<Key, u32>,
}

/// What became of a message for good.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Settled {
    /// It has been handled.
    Handled,
    /// It is a dead letter, for this reason.
    Dead(Arc<str>),
}

/// What came off the stream.
struct Delivery {
    key: Key,
    frame: Frame,
    /// How old it was when it came, and when that was.
    age: Duration,
    came: Instant,
    /// How often it was handed out, this time included.
    deliveries: u32,
    label: Option<String>,
    reply: Subject,
}

/// What becomes of a message.
enum Verdict {
    /// It has been handled.
    Handled,
    /// It comes again after a while.
    Again(Duration),
    /// It never comes again, for this reason.
    Dead(Arc<str>),
}

pub(super) fn serve(stream: Arc<JetStream>, name: Arc<str>, intake: Intake, end: Task) -> Task {
    // From now on, not from the first poll: a sender here need not look for the consumer.
    let here = Here::enter(&stream, &name);
    Box::pin(async move {
        let _here = here;
        let service = Service { stream, name, intake, state: Mutex::default() };
        service.run(end).await;
    })
}

/// A name that is served here.
struct Here(Arc<JetStream>, Arc<str>);

impl Here {
    fn enter(stream: &Arc<JetStream>, name: &Arc<str>) -> Self {
        *stream.served().entry(Arc::clone(name)).or_insert(0) += 1;
        Self(Arc::clone(stream), Arc::clone(name))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut served = self.0.served();
        if let Some(services) = served.get_mut(&self.1) {
            *services -= 1;
            if *services == 0 {
                served.remove(&self.1);
            }
        }
    }
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, mut end: Task) {
        let Some(durable) = super::names::durable_name(&self.name) else {
            let name = &*self.name;
            tracing::error!(target: "lictor", name, "too long for a durable consumer");
            return end.await;
        };
        let (mut attempt, mut is_first) = (0, true);
        loop {
            let serving = async {
                attempt += 1;
                // At once only if the last one has lasted.
                sleep(self.stream.nats.wait_before(attempt)).await;
                let context = self.stream.context().await?;
                if !std::mem::replace(&mut is_first, false) {
                    // The subscription may have ended with the stream itself.
                    self.stream.see_to_streams(&context).await?;
                }
                let consumer = self.config(&durable);
                let consumer =
                    context.create_consumer_on_stream(consumer, &self.stream.config.name).await;
                let refused = |error: &dyn std::error::Error| NoStream(whole(error).into());
                let consumer = consumer.map_err(|error| refused(&error))?;
                let credit = usize::try_from(self.stream.config.credit).unwrap_or(usize::MAX);
                let messages = consumer
                    .stream()
                    .max_messages_per_batch(credit)
                    .expires(Duration::from_secs(30))
                    .heartbeat(Duration::from_secs(5))
                    .messages()
                    .await;
                Ok::<_, NoStream>((context, messages.map_err(|error| refused(&error))?))
            };
            let made = tokio::select! {
                biased;
                () = &mut end => return,
                made = serving => made,
            };
            match made {
                Ok((context, messages)) => {
                    attempt = 0;
                    if self.pull(&context, messages, &mut end).await {
                        return;
                    }
                }
                Err(NoStream(why)) if attempt % 10 == 1 => {
                    tracing::warn!(target: "lictor", name = &*self.name, "not served: {why}");
                }
                Err(_) => {}
            }
        }
    }

    fn config(&self, durable: &str) -> pull::Config {
        let config = &self.stream.config;
        pull::Config {
            durable_name: Some(durable.to_owned()),
            description: Some(format!("messages to the agent {:?}", self.name)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: config.ack_wait,
            // The server would stop to hand it out, and tell nobody: the limit is ours.
            max_deliver: -1,
            filter_subject: format!("{}{}", config.prefix, self.name),
            max_ack_pending: config.credit.into(),
            inactive_threshold: config.forget_after,
            ..pull::Config::default()
        }
    }

    /// Takes messages until the service or the subscription ends; true for the service.
    async fn pull(&self, context: &Context, mut messages: pull::Stream, end: &mut Task) -> bool {
        let mut active = FuturesUnordered::new();
        let is_over = loop {
            let next = tokio::select! {
                biased;
                () = &mut *end => break true,
                Some(()) = active.next() => continue,
                next = messages.next() => next,
            };
            match next {
                Some(Ok(message)) => {
                    if let Some(delivery) = self.accept(&message) {
                        active.push(self.settle(context, delivery));
                    }
                }
                Some(Err(error)) => {
                    tracing::info!(target: "lictor", name = &*self.name, "the stream: {error}");
                    break false;
                }
                None => break false,
            }
        };
        if is_over {
            self.give_back(messages).await;
        }
        while active.next().await.is_some() {}
        is_over
    }

    /// What has been handed out and not looked at goes back. Not before the subscription has ended:
    /// it would come by it again and again, and be a dead letter for that.
    async fn give_back(&self, mut messages: pull::Stream) {
        let (until, mut held) = (Instant::now() + LAST, Vec::new());
        while let Ok(Some(Ok(message))) = timeout_at(until, messages.next()).await {
            held.push(message);
        }
        drop(messages);
        for message in held {
            count(&self.stream.counts.returned);
            // If this is lost, it comes again when the server has heard nothing for long.
            let _ = message.ack_with(AckKind::Nak(Some(LAST))).await;
        }
    }

    /// A message that is to be dealt with; one that is being, or was, is not.
    fn accept(&self, message: &Message) -> Option<Delivery> {
        let info = message.info().ok()?;
        let published = info.published.unix_timestamp_nanos();
        let key = Key { sequence: info.stream_sequence, published };
        let reply = message.reply.clone()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - published;
        let age = Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX));
        let label = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        let delivery = Delivery {
            key,
            frame: Frame::from(message.payload.clone()),
            age,
            came: Instant::now(),
            deliveries: u32::try_from(info.delivered).unwrap_or(u32::MAX),
            label: label.map(ToString::to_string),
            reply: reply.clone(),
        };
        // Another word about one that is being handled goes to the newest address.
        if self.state().active.insert(key, reply).is_some() {
            return None;
        }
        Some(delivery)
    }

    async fn settle(&self, context: &Context, delivery: Delivery) {
        let key = delivery.key;
        let verdict = self.verdict(context.client(), &delivery).await;
        let client = context.client();
        let (word, again) = match &verdict {
            Verdict::Handled => (AckKind::Ack, None),
            Verdict::Again(wait) => (AckKind::Ack, Some(*wait)),
            Verdict::Dead(why) => match self.bury(context, &delivery, why).await {
                Ok(()) => (AckKind::Term, None),
                // It stays where it is until it can be buried.
                Err(()) => (AckKind::Ack, Some(self.stream.config.retry_most)),
            },
        };
        if let Some(wait) = again {
            // It may be here again before the server's answer, and must find its place free then.
            let newest = self.state().active.remove(&key);
            let to = newest.unwrap_or(delivery.reply);
            // If this is lost, it comes again when the server has heard nothing for long.
            let _ = client.publish(to, AckKind::Nak(Some(wait)).into()).await;
            return;
        }
        self.tell(&client, key, word.into()).await;
        let mut state = self.state();
        state.active.remove(&key);
        state.failures.remove(&key);
    }

    /// What is to become of it: if that was settled, and the server has not heard of it, the same.
    async fn verdict(&self, client: Client, delivery: &Delivery) -> Verdict {
        let settled = self.state().settled.get(&delivery.key).cloned();
        if let Some(settled) = settled {
            count(&self.stream.counts.repeated);
            return match settled {
                Settled::Handled => Verdict::Handled,
                Settled::Dead(why) => Verdict::Dead(why),
            };
        }
        if delivery.deliveries > self.stream.config.deliveries {
            let times = delivery.deliveries - 1;
            return Verdict::Dead(format!("handed out {times} times and never settled").into());
        }
        count(&self.stream.counts.delivered);
        let outcome = self.handle(&client, delivery).await;
        let verdict = self.judge(delivery.key, outcome);
        if matches!(verdict, Verdict::Handled) {
            count(&self.stream.counts.handled);
            self.state().remember(delivery.key, Settled::Handled);
        }
        verdict
    }

    /// Gives it to the agent, and says all the while that it is being handled. A mailbox that has
    /// no room, or that gives its place to another, is tried again from here: each time that the
    /// server hands it out counts against it.
    async fn handle(&self, client: &Client, delivery: &Delivery) -> Result<(), ReplyFailure> {
        let every = (self.stream.config.ack_wait / 3).clamp(WORD_LEAST, WORD_MOST);
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let age = delivery.age.saturating_add(delivery.came.elapsed());
            let taken = self.intake.take(delivery.frame.clone(), age);
            let outcome = self.in_hand(client, delivery, &mut tick, taken).await;
            let has_no_room = matches!(outcome, Err(ReplyFailure::Refused | ReplyFailure::Evicted));
            if !has_no_room {
                return outcome;
            }
            let wait = sleep(self.stream.config.retry_first);
            self.in_hand(client, delivery, &mut tick, wait).await;
        }
    }

    /// Waits, and says all the while that it is in hand.
    async fn in_hand<T>(
        &self,
        client: &Client,
        delivery: &Delivery,
        tick: &mut Interval,
        wait: impl Future<Output = T>,
    ) -> T {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return done,
                _ = tick.tick() => {
                    let to = self.state().active.get(&delivery.key).cloned();
                    let to = to.unwrap_or_else(|| delivery.reply.clone());
                    let _ = client.publish(to, AckKind::Progress.into()).await;
                }
            }
        }
    }

    /// What becomes of it. An agent that has not seen it has not failed on it.
    fn judge(&self, key: Key, outcome: Result<(), ReplyFailure>) -> Verdict {
        let config = &self.stream.config;
        let Err(failure) = outcome else { return Verdict::Handled };
        let is_final = matches!(
            failure,
            ReplyFailure::NotUnderstood | ReplyFailure::Expired | ReplyFailure::Skipped
        );
        if is_final {
            return Verdict::Dead(failure.to_string().into());
        }
        if !failure.was_seen() {
            count(&self.stream.counts.returned);
            return Verdict::Again(LAST);
        }
        let failures = self.state().fail(key);
        if failures >= config.attempts {
            return Verdict::Dead(format!("{failure}, {failures} times").into());
        }
        count(&self.stream.counts.failed);
        let doublings = (failures - 1).min(20);
        let wait = config.retry_first.saturating_mul(2_u32.pow(doublings));
        Verdict::Again(wait.min(config.retry_most))
    }

    /// Puts it among the dead letters.
    async fn bury(&self, context: &Context, delivery: &Delivery, why: &Arc<str>) -> Result<(), ()> {
        let config = &self.stream.config;
        let mut headers = HeaderMap::new();
        headers.insert("Lictor-Reason", &**why);
        headers.insert("Lictor-Deliveries", delivery.deliveries.to_string());
        if let Some(label) = &delivery.label {
            headers.insert("Lictor-Message-Id", label.as_str());
        }
        let Key { sequence, published } = delivery.key;
        let message = PublishMessage::build()
            .headers(headers)
            .message_id(format!("{}-{sequence}-{published}", config.name))
            .payload(delivery.frame.clone().into_bytes());
        let subject = format!("{}{}", config.dead_prefix, self.name);
        let buried = async { context.send_publish(subject, message).await?.await };
        match buried.await {
            Ok(stored) => {
                self.state().remember(delivery.key, Settled::Dead(Arc::clone(why)));
                if !stored.duplicate {
                    count(&self.stream.counts.dead);
                    tracing::warn!(target: "lictor", name = &*self.name, "a dead letter: {why}");
                }
                Ok(())
            }
            Err(error) => {
                let name = &*self.name;
                tracing::warn!(target: "lictor", name, "a dead letter cannot be stored: {error}");
                // Its stream may be lost though the connection is not. If this fails, the next
                // attempt says why.
                let _ = self.stream.see_to_streams(context).await;
                Err(())
            }
        }
    }

    /// Tells the server, until it says that it has heard, or often enough.
    async fn tell(&self, client: &Client, key: Key, word: Bytes) {
        for attempt in 1..=TELL_MAX {
            let Some(to) = self.state().active.get(&key).cloned() else { return };
            let told = timeout(self.stream.config.ack_timeout, client.request(to, word.clone()));
            if pin!(told).await.is_ok_and(|told| told.is_ok()) {
                return;
            }
            sleep(self.stream.nats.wait_before(usize::try_from(attempt).unwrap_or(2))).await;
        }
    }
}

impl State {
    fn remember(&mut self, key: Key, settled: Settled) {
        if self.settled.insert(key, settled).is_none() {
            self.settled_in_order.push_back(key);
        }
        if self.settled_in_order.len() > KNOWN_MAX
            && let Some(oldest) = self.settled_in_order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }

    /// Notes that the agent has failed on a message; how often it has.
    fn fail(&mut self, key: Key) -> u32 {
        let failures = self.failures.entry(key).or_insert(0);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        // What was settled elsewhere, or thrown away at the server, is never heard of again.
        if self.failures.len() > KNOWN_MAX {
            self.failures.pop_first();
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_messages_has_a_limit() {
        let mut state = State::default();
        let key = |sequence| Key { sequence, published: 7 };
        let many = u64::try_from(KNOWN_MAX).unwrap() + 5;
        for sequence in 0..many {
            assert_eq!(state.fail(key(sequence)), 1);
            state.remember(key(sequence), Settled::Handled);
            state.remember(key(sequence), Settled::Handled);
        }
        assert_eq!((state.failures.len(), state.settled.len()), (KNOWN_MAX, KNOWN_MAX));
        assert_eq!(state.settled_in_order.len(), KNOWN_MAX);
        assert_eq!(state.fail(key(many - 1)), 2, "the newest is known");
        assert_eq!(state.settled.get(&key(4)), None, "and the oldest is not");
    }
}
