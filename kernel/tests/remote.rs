//! Children on other nodes: everything at small scope.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "remote/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use lictor_kernel::Prng;
use lictor_kernel::remote::Config;

use crate::world::{Budget, Move, TICK, World, config};

const NONE: Budget = Budget {
    ticks: 0,
    host_boots: 0,
    reaps: 0,
    owner_boots: 0,
    downs: 0,
    pauses: 0,
    crashes: 0,
    stops: 0,
    restarts: 0,
    repeats: 0,
    frames: 2,
};

fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Walks everything that can happen within the budget, and heals from every n-th state on the way.
/// Returns how many states there are, or the way to one with two processes alive.
fn walk(
    config: Config,
    budget: Budget,
    heal_every: usize,
    most: usize,
) -> Result<usize, Vec<Move>> {
    walk_from(World::new(config, budget), heal_every, most)
}

fn walk_from(start: World, heal_every: usize, most: usize) -> Result<usize, Vec<Move>> {
    let mut seen = BTreeSet::from([digest(&start)]);
    let moves = start.moves();
    // The way to where we are, and at each step what was not tried yet.
    let mut way: Vec<(World, Vec<Move>, Option<Move>)> = vec![(start, moves, None)];
    while let Some((world, moves, _)) = way.last_mut() {
        let Some(what) = moves.pop() else {
            way.pop();
            continue;
        };
        let mut next = world.clone();
        next.make(what);
        if !seen.insert(digest(&next)) {
            continue;
        }
        let path = || way.iter().filter_map(|(_, _, what)| *what).chain([what]).collect();
        if next.alive() > 1 {
            return Err(path());
        }
        if seen.len().is_multiple_of(heal_every) {
            let mut healed = next.clone();
            healed.heal();
            let path: Vec<Move> = path();
            assert!(healed.is_well(), "{path:?}\nfrom {next:?}\nto {healed:?}");
        }
        assert!(seen.len() < most, "more states than were expected");
        let moves = next.moves();
        way.push((next, moves, Some(what)));
    }
    Ok(seen.len())
}

/// With leases of one tick nothing lasts, so that everything happens soon.
fn at_most_one(budget: Budget) {
    let config = Config { lease: TICK, ..config() };
    let states = walk(config, Budget { frames: 1, ..budget }, usize::MAX, 400_000);
    let states = states.map_err(|path| format!("{path:#?}")).unwrap();
    assert!(states > 5_000, "only {states} states");
}

// Rules: H3, H4, H9, H16
#[test]
fn a_host_that_is_lost_and_booted_anew() {
    at_most_one(Budget { ticks: 2, host_boots: 1, downs: 1, restarts: 1, ..NONE });
}

// Rules: H9, H16
#[test]
fn a_host_whose_end_is_seen() {
    at_most_one(Budget { ticks: 1, host_boots: 2, reaps: 2, ..NONE });
}

// Rules: H7, H9, H16
#[test]
fn a_host_that_sleeps_while_another_boot_of_it_comes() {
    at_most_one(Budget { ticks: 2, host_boots: 1, pauses: 1, ..NONE });
}

// Rules: H11, H12, H16
#[test]
fn an_owner_that_is_booted_anew() {
    at_most_one(Budget { ticks: 2, owner_boots: 1, host_boots: 1, ..NONE });
}

/// A host whose clock is slow by a ninth thinks that its lease holds when it is over.
fn with_a_slow_host(margin: Duration) -> Result<usize, Vec<Move>> {
    let config = Config { lease: TICK, margin, ..config() };
    let budget = Budget { ticks: 2, host_boots: 1, downs: 1, frames: 1, ..NONE };
    let mut start = World::new(config, budget);
    start.rate = (8, 9);
    walk_from(start, usize::MAX, 2_000_000)
}

// Rules: H9, H16
#[test]
fn the_margin_is_for_clocks_that_drift() {
    assert!(with_a_slow_host(Duration::ZERO).is_err(), "without it there are two");
    let states = with_a_slow_host(TICK / 8).map_err(|path| format!("{path:#?}")).unwrap();
    assert!(states > 1_000, "only {states} states");
}

// Rules: H3, H4, H8, H9, H10, H11, H12, H16, H17
#[test]
fn any_faults_and_then_none() {
    let mut prng = Prng::new(1);
    let mut ran = 0;
    for _ in 0..3_000 {
        let budget = Budget {
            ticks: 12,
            host_boots: few(&mut prng, 3),
            reaps: few(&mut prng, 2),
            owner_boots: few(&mut prng, 2),
            downs: few(&mut prng, 4),
            pauses: few(&mut prng, 3),
            crashes: few(&mut prng, 3),
            stops: few(&mut prng, 3),
            restarts: 4,
            repeats: 4,
            frames: 8,
        };
        let mut world = World::new(config(), budget);
        let mut path = Vec::new();
        while let Some(what) = pick(&mut prng, &world.moves()) {
            path.push(what);
            world.make(what);
            assert!(world.alive() <= 1, "{path:#?}");
            ran = ran.max(world.ran());
            if path.len() > 120 {
                break;
            }
        }
        let at_last = world.clone();
        world.heal();
        assert!(world.is_well(), "{path:#?}\nfrom {at_last:#?}\nto {world:#?}");
    }
    assert!(ran > 3, "only {ran} processes ran in any walk");
}

fn few(prng: &mut Prng, most: u64) -> u8 {
    u8::try_from(prng.below(most + 1)).unwrap()
}

/// Time and what ends things are taken less often than the rest.
fn pick(prng: &mut Prng, moves: &[Move]) -> Option<Move> {
    let weight = |what: &Move| match what {
        Move::Arrives(..) | Move::Process(..) | Move::OwnerSees(_) | Move::HostSees(_) => 12,
        Move::Tick | Move::Resume(_) | Move::Restart => 4,
        Move::OwnerLosesHost
        | Move::HostLosesOwner(_)
        | Move::BootHost
        | Move::KillHost(_)
        | Move::OwnerHearsOfEnd(_)
        | Move::Pause(_)
        | Move::BootOwner
        | Move::Stop(_)
        | Move::Retire => 1,
    };
    let mut at = prng.below(moves.iter().map(weight).sum::<u64>().max(1));
    moves.iter().copied().find(|what| {
        let found = at < weight(what);
        at = at.saturating_sub(weight(what));
        found
    })
}
