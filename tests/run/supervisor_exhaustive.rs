//! Every sequence of events up to a depth, at small scope: the kernel's supervisor against the
//! model, breadth first, each state of the kernel (and of the world around it) visited once.
//!
//! A history of depth `d` is the start, its answers if the search begins before them, and `d`
//! moves: any process answers or dies in any way, time passes to or past the next deadline, any
//! command is given, the parent says shutdown or kills.

mod supervisor_support;

use core::hash::{Hash as _, Hasher as _};
use core::time::Duration;
use std::collections::HashSet;
use std::hash::DefaultHasher;

use lictor_kernel::supervisor::Config;
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, ExitReason, Instant, Intensity, Restart, Shutdown,
    Strategy, Supervisor,
};
use lictor_tests::model::{Model, drive};

use supervisor_support::{Advance, Answer, Op, World, differ};

#[derive(Clone)]
struct Node {
    kernel: Supervisor,
    model: Model,
    world: World,
}

impl Node {
    fn new(config: &Config, specs: &[(ChildId, ChildSpec)]) -> Self {
        let kernel = Supervisor::new(config.clone(), specs).expect("a valid configuration");
        let model = Model::new(config.clone(), specs.to_vec());
        let world = World::new(Instant::from_secs(10), config.intensity.period);
        Self { kernel, model, world }
    }

    /// One move in kernel and model, which must agree.
    fn play(&mut self, op: Op) {
        for input in self.world.inputs(op) {
            let kernel = drive(&mut self.kernel, self.world.now, input);
            let model = self.model.step(self.world.now, input);
            assert!(kernel == model, "{}", differ(&self.model, &kernel, &model));
            self.world.saw(&kernel);
        }
    }

    fn key(&self) -> u64 {
        // What died long ago makes no difference to what can still happen.
        let mut hasher = DefaultHasher::new();
        (&self.kernel, self.world.now, &self.world.processes).hash(&mut hasher);
        hasher.finish()
    }

    fn moves(&self, commands: &[Op]) -> Vec<Op> {
        let mut moves = Vec::new();
        for which in 0..self.world.asked().len() {
            for how in [Answer::Well, Answer::Failed, Answer::Ignored] {
                moves.push(Op::Answer { which, how });
            }
        }
        for which in 0..self.world.processes.iter().filter(|process| process.up).count() {
            for reason in [ExitReason::Crashed, ExitReason::Normal] {
                moves.push(Op::Die { which, reason });
            }
        }
        if let Some(timeout) = self.world.timeout {
            moves.push(Op::Advance(Advance::ToDeadline));
            if timeout >= self.world.now {
                moves.push(Op::Advance(Advance::PastDeadline(Duration::from_nanos(1))));
            }
        }
        moves.extend_from_slice(commands);
        moves
    }
}

/// How much a search saw: different states, and moves made, each in kernel and model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    states: usize,
    moves: usize,
}

impl Seen {
    /// The search is no smaller than it was when it was written: nothing has cut it short.
    fn at_least(self, states: usize, moves: usize) {
        assert!(self.states >= states && self.moves >= moves, "the search has shrunk: {self:?}");
    }
}

/// Searches to `depth` moves after the start, or after everyone is up.
fn explore(config: &Config, specs: &[ChildSpec], commands: &[Op], up: bool, depth: u32) -> Seen {
    let specs: Vec<_> = (0..).map(ChildId).zip(specs.iter().copied()).collect();
    let mut root = Node::new(config, &specs);
    root.play(Op::Begin);
    while up && !root.world.asked().is_empty() {
        root.play(Op::Obey);
    }
    let mut seen = HashSet::from([root.key()]);
    let mut frontier = vec![root];
    let mut moves = 0;
    for _ in 0..depth {
        let mut next = Vec::new();
        for node in frontier {
            for op in node.moves(commands) {
                let mut child = node.clone();
                child.play(op);
                moves += 1;
                if seen.insert(child.key()) {
                    next.push(child);
                }
            }
        }
        frontier = next;
    }
    Seen { states: seen.len(), moves }
}

