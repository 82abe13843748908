//! What a runtime does with a stream of messages: a stream in memory, in virtual time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::durable::{Durable, Intake, MessageId, StoreFailure, Storing};
use lictor::prelude::*;
use lictor::transport::Frame;
use lictor::{
    AgentSpec, AskError, InHandPolicy, Message, Overflow, ReplyFailure, RuntimeConfig, SendError,
    SendOptions, Task, TokioExecutor, agent,
};
use serde_json::json;
use tokio::sync::Notify;

/// A stream of one name: keeps what is stored, hands it out one after the other, and notes what
/// became of each.
#[derive(Default)]
struct Shelf {
    kept: Mutex<VecDeque<Frame>>,
    ids: Mutex<Vec<MessageId>>,
    outcomes: Mutex<Vec<Result<(), ReplyFailure>>>,
    answer: Mutex<Option<StoreFailure>>,
    /// How long ago it says that a message was stored.
    age: Mutex<Duration>,
    served: Mutex<Vec<String>>,
    stir: Notify,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf")
    }
}

impl Shelf {
    fn outcomes(&self) -> Vec<Result<(), ReplyFailure>> {
        self.outcomes.lock().unwrap().clone()
    }

    fn served(&self) -> Vec<String> {
        self.served.lock().unwrap().clone()
    }

    fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

impl Durable for Shelf {
    fn store(&self, _: Arc<str>, id: MessageId, frame: Frame) -> Storing<'_> {
        Box::pin(async move {
            if let Some(failure) = self.answer.lock().unwrap().clone() {
                return Err(failure);
            }
            self.ids.lock().unwrap().push(id);
            self.kept.lock().unwrap().push_back(frame);
            self.stir.notify_one();
            Ok(())
        })
    }

    fn serve(self: Arc<Self>, name: Arc<str>, intake: Intake, mut end: Task) -> Task {
        self.served.lock().unwrap().push(format!("+{name}"));
        Box::pin(async move {
            loop {
                let next = self.kept.lock().unwrap().front().cloned();
                let Some(frame) = next else {
                    tokio::select! {
                        biased;
                        () = &mut end => break,
                        () = self.stir.notified() => continue,
                    }
                };
                let age = *self.age.lock().unwrap();
                let outcome = intake.take(frame, age).await;
                // Who keeps the stream is told over a wire.
                tokio::time::sleep(ms(20)).await;
                self.outcomes.lock().unwrap().push(outcome);
                match outcome {
                    Ok(())
                    | Err(
                        ReplyFailure::NotUnderstood | ReplyFailure::Expired | ReplyFailure::Skipped,
                    ) => {
                        self.kept.lock().unwrap().pop_front();
                    }
                    Err(ReplyFailure::Down) => break,
                    Err(_) => {}
                }
            }
            self.served.lock().unwrap().push(format!("-{name}"));
        })
    }
}

messages! { pub enum WorkMessage { Add(u64), Get -> u64 } }

/// Fails so often, then works; its sum does not survive.
#[derive(Clone, Default)]
struct Work {
    fails: Arc<Mutex<u32>>,
    handled: Arc<Mutex<Vec<u64>>>,
    takes: Duration,
    action: Option<ErrorAction>,
}

impl Agent for Work {
    type Message = WorkMessage;

    async fn handle(&mut self, message: WorkMessage, cx: &mut Context<Self>) -> Handled {
        match message {
            WorkMessage::Add(Add(number)) => {
                cx.sleep(self.takes).await;
                {
                    let mut fails = self.fails.lock().unwrap();
                    if *fails > 0 {
                        *fails -= 1;
                        return Err(AgentError::new("as the test wants"));
                    }
                }
                self.handled.lock().unwrap().push(number);
            }
            WorkMessage::Get(Get, reply) => {
                reply.send(self.handled.lock().unwrap().iter().sum());
            }
        }
        Ok(())
    }

    fn on_error(&mut self, _: &AgentError, _: u32) -> ErrorAction {
        self.action.unwrap_or(ErrorAction::Escalate)
    }
}

impl Work {
    fn spec(&self) -> AgentSpec {
        let made = self.clone();
        agent("work", move || made.clone())
    }

    fn handled(&self) -> Vec<u64> {
        self.handled.lock().unwrap().clone()
    }
}

