//! The router against the registry's own entries, read one by one.

use std::collections::BTreeSet;

use lictor_kernel::{
    Announcement, ChildId, ChildKind, Choice, Declaration, Glob, Instant, Match, NameId, Names,
    NodeId, Owner, Pid, ProcessId, ROUND_ROBINS_MAX, Registry, RegistryLimits, Route, Router,
    Status, SupervisorId, Undeliverable,
};
use proptest::prelude::*;

const CAPABILITY: NameId = NameId(1000);

fn process(name: u32) -> ProcessId {
    let pid = Pid { child: ChildId(name), incarnation: 1 };
    ProcessId { supervisor: SupervisorId(1), pid }
}

/// One name of the world: where it is, how it does, and whether it has the capability.
#[derive(Clone, Debug)]
struct Agent {
    local: bool,
    remote: bool,
    status: Status,
    supervisor: bool,
    capable: bool,
    lease_until: u64,
}

fn agent() -> impl Strategy<Value = Agent> {
    let status = prop::sample::select(vec![
        Status::Starting,
        Status::Up,
        Status::Up,
        Status::Restarting,
        Status::Suspended,
        Status::Down,
    ]);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    (flags, status, 8..13_u64).prop_map(
        |((local, remote, supervisor, capable), status, lease_until)| Agent {
            local,
            remote,
            status,
            supervisor,
            capable,
            lease_until,
        },
    )
}

const TEXTS: [&str; 6] = ["c", "a", "_system", "b.x", "b.y", "b"];

fn world(agents: &[Agent]) -> (Names, Registry) {
    let mut names = Names::new(10);
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    for (text, agent) in TEXTS.iter().zip(agents) {
        let name = names.intern_system(text).expect("a name");
        let kind = if agent.supervisor { ChildKind::Supervisor } else { ChildKind::Worker };
        let capabilities = if agent.capable { &[CAPABILITY][..] } else { &[] };
        let status = agent.status;
        if agent.local {
            let process = Some(process(name.0));
            let declaration = Declaration { process, status, kind, capabilities };
            registry.declare(name, declaration, &mut Vec::new()).expect("free");
        }
        if agent.remote {
            let announcement = Announcement {
                node: NodeId(7),
                epoch: 2,
                incarnation: 3,
                revision: 0,
                lease_until: Instant::from_nanos(agent.lease_until),
                status,
                kind,
                capabilities,
            };
            registry.register_remote(name, announcement, &mut Vec::new()).expect("room");
        }
    }
    (names, registry)
}

const NOW: Instant = Instant::from_nanos(10);

fn expected(name: NameId, agent: &Agent) -> Route {
    let ended = matches!(agent.status, Status::Down | Status::Restarting);
    if !agent.local && !agent.remote {
        Route::Undeliverable(Undeliverable::NoSuchName)
    } else if !agent.local && agent.lease_until < 10 {
        Route::Undeliverable(Undeliverable::LeaseExpired)
    } else if agent.status == Status::Down {
        Route::Undeliverable(Undeliverable::Down)
    } else if agent.local {
        Route::Local { name, process: (!ended).then(|| process(name.0)) }
    } else {
        Route::Remote { name, node: NodeId(7), epoch: 2, incarnation: 3 }
    }
}

fn reachable(route: &Route) -> bool {
    !matches!(route, Route::Undeliverable(_))
}

