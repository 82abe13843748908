//! Backpressure over a wire, in virtual time: who is slow holds up who sends, and nobody else.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{
    AskError, Executor, Message, RawRef, RuntimeConfig, SendError, SendOptions, TokioExecutor,
    Value, agent,
};
use lictor_runtime::conformance::{Faults, Network};
use serde_json::json;
use tokio::time::Instant;

/// What one lane may have under way, and a mailbox of these tests.
const WINDOW: usize = 256;
const MAILBOX: usize = 8;

/// Takes this long for a message; asked, says how many it has had.
struct Slow {
    each: Duration,
    had: u64,
    last: Option<u64>,
}

impl Agent for Slow {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        if let Some(reply_to) = message.take_reply_to() {
            let _ = reply_to.send(json!(self.had));
            return Ok(());
        }
        tokio::time::sleep(self.each).await;
        let number = message.payload().as_u64();
        assert!(number > self.last, "in order: {number:?} after {:?}", self.last);
        (self.had, self.last) = (self.had + 1, number);
        Ok(())
    }
}

struct Pair {
    network: Arc<Network>,
    one: Runtime,
    two: Runtime,
}

impl Pair {
    /// Node 1 without agents of interest, and node 2 with these, whose messages take so long.
    async fn boot(seed: u64, agents: &[(&str, Duration)]) -> Self {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let network = Network::new(Arc::clone(&executor), seed);
        let node = |own: u64, peer: u64| {
            let (node, peers) = (NodeId(own), vec![NodeId(peer)]);
            let config = RuntimeConfig {
                transport: Some(network.transport(node, peers)),
                membership: membership::Config { node, epoch: 1, ..membership::Config::default() },
                ..RuntimeConfig::default()
            };
            Runtime::with_config(Arc::clone(&executor), config)
        };
        let (one, two) = (node(1, 2), node(2, 1));
        let idle = agent("idle", || Slow { each: Duration::ZERO, had: 0, last: None });
        one.start(Supervisor::one_for_one("one").agent(idle)).await.unwrap();
        let mut root = Supervisor::one_for_one("two");
        for (name, each) in agents {
            let each = *each;
            let slow = agent(*name, move || Slow { each, had: 0, last: None });
            root = root.agent(slow.mailbox_size(u32::try_from(MAILBOX).unwrap()));
        }
        two.start(root).await.unwrap();
        // sleeps: the nodes get to know each other
        tokio::time::sleep(secs(2)).await;
        Self { network, one, two }
    }

    fn far(&self, name: &str) -> RawRef {
        self.one.raw(name).unwrap()
    }
}

fn number(n: u64) -> Message {
    Message::new("n", json!(n))
}

fn within(time: Duration) -> SendOptions {
    SendOptions::new().timeout(time)
}

async fn had(far: &RawRef) -> u64 {
    far.ask(Message::new("had", Value::Null), secs(600)).await.unwrap().as_u64().unwrap()
}

fn on_paused<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

// Defect: Z54 (20,000 sends succeeded, 13,500 were delivered, without an error).
#[test]
fn a_slow_agent_slows_down_who_sends_to_it_and_nothing_is_lost() {
    on_paused(async {
        let pair = Pair::boot(1, &[("slow", ms(10))]).await;
        let (far, began) = (pair.far("slow"), Instant::now());
        let refused = pair.one.wire().refused;
        for n in 0..2000 {
            far.send_with(number(n), within(secs(60))).await.unwrap();
        }
        let held_up = began.elapsed();
        let under_way = u64::try_from(WINDOW + MAILBOX + 1).unwrap();
        assert!(held_up >= ms(10 * (2000 - under_way)), "{held_up:?}");
        assert_eq!(had(&far).await, 2000);
        assert_eq!(pair.two.wire().undelivered, 0);
        assert_eq!(pair.one.wire().refused, refused);
    });
}