async fn start(shelf: &Arc<Shelf>, agent: AgentSpec) -> (Runtime, Tree) {
    let executor = Arc::new(TokioExecutor::current().unwrap());
    let durable: Arc<dyn Durable> = Arc::<Shelf>::clone(shelf);
    let config = RuntimeConfig { durable: Some(durable), ..RuntimeConfig::default() };
    let runtime = Runtime::with_config(executor, config);
    let root = Supervisor::one_for_one("root").max_restarts(100, secs(1)).agent(agent);
    let tree = runtime.start(root.backoff(Backoff::constant(ms(10)))).await.unwrap();
    (runtime, tree)
}

fn add(number: u64) -> Message {
    Message::new("Add", json!(number))
}

async fn settle() {
    tokio::time::sleep(secs(2)).await;
}

const ONCE: [Result<(), ReplyFailure>; 1] = [Ok(())];

#[tokio::test(start_paused = true)]
async fn what_wants_no_answer_goes_through_the_stream_and_all_else_does_not() {
    let (shelf, work) = (Arc::new(Shelf::default()), Work::default());
    let (runtime, tree) = start(&shelf, work.spec()).await;
    let typed = tree.agent::<Work>("work").unwrap();
    typed.send(Add(1)).await.unwrap();
    typed.send_priority(Add(2)).await.unwrap();
    runtime.send("work", add(3)).await.unwrap();
    runtime.raw("work").unwrap().send_with(add(4), SendOptions::new().priority()).await.unwrap();
    settle().await;
    assert_eq!((shelf.outcomes().len(), work.handled()), (4, vec![1, 2, 3, 4]));
    let numbers: Vec<u64> = shelf.ids.lock().unwrap().iter().map(|id| id.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3], "each has an id of its own");
    typed.try_send(Add(5)).unwrap();
    assert_eq!(runtime.broadcast("*", "Add", json!(6)).await, Ok(1));
    assert_eq!(typed.ask(Get, secs(1)).await, Ok(21));
    assert_eq!(runtime.ask("work", Message::new("Get", json!(null)), secs(1)).await, Ok(json!(21)));
    assert_eq!(shelf.outcomes().len(), 4, "these did not");
    runtime.stop().await;
    assert_eq!(shelf.served(), ["+work", "-work"]);
}

