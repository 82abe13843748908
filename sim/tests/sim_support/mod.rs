//! Agents that write down what happens to them, and a ledger that judges it at once.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{AgentTypes, Instant, Runtime, messages};
use lictor_sim::Sim;
use lictor_sim::stream::{Purpose, Streams};

messages! {
    pub(crate) enum Order {
        Note(u64, u64),
        Echo(u64) -> u64,
        Relay(String, u64) -> u64,
        Nap(u64),
        Panic,
        Fail,
        Finish,
        Spawn(String),
        Keep -> u64,
        Tick(u64),
    }
}

/// What has happened, and the first thing that must not have.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default, Debug)]
pub(crate) struct Book {
    live: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
    notes: BTreeMap<(String, u64), u64>,
    next_call: u64,
    /// Calls that have not ended, and when they have to.
    pub(crate) calls: BTreeMap<u64, (Instant, String)>,
    pub(crate) answered: u64,
    whims: u64,
    pub(crate) broken: Option<String>,
    /// How many trees have been made. A runtime whose start has failed may start another, though
    /// one that blocks its thread is left of the first.
    pub(crate) trees: u64,
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// A call that must have ended by then.
    pub(crate) fn call(&self, until: Instant, what: String) -> Call {
        let mut book = self.book();
        let id = book.next_call;
        book.next_call += 1;
        book.calls.insert(id, (until, what));
        drop(book);
        Call(self.clone(), id)
    }
}

/// Ends when it is dropped: answered, failed or cancelled.
pub(crate) struct Call(Ledger, u64);

impl Drop for Call {
    fn drop(&mut self) {
        let mut book = self.0.book();
        book.calls.remove(&self.1);
        book.answered += 1;
    }
}

impl Book {
    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }
}

/// How a worker behaves.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    /// The name and the number of the tree.
    life: String,
    pub(crate) ledger: Ledger,
    pub(crate) start_nap: u64,
    pub(crate) stop_nap: u64,
    /// How often in a thousand it panics where it may: in its factory, its hooks, its destructor.
    pub(crate) whims: u64,
    pub(crate) on_error: Option<ErrorAction>,
    /// The name is free when it is gone, and counts anew.
    pub(crate) dynamic: bool,
}

impl Script {
    pub(crate) fn new(name: &str, ledger: &Ledger) -> Self {
        Self {
            name: name.to_owned(),
            life: format!("{name} of tree {}", ledger.book().trees),
            ledger: ledger.clone(),
            start_nap: 0,
            stop_nap: 0,
            whims: 0,
            on_error: None,
            dynamic: false,
        }
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker { script: self.clone(), incarnation: None, kept: None, stopped: false }
    }

    pub(crate) fn agent(&self) -> AgentSpec {
        let script = self.clone();
        agent(self.name.clone(), move || {
            script.may_panic();
            script.worker()
        })
    }

    fn whim(&self) -> bool {
        if self.whims == 0 {
            return false;
        }
        let mut book = self.ledger.book();
        book.whims += 1;
        Dice(Streams::new(9), book.whims).below(1_000) < self.whims
    }

