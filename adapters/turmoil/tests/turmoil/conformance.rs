//! The suites of executors and of transports, on turmoil's hosts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::conformance::{self, End};
use lictor_runtime::executor::Executor;
use lictor_turmoil::{Config, TokioExecutor, TurmoilTransport};
use turmoil::{Builder, Sim};

fn sim() -> Sim<'static> {
    let mut builder = Builder::new();
    builder
        .rng_seed(5)
        .epoch(std::time::UNIX_EPOCH)
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::from_secs(100_000))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(10));
    builder.build()
}

#[test]
fn the_executor_passes_its_suite() {
    conformance::executor(|name, case| {
        eprintln!("case: {name}");
        let mut sim = sim();
        sim.client("n1", async move {
            let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current()?);
            case(executor).await;
            Ok(())
        });
        let ran = catch_unwind(AssertUnwindSafe(|| sim.run()));
        if name == "a panic ends one task only" {
            // Turmoil ends the whole host instead, and we want it so: a panic that passed in
            // silence would make every other test here worthless.
            assert!(ran.is_err(), "a panic in a spawned task must be seen");
        } else {
            ran.unwrap().unwrap();
        }
    });
}

#[test]
fn the_transport_passes_its_suite() {
    conformance::transport(|name, case| {
        eprintln!("case: {name}");
        let mut sim = sim();
        for (node, peer) in [(1, 2), (2, 1)] {
            sim.client(format!("n{node}"), async move {
                let peers = vec![(NodeId(peer), format!("n{peer}"))];
                let transport = TurmoilTransport::new(Config::new(NodeId(node), 1, peers));
                let executor = Arc::new(TokioExecutor::current()?);
                case(End { executor, transport, peer: NodeId(peer), is_first: node == 1 }).await;
                Ok(())
            });
        }
        sim.run().unwrap();
    });
}
