//! A civitas process, played: it says what 0.12 says and as it says it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor::prelude::*;
use lictor::transport::Frame;
use lictor::{Executor, TokioExecutor};
use lictor_civitas::{Civitas, CivitasConfig, FleetConfig, Signing};
use lictor_runtime::conformance::Hub;
use lictor_wire::{Ambient, Fresh, Limits, Map, Message, UnixTime, Uuid, Value};

/// A clock that stands and numbers that count.
#[derive(Default, Debug)]
pub(crate) struct Ambience(AtomicU64);

impl Ambient for Ambience {
    fn unix_time(&self) -> UnixTime {
        UnixTime::from_millis(1_700_000_000_000)
    }

    fn nonce(&self) -> Option<[u8; 16]> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let mut nonce = [0; 16];
        nonce[2..10].copy_from_slice(&number.to_be_bytes());
        Some(nonce)
    }
}

pub(crate) fn on_paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
}

pub(crate) fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{what}: not in two minutes");
}

/// Our side: a part among civitas processes, that runs.
pub(crate) fn ours(hub: &Arc<Hub>, config: impl FnOnce(&mut CivitasConfig)) -> Civitas {
    ours_with(hub, config, None)
}

/// As [`ours`], with keys.
pub(crate) fn ours_with(
    hub: &Arc<Hub>,
    config: impl FnOnce(&mut CivitasConfig),
    signing: Option<Signing>,
) -> Civitas {
    let mut all = CivitasConfig::new("lictor");
    all.fleet = FleetConfig { interval: ms(500), timeout: ms(200), ..FleetConfig::default() };
    config(&mut all);
    let ambient = Arc::new(Ambience::default());
    let civitas = Civitas::new(executor(), hub.client(), ambient, all, signing).unwrap();
    tokio::spawn(civitas.run());
    civitas
}

pub(crate) struct Played {
    pub(crate) broker: Arc<dyn Broker>,
    heard: Arc<Mutex<VecDeque<Message>>>,
}

fn fresh() -> Fresh {
    let time = UnixTime::from_millis(1_700_000_000_000);
    Fresh { id: Uuid::v7(time, [7; 10]), timestamp: time.as_seconds() }
}

impl Played {
    pub(crate) fn new(hub: &Arc<Hub>, addresses: &[&str]) -> Self {
        let broker = hub.client();
        let heard: Arc<Mutex<VecDeque<Message>>> = Arc::default();
        let queue = Arc::clone(&heard);
        for address in addresses {
            broker.subscribe(Subscription::address(*address)).unwrap();
        }
        let run = Arc::clone(&broker).run(BrokerInbox::new(move |event| {
            if let BrokerEvent::Message { frame, .. } = event {
                // Garbage that a test publishes comes here, too.
                let read = Message::from_msgpack(frame.as_bytes(), &Limits::DEFAULT, fresh);
                queue.lock().unwrap().extend(read);
            }
            true
        }));
        tokio::spawn(run);
        Self { broker, heard }
    }

    pub(crate) fn take(&self) -> Option<Message> {
        self.heard.lock().unwrap().pop_front()
    }

    /// The next message of a type.
    pub(crate) async fn next(&self, kind: &str) -> Message {
        let mut found = None;
        until(kind, || {
            let mut heard = self.heard.lock().unwrap();
            let at = heard.iter().position(|message| message.kind == kind);
            found = at.and_then(|at| heard.remove(at));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) fn say(&self, to: &str, kind: &str, change: impl FnOnce(&mut Message)) {
        let mut message = Message::new(fresh(), kind, Map::new());
        message.recipient = to.to_owned();
        change(&mut message);
        let bytes = message.to_msgpack(&Limits::DEFAULT).unwrap();
        self.broker.publish(to, Frame::new(bytes)).unwrap();
    }

    pub(crate) fn announce(&self, name: &str, channel: &str) {
        self.say("_agency.register", "_agency.register", |message| {
            message.recipient = String::new();
            message.payload = Map::from([
                ("name", Value::from(name)),
                ("capabilities", Value::List(vec![Value::from("sum")])),
                ("capability_metadata", Value::Map(Map::new())),
                ("health_channel", Value::from(channel)),
            ]);
        });
    }
}

/// The channel of a worker that was started at this time.
pub(crate) fn channel(started: u8) -> String {
    format!("_agency.worker.018bcfe5-68{started:02x}-7000-8000-000000000001.health")
}

/// A worker with one agent, `w`, that answers everything with what it was sent, or crashes.
pub(crate) struct Worker {
    pub(crate) state: Arc<Mutex<WorkerState>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub(crate) struct WorkerState {
    pub(crate) crashed: bool,
    pub(crate) silent: bool,
    /// Starts after the first; beyond the limit orders are passed over.
    pub(crate) restarts: u32,
    pub(crate) max_restarts: u32,
    pub(crate) handled: Vec<String>,
    pub(crate) seen: BTreeMap<String, u32>,
}

impl Worker {
    pub(crate) fn start(hub: &Arc<Hub>, started: u8) -> Self {
        let channel = channel(started);
        let played = Played::new(hub, &["w", "_agency.worker.restart", &channel]);
        let initial = WorkerState { max_restarts: 3, ..WorkerState::default() };
        let state = Arc::new(Mutex::new(initial));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            tokio::task::yield_now().await;
            played.announce("w", &channel);
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                while let Some(message) = played.take() {
                    act(&played, &shared, &channel, &message);
                }
            }
        });
        Self { state, task }
    }

    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) fn handled(&self) -> usize {
        self.state.lock().unwrap().handled.len()
    }
}

fn act(played: &Played, state: &Mutex<WorkerState>, channel: &str, message: &Message) {
    let mut state = state.lock().unwrap();
    *state.seen.entry(message.kind.clone()).or_default() += 1;
    if state.silent {
        return;
    }
    let reply = |kind: &str, payload: Map| {
        let to = message.reply_to.clone().unwrap_or_else(|| message.sender.clone());
        played.say(&to, kind, |answer| {
            answer.sender = "w".to_owned();
            answer.payload = payload;
            answer.correlation_id.clone_from(&message.correlation_id);
        });
    };
    match &*message.kind {
        "_agency.health_probe" => {
            assert_eq!(message.recipient, channel);
            let agent = Map::from([
                ("status", Value::from(if state.crashed { "CRASHED" } else { "RUNNING" })),
                ("task_alive", Value::from(!state.crashed)),
                ("mailbox_depth", Value::from(0_u64)),
            ]);
            let agents = Map::from([("w", Value::Map(agent))]);
            reply("_agency.health_ack", Map::from([("agents", Value::Map(agents))]));
        }
        "_agency.restart" if state.restarts < state.max_restarts => {
            state.restarts += 1;
            state.crashed = false;
        }
        "_agency.restart" => {}
        _ if state.crashed => {}
        "Crash" => state.crashed = true,
        "stream" => {
            let correlation = message.correlation_id.clone();
            for (number, kind) in [(0, "chunk"), (1, "chunk"), (2, "end")] {
                let to = message.reply_to.clone().unwrap();
                played.say(&to, &format!("civitas.stream.{kind}"), |frame| {
                    frame.sender = "w".to_owned();
                    frame.seq = Some(number);
                    frame.payload = Map::from([("n", Value::from(number.unsigned_abs()))]);
                    frame.correlation_id.clone_from(&correlation);
                });
            }
        }
        kind => {
            state.handled.push(kind.to_owned());
            if message.reply_to.is_some() {
                reply("reply", message.payload.clone());
            }
        }
    }
}
