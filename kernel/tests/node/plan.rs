//! Random plans and what happens to them.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::tree::{Body, Plan, PlannedChild};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, ExitReason, Intensity, Restart, Shutdown,
    Strategy as Restarts, dynamic_supervisor, supervisor,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Up(usize),
    NotUp(usize, bool),
    End(usize, ExitReason),
    /// The first process that was told to end does.
    Obey,
    Advance(u64),
    Call(usize, u64),
    PeerDown(u64),
    Add(u64, ChildSpec),
    /// To this supervisor, about the n-th of its children.
    Command(Command, u64, usize),
    Shutdown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    Terminate,
    Restart,
    Delete,
}

fn any_spec() -> impl Strategy<Value = ChildSpec> {
    let restart = prop::sample::select(vec![
        Restart::Permanent,
        Restart::Permanent,
        Restart::Transient,
        Restart::Temporary,
    ]);
    let shutdown = prop_oneof![
        Just(Shutdown::BrutalKill),
        (0..5_u64).prop_map(|nanos| Shutdown::Timeout(Duration::from_nanos(nanos))),
        Just(Shutdown::Infinity),
    ];
    (restart, shutdown, prop::bool::weighted(0.2)).prop_map(|(restart, shutdown, significant)| {
        let significant = significant && restart != Restart::Permanent;
        ChildSpec { restart, shutdown, significant, ..ChildSpec::worker() }
    })
}

pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let which = || 0..9_usize;
    let at = || 0..6_u64;
    let reason = prop::sample::select(vec![
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Crashed,
        ExitReason::Crashed,
    ]);
    let command = prop::sample::select(vec![Command::Terminate, Command::Restart, Command::Delete]);
    prop_oneof![
        30 => which().prop_map(Op::Up),
        2 => (which(), any::<bool>()).prop_map(|(which, ignored)| Op::NotUp(which, ignored)),
        8 => (which(), reason).prop_map(|(which, reason)| Op::End(which, reason)),
        12 => Just(Op::Obey),
        8 => (0..6_u64).prop_map(Op::Advance),
        4 => (which(), 0..30_u64).prop_map(|(which, after)| Op::Call(which, after)),
        1 => (0..3_u64).prop_map(Op::PeerDown),
        5 => (at(), any_spec()).prop_map(|(at, spec)| Op::Add(at, spec)),
        7 => (command, at(), which()).prop_map(|(what, at, which)| Op::Command(what, at, which)),
    ]
}

fn any_config() -> impl Strategy<Value = supervisor::Config> {
    let strategy =
        prop::sample::select(vec![Restarts::OneForOne, Restarts::OneForAll, Restarts::RestForOne]);
    (strategy, 0..4_u64, 0..5_u32, 1..20_u64).prop_map(|(strategy, base, max_restarts, period)| {
        let base = Duration::from_nanos(base);
        supervisor::Config {
            strategy,
            intensity: Intensity { max_restarts, period: Duration::from_nanos(period) },
            backoff: Backoff::linear(base, 3 * base),
            auto_shutdown: AutoShutdown::AnySignificant,
            ..supervisor::Config::default()
        }
    })
}

/// Three levels at most, each with workers, a dynamic supervisor, and the level below; and how many
/// names there are. The numbers are given in the order of the levels.
pub(crate) fn any_plan() -> impl Strategy<Value = (Arc<Plan>, u32)> {
    let level = (any_config(), prop::collection::vec((any_spec(), 0..5_u8), 1..4));
    prop::collection::vec(level, 1..4).prop_map(|levels| {
        let mut names = 0;
        let mut below: Option<Plan> = None;
        for (config, specs) in levels.into_iter().rev() {
            let mut children = Vec::new();
            for (spec, what) in specs {
                let supervised = ChildSpec { kind: ChildKind::Supervisor, ..spec };
                let (spec, body) = match (what, below.take()) {
                    (0 | 1, Some(plan)) => (supervised, Body::Supervisor(Arc::new(plan))),
                    (2, rest) => {
                        below = rest;
                        let config = dynamic_supervisor::Config {
                            intensity: config.intensity,
                            backoff: config.backoff,
                            auto_shutdown: config.auto_shutdown,
                            ..dynamic_supervisor::Config::default()
                        };
                        (supervised, Body::Supervisor(Arc::new(Plan::Dynamic(config))))
                    }
                    (_, rest) => {
                        below = rest;
                        (spec, Body::Worker)
                    }
                };
                children.push(PlannedChild { id: ChildId(names), spec, body });
                names += 1;
            }
            if let Some(plan) = below.take() {
                let body = Body::Supervisor(Arc::new(plan));
                children.push(PlannedChild {
                    id: ChildId(names),
                    spec: ChildSpec::supervisor(),
                    body,
                });
                names += 1;
            }
            below = Some(Plan::Static { config, children });
        }
        (Arc::new(below.expect("a level")), names)
    })
}
