//! What happens to nodes when the network or a host fails.

use std::time::Duration;

use lictor::{AskError, ReplyFailure, SendError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{World, add, get, ms};

const SECOND: Duration = Duration::from_secs(1);

fn lost(name: &str) -> AskError {
    AskError::Failed { name: name.into(), failure: ReplyFailure::NoConnection }
}

#[test]
fn two_nodes_tell_and_ask_each_other() {
    let mut world = World::new(2, 1);
    world.meet();
    let count = world.have(1, |runtime| async move {
        let far = runtime.raw("c2").unwrap();
        for _ in 0..10 {
            far.send(add(2)).await.unwrap();
        }
        far.ask(get(), SECOND).await.unwrap()
    });
    assert_eq!(count, json!(20));
    let back = world.have(2, |runtime| async move { runtime.ask("c1", get(), SECOND).await });
    assert_eq!(back, Ok(json!(0)));
}

#[test]
fn three_nodes_share_their_names_over_one_connection_for_each_pair() {
    let mut world = World::new(3, 2);
    world.meet();
    assert_eq!(world.remote(1), ["c2", "c3"]);
    assert_eq!(world.remote(3), ["c1", "c2"]);
    let up: u64 = (1..=3).map(|node| world.counters(node).up).sum();
    assert_eq!(up, 6, "two ends of three links");
    let taken = world
        .have(2, |runtime| async move { runtime.broadcast("c?", "Add", json!(5)).await.unwrap() });
    assert_eq!(taken, 3);
    let counts = world.have(2, |runtime| async move {
        tokio::time::sleep(ms(200)).await;
        let mut counts = Vec::new();
        for name in ["c1", "c2", "c3"] {
            counts.push(runtime.ask(name, get(), SECOND).await.unwrap());
        }
        counts
    });
    assert_eq!(counts, [json!(5), json!(5), json!(5)]);
}

#[test]
fn a_host_that_crashes_ends_the_calls_to_it_at_once() {
    let mut world = World::new(2, 3);
    world.meet();
    let asked = world.on(1, |runtime| async move {
        let sleep = lictor::Message::new("Sleep", lictor::Value::Null);
        runtime.ask("c2", sleep, 1000 * SECOND).await
    });
    world.run(ms(200));
    assert!(!asked.is_there());
    world.sim.crash("n2");
    let took = world.until("the call has ended", |_| asked.is_there());
    assert_eq!(asked.take(), Err(lost("c2")));
    assert!(took < SECOND, "{took:?}: the end of the connection tells, not a time-out");
    world.until("its names are gone", |world| {
        world.remote(1).is_empty() && world.sees(1, 2).is_none()
    });
    let sent = world.have(1, |runtime| async move { runtime.send("c2", add(1)).await });
    assert_eq!(sent, Err(SendError::Unknown { name: "c2".into() }));
}

#[test]
fn a_host_that_loses_power_is_given_up_and_its_names_expire() {
    let mut world = World::new(3, 4);
    world.meet();
    let asked = world.on(1, |runtime| async move {
        let sleep = lictor::Message::new("Sleep", lictor::Value::Null);
        runtime.ask("c2", sleep, 1000 * SECOND).await
    });
    world.run(ms(200));
    // Nothing of its end comes through.
    for other in ["n1", "n3"] {
        world.sim.partition("n2", other);
    }
    world.sim.crash("n2");
    let took = world.until("its names are gone", |world| {
        world.remote(1) == ["c3"] && world.remote(3) == ["c1"] && asked.is_there()
    });
    assert_eq!(asked.take(), Err(lost("c2")));
    assert!(took < 5 * SECOND, "{took:?}");
    assert!(world.counters(1).silent > 0, "nobody said goodbye");
}

#[test]
fn a_partition_that_is_repaired_leads_back_together() {
    let mut world = World::new(2, 5);
    world.meet();
    for _ in 0..3 {
        world.sim.partition("n1", "n2");
        world.until("both have given up", |world| {
            world.sees(1, 2).is_none() && world.sees(2, 1).is_none()
        });
        assert!(world.remote(1).is_empty() && world.remote(2).is_empty());
        world.run(10 * SECOND);
        world.sim.repair("n1", "n2");
        let took = world.until("they are together again", |world| {
            world.remote(1) == ["c2"] && world.remote(2) == ["c1"]
        });
        assert!(took < 4 * SECOND, "{took:?}");
        assert_eq!(world.sees(1, 2), Some(1), "the same boot");
    }
    let sent = world.have(1, |runtime| async move {
        runtime.send("c2", add(1)).await.unwrap();
        runtime.ask("c2", get(), SECOND).await
    });
    assert_eq!(sent, Ok(json!(1)), "the state has outlived it");
}

#[test]
fn a_cut_that_is_shorter_than_anybody_s_patience_still_heals() {
    let mut world = World::new(2, 6);
    world.meet();
    // Turmoil never repeats a segment that was lost here: only a new connection helps.
    let sender = world.on(1, |runtime| async move {
        for _ in 0..40 {
            // Some of these are lost.
            let _ = runtime.send("c2", add(1)).await;
            tokio::time::sleep(ms(10)).await;
        }
    });
    world.run(ms(100));
    world.sim.partition("n1", "n2");
    world.run(ms(150));
    world.sim.repair("n1", "n2");
    world.until("the sender is through", |_| sender.is_there());
    world.run(5 * SECOND);
    assert!(world.counters(1).up > 1, "a silent stream was replaced: {:?}", world.counters(1));
    let count = world.have(1, |runtime| async move { runtime.ask("c2", get(), SECOND).await });
    let count = count.unwrap().as_u64().unwrap();
    assert!((1..=40).contains(&count), "{count}");
}

#[test]
fn a_partition_in_one_direction_is_one_in_both() {
    for (from, to) in [("n1", "n2"), ("n2", "n1")] {
        let mut world = World::new(2, 7);
        world.meet();
        world.sim.partition_oneway(from, to);
        world.until("both have given up", |world| {
            world.sees(1, 2).is_none() && world.sees(2, 1).is_none()
        });
        world.run(10 * SECOND);
        assert_eq!((world.sees(1, 2), world.sees(2, 1)), (None, None), "and it stays so");
        world.sim.repair_oneway(from, to);
        world.meet();
    }
}

#[test]
fn a_host_that_is_bounced_is_a_new_boot() {
    let mut world = World::new(2, 8);
    world.meet();
    let before = world.have(1, |runtime| async move {
        runtime.send("c2", add(7)).await.unwrap();
        runtime.ask("c2", get(), SECOND).await
    });
    assert_eq!(before, Ok(json!(7)));
    world.sim.crash("n2");
    world.run(3 * SECOND);
    world.sim.bounce("n2");
    world.until("the new boot is seen", |world| world.sees(1, 2) == Some(2));
    world.meet();
    let after = world.have(1, |runtime| async move { runtime.ask("c2", get(), SECOND).await });
    assert_eq!(after, Ok(json!(0)), "a fresh counter");
    // At once, and the lower one, which dials.
    world.sim.bounce("n1");
    world.until("the new boot is seen", |world| world.sees(2, 1) == Some(2));
    world.meet();
}

#[test]
fn a_link_that_is_held_delivers_late_or_is_replaced() {
    let mut world = World::new(2, 9);
    world.meet();
    world.sim.hold("n1", "n2");
    let sent = world.on(1, |runtime| async move {
        runtime.send("c2", add(1)).await.unwrap();
        runtime.ask("c2", get(), 5 * SECOND).await
    });
    world.run(ms(400));
    assert!(!sent.is_there());
    world.sim.release("n1", "n2");
    world.until("the answer is there", |_| sent.is_there());
    assert_eq!(sent.take(), Ok(json!(1)), "nothing was lost");
    assert_eq!(world.counters(1).silent + world.counters(2).silent, 0);
    world.sim.hold("n1", "n2");
    world.until("both have given up", |world| {
        world.sees(1, 2).is_none() && world.sees(2, 1).is_none()
    });
    world.run(5 * SECOND);
    world.sim.release("n1", "n2");
    world.meet();
    world.run(10 * SECOND);
    assert_eq!((world.sees(1, 2), world.sees(2, 1)), (Some(1), Some(1)), "and they stay together");
}

#[test]
fn what_speaks_something_else_is_closed_and_counted() {
    let mut world = World::new(2, 10);
    world.meet();
    let greeting = |node: u64| {
        let mut bytes = 25_u32.to_be_bytes().to_vec();
        bytes.extend(b"\0lictor/1");
        bytes.extend(node.to_be_bytes());
        bytes.extend(1_u64.to_be_bytes());
        bytes
    };
    let says: Vec<Vec<u8>> = vec![
        vec![0xff; 64],
        b"GET / HTTP/1.1\r\nhost: example\r\n\r\n".to_vec(),
        // It claims to be the node itself, and a node that must not dial.
        greeting(2),
        greeting(9),
        // A stranger that greets well, and then: a length that cannot be, none, and no such kind.
        [greeting(0), vec![0xff, 0xff, 0xff, 0xff, 2]].concat(),
        [greeting(0), vec![0, 0, 0, 0, 2]].concat(),
        [greeting(0), vec![0, 0, 0, 1, 77]].concat(),
        // Half a frame, and then silence.
        [greeting(0), vec![0, 0, 1, 0, 2, 7]].concat(),
    ];
    world.sim.client("evil", async move {
        for bytes in says {
            let mut stream = turmoil::net::TcpStream::connect(("n2", 7000)).await?;
            stream.write_all(&bytes).await?;
            let mut rest = Vec::new();
            // It is closed in the end, whatever it has said meanwhile.
            let _ = tokio::time::timeout(5 * SECOND, stream.read_to_end(&mut rest)).await?;
        }
        Ok(())
    });
    world.run(20 * SECOND);
    let seen = world.counters(2);
    assert_eq!((seen.bad_greeting, seen.bad_length, seen.bad_kind, seen.silent), (4, 2, 1, 1));
    assert_eq!(world.sees(2, 1), Some(1), "the others are not disturbed");
    let count = world.have(1, |runtime| async move { runtime.ask("c2", get(), SECOND).await });
    assert_eq!(count, Ok(json!(0)));
}
