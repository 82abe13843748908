//! What the tests of the running runtime share: a worker that writes down what happens to it, and
//! waits on events instead of on time.
#![allow(dead_code, reason = "every test file uses another part of it")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{EventKind, Events};
use tokio::time::Instant;

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The lines that begin with this word.
    pub(crate) fn of(&self, word: &str) -> Vec<String> {
        let begin = format!("{word} ");
        self.lines().into_iter().filter(|line| line.starts_with(&begin)).collect()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| *l == line).count()
    }
}

/// How a [`Worker`] behaves.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) log: Log,
    pub(crate) start_takes: Duration,
    pub(crate) stop_takes: Duration,
    /// How many of the next starts fail.
    pub(crate) failing_starts: Arc<AtomicU32>,
    pub(crate) on_error: Option<ErrorAction>,
    /// Whether the state panics when it is dropped.
    pub(crate) bad_drop: bool,
}

impl Script {
    pub(crate) fn new(log: &Log) -> Self {
        Self { log: log.clone(), ..Self::default() }
    }

    pub(crate) fn start_takes(mut self, time: Duration) -> Self {
        self.start_takes = time;
        self
    }

    pub(crate) fn stop_takes(mut self, time: Duration) -> Self {
        self.stop_takes = time;
        self
    }

    pub(crate) fn on_error(mut self, action: ErrorAction) -> Self {
        self.on_error = Some(action);
        self
    }

    pub(crate) fn bad_drop(mut self) -> Self {
        self.bad_drop = true;
        self
    }

    /// The next starts of the worker fail.
    pub(crate) fn fail_starts(&self, count: u32) {
        self.failing_starts.store(count, Ordering::SeqCst);
    }

    pub(crate) fn worker(&self) -> impl Fn() -> Worker + Send + Sync + use<> {
        let script = self.clone();
        move || Worker { script: script.clone(), at: String::new(), seen: Vec::new() }
    }

    pub(crate) fn agent(&self, name: &str) -> AgentSpec {
        agent(name, self.worker())
    }
}

/// Writes down what happens to it: `start a#1`, `add a#1 7`, `stop a#1`.
pub(crate) struct Worker {
    script: Script,
    at: String,
    seen: Vec<u64>,
}

messages! {
    pub(crate) enum Order {
        /// Remember a number.
        Add(u64),
        /// The numbers that this incarnation has got.
        Seen -> Vec<u64>,
        /// Panic.
        Panic,
        /// Return an error.
        Fail,
        /// Return an error, and remember the number.
        FailOn(u64),
        /// Take so many milliseconds.
        Sleep(u64),
        /// A question that crashes the worker.
        AskPanic -> u64,
        /// A question that is answered after so many milliseconds.
        AskSleep(u64) -> u64,
        /// A question that is not answered.
        AskNothing -> u64,
        /// End normally.
        Finish,
        /// Block the thread for so many milliseconds of real time.
        Block(u64),
    }
}