    fn may_panic(&self) {
        if self.whim() {
            quiet_panic();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    script: Script,
    incarnation: Option<u64>,
    kept: Option<ReplyTo<u64>>,
    stopped: bool,
}

/// Panics without a trace on the terminal.
pub(crate) fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

impl Agent for Worker {
    type Message = Order;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        let (name, at) = (self.script.life.clone(), cx.incarnation());
        self.incarnation = Some(at);
        {
            let mut book = self.script.ledger.book();
            // Invariant: S1 (one live incarnation, strictly increasing)
            if let Some(other) = book.live.insert(name.clone(), at) {
                book.breaks(format!("S1: {name}: {at} starts while {other} lives"));
            }
            let last = book.last.insert(name.clone(), at);
            if let Some(last) = last.filter(|last| *last >= at && !self.script.dynamic) {
                book.breaks(format!("S1: {name}: {at} starts after {last}"));
            }
        }
        drop(cx.send_after(ms(50), Tick(at)));
        if self.script.start_nap > 0 {
            cx.sleep(ms(self.script.start_nap)).await;
        }
        if self.script.whim() {
            return Err(AgentError::new("a start that fails"));
        }
        self.script.may_panic();
        Ok(())
    }

    async fn handle(&mut self, order: Order, cx: &mut Context<Self>) -> Handled {
        // Invariant: S2 (nothing for one that has stopped)
        if self.stopped {
            let text = format!("S2: {} gets {order:?} after its stop", self.script.name);
            self.script.ledger.book().breaks(text);
        }
        match order {
            Order::Note(Note(client, number)) => {
                let mut book = self.script.ledger.book();
                let name = self.script.name.clone();
                // Invariant: S11 (first in, first out for each pair, over restarts too)
                let last = book.notes.insert((name.clone(), client), number);
                if last.is_some_and(|last| last >= number) {
                    book.breaks(format!("S11: {name}: {client} said {number} after {last:?}"));
                }
            }
            Order::Echo(Echo(number), reply) => drop(reply.send(number)),
            Order::Relay(Relay(to, number), reply) => {
                let next = cx.agent::<Self>(&to)?;
                match next.ask(Echo(number), ms(40)).await {
                    Ok(number) => drop(reply.send(number)),
                    Err(_) => drop(reply),
                }
            }
            Order::Nap(Nap(time)) => cx.sleep(ms(time)).await,
            Order::Panic(Panic) => quiet_panic(),
            Order::Fail(Fail) => return Err(AgentError::new("told to fail")),
            Order::Finish(Finish) => cx.stop(),
            Order::Spawn(Spawn(name)) => drop(cx.spawn("worker", &name, Value::Null).await),
            Order::Keep(Keep, reply) => self.kept = Some(reply),
            Order::Tick(Tick(at)) => {
                // Invariant: S8 (no timer of a dead incarnation acts)
                if at != cx.incarnation() {
                    let name = &self.script.name;
                    let text = format!("S8: {name}: tick of {at} in {}", cx.incarnation());
                    self.script.ledger.book().breaks(text);
                }
            }
        }
        Ok(())
    }

    fn on_error(&mut self, _: &AgentError, _: u32) -> ErrorAction {
        self.script.may_panic();
        self.script.on_error.unwrap_or(ErrorAction::Escalate)
    }

    fn on_suspend(&mut self, _: &str) {
        self.script.may_panic();
    }

    fn on_resume(&mut self, _: &str) {
        self.script.may_panic();
    }

    fn on_child_terminated(&mut self, _: &str, _: &str) {
        self.script.may_panic();
    }

    async fn stop(&mut self, cx: &mut Context<Self>) {
        self.stopped = true;
        self.script.may_panic();
        if self.script.stop_nap > 0 {
            cx.sleep(ms(self.script.stop_nap)).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(at) = self.incarnation else { return };
        let mut book = self.script.ledger.book();
        if book.live.remove(&self.script.life) != Some(at) {
            let text = format!("S1: {} {at} goes and was not there", self.script.name);
            book.breaks(text);
        }
        drop(book);
        if !std::thread::panicking() {
            self.script.may_panic();
        }
    }
}

/// The type `worker`, for dynamic children.
pub(crate) fn types(ledger: &Ledger) -> AgentTypes {
    let ledger = ledger.clone();
    AgentTypes::new().with("worker", move |setup| {
        let script = Script { dynamic: true, ..Script::new(&setup.name, &ledger) };
        Ok(move || script.worker())
    })
}

/// What must hold whatever happens.
pub(crate) fn judge(sim: &mut Sim, ledger: &Ledger, slack: Duration) {
    let book = ledger.clone();
    sim.always("what the agents have seen", move |_| {
        book.book().broken.clone().map_or(Ok(()), Err)
    });
    let book = ledger.clone();
    sim.always("L4 every call ends by its deadline", move |view| {
        let now = view.now();
        let book = book.book();
        let late = book.calls.values().find(|(until, _)| until.saturating_add(slack) < now);
        late.map_or(Ok(()), |(until, what)| Err(format!("{what} until {until:?}")))
    });
    sim.always("S13 queues are bounded", |view| {
        view.agents().iter().all(|agent| agent.queued <= 1_001)
    });
}

/// All draws of one scenario.
#[derive(Clone, Copy)]
pub(crate) struct Dice(Streams, u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Streams::new(seed), 0)
    }

    /// The next draw, below `bound`.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.1 += 1;
        self.0.below(Purpose::User, 0, self.1, bound)
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// The runtime's handle on a clock.
pub(crate) fn after(runtime: &Runtime, time: Duration) -> Instant {
    runtime.now().saturating_add(time)
}
