//! Operations to count the instructions of: `count WHAT TIMES` does one of them so often.
//!
//! `.ci/instructions` runs it under callgrind for two numbers of times and divides the difference,
//! so that neither the start of the process nor the making of the world is counted.
#![allow(missing_docs, reason = "a program")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use lictor::prelude::*;
use lictor_kernel::{
    ChildId, ChildSpec, ExitReason, Instant, Intensity, Supervisor as Machine, supervisor,
};
use lictor_runtime::Protocol;
use lictor_runtime::directory::Directory;
use lictor_runtime::mailbox::{Accept, Lane, Mailbox, MailboxConfig, Popped};
use lictor_runtime::reply::reply_slot;
use tokio::runtime::Builder;

#[derive(Default)]
struct Counter(u64);

messages! { enum CounterMessage { Add(u64), Get -> u64, Fail } }

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
            CounterMessage::Fail(Fail) => return Err("as you wish".into()),
        }
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let times = arguments.get(2).and_then(|times| times.parse().ok());
    let (Some(what), Some(times)) = (arguments.get(1), times) else { return ExitCode::FAILURE };
    match what.as_str() {
        "kernel_restart" => kernel_restart(times),
        "mailbox_push_pop" => mailbox_push_pop(times),
        "call_round_trip" => call_round_trip(times),
        "route" => route(times),
        "encode_decode" => encode_decode(times),
        "tell" => block_on(tell(times)),
        "ask" => block_on(ask(times)),
        "restart" => block_on(restart(times)),
        "start_stop" => block_on(start_stop(times)),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// The decision about a crash, and the news that the child is up again.
fn kernel_restart(times: usize) {
    let config = supervisor::Config {
        intensity: Intensity { max_restarts: 10, period: Duration::from_millis(1) },
        backoff: Backoff::NONE,
        ..supervisor::Config::default()
    };
    let spec = ChildSpec { restart: Restart::Permanent, ..ChildSpec::worker() };
    let mut machine = Machine::new(config, &[(ChildId(1), spec)]).expect("a good supervisor");
    let mut actions = Vec::with_capacity(64);
    machine.start(Instant::ZERO, &mut actions);
    for at in 1..=times as u64 {
        let now = Instant::from_nanos(at * 1_000_000);
        let start = actions.iter().rev().find_map(|action| match action {
            supervisor::Action::Start { pid } => Some(*pid),
            supervisor::Action::Signal { .. }
            | supervisor::Action::Ready
            | supervisor::Action::Removed { .. }
            | supervisor::Action::Exit { .. }
            | supervisor::Action::Report(_) => None,
        });
        let pid = start.expect("it is started");
        machine.handle(now, supervisor::Event::Started { pid }, &mut actions);
        actions.clear();
        let crash = supervisor::Event::Exited { pid, reason: ExitReason::Crashed };
        machine.handle(now, black_box(crash), &mut actions);
    }
}

/// One message through a mailbox, without an agent.
fn mailbox_push_pop(times: usize) {
    let mailbox: Mailbox<u8, u64> = Mailbox::new(MailboxConfig::default());
    for at in 0..times as u64 {
        assert_eq!(mailbox.try_push(Lane::Normal, black_box(at)), Ok(None));
        assert_eq!(mailbox.try_pop(Accept::All), Some(Popped::Message(Lane::Normal, at)));
    }
}

/// A question from its slot to its answer, without a mailbox.
fn call_round_trip(times: usize) {
    let mut cx = TaskContext::from_waker(Waker::noop());
    for at in 0..times as u64 {
        let (reply_to, reply) = reply_slot();
        let mut reply = std::pin::pin!(reply);
        let hand = reply_to.in_hand();
        assert!(reply.as_mut().poll(&mut cx).is_pending());
        assert_eq!(reply_to.send(black_box(at)), Ok(()));
        hand.release(None);
        assert!(reply.as_mut().poll(&mut cx).is_ready());
    }
}

/// The look-up of one of 1000 names.
fn route(times: usize) {
    let directory = Directory::new();
    let names: Vec<Arc<str>> = (0..1000).map(|at| format!("agent-{at}").into()).collect();
    for name in &names {
        assert!(directory.insert(Arc::clone(name), Arc::new(0_u8)).is_ok());
    }
    for name in names.iter().cycle().take(times) {
        assert!(black_box(directory.get(name)).is_some());
    }
}

/// A typed message to its raw form and back.
fn encode_decode(times: usize) {
    for at in 0..times as u64 {
        let raw = CounterMessage::from(Add(black_box(at))).encode().expect("it can be JSON");
        assert!(black_box(CounterMessage::decode(raw)).is_ok());
    }
}

fn block_on(task: impl Future<Output = ()> + Send + 'static) {
    let tokio = Builder::new_current_thread().enable_all().build().expect("a runtime");
    // As a task: tokio wakes what it blocks on by a system call.
    tokio.block_on(tokio.spawn(task)).expect("it does not panic");
}

async fn tree(agents: usize) -> Tree {
    let mut root =
        Supervisor::one_for_one("root").max_restarts(u32::MAX, secs(1)).backoff(Backoff::NONE);
    for at in 0..agents {
        root = root.child(format!("agent-{at}"), Counter::default);
    }
    root.start(&Runtime::current().expect("inside tokio")).await.expect("a good tree")
}

async fn tell(times: usize) {
    let tree = tree(1).await;
    let counter: AgentRef<Counter> = tree.agent("agent-0").expect("it is there");
    for _ in 0..times {
        counter.send(Add(1)).await.expect("it is up");
    }
    assert_eq!(counter.ask(Get, HOUR).await, Ok(times as u64));
}

async fn ask(times: usize) {
    let tree = tree(1).await;
    let counter: AgentRef<Counter> = tree.agent("agent-0").expect("it is there");
    for _ in 0..times {
        assert_eq!(counter.ask(Get, HOUR).await, Ok(0));
    }
}

/// From an error to the answer of the next incarnation.
async fn restart(times: usize) {
    let tree = tree(1).await;
    let counter: AgentRef<Counter> = tree.agent("agent-0").expect("it is there");
    for _ in 0..times {
        counter.send(Fail).await.expect("it is up");
        assert_eq!(counter.ask(Get, HOUR).await, Ok(0));
    }
}

/// So many agents up, and down again.
async fn start_stop(times: usize) {
    tree(times).await.stop().await;
}