impl Agent for Worker {
    type Message = Order;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.at = format!("{}#{}", cx.name(), cx.incarnation());
        if !self.script.start_takes.is_zero() {
            tokio::time::sleep(self.script.start_takes).await;
        }
        let left = &self.script.failing_starts;
        let fails = left.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            self.script.log.say(format!("fail {}", self.at));
            return Err(AgentError::new("the start was to fail"));
        }
        self.script.log.say(format!("start {}", self.at));
        Ok(())
    }

    async fn handle(&mut self, message: Order, cx: &mut Context<Self>) -> Handled {
        match message {
            Order::Add(Add(number)) => {
                self.seen.push(number);
                self.script.log.say(format!("add {} {number}", self.at));
            }
            Order::Seen(Seen, reply) => drop(reply.send(self.seen.clone())),
            Order::Panic(Panic) => panic!("as asked"),
            Order::Fail(Fail) => return Err(AgentError::new("as asked")),
            Order::FailOn(FailOn(number)) => {
                self.script.log.say(format!("try {} {number}", self.at));
                return Err(AgentError::new("as asked"));
            }
            Order::Sleep(Sleep(time)) => {
                self.script.log.say(format!("sleep {}", self.at));
                tokio::time::sleep(ms(time)).await;
            }
            Order::AskPanic(AskPanic, _reply) => panic!("while asked"),
            Order::AskSleep(AskSleep(time), reply) => {
                self.script.log.say(format!("asked {}", self.at));
                tokio::time::sleep(ms(time)).await;
                if !reply.send(time) {
                    self.script.log.say(format!("late {}", self.at));
                }
            }
            Order::AskNothing(AskNothing, reply) => drop(reply),
            Order::Finish(Finish) => cx.stop(),
            Order::Block(Block(time)) => {
                self.script.log.say(format!("block {}", self.at));
                std::thread::sleep(ms(time));
            }
        }
        Ok(())
    }

    fn on_error(&mut self, _error: &AgentError, _attempt: u32) -> ErrorAction {
        self.script.on_error.unwrap_or(ErrorAction::Escalate)
    }

    async fn stop(&mut self, _cx: &mut Context<Self>) {
        if !self.script.stop_takes.is_zero() {
            tokio::time::sleep(self.script.stop_takes).await;
        }
        self.script.log.say(format!("stop {}", self.at));
    }

    fn on_suspend(&mut self, reason: &str) {
        self.script.log.say(format!("suspend {} {reason}", self.at));
    }

    fn on_resume(&mut self, approver: &str) {
        self.script.log.say(format!("resume {} {approver}", self.at));
    }

    fn on_child_terminated(&mut self, child: &str, reason: &str) {
        self.script.log.say(format!("told {} {child} {reason}", self.at));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.script.log.say(format!("gone {}", self.at));
        assert!(!self.script.bad_drop || std::thread::panicking(), "a state that is hard to drop");
    }
}

/// A root that restarts at once and for ever.
pub(crate) fn patient(strategy: lictor::Strategy) -> Supervisor {
    Supervisor::with_strategy("root", strategy).max_restarts(u32::MAX, secs(1)).backoff(NONE)
}

/// A one-for-one root that restarts at once and for ever.
pub(crate) fn root() -> Supervisor {
    patient(lictor::Strategy::OneForOne)
}

pub(crate) const NONE: Backoff = Backoff::NONE;

pub(crate) fn runtime() -> Runtime {
    Runtime::current().unwrap()
}

pub(crate) fn runtime_with(config: RuntimeConfig) -> Runtime {
    Runtime::current_with(config).unwrap()
}

/// A runtime that knows the type `worker`.
pub(crate) fn with_types(script: &Script) -> RuntimeConfig {
    let script = script.clone();
    let types = AgentTypes::new().with("worker", move |_| Ok(script.worker()));
    RuntimeConfig { types, ..RuntimeConfig::default() }
}

/// The first event that fits.
pub(crate) async fn until(
    events: &mut Events,
    mut fits: impl FnMut(&EventKind) -> bool,
) -> EventKind {
    loop {
        let event = events.next().await.expect("the runtime ended before the event came");
        if fits(&event.kind) {
            return event.kind;
        }
    }
}

pub(crate) async fn started(events: &mut Events, name: &str, incarnation: u64) {
    until(events, |kind| {
        matches!(kind, EventKind::Started { name: n, incarnation: i }
            if &**n == name && *i == incarnation)
    })
    .await;
}

/// All events that are there.
pub(crate) fn drain(events: &mut Events) -> Vec<EventKind> {
    std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect()
}

/// What a future gives and how long it takes, in whole milliseconds of the clock.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, u128) {
    let begin = Instant::now();
    let output = future.await;
    (output, begin.elapsed().as_millis())
}

/// Lets everything that is ready run.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn info(runtime: &Runtime, name: &str) -> lictor::AgentInfo {
    let agents = runtime.agents();
    agents.into_iter().find(|agent| &*agent.name == name).expect("an agent of this name")
}

/// What was accepted is handled, dead or queued; nothing is in hand.
pub(crate) fn assert_conserved(runtime: &Runtime) {
    for agent in runtime.agents() {
        assert_eq!(
            agent.accepted,
            agent.handled + agent.dead_letters + agent.queued,
            "accepted = handled + dead + queued: {agent:?}"
        );
    }
}
