//! That a seed is a history: in a process of its own, for what tokio counts for a whole process.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "what other tests use of it")]
mod harness;

use std::time::Duration;

use harness::{World, add, get, ms};

const SECOND: Duration = Duration::from_secs(1);

/// Tokio ends the tasks of a host that crashes by the remainder of their numbers by four, and the
/// numbers go on from run to run. So each run begins at a multiple.
fn align() {
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let number = || tokio.block_on(async { tokio::spawn(async {}).id() }).to_string();
    while number().parse::<u64>().unwrap() % 4 != 0 {}
}

/// Faults of all kinds, and what all kernels heard and decided meanwhile.
fn history(seed: u64) -> u64 {
    let mut world = World::new(3, seed);
    world.run(SECOND);
    for _ in 0..5 {
        drop(world.on(1, |runtime| async move {
            for _ in 0..20 {
                let _ = runtime.send("c2", add(1)).await;
                let _ = runtime.ask("c3", get(), ms(100)).await;
            }
        }));
        world.sim.partition("n1", "n2");
        world.run(2 * SECOND);
        world.sim.repair("n1", "n2");
        world.sim.crash("n3");
        world.run(SECOND);
        world.sim.bounce("n3");
        world.run(2 * SECOND);
    }
    world.meet();
    world.digest()
}

#[test]
fn one_seed_is_one_history() {
    // Each in a thread of its own, since what std randomizes it randomizes for each thread.
    let in_thread = |seed| {
        align();
        std::thread::spawn(move || history(seed)).join().unwrap()
    };
    let first = in_thread(11);
    assert_eq!(first, in_thread(11));
    assert_eq!(first, in_thread(11));
    assert_ne!(first, in_thread(12));
}