// Defect: Z20 (one full mailbox stopped the receive loop of its whole process).
#[test]
fn a_stuck_agent_holds_up_only_its_own_senders() {
    on_paused(async {
        let pair = Pair::boot(1, &[("stuck", secs(100_000)), ("quick", Duration::ZERO)]).await;
        let (stuck, quick) = (pair.far("stuck"), pair.far("quick"));
        for n in 0..u64::try_from(WINDOW).unwrap() {
            stuck.send_with(number(n), within(secs(90_000))).await.unwrap();
        }
        assert_eq!(stuck.try_send(number(0)), Err(SendError::WireFull { name: "stuck".into() }));
        // Those in the mailbox and in hand are no longer under way: so many more are let through.
        let mut more = 0;
        let patient = |n| stuck.send_with(number(n), within(secs(90_000)));
        while tokio::time::timeout(secs(1), patient(1_000)).await.is_ok() {
            more += 1;
        }
        assert_eq!(more, MAILBOX + 1);
        let began = Instant::now();
        let late = stuck.send_with(number(5_000), within(ms(300))).await;
        assert_eq!(late, Err(SendError::Timeout { name: "stuck".into() }));
        assert_eq!(began.elapsed(), ms(300));
        let asked = stuck.ask(Message::new("had", Value::Null), ms(200)).await;
        assert_eq!(asked, Err(AskError::Timeout { name: "stuck".into() }));
        // The neighbour feels nothing of it, and what is urgent has a way of its own.
        let began = Instant::now();
        for n in 0..2000 {
            quick.send(number(n)).await.unwrap();
        }
        assert_eq!(had(&quick).await, 2000);
        stuck.send_priority(number(6_000)).await.unwrap();
        assert!(began.elapsed() < ms(300), "{:?}", began.elapsed());
    });
}

#[test]
fn credit_that_is_lost_on_a_bad_wire_is_made_good() {
    for seed in 0..8 {
        on_paused(async {
            let pair = Pair::boot(seed, &[("slow", ms(1))]).await;
            let far = pair.far("slow");
            let faults = Faults { loss_milli: 300, repeat_milli: 300, ..Faults::default() };
            pair.network.set_faults(faults);
            let mut sent = 0_u64;
            for n in 0..3000 {
                // A peer that loses so much may seem gone for a moment.
                match far.send_with(number(n), within(secs(20))).await {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        assert!(!matches!(error, SendError::Timeout { .. }), "{seed}: {error}");
                        tokio::time::sleep(secs(1)).await;
                    }
                }
            }
            pair.network.set_faults(Faults::default());
            tokio::time::sleep(secs(5)).await;
            let before = had(&far).await;
            assert!(before > sent / 2 && before < sent, "{seed}: {before} of {sent}");
            // The question that was answered shows what is missing before it.
            assert_eq!(pair.two.wire().missing, sent - before, "{seed}: all of it is counted");
            let began = Instant::now();
            for n in 3000..4000 {
                far.send_with(number(n), within(secs(20))).await.unwrap();
            }
            assert_eq!(had(&far).await, before + 1000);
            assert!(began.elapsed() < ms(1_500), "{seed}: {:?}", began.elapsed());
        });
    }
}

#[test]
fn who_waits_for_credit_hears_that_the_peer_is_gone() {
    on_paused(async {
        let pair = Pair::boot(1, &[("stuck", secs(100_000))]).await;
        let stuck = pair.far("stuck");
        let waits = tokio::spawn(async move {
            for n in 0.. {
                if let Err(error) = stuck.send_with(number(n), within(secs(3_000))).await {
                    return error;
                }
            }
            unreachable!("it is stuck")
        });
        tokio::time::sleep(secs(1)).await;
        assert!(!waits.is_finished());
        let began = Instant::now();
        for (from, to) in [(1, 2), (2, 1)] {
            pair.network.cut(NodeId(from), NodeId(to), true);
        }
        assert_eq!(waits.await.unwrap(), SendError::Unknown { name: "stuck".into() });
        assert!(began.elapsed() < secs(5), "{:?}", began.elapsed());
    });
}
