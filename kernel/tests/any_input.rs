//! Any events, in any phase, at any time: no panic, and the invariants hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lictor_kernel::supervisor::{Action, Config, Event, Report};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, ExitReason, Instant, Intensity, Jitter, Pid,
    Restart, Shutdown, Strategy as Plan, Supervisor,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An event about a child: which, how far its incarnation is off, and what.
    Event(u32, u64, u8),
    Command(u32, u8),
    /// Answer what was asked last.
    Answer(u8),
    Sleep(u64),
    At(u64),
    Timeout,
    Stop(Option<u64>),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5_u32, prop_oneof![4 => Just(0_u64), 1 => any::<u64>()], any::<u8>())
            .prop_map(|(child, off, what)| Step::Event(child, off, what)),
        2 => (0..6_u32, any::<u8>()).prop_map(|(child, what)| Step::Command(child, what)),
        6 => any::<u8>().prop_map(Step::Answer),
        3 => (0..3_000_000_000_u64).prop_map(Step::Sleep),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Step::At),
        2 => Just(Step::Timeout),
        1 => proptest::option::of(0..2_000_000_000_u64).prop_map(Step::Stop),
        1 => Just(Step::Kill),
    ]
}

fn spec() -> impl Strategy<Value = ChildSpec> {
    (0..3_u8, 0..4_u8, any::<bool>()).prop_map(|(restart, shutdown, timed)| ChildSpec {
        restart: [Restart::Permanent, Restart::Transient, Restart::Temporary][usize::from(restart)],
        shutdown: match shutdown {
            0 => Shutdown::BrutalKill,
            1 => Shutdown::Infinity,
            2 => Shutdown::Timeout(Duration::ZERO),
            _ => Shutdown::Timeout(Duration::from_secs(1)),
        },
        start_timeout: timed.then_some(Duration::from_secs(2)),
        ..ChildSpec::worker()
    })
}

fn config() -> impl Strategy<Value = Config> {
    (0..3_u8, 0..4_u32, 0..4_u8, any::<u64>()).prop_map(|(plan, max_restarts, backoff, seed)| {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(2));
        Config {
            strategy: [Plan::OneForOne, Plan::OneForAll, Plan::RestForOne][usize::from(plan)],
            intensity: Intensity { max_restarts, period: Duration::from_secs(5) },
            backoff: match backoff {
                0 => Backoff::NONE,
                1 => Backoff::constant(base),
                2 => Backoff::exponential(base, max).jitter(Jitter::Full),
                _ => Backoff::linear(base, max).jitter(Jitter::Decorrelated),
            },
            auto_shutdown: AutoShutdown::Never,
            seed,
            ..Config::default()
        }
    })
}

/// A machine, what it asked for and was not told yet, and what must always hold.
struct Watched {
    machine: Supervisor,
    now: Instant,
    live: BTreeMap<ChildId, Pid>,
    /// Those that have said that they are up.
    up: BTreeSet<Pid>,
    newest: u64,
    ended: u32,
    /// The process whose end is just being told.
    unheard: Option<Pid>,
    trace: Vec<Action>,
}

