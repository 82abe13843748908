//! The dynamic supervisor against a plain list of children, over random histories.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_kernel::dynamic_supervisor::{Action, Budget, Config, SpawnerId};
use lictor_kernel::supervisor::{ChildState, Event};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, Curve, DynamicSupervisor, ExitReason, Instant,
    Intensity, Jitter, Pid, Restart, Shutdown, Signal,
};
use lictor_sim::model::dynamic::Model;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Spawn(ChildId, ChildSpec, Option<SpawnerId>),
    /// About the n-th process from the last one: a bringing up, a failure, an ignore, an end.
    Started(usize),
    Ignored(usize),
    Failed(usize),
    Exited(usize, ExitReason),
    Terminate(ChildId, Option<Shutdown>),
    Advance(u64),
    Timeout,
    /// On to the next deadline.
    Due,
    Shutdown(Option<u64>),
    Kill,
    Forget(SpawnerId),
}

fn nanos(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_nanos)
}

fn any_reason() -> impl Strategy<Value = ExitReason> {
    use ExitReason as R;
    prop_oneof![
        4 => Just(R::Crashed),
        2 => Just(R::Normal),
        2 => Just(R::Shutdown),
        1 => Just(R::ShutdownBecause),
        2 => Just(R::Killed),
        1 => Just(R::NoConnection),
        1 => Just(R::RestartsExhausted),
    ]
}

fn any_shutdown() -> impl Strategy<Value = Shutdown> {
    prop_oneof![
        Just(Shutdown::BrutalKill),
        nanos(0..5).prop_map(Shutdown::Timeout),
        Just(Shutdown::Infinity),
    ]
}

fn any_spec() -> impl Strategy<Value = ChildSpec> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent), 2 => Just(Restart::Transient), 1 => Just(Restart::Temporary),
    ];
    let start_timeout = proptest::option::weighted(0.3, nanos(0..4));
    (restart, any_shutdown(), prop::bool::weighted(0.3), start_timeout).prop_map(
        |(restart, shutdown, significant, start_timeout)| ChildSpec {
            restart,
            shutdown,
            significant,
            start_timeout,
            ..ChildSpec::worker()
        },
    )
}

fn any_config() -> impl Strategy<Value = Config> {
    let curve =
        prop::sample::select(vec![Curve::None, Curve::Constant, Curve::Linear, Curve::Exponential]);
    let backoff = (curve, nanos(0..4), nanos(4..12), proptest::option::of(nanos(0..6))).prop_map(
        |(curve, base, max, stable_after)| Backoff {
            curve,
            base,
            max,
            jitter: Jitter::None,
            stable_after,
        },
    );
    let auto_shutdown = prop::sample::select(vec![
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
    ]);
    let budget = prop::sample::select(vec![Budget::Child, Budget::Shared]);
    let few = || proptest::option::weighted(0.3, 1..5_u32);
    let some = || proptest::option::weighted(0.3, 1..12_u64);
    let limits = (few(), some(), few(), some());
    (backoff, auto_shutdown, budget, 0..5_u32, nanos(1..20), limits).prop_map(
        |(backoff, auto_shutdown, budget, max_restarts, period, limits)| Config {
            intensity: Intensity { max_restarts, period },
            budget,
            backoff,
            auto_shutdown,
            max_children: limits.0,
            max_total_spawns: limits.1,
            max_children_per_spawner: limits.2,
            max_total_spawns_per_spawner: limits.3,
            ..Config::default()
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    let id = || (0..5_u32).prop_map(ChildId);
    let spawner = || (0..3_u64).prop_map(SpawnerId);
    let which = || prop_oneof![3 => 0..4_usize, 1 => 0..30_usize];
    prop_oneof![
        8 => (id(), any_spec(), proptest::option::of(spawner()))
            .prop_map(|(id, spec, spawner)| Op::Spawn(id, spec, spawner)),
        12 => which().prop_map(Op::Started),
        1 => which().prop_map(Op::Ignored),
        2 => which().prop_map(Op::Failed),
        10 => (which(), any_reason()).prop_map(|(which, reason)| Op::Exited(which, reason)),
        2 => (id(), proptest::option::of(any_shutdown()))
            .prop_map(|(id, how)| Op::Terminate(id, how)),
        4 => (0..4_u64).prop_map(Op::Advance),
        3 => Just(Op::Timeout),
        6 => Just(Op::Due),
        1 => proptest::option::of(0..10_u64).prop_map(Op::Shutdown),
        1 => prop::bool::weighted(0.3).prop_map(|kill| if kill { Op::Kill } else { Op::Timeout }),
        1 => spawner().prop_map(Op::Forget),
    ]
}

/// Whom the driver started, and what it was told of them.
#[derive(Default)]
struct Driver {
    pids: Vec<Pid>,
    told: BTreeMap<Pid, Signal>,
    ended: bool,
}

impl Driver {
    fn nth_last(&self, which: usize) -> Pid {
        let unknown = Pid { child: ChildId(9), incarnation: 9 };
        self.pids.iter().rev().nth(which).copied().unwrap_or(unknown)
    }

    /// What must hold of any actions in any order.
    fn obey(
        &mut self,
        machine: &DynamicSupervisor,
        actions: &[Action],
    ) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Start { pid } => {
                    prop_assert!(!self.ended, "a start after the exit");
                    let newest = self.pids.last().map_or(0, |pid| pid.incarnation);
                    prop_assert!(pid.incarnation > newest, "incarnations grow");
                    self.pids.push(*pid);
                }
                Action::Signal { pid, signal } => {
                    let before = self.told.insert(*pid, *signal);
                    prop_assert_ne!(before, Some(Signal::Kill), "told after it was killed");
                    prop_assert!(before.is_none() || *signal == Signal::Kill, "asked twice");
                }
                Action::Exit { .. } => {
                    prop_assert!(!self.ended, "it ends twice");
                    self.ended = true;
                }
                Action::Ready | Action::Removed { .. } | Action::Report(_) => {}
            }
        }
        if machine.is_stopped() {
            prop_assert!(self.ended && machine.which_children().next().is_none());
            prop_assert_eq!(machine.poll_timeout(), None);
        }
        Ok(())
    }
}

