//! What a node gives back to the stream, and what comes to it again: a mailbox without room, a name
//! that moves and a server that has not heard make no dead letters and no second handling.

use futures_util::StreamExt;
use lictor::prelude::*;
use lictor::{Overflow, agent};
use lictor_nats::StreamConfig;

use super::server::Server;
use super::{Add, LedgerMessage};
use super::{Ledger, Log, add, context, counted, is_empty, node, quick, state, streams, until};

/// Stores so many numbers for an agent of another node, at once.
async fn store(node: &Runtime, name: &str, numbers: std::ops::Range<u64>) {
    let sends = futures_util::stream::iter(numbers).map(|number| {
        let node = node.clone();
        async move { node.send(name, add(number)).await.unwrap() }
    });
    sends.buffer_unordered(256).for_each(|()| std::future::ready(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_while_more_waits_than_is_handed_out_makes_no_dead_letters() {
    const EACH: u64 = 2000;
    let server = Server::new();
    let log = Log::default();
    let ledger = Ledger { log: log.clone(), ..Ledger::default() };
    let (own, sending) = (streams(&server, quick()), streams(&server, quick()));
    let sender = node(&server, 1, &sending, vec![]).await;
    for round in 0..4 {
        let before = own.counters();
        let runtime = node(&server, 2 + round, &own, vec![ledger.spec("ledger")]).await;
        store(&sender, "ledger", round * EACH..(round + 1) * EACH).await;
        counted(&own, |counters| counters.handled > before.handled).await;
        runtime.stop().await;
        let returned = own.counters().returned - before.returned;
        assert!(returned <= 300, "{returned} went back of 256 that were out");
    }
    let last = node(&server, 9, &own, vec![ledger.spec("ledger")]).await;
    until("all are settled", || log.distinct() as u64 + own.counters().dead == 4 * EACH).await;
    assert_eq!((own.counters().dead, log.all()), (0, 4 * EACH));
    is_empty(&server).await;
    last.stop().await;
    sender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_without_room_makes_no_dead_letters_of_what_it_does_not_take() {
    const SENT: u64 = 100;
    let server = Server::new();
    let streams = streams(&server, quick());
    let ledger = Ledger { takes: ms(20), ..Ledger::default() };
    let (rejects, evicts) = (ledger.clone(), Ledger { log: Log::default(), ..ledger });
    let small =
        |ledger: &Ledger, name, overflow| ledger.spec(name).mailbox_size(4).overflow(overflow);
    let agents = vec![
        small(&rejects, "rejects", Overflow::Reject),
        small(&evicts, "evicts", Overflow::DropOldest),
    ];
    let runtime = node(&server, 1, &streams, agents).await;
    for name in ["rejects", "evicts"] {
        store(&runtime, name, 0..SENT).await;
    }
    let counters = counted(&streams, |counters| counters.handled + counters.dead == 2 * SENT).await;
    assert_eq!((counters.handled, counters.dead, counters.delivered), (2 * SENT, 0, 2 * SENT));
    for log in [rejects.log, evicts.log] {
        assert_eq!((log.distinct() as u64, log.all()), (SENT, SENT));
    }
    is_empty(&server).await;
    runtime.stop().await;
}

/// Fails on everything, after a while.
struct Failing(Log);

impl Agent for Failing {
    type Message = LedgerMessage;

    async fn handle(&mut self, message: LedgerMessage, cx: &mut Context<Self>) -> Handled {
        if let LedgerMessage::Add(Add(number)) = message {
            self.0.try_one(number);
            cx.sleep(secs(1)).await;
        }
        Err(AgentError::new("as the test wants"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_of_which_the_server_has_not_heard_is_not_given_to_its_agent_again() {
    let mut server = Server::new();
    let streams = streams(&server, StreamConfig { attempts: 1, ..quick() });
    let log = Log::default();
    let made = log.clone();
    let runtime =
        node(&server, 1, &streams, vec![agent("ledger", move || Failing(made.clone()))]).await;
    runtime.send("ledger", add(1)).await.unwrap();
    until("it is in hand", || log.tries(1) == 1).await;
    server.remember("before");
    counted(&streams, |counters| counters.dead == 1).await;
    is_empty(&server).await;
    server.recall("before");
    counted(&streams, |counters| counters.repeated >= 1).await;
    is_empty(&server).await;
    assert_eq!(log.tries(1), 1, "it was given up");
    assert_eq!(state(&server, "LICTOR_DEAD").await.messages, 1, "and is there to be looked at");
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_dead_letters_that_is_lost_is_made_again() {
    let server = Server::new();
    let config = StreamConfig { attempts: 1, retry_most: ms(50), ..quick() };
    let streams = streams(&server, config);
    let ledger = Ledger { fails: [(1, 1000)].into(), ..Ledger::default() };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    runtime.send("ledger", add(0)).await.unwrap();
    context(&server).await.delete_stream("LICTOR_DEAD").await.unwrap();
    runtime.send("ledger", add(1)).await.unwrap();
    counted(&streams, |counters| counters.dead == 1).await;
    is_empty(&server).await;
    assert_eq!(state(&server, "LICTOR_DEAD").await.messages, 1);
    runtime.stop().await;
}
