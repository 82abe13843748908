//! The middle of it: what comes from the broker is given to whom it concerns.
//!
//! Everything is decided under one lock and done after it is gone. Nothing here waits: a full
//! mailbox or a slow agent never keeps the next message from being read (Z20), and bytes that
//! cannot be read are counted and harm nothing else (Z19).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use lictor_kernel::Instant;
use lictor_runtime::broker::{Broker, BrokerEvent, Subscription};
use lictor_runtime::transport::Frame;
use lictor_runtime::{AgentRef, Executor, Message, ReplyFailure, Runtime, Value};
use lictor_wire::{Map, Message as Wire};

use crate::calls::{Asker, Calls};
use crate::codec::{Codec, Heard, Rejected, from_payload, natural, text, to_payload};
use crate::config::{CivitasConfig, CivitasCounters, CivitasError};
use crate::fleet::{Announcement, End, Fleet, Pulse, Told};
use crate::remote::{Remote, RemoteMessage};
use crate::stream::Sink;

/// Where announcements are made.
pub(crate) const REGISTER: &str = "_agency.register";
/// Where they are taken back.
pub(crate) const DEREGISTER: &str = "_agency.deregister";
/// Where every worker listens for orders to start an agent anew.
pub(crate) const RESTART: &str = "_agency.worker.restart";

pub(crate) struct Hub {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) codec: Codec,
    pub(crate) config: CivitasConfig,
    /// `_reply.<uuid>.`: one subscription for all answers.
    pub(crate) replies: Arc<str>,
    /// Where we answer probes.
    pub(crate) health: Arc<str>,
    state: Mutex<State>,
    pub(crate) counters: Counters,
}

/// What changes.
pub(crate) struct State {
    pub(crate) fleet: Fleet,
    calls: Calls,
    /// The agents of ours that stand for foreign ones.
    pub(crate) remotes: BTreeMap<Arc<str>, Proxy>,
    /// Which runtime's agents are offered.
    pub(crate) served: Option<Runtime>,
    /// Its events are followed.
    pub(crate) is_followed: bool,
    /// Wakes what follows a runtime.
    pub(crate) follower: Option<Waker>,
    /// Which of them are announced, in which life.
    pub(crate) offered: BTreeMap<Arc<str>, u64>,
    pub(crate) ready: bool,
    pub(crate) waiting: usize,
    /// Wakes what keeps the deadlines.
    pub(crate) clock: Option<Waker>,
    /// What was asked of each process that is asked by address, by correlation id.
    probes: BTreeMap<String, (Arc<str>, u64, bool)>,
}

/// An agent of ours that stands for a foreign one.
#[derive(Default)]
pub(crate) struct Proxy {
    /// The last life that was used.
    pub(crate) used: u64,
    /// Who waits for a life that was not.
    pub(crate) waker: Option<Waker>,
    /// The incarnation that uses one now.
    pub(crate) user: Option<AgentRef<Remote>>,
}