fn config(strategy: Strategy, max_restarts: u32, backoff: Backoff) -> Config {
    Config {
        strategy,
        intensity: Intensity { max_restarts, period: Duration::from_secs(2) },
        backoff,
        max_children: 4,
        seed: 0,
        first_incarnation: 1,
        ..Config::default()
    }
}

fn spec(restart: Restart) -> ChildSpec {
    ChildSpec {
        restart,
        shutdown: Shutdown::Timeout(Duration::from_secs(1)),
        ..ChildSpec::worker()
    }
}

fn brutal(restart: Restart) -> ChildSpec {
    ChildSpec { shutdown: Shutdown::BrutalKill, ..spec(restart) }
}

const STOP: [Op; 3] = [
    Op::Shutdown { within: None },
    Op::Shutdown { within: Some(Duration::from_millis(500)) },
    Op::Kill,
];

fn mixed() -> [ChildSpec; 3] {
    [spec(Restart::Permanent), brutal(Restart::Transient), spec(Restart::Temporary)]
}

#[test]
fn first_starts_in_every_way() {
    let slow =
        ChildSpec { start_timeout: Some(Duration::from_secs(1)), ..spec(Restart::Temporary) };
    let specs = [spec(Restart::Permanent), slow, brutal(Restart::Permanent)];
    let seen = explore(&config(Strategy::OneForAll, 1, Backoff::NONE), &specs, &STOP, false, 11);
    seen.at_least(6_000, 40_000);
}

#[test]
fn one_for_one_without_backoff() {
    let config = config(Strategy::OneForOne, 1, Backoff::NONE);
    let seen = explore(&config, &mixed(), &STOP, true, 10);
    seen.at_least(6_300, 58_000);
}

#[test]
fn one_for_all_without_backoff() {
    let config = config(Strategy::OneForAll, 2, Backoff::NONE);
    let seen = explore(&config, &mixed(), &STOP, true, 10);
    seen.at_least(5_000, 35_000);
}

#[test]
fn rest_for_one_without_backoff() {
    let config = config(Strategy::RestForOne, 2, Backoff::NONE);
    let seen = explore(&config, &mixed(), &STOP, true, 10);
    seen.at_least(6_500, 45_000);
}

#[test]
fn one_for_all_with_backoff() {
    let second = Duration::from_secs(1);
    let config = config(Strategy::OneForAll, 2, Backoff::linear(second, second * 2));
    let seen =
        explore(&config, &[spec(Restart::Permanent), brutal(Restart::Transient)], &STOP, true, 10);
    seen.at_least(7_000, 33_000);
}

#[test]
fn rest_for_one_with_backoff() {
    let second = Duration::from_secs(1);
    let config = config(Strategy::RestForOne, 2, Backoff::exponential(second, second * 2));
    let seen =
        explore(&config, &[spec(Restart::Transient), spec(Restart::Permanent)], &STOP, true, 10);
    seen.at_least(10_500, 50_000);
}

#[test]
fn significant_children_end_the_supervisor() {
    for auto_shutdown in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        let significant = |restart| ChildSpec { significant: true, ..spec(restart) };
        let config = Config {
            auto_shutdown,
            ..config(Strategy::RestForOne, 1, Backoff::constant(Duration::from_secs(1)))
        };
        let specs = [significant(Restart::Transient), significant(Restart::Temporary)];
        let seen = explore(&config, &specs, &[Op::Kill], true, 12);
        seen.at_least(170, 480);
    }
}

#[test]
fn commands_between_and_during_everything() {
    let command = |what, id| Op::Command { what, id, spec: spec(Restart::Temporary) };
    let mut commands = vec![Op::Shutdown { within: None }, command(0, 2)];
    for id in 0..3 {
        commands.extend([command(1, id), command(2, id), command(3, id)]);
    }
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let config = config(strategy, 1, Backoff::constant(Duration::from_secs(1)));
        let specs = [spec(Restart::Permanent), brutal(Restart::Transient)];
        let seen = explore(&config, &specs, &commands, true, 7);
        seen.at_least(7_500, 53_000);
    }
}