// Defects: N7, N2
#[tokio::test(start_paused = true)]
async fn the_stream_hears_of_the_end_of_the_handling_and_not_of_the_queue() {
    let shelf = Arc::new(Shelf::default());
    let work = Work { takes: secs(5), ..Work::default() };
    let (runtime, _tree) = start(&shelf, work.spec()).await;
    runtime.send("work", add(1)).await.unwrap();
    settle().await;
    assert_eq!((shelf.outcomes().len(), shelf.kept()), (0, 1), "it is in hand");
    tokio::time::sleep(secs(4)).await;
    assert_eq!((shelf.outcomes(), shelf.kept()), (ONCE.to_vec(), 0));
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_as_what_it_was_and_the_message_is_handed_out_again() {
    let crashed = Err(ReplyFailure::Crashed);
    let cases = [
        // The stream hands it out again, each time to a new incarnation.
        (None, InHandPolicy::Drop, vec![crashed, crashed, Ok(())], 1),
        (None, InHandPolicy::DeadLetter, vec![crashed, crashed, Ok(())], 1),
        // The agent's own policies go first, and the stream hears of the end of it.
        (None, InHandPolicy::Redeliver, vec![Ok(())], 1),
        (Some(ErrorAction::Retry), InHandPolicy::Drop, vec![Ok(())], 1),
        (Some(ErrorAction::Skip), InHandPolicy::Drop, vec![Err(ReplyFailure::Skipped)], 0),
    ];
    for (action, policy, outcomes, handled) in cases {
        let shelf = Arc::new(Shelf::default());
        let work = Work { fails: Arc::new(Mutex::new(2)), action, ..Work::default() };
        let (runtime, _tree) = start(&shelf, work.spec().in_hand(policy)).await;
        runtime.send("work", add(1)).await.unwrap();
        settle().await;
        assert_eq!(shelf.outcomes(), outcomes, "{action:?}, {policy:?}");
        assert_eq!((work.handled().len(), shelf.kept()), (handled, 0), "{action:?}, {policy:?}");
        runtime.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_at_a_stop_is_settled_before_the_stop_is_over() {
    let shelf = Arc::new(Shelf::default());
    let work = Work { takes: secs(1), ..Work::default() };
    let (runtime, _tree) = start(&shelf, work.spec()).await;
    for number in 1..=2 {
        runtime.send("work", add(number)).await.unwrap();
    }
    tokio::time::sleep(ms(500)).await;
    runtime.stop().await;
    assert_eq!(work.handled(), [1], "what was in hand was finished");
    assert_eq!(shelf.outcomes()[0], Ok(()), "and the stream has heard of it");
    assert_eq!(shelf.kept(), 1, "what was not handled is kept");
    assert_eq!(shelf.served(), ["+work", "-work"]);
    let later = runtime.send("work", add(3)).await;
    assert_eq!(later, Ok(()), "the stream takes for a name that comes back");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_stopped_takes_nothing_until_it_is_started_again() {
    let (shelf, work) = (Arc::new(Shelf::default()), Work::default());
    let (runtime, _tree) = start(&shelf, work.spec()).await;
    runtime.terminate_child("work").await.unwrap();
    settle().await;
    runtime.send("work", add(1)).await.unwrap();
    settle().await;
    assert_eq!((work.handled().len(), shelf.kept()), (0, 1));
    assert_eq!(shelf.served(), ["+work", "-work"]);
    runtime.restart_child("work").await.unwrap();
    settle().await;
    assert_eq!((work.handled(), shelf.kept()), (vec![1], 0));
    assert_eq!(shelf.served(), ["+work", "-work", "+work"]);
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_handled_is_told_so() {
    let (shelf, work) = (Arc::new(Shelf::default()), Work::default());
    let (runtime, _tree) = start(&shelf, work.spec().overflow(Overflow::Reject)).await;
    // What is not understood here is refused here.
    let refused = runtime.send("work", Message::new("Odd", json!(1))).await;
    assert!(matches!(refused, Err(SendError::NotUnderstood { .. })), "{refused:?}");
    let refused = runtime.send("work", Message::new("_agency.shutdown", json!({}))).await;
    assert!(matches!(refused, Err(SendError::Reserved { .. })), "{refused:?}");
    // What others have stored may be anything.
    for bytes in [
        b"".as_slice(),
        b"\x01{}",
        b"\x01{\"kind\":\"Odd\",\"payload\":1,\"priority\":false}",
        &[0xff; 99],
    ] {
        shelf.kept.lock().unwrap().push_back(Frame::new(bytes));
    }
    shelf.stir.notify_one();
    settle().await;
    assert_eq!(shelf.outcomes(), [Err(ReplyFailure::NotUnderstood); 4]);
    *shelf.age.lock().unwrap() = secs(10);
    let options = SendOptions::new().ttl(secs(5));
    runtime.raw("work").unwrap().send_with(add(1), options).await.unwrap();
    settle().await;
    assert_eq!(shelf.outcomes()[4..], [Err(ReplyFailure::Expired)], "it is ten seconds old");
    assert!(work.handled().is_empty());
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_an_error_of_its_own() {
    let (shelf, work) = (Arc::new(Shelf::default()), Work::default());
    let (runtime, _tree) = start(&shelf, work.spec()).await;
    let name = || Arc::from("work");
    let cases = [
        (StoreFailure::Unknown, SendError::Unknown { name: name() }),
        (StoreFailure::Full, SendError::StreamFull { name: name() }),
        (
            StoreFailure::Refused("r".to_owned()),
            SendError::NotStored { name: name(), detail: "r".to_owned() },
        ),
        (
            StoreFailure::Unconfirmed("u".to_owned()),
            SendError::Unconfirmed { name: name(), detail: "u".to_owned() },
        ),
    ];
    for (failure, error) in cases {
        *shelf.answer.lock().unwrap() = Some(failure);
        assert_eq!(runtime.send("work", add(1)).await, Err(error));
    }
    // A name that nobody has is the stream's affair, but only the grammar's of names; to ask it, is not.
    *shelf.answer.lock().unwrap() = None;
    assert_eq!(runtime.send("somebody", add(1)).await, Ok(()));
    let asked = runtime.ask("somebody", add(1), secs(1)).await;
    assert!(matches!(asked, Err(AskError::NotSent(SendError::Unknown { .. }))), "{asked:?}");
    let bad = runtime.send("no name", add(1)).await;
    assert!(matches!(bad, Err(SendError::Unknown { .. })), "{bad:?}");
    assert_eq!(
        runtime.agent::<Work>("somebody").unwrap_err(),
        SendError::Unknown { name: "somebody".into() }
    );
    runtime.stop().await;
}