macro_rules! counters {
    ($($name:ident)*) => {
        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> CivitasCounters {
                CivitasCounters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    received sent malformed unsigned unsent late expired undelivered disobeyed unannounced dropped
);

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Probes whose answers may be outstanding; beyond it the oldest ids are forgotten.
const PROBES_MAX: usize = 1 << 12;

/// What is said in place of an answer that no message can carry, or for which the broker has no
/// room.
const UNSENT: &str = "the answer cannot be sent: it is too large, too deep, or the broker is full";

impl Hub {
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        broker: Arc<dyn Broker>,
        codec: Codec,
        config: CivitasConfig,
    ) -> Result<Arc<Self>, CivitasError> {
        lictor_runtime::broker::check_address(&config.node).map_err(CivitasError::Node)?;
        if config.announce_every.is_zero() {
            return Err(CivitasError::AnnounceEvery);
        }
        let fleet = Fleet::new(config.fleet).map_err(CivitasError::Detector)?;
        let id = codec.uuid().ok_or(CivitasError::Entropy)?;
        let (replies, health): (Arc<str>, Arc<str>) =
            (format!("_reply.{id}.").into(), format!("_agency.worker.{id}.health").into());
        let wanted = [
            Subscription::below(Arc::clone(&replies)),
            Subscription::address(Arc::clone(&health)),
            Subscription::address(REGISTER),
            Subscription::address(DEREGISTER),
            Subscription::address(RESTART),
        ];
        for wanted in wanted {
            broker.subscribe(wanted).map_err(CivitasError::Subscribe)?;
        }
        let state = State {
            fleet,
            calls: Calls::default(),
            remotes: BTreeMap::new(),
            served: None,
            is_followed: false,
            follower: None,
            offered: BTreeMap::new(),
            ready: false,
            waiting: 0,
            clock: None,
            probes: BTreeMap::new(),
        };
        let (state, counters) = (Mutex::new(state), Counters::default());
        Ok(Arc::new(Self { executor, broker, codec, config, replies, health, state, counters }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the broker says. Never blocks.
    pub(crate) fn hear(self: &Arc<Self>, event: BrokerEvent) -> bool {
        match event {
            BrokerEvent::Ready => {
                self.state().ready = true;
                self.tell(|state, told| state.fleet.reconnected(told));
                self.announce_all();
            }
            BrokerEvent::Lost(_) => self.state().ready = false,
            BrokerEvent::Dropped(dropped) => {
                self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
            BrokerEvent::Message { address, frame } => self.message(&address, &frame),
        }
        true
    }

    fn message(self: &Arc<Self>, address: &str, frame: &Frame) {
        let Heard { message, is_sure } = match self.codec.decode(address, frame.as_bytes()) {
            Ok(heard) => heard,
            Err(rejected) => {
                count(match &rejected {
                    Rejected::Malformed(_) => &self.counters.malformed,
                    Rejected::Unsigned(_) => &self.counters.unsigned,
                });
                tracing::debug!(target: "lictor", address, "{rejected}");
                return;
            }
        };
        if self.is_own(&message) {
            return;
        }
        count(&self.counters.received);
        if let Some(key) = address.strip_prefix(&*self.replies) {
            return self.answered(key, message);
        }
        let may_order = is_sure && self.may_order(&message);
        match address {
            REGISTER => self.registered(&message),
            DEREGISTER => self.deregistered(&message),
            RESTART => self.ordered(&message, may_order),
            _ if *address == *self.health => self.probed(&message),
            _ => self.serve(address, message, may_order),
        }
    }

    /// What we say at a common address comes back to us.
    fn is_own(&self, message: &Wire) -> bool {
        message.sender == *self.config.node && matches!(&*message.recipient, REGISTER | DEREGISTER)
    }

    fn registered(&self, message: &Wire) {
        let heard = text(&message.payload, "name").and_then(|name| {
            lictor_runtime::broker::check_address(name).ok()?;
            // The plumbing of a worker is announced like agents (`_agency.worker.restart`).
            (!name.starts_with('_')).then_some(name)
        });
        let (Some(name), Some(epoch)) = (heard, natural(&message.payload, "epoch")) else {
            return;
        };
        let channel = text(&message.payload, "health_channel").filter(|text| !text.is_empty());
        let heard = Announcement {
            name: name.into(),
            channel: channel.map(Arc::from),
            epoch,
            capabilities: texts(&message.payload, "capabilities"),
        };
        let now = self.executor.now();
        let refused = self.tell(|state, told| state.fleet.announced(now, heard, told).is_err());
        if refused {
            count(&self.counters.unannounced);
        }
    }

    fn deregistered(&self, message: &Wire) {
        let (Some(name), Some(epoch)) =
            (text(&message.payload, "name"), natural(&message.payload, "epoch"))
        else {
            return;
        };
        let now = self.executor.now();
        self.tell(|state, told| state.fleet.withdrawn(now, name, epoch, told));
    }

    fn answered(self: &Arc<Self>, key: &str, message: Wire) {
        let correlation = message.correlation_id.as_deref();
        let (probe, asker, sink) = {
            let mut state = self.state();
            let probe = correlation.and_then(|id| state.probes.remove(id));
            let is_frame = message.kind.starts_with("civitas.stream.");
            let sink = if is_frame { state.calls.stream(key, correlation) } else { None };
            let asker =
                if probe.is_some() || is_frame { None } else { state.calls.take(key, correlation) };
            (probe, asker, sink)
        };
        match (probe, asker, sink) {
            (Some((address, number, is_agent)), _, _) => {
                self.pulses(&address, number, is_agent, &message.payload);
            }
            (None, Some(asker), _) => self.answer(asker, message.payload),
            (None, None, Some(sink)) => frame(&sink, message),
            (None, None, None) => count(&self.counters.late),
        }
    }

    fn answer(&self, asker: Asker, payload: Map) {
        match (asker, from_payload(payload)) {
            // An asker that has given up is no fault.
            (Asker::Reply(reply_to), Ok(value)) => drop(reply_to.send(value)),
            (Asker::Reply(reply_to), Err(_)) => drop(reply_to.fail(ReplyFailure::Unencodable)),
            // An agent that answers instead of streaming: one chunk.
            (Asker::Stream(sink), Ok(value)) => {
                sink.push(None, value);
                sink.finish(None);
            }
            (Asker::Stream(sink), Err(why)) => sink.fail(&why),
        }
    }

    fn pulses(&self, address: &str, number: u64, is_agent: bool, payload: &Map) {
        let pulses = if is_agent {
            BTreeMap::from([(Arc::from(address), Pulse::Lives)])
        } else {
            pulses_of(payload)
        };
        let now = self.executor.now();
        self.tell(|state, told| state.fleet.answered(now, address, number, &pulses, told));
    }

    /// Lets something change what is known, and does what follows from it.
    pub(crate) fn tell<R>(&self, change: impl FnOnce(&mut State, &mut Vec<Told>) -> R) -> R {
        let mut told = Vec::new();
        let (result, clock) = {
            let mut state = self.state();
            let result = change(&mut state, &mut told);
            (result, state.clock.take())
        };
        if let Some(clock) = clock {
            clock.wake();
        }
        for told in told {
            match told {
                Told::Probe { address, is_agent, number } => self.probe(address, is_agent, number),
                Told::Alive { name, .. } => self.alive(&name),
                Told::Ended { name, life, end } => self.ended(&name, life, end),
            }
        }
        result
    }

    fn alive(&self, name: &str) {
        let waker = {
            let mut state = self.state();
            state.remotes.get_mut(name).and_then(|proxy| proxy.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn ended(&self, name: &str, life: u64, end: End) {
        let (user, lost, waker) = {
            let mut state = self.state();
            let lost = state.calls.take_to(name);
            let proxy = state.remotes.get_mut(name);
            let (user, waker) = proxy.map_or((None, None), |proxy| {
                let is_used = proxy.used == life;
                (is_used.then(|| proxy.user.clone()).flatten(), proxy.waker.take())
            });
            (user, lost, waker)
        };
        let failure = match end {
            End::Lost => ReplyFailure::NoConnection,
            End::Crashed | End::Restarted | End::Replaced => ReplyFailure::Crashed,
            End::Withdrawn => ReplyFailure::Stopped,
        };
        lost.into_iter().for_each(|asker| asker.fail(failure));
        if let Some(user) = user.filter(|_| end != End::Restarted) {
            // If its mailbox is full, the next message that it handles tells it.
            drop(user.try_send(RemoteMessage::Ended(life, end)));
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn probe(&self, address: Arc<str>, is_agent: bool, number: u64) {
        let kind = if is_agent { "_agency.heartbeat" } else { "_agency.health_probe" };
        let Some(correlation) = self.codec.uuid().map(|id| id.to_string()) else { return };
        {
            let mut state = self.state();
            if state.probes.len() >= PROBES_MAX {
                state.probes.pop_first();
            }
            state.probes.insert(correlation.clone(), (Arc::clone(&address), number, is_agent));
        }
        let reply_to = format!("{}{correlation}", self.replies);
        self.send(&address, |wire| {
            wire.kind = kind.to_owned();
            wire.correlation_id = Some(correlation);
            wire.reply_to = Some(reply_to);
            wire.priority = i64::from(is_agent);
        });
    }

    /// Sends a message of this node; says whether the broker took it.
    pub(crate) fn send(&self, to: &str, fill: impl FnOnce(&mut Wire)) -> bool {
        let Some(fresh) = self.codec.fresh() else {
            count(&self.counters.unsent);
            return false;
        };
        let mut wire = Wire::new(fresh, "message", Map::new()).between(&*self.config.node, to);
        fill(&mut wire);
        let sent = self
            .codec
            .encode(&wire)
            .and_then(|frame| self.broker.publish(to, frame).map_err(|error| error.to_string()));
        match sent {
            Ok(()) => count(&self.counters.sent),
            Err(error) => {
                count(&self.counters.unsent);
                tracing::debug!(target: "lictor", to, kind = %wire.kind, "not sent: {error}");
                return false;
            }
        }
        true
    }

    /// Sends a message of ours to a foreign agent. What cannot be sent is counted, and whoever
    /// asked is told at once; says whether it was sent.
    pub(crate) fn forward(&self, name: &Arc<str>, mut message: Message) -> bool {
        let reply_to = message.take_reply_to();
        let payload = match to_payload(message.take_payload()) {
            Ok(payload) => payload,
            Err(error) => {
                count(&self.counters.unsent);
                tracing::debug!(target: "lictor", to = &**name, "not sent: {error}");
                if let Some(reply_to) = reply_to {
                    reply_to.fail(ReplyFailure::Unencodable);
                }
                return false;
            }
        };
        let call = match reply_to.map(|reply_to| self.begin(name, Asker::Reply(reply_to))) {
            None => None,
            Some(Ok(call)) => Some(call),
            Some(Err(asker)) => {
                count(&self.counters.unsent);
                asker.fail(ReplyFailure::Refused);
                return false;
            }
        };
        let sent = self.send(name, |wire| {
            wire.kind = message.kind().to_owned();
            wire.payload = payload;
            if let Some(sender) = message.sender() {
                wire.sender = sender.to_owned();
            }
            if let Some((key, correlation)) = &call {
                wire.reply_to = Some(format!("{}{key}", self.replies));
                wire.correlation_id = Some(correlation.clone());
            }
        });
        if let (false, Some((key, _))) = (sent, call) {
            let asker = self.state().calls.end(&key);
            if let Some(asker) = asker {
                asker.fail(ReplyFailure::NoConnection);
            }
        }
        sent
    }

    /// Opens a question: the last part of its address, and its correlation id.
    pub(crate) fn begin(&self, to: &Arc<str>, asker: Asker) -> Result<(String, String), Asker> {
        let (Some(key), Some(correlation)) = (self.codec.uuid(), self.codec.uuid()) else {
            return Err(asker);
        };
        let (key, correlation) = (key.to_string(), correlation.to_string());
        let limit = self.config.calls;
        let mut state = self.state();
        state.calls.begin(limit, key.clone(), correlation.clone(), Arc::clone(to), asker)?;
        Ok((key, correlation))
    }

    /// Forgets a stream; a producer that is named is told to stop.
    pub(crate) fn end_stream(&self, key: &str, producer: Option<(&Arc<str>, &String)>) {
        drop(self.state().calls.end(key));
        if let Some((producer, correlation)) = producer {
            self.send(producer, |wire| {
                wire.kind = "civitas.stream.cancel".to_owned();
                wire.correlation_id = Some(correlation.clone());
            });
        }
    }

    /// Our questions to foreign agents that are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.state().calls.len()
    }

    /// Whether the sender of a message may give orders to our agents.
    fn may_order(&self, message: &Wire) -> bool {
        self.config.obey.iter().any(|trusted| **trusted == *message.sender)
    }

    /// When something must be done next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.state().fleet.poll_timeout()
    }
}

/// What an answer to a health probe says of each agent.
fn pulses_of(payload: &Map) -> BTreeMap<Arc<str>, Pulse> {
    let Some(lictor_wire::Value::Map(agents)) = payload.get("agents") else {
        return BTreeMap::new();
    };
    let pulse = |value: &lictor_wire::Value| {
        let lictor_wire::Value::Map(agent) = value else { return Pulse::Dead };
        let has_ended = agent.get("task_alive") == Some(&lictor_wire::Value::Bool(false));
        let is_crashed = text(agent, "status") == Some("CRASHED");
        if has_ended || is_crashed { Pulse::Dead } else { Pulse::Lives }
    };
    agents.iter().map(|(name, value)| (Arc::from(name), pulse(value))).collect()
}

/// The texts of a list.
fn texts(payload: &Map, key: &str) -> Vec<String> {
    let Some(lictor_wire::Value::List(list)) = payload.get(key) else { return Vec::new() };
    let texts: BTreeSet<&str> = list
        .iter()
        .filter_map(|value| match value {
            lictor_wire::Value::Text(text) => Some(&**text),
            lictor_wire::Value::Null
            | lictor_wire::Value::Bool(_)
            | lictor_wire::Value::Int(_)
            | lictor_wire::Value::Float(_)
            | lictor_wire::Value::Bytes(_)
            | lictor_wire::Value::List(_)
            | lictor_wire::Value::Map(_) => None,
        })
        .collect();
    texts.into_iter().map(str::to_owned).collect()
}

/// A frame of a stream.
fn frame(sink: &Sink, message: Wire) {
    let number = message.seq.and_then(|number| u64::try_from(number).ok());
    match &*message.kind {
        "civitas.stream.chunk" => match from_payload(message.payload) {
            Ok(chunk) => sink.push(number, chunk),
            Err(why) => sink.fail(&why),
        },
        "civitas.stream.end" => sink.finish(number),
        "civitas.stream.error" => {
            sink.fail(text(&message.payload, "error").unwrap_or("stream error"));
        }
        // Credit is reserved in civitas and never sent.
        _ => {}
    }
}

/// Where the answer of an agent of ours goes.
pub(crate) struct Back {
    pub(crate) to: String,
    pub(crate) correlation: Option<String>,
    pub(crate) from: Arc<str>,
}

impl Hub {
    /// Answers a question of a foreign agent. A list is a stream: each of its elements a chunk.
    pub(crate) fn reply(&self, back: &Back, value: Value) {
        let is_stream = !back.to.starts_with("_reply.");
        match (is_stream, value) {
            (true, Value::Array(chunks)) => self.stream_out(back, chunks),
            (_, value) => self.reply_one(back, value),
        }
    }

    fn reply_one(&self, back: &Back, value: Value) {
        let sent = match to_payload(value) {
            Ok(payload) => self.send_back(back, "reply", payload, None),
            Err(_) => {
                count(&self.counters.unsent);
                false
            }
        };
        if !sent {
            self.fail(back, UNSENT);
        }
    }

    fn stream_out(&self, back: &Back, chunks: Vec<Value>) {
        let mut number = 0_i64;
        for chunk in chunks {
            let sent = match to_payload(chunk) {
                Ok(payload) => self.send_back(back, "civitas.stream.chunk", payload, Some(number)),
                Err(_) => {
                    count(&self.counters.unsent);
                    false
                }
            };
            if !sent {
                let why = Map::from([("error", UNSENT)]);
                self.send_back(back, "civitas.stream.error", why, Some(number));
                return;
            }
            number += 1;
        }
        self.send_back(back, "civitas.stream.end", Map::new(), Some(number));
    }

    /// Says that there is no answer, and why. civitas has no failed reply: this is how its own
    /// runtime says it.
    pub(crate) fn fail(&self, back: &Back, why: &str) {
        let payload = Map::from([("status", "error"), ("error", why)]);
        self.send_back(back, "reply", payload, None);
    }

    /// Says whether the broker took it.
    pub(crate) fn send_back(
        &self,
        back: &Back,
        kind: &str,
        payload: Map,
        seq: Option<i64>,
    ) -> bool {
        // An address that is none cannot be answered: dropped and counted (X7).
        self.send(&back.to, |wire| {
            wire.kind = kind.to_owned();
            wire.sender = back.from.to_string();
            wire.payload = payload;
            wire.correlation_id.clone_from(&back.correlation);
            wire.seq = seq;
        })
    }
}

impl Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("config", &self.config).finish_non_exhaustive()
    }
}