struct Pair {
    machine: DynamicSupervisor,
    model: Model,
    driver: Driver,
    now: Instant,
}

impl Pair {
    fn new(config: &Config, begin: u64) -> Self {
        Self {
            machine: DynamicSupervisor::new(config.clone()).expect("a valid configuration"),
            model: Model::new(config.clone()),
            driver: Driver::default(),
            now: Instant::from_nanos(begin),
        }
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        let mut actions = Vec::new();
        let out = &mut actions;
        match op {
            Op::Spawn(id, spec, spawner) => {
                let got = self.machine.spawn(self.now, id, spec, spawner, out);
                prop_assert_eq!(got, self.model.spawn(self.now, id, spec, spawner));
            }
            Op::Started(which) => {
                let pid = self.driver.nth_last(which);
                self.fact(Event::Started { pid }, out);
            }
            Op::Ignored(which) => {
                let pid = self.driver.nth_last(which);
                self.fact(Event::StartIgnored { pid }, out);
            }
            Op::Failed(which) => {
                let pid = self.driver.nth_last(which);
                self.fact(Event::StartFailed { pid }, out);
            }
            Op::Exited(which, reason) => {
                let pid = self.driver.nth_last(which);
                self.fact(Event::Exited { pid, reason }, out);
            }
            Op::Terminate(id, how) => {
                let got = self.machine.terminate_child(self.now, id, how, out);
                prop_assert_eq!(got, self.model.terminate(self.now, id, how));
            }
            Op::Advance(by) => self.now = self.now.saturating_add(Duration::from_nanos(by)),
            Op::Timeout | Op::Due => {
                if let (Op::Due, Some(at)) = (op, self.machine.poll_timeout()) {
                    self.now = self.now.max(at);
                }
                self.machine.handle_timeout(self.now, out);
                self.model.timeout(self.now);
                prop_assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now));
            }
            Op::Shutdown(after) => {
                let by = after.map(|after| self.now.saturating_add(Duration::from_nanos(after)));
                self.machine.shutdown(self.now, by, out);
                self.model.shutdown(self.now, by);
            }
            Op::Kill => {
                self.machine.kill(self.now, out);
                self.model.kill(self.now);
            }
            Op::Forget(spawner) => {
                self.machine.forget_spawner(spawner);
                self.model.forget(spawner);
            }
        }
        self.compare(&actions)?;
        self.driver.obey(&self.machine, &actions)
    }

    fn fact(&mut self, event: Event, out: &mut Vec<Action>) {
        self.machine.handle(self.now, event, out);
        self.model.handle(self.now, event);
    }

    fn compare(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        prop_assert_eq!(actions, std::mem::take(&mut self.model.actions));
        let children: Vec<(ChildId, ChildState)> = self.machine.which_children().collect();
        prop_assert_eq!(&children, &self.model.children());
        let counts = self.machine.count_children();
        let waiting = |state: &ChildState| matches!(state, ChildState::Restarting { .. });
        let active = children.iter().filter(|(_, state)| !waiting(state)).count();
        prop_assert_eq!((counts.specs as usize, counts.active as usize), (children.len(), active));
        prop_assert_eq!(self.machine.poll_timeout(), self.model.poll_timeout());
        let phase = (self.machine.is_running(), self.machine.is_stopped());
        prop_assert_eq!(phase, self.model.phase());
        prop_assert_eq!(self.machine.spawners(), self.model.spawners());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Rules: Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, V26, V27, A2, A3
    #[test]
    fn it_does_what_the_plain_list_does(
        config in any_config(),
        ops in prop::collection::vec(any_op(), 0..80),
        begin in prop_oneof![Just(0), 1..100_u64, Just(u64::MAX - 30)],
    ) {
        let mut pair = Pair::new(&config, begin);
        pair.machine.start(&mut Vec::new());
        pair.model.start();
        pair.model.actions.clear();
        for op in ops {
            pair.step(op)?;
        }
    }

    // Rules: Y6, Y7, Y8, V27
    #[test]
    fn a_stop_ends_when_the_last_has_gone(
        config in any_config(),
        ops in prop::collection::vec(any_op(), 0..60),
        bound in proptest::option::of(0..10_u64),
    ) {
        let mut pair = Pair::new(&config, 0);
        pair.machine.start(&mut Vec::new());
        pair.model.start();
        pair.model.actions.clear();
        for op in ops {
            pair.step(op)?;
        }
        pair.step(Op::Shutdown(bound))?;
        // The driver does as it is told.
        for _ in 0..pair.machine.which_children().count() {
            let Some((_, ChildState::Stopping(pid))) = pair.machine.which_children().next() else {
                return Err(TestCaseError::fail("all that are left are being stopped"));
            };
            let which = pair.driver.pids.iter().rev().position(|other| *other == pid);
            let which = which.expect("a process that was started");
            pair.step(Op::Exited(which, ExitReason::Shutdown))?;
        }
        prop_assert!(pair.machine.is_stopped());
        let remembered = pair.machine.spawners();
        prop_assert!(remembered == 0 || config.max_total_spawns_per_spawner.is_some());
        for spawner in 0..3 {
            pair.step(Op::Forget(SpawnerId(spawner)))?;
        }
        prop_assert_eq!(pair.machine.spawners(), 0);
    }

    // Rule: A4
    #[test]
    fn the_same_calls_do_the_same(
        config in any_config(),
        ops in prop::collection::vec(any_op(), 0..60),
        jitter in prop::sample::select(vec![Jitter::Quarter, Jitter::Full, Jitter::Decorrelated]),
        seed: u64,
    ) {
        let backoff = config.backoff.jitter(jitter);
        let config = Config { seed, backoff, ..config };
        let run = || {
            let mut machine = DynamicSupervisor::new(config.clone()).expect("a valid policy");
            let (mut out, mut now) = (Vec::new(), Instant::ZERO);
            let mut pids = Vec::new();
            machine.start(&mut out);
            for op in &ops {
                let before = out.len();
                now = call(&mut machine, *op, now, &pids, &mut out);
                pids.extend(out[before..].iter().filter_map(|action| match action {
                    Action::Start { pid } => Some(*pid),
                    Action::Signal { .. }
                    | Action::Ready
                    | Action::Removed { .. }
                    | Action::Report(_)
                    | Action::Exit { .. } => None,
                }));
            }
            (machine, out)
        };
        prop_assert_eq!(run(), run());
    }
}

