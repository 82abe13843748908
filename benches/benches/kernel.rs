//! Steps of the kernel: a crash and its restart decision, alone and through the node; the registry.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lictor_kernel::node::{self, Event, Node};
use lictor_kernel::tree::{Body, Plan, PlannedChild};
use lictor_kernel::{
    Backoff, ChildId, ChildKind, ChildSpec, ExitReason, Instant, Intensity, NameId, Pid, Restart,
    Router, Supervisor, SupervisorId, supervisor,
};

fn config() -> supervisor::Config {
    supervisor::Config {
        intensity: Intensity { max_restarts: 10, period: Duration::from_millis(1) },
        backoff: Backoff::NONE,
        ..supervisor::Config::default()
    }
}

fn spec() -> ChildSpec {
    ChildSpec { restart: Restart::Permanent, ..ChildSpec::worker() }
}

/// A supervisor whose children are all up.
fn running(children: u32) -> (Supervisor, Vec<supervisor::Action>, Vec<Pid>) {
    let specs: Vec<_> = (0..children).map(|id| (ChildId(id), spec())).collect();
    let mut machine = Supervisor::new(config(), &specs).expect("a good configuration");
    let mut actions = Vec::with_capacity(64);
    let mut pids = Vec::new();
    machine.start(Instant::ZERO, &mut actions);
    while let Some(supervisor::Action::Start { pid }) = actions.pop() {
        pids.push(pid);
        actions.clear();
        machine.handle(Instant::ZERO, supervisor::Event::Started { pid }, &mut actions);
    }
    actions.clear();
    (machine, actions, pids)
}

fn crash_to_restart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("supervisor_crash_restart_started");
    group.throughput(Throughput::Elements(1));
    for children in [1, 100, 10_000] {
        let (mut machine, mut actions, pids) = running(children);
        let mut pid = pids[0];
        let mut now = 1_000_000_000;
        group.bench_function(BenchmarkId::from_parameter(children), |bencher| {
            bencher.iter(|| {
                now += 1_000_000;
                let at = Instant::from_nanos(now);
                let reason = ExitReason::Crashed;
                machine.handle(at, supervisor::Event::Exited { pid, reason }, &mut actions);
                pid.incarnation = machine.next_incarnation() - 1;
                actions.clear();
                machine.handle(at, supervisor::Event::Started { pid }, &mut actions);
                black_box(&mut actions).clear();
            });
        });
    }
    group.finish();
}

/// A node with one supervisor over many workers, all up.
fn node(children: u32) -> (Node, SupervisorId, Pid) {
    let mut node = Node::new(node::Config::default());
    let mut actions = Vec::new();
    let planned = (0..children)
        .map(|at| {
            let name = format!("agent-{at}");
            let id = node.declare(&name, ChildKind::Worker, &[], &mut actions).expect("a new name");
            PlannedChild { id: ChildId(id.0), spec: spec(), body: Body::Worker }
        })
        .collect();
    let plan = Arc::new(Plan::Static { config: config(), children: planned });
    let root = node.start(Instant::ZERO, &plan, &mut actions).expect("a good plan");
    let mut pid = Pid { child: ChildId(0), incarnation: 1 };
    for at in 0..children {
        pid = Pid { child: ChildId(at), incarnation: u64::from(at) + 1 };
        actions.clear();
        let event = Event::Supervision(root, supervisor::Event::Started { pid });
        node.handle(Instant::ZERO, event, &mut actions);
    }
    (node, root, pid)
}

fn node_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("node_crash_restart_started");
    group.throughput(Throughput::Elements(1));
    for children in [1, 1_000, 100_000] {
        let (mut node, root, mut pid) = node(children);
        let mut actions = Vec::with_capacity(64);
        let mut now = 1_000_000_000;
        group.bench_function(BenchmarkId::from_parameter(children), |bencher| {
            bencher.iter(|| {
                now += 1_000_000;
                let at = Instant::from_nanos(now);
                let reason = ExitReason::Crashed;
                let event = supervisor::Event::Exited { pid, reason };
                node.handle(at, Event::Supervision(root, event), &mut actions);
                pid.incarnation += 1;
                pid.incarnation = pid.incarnation.max(u64::from(children) + 1);
                actions.clear();
                let event = supervisor::Event::Started { pid };
                node.handle(at, Event::Supervision(root, event), &mut actions);
                black_box(&mut actions).clear();
            });
        });
    }
    group.finish();
}

fn registry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    group.throughput(Throughput::Elements(1));
    for names in [1_000_u32, 100_000] {
        let (mut node, _, _) = node(names);
        let mut at = 0_u32;
        group.bench_function(BenchmarkId::new("route_by_name", names), |bencher| {
            bencher.iter(|| {
                at = (at + 7_919) % names;
                black_box(Router::route(Instant::ZERO, node.registry(), NameId(at)))
            });
        });
        let mut actions = Vec::new();
        group.bench_function(BenchmarkId::new("declare_retract", names), |bencher| {
            bencher.iter(|| {
                let id = node.declare("visitor", ChildKind::Worker, &[], &mut actions);
                node.retract(id.expect("a new name"), &mut actions);
                actions.clear();
            });
        });
    }
    group.finish();
}

fn start_and_stop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("supervisor_start_stop");
    for children in [1_000_u32, 100_000] {
        group.throughput(Throughput::Elements(u64::from(children)));
        group.sample_size(10);
        group.bench_function(BenchmarkId::from_parameter(children), |bencher| {
            bencher.iter_batched(
                || running(children),
                |(mut machine, mut actions, _)| {
                    machine.shutdown(Instant::ZERO, None, &mut actions);
                    while let Some(supervisor::Action::Signal { pid, .. }) = actions.pop() {
                        actions.clear();
                        let reason = ExitReason::Shutdown;
                        let event = supervisor::Event::Exited { pid, reason };
                        machine.handle(Instant::ZERO, event, &mut actions);
                    }
                    assert!(machine.is_stopped());
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, crash_to_restart, node_step, registry, start_and_stop);
criterion_main!(benches);