proptest! {
    // Rules: T1, T2
    #[test]
    fn a_local_name_goes_before_a_remote_one(agents in prop::collection::vec(agent(), 6)) {
        let (names, registry) = world(&agents);
        for (text, agent) in TEXTS.iter().zip(&agents) {
            let name = names.lookup(text).unwrap();
            prop_assert_eq!(Router::route(NOW, &registry, name), expected(name, agent));
        }
    }

    // Rule: T3
    // Civitas D63: a broadcast reached its own sender and every supervisor.
    #[test]
    fn a_broadcast_spares_sender_supervisors_and_system(
        agents in prop::collection::vec(agent(), 6),
        sender in prop::option::of(0..6_usize),
        glob in prop::sample::select(vec!["*", "b*", "_*", "?", "b.[xy]"]),
    ) {
        let (names, registry) = world(&agents);
        let pattern = Glob::new(glob).unwrap();
        let mut order: Vec<_> = TEXTS.iter().enumerate().collect();
        order.sort_by_key(|(_, text)| **text);
        let mut routes = Vec::new();
        for (n, text) in order {
            let route = expected(names.lookup(text).unwrap(), &agents[n]);
            let spared = sender == Some(n) || agents[n].supervisor || text.starts_with('_');
            if pattern.matches(text) && !spared && reachable(&route) {
                routes.push(route);
            }
        }
        let sender = sender.map(|n| names.lookup(TEXTS[n]).unwrap());
        let mut found = Vec::new();
        Router::broadcast(NOW, &registry, &names, &pattern, sender, &mut found);
        prop_assert_eq!(found, routes);
    }

    // Rules: T4, T5
    #[test]
    fn a_choice_is_up_and_fair(
        agents in prop::collection::vec(agent(), 6),
        seed in any::<u64>(),
        mode in prop::sample::select(vec![Match::Any, Match::All]),
    ) {
        let (names, registry) = world(&agents);
        let capable = |agent: &Agent| (agent.local || agent.remote) && agent.capable;
        let up: BTreeSet<_> = TEXTS.iter().zip(&agents)
            .filter(|(_, agent)| capable(agent) && agent.status == Status::Up)
            .map(|(text, agent)| expected(names.lookup(text).unwrap(), agent))
            .filter(reachable)
            .filter_map(|route| match route {
                Route::Local { name, .. } | Route::Remote { name, .. } => Some(name),
                Route::Undeliverable(_) => None,
            })
            .collect();
        let mut routers = [Router::new(seed), Router::new(seed)];
        for choice in [Choice::RoundRobin, Choice::Random] {
            let mut seen = Vec::new();
            for _ in 0..2 * up.len().max(1) {
                let [route, again] = [0, 1].map(|n| {
                    routers[n].choose(NOW, &registry, mode, &[CAPABILITY], choice)
                });
                prop_assert_eq!(route, again);
                match route {
                    Route::Local { name, .. } | Route::Remote { name, .. } => seen.push(name),
                    Route::Undeliverable(reason) => {
                        prop_assert!(up.is_empty());
                        let none = if agents.iter().any(capable) {
                            Undeliverable::NoneUp
                        } else {
                            Undeliverable::NoCapability
                        };
                        prop_assert_eq!(reason, none);
                    }
                }
            }
            prop_assert!(seen.iter().all(|name| up.contains(name)));
            if choice == Choice::RoundRobin {
                let ordered: Vec<_> = up.iter().chain(&up).copied().collect();
                prop_assert_eq!(seen, ordered);
            }
        }
    }
}

fn up(n: u32, capabilities: &[NameId], registry: &mut Registry) {
    let process = Some(process(n));
    let kind = ChildKind::Worker;
    let declaration = Declaration { process, status: Status::Up, kind, capabilities };
    registry.declare(NameId(n), declaration, &mut Vec::new()).expect("free");
}

// Rule: T4
#[test]
fn random_choice_reaches_everyone_about_equally() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    (0..10).for_each(|n| up(n, &[CAPABILITY], &mut registry));
    let mut router = Router::new(1);
    let mut counts = [0_u32; 10];
    for _ in 0..10_000 {
        let route = router.choose(NOW, &registry, Match::Any, &[CAPABILITY], Choice::Random);
        let Route::Local { name, .. } = route else { panic!("{route:?}") };
        counts[usize::try_from(name.0).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

// Rule: T5
#[test]
fn round_robin_goes_on_when_members_come_and_go_and_its_memory_is_bounded() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    (0..4).for_each(|n| up(n, &[CAPABILITY], &mut registry));
    let mut router = Router::new(1);
    let mut next = |registry: &Registry| match router.choose(
        NOW,
        registry,
        Match::All,
        &[CAPABILITY],
        Choice::RoundRobin,
    ) {
        Route::Local { name, .. } => name.0,
        other @ (Route::Remote { .. } | Route::Undeliverable(_)) => panic!("{other:?}"),
    };
    assert_eq!([next(&registry), next(&registry)], [0, 1]);
    registry.unregister(NameId(1), &mut Vec::new());
    registry.unregister(NameId(2), &mut Vec::new());
    assert_eq!([next(&registry), next(&registry)], [3, 0]);
    let owner = registry.lookup(NameId(3)).unwrap().owner;
    assert_eq!(owner, Owner::Local(Some(process(3))));

    let queries = u32::try_from(ROUND_ROBINS_MAX).unwrap() + 10;
    let mut router = Router::new(1);
    let mut empty = format!("{router:?}").len();
    for n in 0..2 * queries {
        let query = [CAPABILITY, NameId(n + 2000)];
        let route = router.choose(NOW, &registry, Match::Any, &query, Choice::RoundRobin);
        assert!(reachable(&route));
        if n == queries {
            empty = format!("{router:?}").len();
        }
    }
    assert!(format!("{router:?}").len() <= empty + 100);
}

// Rule: T1
#[test]
fn a_hundred_thousand_names_at_the_edge_of_time() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    (0..100_000).for_each(|n| up(n, &[], &mut registry));
    for now in [Instant::ZERO, Instant::MAX] {
        for name in [0, 99_999] {
            assert!(reachable(&Router::route(now, &registry, NameId(name))));
        }
        let none = Route::Undeliverable(Undeliverable::NoSuchName);
        assert_eq!(Router::route(now, &registry, NameId(100_000)), none);
    }
}