impl Watched {
    fn act(&mut self, act: impl FnOnce(&mut Supervisor, Instant, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        act(&mut self.machine, self.now, &mut actions);
        for action in actions {
            // Only that a fact came too late may be said after the end.
            let stale = matches!(action, Action::Report(Report::StaleEvent { .. }));
            assert!(self.ended == 0 || stale, "nothing follows the exit: {action:?}");
            match action {
                Action::Start { pid } => {
                    assert!(pid.incarnation > self.newest, "incarnations grow");
                    self.newest = pid.incarnation;
                    let before = self.live.insert(pid.child, pid);
                    assert_eq!(before, None, "one live incarnation of a child");
                }
                Action::Signal { pid, .. } => {
                    // A deadline that fires before the exit is heard may still find it alive.
                    let alive = self.live.get(&pid.child) == Some(&pid);
                    assert!(alive || self.unheard == Some(pid), "signals go to the living");
                }
                Action::Exit { .. } => {
                    assert!(self.live.is_empty(), "no process outlives its supervisor");
                    assert_eq!(self.machine.poll_timeout(), None);
                    self.ended += 1;
                }
                Action::Ready | Action::Removed { .. } | Action::Report(_) => {}
            }
            self.trace.push(action);
        }
    }

    fn event(&mut self, pid: Pid, what: u8) {
        let reasons = [
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::ShutdownBecause,
            ExitReason::Killed,
            ExitReason::Crashed,
        ];
        let reason = reasons[usize::from(what / 4) % reasons.len()];
        let event = match what % 4 {
            0 => Event::Started { pid },
            1 => Event::StartIgnored { pid },
            2 => Event::StartFailed { pid },
            _ => Event::Exited { pid, reason },
        };
        if self.live.get(&pid.child) == Some(&pid) {
            // Only an exit ends a process that has come up, be it too late; before that, the
            // failure of its start does, too.
            let ends = match event {
                Event::Started { .. } => {
                    self.up.insert(pid);
                    false
                }
                Event::StartIgnored { .. } | Event::StartFailed { .. } => !self.up.contains(&pid),
                Event::Exited { .. } => true,
            };
            if ends {
                self.live.remove(&pid.child);
                self.unheard = Some(pid);
            }
        }
        self.act(|machine, now, out| machine.handle(now, event, out));
        self.unheard = None;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Event(child, off, what) => {
                let child = ChildId(child);
                let newest = self.live.get(&child).map_or(0, |pid| pid.incarnation);
                self.event(Pid { child, incarnation: newest.wrapping_add(off) }, what);
            }
            Step::Answer(what) => {
                let living: Vec<Pid> = self.live.values().copied().collect();
                let Some(pid) = living.get(usize::from(what) % living.len().max(1)) else { return };
                self.event(*pid, what);
            }
            Step::Command(child, what) => {
                let id = ChildId(child);
                self.act(|machine, now, out| match what % 4 {
                    0 => drop(machine.start_child(now, id, ChildSpec::worker(), out)),
                    1 => drop(machine.terminate_child(now, id, out)),
                    2 => drop(machine.restart_child(now, id, out)),
                    _ => drop(machine.delete_child(now, id, out)),
                });
            }
            Step::Sleep(time) => self.now = self.now.saturating_add(Duration::from_nanos(time)),
            Step::At(nanos) => self.now = Instant::from_nanos(nanos),
            Step::Timeout => {
                self.now = self.machine.poll_timeout().unwrap_or(self.now).max(self.now);
                let before = self.machine.clone();
                self.act(|machine, now, out| machine.handle_timeout(now, out));
                let due = before.poll_timeout().is_some_and(|at| at <= self.now);
                assert!(!due || before != self.machine, "a due deadline changes something");
            }
            Step::Stop(within) => {
                let by = within.map(|time| self.now.saturating_add(Duration::from_nanos(time)));
                self.act(|machine, now, out| machine.shutdown(now, by, out));
            }
            Step::Kill => self.act(Supervisor::kill),
        }
    }
}

fn watched(config: Config, specs: &[ChildSpec]) -> Watched {
    let specs: Vec<_> = (0..).map(ChildId).zip(specs.iter().copied()).collect();
    let machine = Supervisor::new(config, &specs).expect("a good configuration");
    let (live, up, trace) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let (now, newest, ended, unheard) = (Instant::ZERO, 0, 0, None);
    let mut watched = Watched { machine, now, live, up, newest, ended, unheard, trace };
    watched.act(|machine, now, out| machine.start(now, out));
    watched
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // Rules: A5, V26, V27
    #[test]
    fn the_invariants_hold_whatever_comes(
        config in config(),
        specs in prop::collection::vec(spec(), 0..5),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut watched = watched(config, &specs);
        for step in steps {
            watched.step(step);
        }
        // A stop ends once everything has answered.
        watched.act(|machine, now, out| machine.shutdown(now, None, out));
        for _ in 0..100 {
            let Some(pid) = watched.live.values().next_back().copied() else { break };
            watched.event(pid, 3 + 4);
        }
        prop_assert!(watched.machine.is_stopped() && watched.ended == 1);
        prop_assert_eq!(watched.machine.poll_timeout(), None);
    }

    // Rule: A4
    #[test]
    fn the_same_calls_give_the_same_actions_and_the_same_state(
        config in config(),
        specs in prop::collection::vec(spec(), 0..5),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut first = watched(config.clone(), &specs);
        let mut second = watched(config, &specs);
        for step in steps {
            first.step(step);
            second.step(step);
        }
        prop_assert_eq!(first.trace, second.trace);
        prop_assert_eq!(first.machine, second.machine);
    }
}