/// Makes one call and gives the time after it.
fn call(
    machine: &mut DynamicSupervisor,
    op: Op,
    now: Instant,
    pids: &[Pid],
    out: &mut Vec<Action>,
) -> Instant {
    let driver = Driver { pids: pids.to_vec(), ..Driver::default() };
    let pid = |which| driver.nth_last(which);
    let after = |by| now.saturating_add(Duration::from_nanos(by));
    match op {
        Op::Spawn(id, spec, spawner) => refusable(machine.spawn(now, id, spec, spawner, out)),
        Op::Started(n) => machine.handle(now, Event::Started { pid: pid(n) }, out),
        Op::Ignored(n) => machine.handle(now, Event::StartIgnored { pid: pid(n) }, out),
        Op::Failed(n) => machine.handle(now, Event::StartFailed { pid: pid(n) }, out),
        Op::Exited(n, reason) => machine.handle(now, Event::Exited { pid: pid(n), reason }, out),
        Op::Terminate(id, how) => refusable(machine.terminate_child(now, id, how, out)),
        Op::Advance(by) => return after(by),
        Op::Timeout => machine.handle_timeout(now, out),
        Op::Due => {
            let now = machine.poll_timeout().map_or(now, |at| now.max(at));
            machine.handle_timeout(now, out);
            return now;
        }
        Op::Shutdown(by) => machine.shutdown(now, by.map(after), out),
        Op::Kill => machine.kill(now, out),
        Op::Forget(spawner) => machine.forget_spawner(spawner),
    }
    now
}

/// A command may be refused.
fn refusable<T>(_answer: T) {}
