//! Every history up to a depth, at small scope: machines against their models and the rules.
//!
//! A static supervisor of two or three children, a dynamic one, and trees of two levels. Each test
//! also states how much was searched when it was written, so that nothing cuts it short unseen.

use core::time::Duration;

use lictor_kernel::dynamic_supervisor::{self, Budget, SpawnerId};
use lictor_kernel::supervisor::Config;
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, Instant, Intensity, Restart, Shutdown, Strategy,
};
use lictor_sim::exhaustive::{Limits, Moves, Outcome, check, explore};
use lictor_sim::operation::{Command, Dynamic, Operation, Session, Static, Subject};
use lictor_topology::{Options, parse};

/// Searches from one beginning and wants it clean and no smaller than it was.
fn search<S: Subject>(root: Session<S>, moves: &Moves, depth: u32, states: usize) {
    let limits = Limits { depth, ..Limits::default() };
    let roots = [("the beginning".to_owned(), root)];
    clean(&explore(&roots, &|session| moves.of(session), limits, &mut |_| ()), states);
}

fn clean(outcome: &Outcome, states: usize) {
    let Outcome { states: seen, transitions, depth, .. } = outcome;
    eprintln!("{seen} states, {transitions} moves, depth {depth}");
    if let Some(found) = &outcome.counterexample {
        panic!("{}\nfrom {}\n{}", found.fault, found.from, found.lines.join("\n"));
    }
    assert!(!outcome.cut, "the limit of states is wide enough");
    assert!(*seen >= states, "the search has shrunk: {seen} states, not {states}");
}

fn begun<S: Subject>(subject: S, up: bool) -> Session<S> {
    let mut session = Session::new(subject, Instant::from_secs(10));
    session.play(Operation::Begin).expect("a start");
    if up {
        session.obey(9).expect("everyone comes up");
    }
    session
}

fn supervisor(config: &Config, specs: &[ChildSpec], up: bool) -> Session<Static> {
    let specs: Vec<_> = (0..).map(ChildId).zip(specs.iter().copied()).collect();
    begun(Static::new(config, &specs).expect("a valid configuration"), up)
}

fn config(strategy: Strategy, max_restarts: u32, backoff: Backoff) -> Config {
    let intensity = Intensity { max_restarts, period: Duration::from_secs(2) };
    Config { strategy, intensity, backoff, max_children: 4, ..Config::default() }
}

fn spec(restart: Restart) -> ChildSpec {
    let shutdown = Shutdown::Timeout(Duration::from_secs(1));
    ChildSpec { restart, shutdown, ..ChildSpec::worker() }
}

fn brutal(restart: Restart) -> ChildSpec {
    ChildSpec { shutdown: Shutdown::BrutalKill, ..spec(restart) }
}

fn mixed() -> [ChildSpec; 3] {
    [spec(Restart::Permanent), brutal(Restart::Transient), spec(Restart::Temporary)]
}

fn everything() -> Moves {
    Moves { kill: true, ..Moves::default() }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn first_starts_in_every_way() {
    let slow = ChildSpec { start_timeout: Some(SECOND), ..spec(Restart::Temporary) };
    let specs = [spec(Restart::Permanent), slow, brutal(Restart::Permanent)];
    let config = config(Strategy::OneForAll, 1, Backoff::NONE);
    search(supervisor(&config, &specs, false), &everything(), 9, 22_000);
}

#[test]
fn one_for_one_without_backoff() {
    let config = config(Strategy::OneForOne, 1, Backoff::NONE);
    search(supervisor(&config, &mixed(), true), &everything(), 7, 41_000);
}

#[test]
fn one_for_all_without_backoff() {
    let config = config(Strategy::OneForAll, 2, Backoff::NONE);
    search(supervisor(&config, &mixed(), true), &everything(), 8, 30_000);
}

#[test]
fn rest_for_one_without_backoff() {
    let config = config(Strategy::RestForOne, 2, Backoff::NONE);
    search(supervisor(&config, &mixed(), true), &everything(), 7, 15_500);
}

#[test]
fn one_for_all_with_backoff() {
    let config = config(Strategy::OneForAll, 2, Backoff::linear(SECOND, SECOND * 2));
    let specs = [spec(Restart::Permanent), brutal(Restart::Transient)];
    search(supervisor(&config, &specs, true), &everything(), 8, 22_500);
}

#[test]
fn rest_for_one_with_backoff() {
    let config = config(Strategy::RestForOne, 2, Backoff::exponential(SECOND, SECOND * 2));
    let specs = [spec(Restart::Transient), spec(Restart::Permanent)];
    search(supervisor(&config, &specs, true), &everything(), 8, 24_300);
}

#[test]
fn significant_children_end_the_supervisor() {
    for auto_shutdown in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        let significant = |restart| ChildSpec { significant: true, ..spec(restart) };
        let backoff = Backoff::constant(SECOND);
        let config = Config { auto_shutdown, ..config(Strategy::RestForOne, 1, backoff) };
        let specs = [significant(Restart::Transient), significant(Restart::Temporary)];
        let moves = Moves { kill: true, shutdowns: vec![], ..Moves::default() };
        search(supervisor(&config, &specs, true), &moves, 10, 630);
    }
}

#[test]
fn commands_between_and_during_everything() {
    let add = Command::Add { id: ChildId(2), spec: spec(Restart::Temporary), spawner: None };
    let mut commands = vec![(0, add)];
    for id in (0..3).map(ChildId) {
        let terminate = Command::Terminate { id, how: None };
        commands.extend([(0, terminate), (0, Command::Restart(id)), (0, Command::Delete(id))]);
    }
    let moves = Moves { shutdowns: vec![None], commands, window_edge: false, ..Moves::default() };
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let config = config(strategy, 1, Backoff::constant(SECOND));
        let specs = [spec(Restart::Permanent), brutal(Restart::Transient)];
        search(supervisor(&config, &specs, true), &moves, 6, 6_900);
    }
}

#[test]
fn a_dynamic_supervisor_with_either_budget() {
    for (budget, backoff) in
        [(Budget::Child, Backoff::NONE), (Budget::Shared, Backoff::constant(SECOND))]
    {
        let config = dynamic_supervisor::Config {
            intensity: Intensity { max_restarts: 1, period: Duration::from_secs(2) },
            budget,
            backoff,
            max_children: Some(2),
            max_total_spawns: Some(3),
            max_children_per_spawner: Some(1),
            ..dynamic_supervisor::Config::default()
        };
        let slow = ChildSpec { start_timeout: Some(SECOND), ..spec(Restart::Permanent) };
        let add =
            |id, spec, who| Command::Add { id: ChildId(id), spec, spawner: Some(SpawnerId(who)) };
        let commands = vec![
            (0, add(0, slow, 0)),
            (0, add(1, brutal(Restart::Transient), 1)),
            (0, add(2, spec(Restart::Temporary), 0)),
            (0, Command::Terminate { id: ChildId(0), how: Some(Shutdown::BrutalKill) }),
            (0, Command::Terminate { id: ChildId(1), how: None }),
        ];
        let moves = Moves { commands, ..everything() };
        let session = begun(Dynamic::new(&config).expect("a valid configuration"), true);
        search(session, &moves, 6, 7_400);
    }
}

/// Two levels, one of them dynamic: no model, all rules.
fn tree(strategy: &str, below: &str, depth: u32, states: usize) {
    let yaml = format!(
        "supervision:
  strategy: {strategy}
  max_restarts: 1
  restart_window: 2s
  backoff: NONE
  children:
    - agent: {{ name: first, type: t, restart: permanent }}
    - supervisor:
        name: pool
        strategy: {below}
        max_restarts: 1
        restart_window: 2s
        backoff: CONSTANT
        backoff_base: 1s
        children:
          - agent: {{ name: left, type: t, restart: permanent, start_timeout: 1s }}
          - agent: {{ name: right, type: t, shutdown: brutal_kill }}
    - {{ type: dynamic_supervisor, name: crowd, max_children: 2 }}
"
    );
    let topology = parse("tree.yaml", yaml.as_bytes(), &Options::default());
    let topology = topology.unwrap_or_else(|faults| panic!("{faults:?}"));
    let limits = Limits { depth, ..Limits::default() };
    clean(&check(&topology, limits, &mut |_| ()).expect("a tree that can start"), states);
}

#[test]
fn a_tree_of_one_for_one_over_one_for_all() {
    tree("ONE_FOR_ONE", "ONE_FOR_ALL", 5, 20_000);
}

#[test]
fn a_tree_of_rest_for_one_over_rest_for_one() {
    tree("REST_FOR_ONE", "REST_FOR_ONE", 5, 10_000);
}

#[test]
fn a_tree_of_one_for_all_over_one_for_one() {
    tree("ONE_FOR_ALL", "ONE_FOR_ONE", 5, 10_000);
}
