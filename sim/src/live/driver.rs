//! The driver of a plan: everything at its instant, on whatever ground the runtimes stand.

mod acts;
mod faults;
mod pause;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Choice, DetectorConfig, Instant, NodeId, membership};
use lictor_runtime::{Executor, OnRootExit, Runtime, RuntimeConfig, Transport};

use super::Live;
use super::buggy::buggy;
use super::store::SimStore;
use super::tree::{offers, tree, types};
use super::witness::{Orders, Witness};
use crate::buggify::Fired;
use crate::fault::{Fault, Kind, Target};
use crate::link::Spoilt;
use crate::outcome::Outcome;
use crate::plan::{Act, Plan};
use crate::record::{NodeIx, What, Who};
use crate::stream::Purpose;

/// Something that is to be done.
#[derive(Clone, Copy, Debug)]
enum Todo {
    Operation(u32),
    Begins(u32),
    Ends(u32),
    Turns(u32),
    Crashes(Who),
    Heals,
    Calm,
}

/// Something done to the clock of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClockChange {
    /// Its timers fire so many nanoseconds late.
    Late(u64),
    /// It leaps ahead by so many nanoseconds.
    Leap(u64),
    /// It runs fast by so many parts in a million.
    Drift(u64),
}

/// Something done to the links between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkChange {
    /// Cuts or mends.
    Cut(Target, Kind, bool),
    /// Holds what is under way, in both directions, or lets it go.
    Jam(NodeIx, NodeIx, bool),
    /// A number of one link; `None` puts it back.
    Tune(NodeIx, NodeIx, Kind, Option<u64>),
    /// Breaks the connection.
    Reset(NodeIx, NodeIx),
    /// Breaks the connection and lets no other come, or lets them again.
    Refuse(NodeIx, NodeIx, bool),
    /// Lets nothing come on the connection, or lets it again.
    HalfOpen(NodeIx, NodeIx, bool),
    /// The next frame comes as something else.
    Spoil(NodeIx, NodeIx, Spoilt),
    /// Frames come as they were sent.
    Heal,
    /// How long a node takes over each frame.
    Slow(NodeIx, u64),
}

/// What a ground has found wrong: the invariant, and what was seen.
pub(crate) type Found = (&'static str, String);

/// What runtimes stand on.
pub(crate) trait Ground {
    /// The world's clock.
    fn now(&self) -> Instant;

    /// Runs everything until this instant, or until [`Live::wants`] something.
    fn run_until(&mut self, at: Instant) -> Result<(), Found>;

    /// Runs everything that can run without time passing, as far as the ground can. After a
    /// command it is carried out, if that takes a step: what comes next finds what became of it.
    fn settle(&mut self, commanded: bool) -> Result<(), Found>;

    /// Boots a node; its books have been opened.
    fn boot(&mut self, node: NodeIx, boot: u32);

    /// Ends a node at once; whether its peers see it.
    fn halt(&mut self, node: NodeIx, seen: bool);

    /// Changes links.
    fn link(&mut self, change: LinkChange);

    /// Does something to tasks. Says after how many nanoseconds it wants to be asked again.
    fn task(&mut self, fault: &Fault, begins: bool) -> Option<u64>;

    /// Does something to the clock of a node.
    fn clock(&mut self, node: NodeIx, change: ClockChange);

    /// Lets all of a node stand still, or go on.
    fn pause(&mut self, node: NodeIx, begins: bool) {
        let _ = (node, begins);
    }

    /// What is left when every tree has ended.
    fn left(&mut self) -> Result<(), Found>;

    /// Adds where the ground itself has misbehaved.
    fn fired(&self, fired: &mut Fired) {
        let _ = fired;
    }

    /// How much was done, in the unit of the ground.
    fn steps(&self) -> u64;
}

/// How long the end of everything may take after the calm.
const LAST_STOP: Duration = Duration::from_secs(60);

/// How long is waited for what ends a little after its tree.
const AFTERGLOW: Duration = Duration::from_secs(6);

/// Runs a plan on a ground.
pub(crate) struct Driver<G> {
    live: Arc<Live>,
    ground: G,
    todo: BTreeMap<(u64, u64), Todo>,
    pushed: u64,
    injected: u64,
    /// Faults that go on and off, and whether they are on.
    flapping: BTreeMap<u32, bool>,
    /// Nodes that stand still, by which faults, and what is to be done on them.
    still: BTreeMap<NodeIx, (BTreeSet<u32>, Vec<Todo>)>,
    found: Option<Found>,
    events_max: u64,
    spent: bool,
}

impl<G: Ground> Driver<G> {
    pub(crate) const fn new(live: Arc<Live>, ground: G, events_max: u64) -> Self {
        Self {
            live,
            ground,
            todo: BTreeMap::new(),
            pushed: 0,
            injected: 0,
            flapping: BTreeMap::new(),
            still: BTreeMap::new(),
            found: None,
            events_max,
            spent: false,
        }
    }

    /// Runs it to its end, or until an instant, or until something is wrong.
    pub(crate) fn run(mut self, until: Option<Instant>) -> Outcome {
        let plan = Arc::clone(&self.live.plan);
        for node in plan.scenario.node_ids() {
            self.boots(node);
        }
        self.schedule(&plan);
        let end = plan.ends().saturating_add(LAST_STOP);
        let limit = until.unwrap_or(Instant::MAX).min(end);
        let cut = until.is_some_and(|until| until < end);
        while let Some(((at, _), todo)) = self.todo.pop_first() {
            let at = Instant::from_nanos(at);
            if at > limit || !self.goes_until(at) {
                break;
            }
            self.does(todo);
            self.settles(self.is_command(todo));
        }
        let is_whole =
            self.is_well() && !cut && !self.spent && self.live.with(|ledger| ledger.ending);
        if is_whole {
            self.ends_all(end);
        } else if self.is_well() && !self.spent {
            self.goes_until(limit);
        }
        self.outcome()
    }

    fn schedule(&mut self, plan: &Plan) {
        for (n, operation) in (0..).zip(&plan.operations) {
            self.push(operation.at.as_nanos(), Todo::Operation(n));
        }
        for (n, fault) in (0..).zip(&plan.faults) {
            self.push(fault.at.as_nanos(), Todo::Begins(n));
        }
        self.push(plan.heals().as_nanos(), Todo::Heals);
        self.push(plan.ends().as_nanos(), Todo::Calm);
    }

    fn push(&mut self, at: u64, todo: Todo) {
        self.pushed += 1;
        self.todo.insert((at, self.pushed), todo);
    }

    fn after(&mut self, nanos: u64, todo: Todo) {
        self.push(self.ground.now().as_nanos().saturating_add(nanos), todo);
    }

    fn is_well(&self) -> bool {
        self.found.is_none() && self.live.with(|ledger| ledger.recorder.violation.is_none())
    }

    /// Lets time pass; whether all is well.
    fn goes_until(&mut self, at: Instant) -> bool {
        loop {
            if let Err(found) = self.ground.run_until(at) {
                self.found.get_or_insert(found);
            }
            self.spent |= self.ground.steps() >= self.events_max;
            if self.spent || !self.is_well() {
                return false;
            }
            let to_mend = self.live.with(|ledger| std::mem::take(&mut ledger.to_mend));
            if to_mend.is_empty() && self.ground.now() >= at {
                return true;
            }
            for node in to_mend {
                self.mend(node);
            }
        }
    }

    /// Whether it is told to a supervisor.
    fn is_command(&self, todo: Todo) -> bool {
        let Todo::Operation(n) = todo else { return false };
        match self.live.plan.operations[n as usize].act {
            Act::Spawn(_) | Act::Despawn(_) | Act::Terminate(_) | Act::Restart(_) => true,
            Act::Suspend(_) | Act::Resume(_) | Act::End(..) | Act::Stop(_) => true,
            Act::Tell(_) | Act::TellWithin(..) | Act::TellCapable(_) | Act::SendAfter(..) => false,
            Act::Ask(..) | Act::Broadcast | Act::Publish(..) => false,
            Act::Claim(_) | Act::Unclaim(_) | Act::Look(_) => false,
        }
    }

    fn settles(&mut self, commanded: bool) {
        if let Err(found) = self.ground.settle(commanded) {
            self.found.get_or_insert(found);
        }
    }

    fn does(&mut self, todo: Todo) {
        if !self.still.is_empty() && self.has_to_wait(todo) {
            return;
        }
        match todo {
            Todo::Operation(n) => self.operate(n),
            Todo::Begins(n) => self.begins(n),
            Todo::Ends(n) => self.ends(n),
            Todo::Turns(n) => self.turns(n),
            Todo::Crashes(who) => self.live.end(who, lictor_kernel::ExitReason::Crashed),
            Todo::Heals => self.heals(),
            Todo::Calm => self.is_calm(),
        }
    }

    /// Faults are over, and what was broken for good is mended.
    fn heals(&mut self) {
        // First everybody goes on who stands still: what ends then is done on somebody who runs.
        let count = u32::try_from(self.live.plan.faults.len()).unwrap_or(u32::MAX);
        let pauses = |n: &u32| self.live.plan.faults[*n as usize].kind == Kind::Pause;
        let (first, rest): (Vec<u32>, Vec<u32>) = (0..count).partition(pauses);
        for n in first.into_iter().chain(rest) {
            self.ends(n);
        }
        self.ground.link(LinkChange::Heal);
        self.live.with(|ledger| {
            ledger.calm = true;
            ledger.put(NodeIx(0), What::Healed);
        });
        let plan = Arc::clone(&self.live.plan);
        for node in plan.scenario.node_ids() {
            self.mend(node);
        }
    }

    /// Everything must be well again; then everything is stopped.
    fn is_calm(&mut self) {
        self.views();
        self.counts();
        self.live.with(|ledger| {
            ledger.put(NodeIx(0), What::Calm);
            ledger.ending = true;
        });
        let plan = Arc::clone(&self.live.plan);
        for node in plan.scenario.node_ids() {
            self.stop_tree(node, LAST_STOP / 2);
        }
    }

    /// Says for each node that runs where it sees the agents of the others.
    fn views(&self) {
        let plan = Arc::clone(&self.live.plan);
        for node in plan.scenario.node_ids().filter(|_| plan.scenario.nodes() > 1) {
            let runs = self.live.with(|ledger| ledger.node(node).on && !ledger.node(node).ended);
            let Some(runtime) = self.live.runtime(node).filter(|_| runs) else { continue };
            let seen: BTreeMap<Arc<str>, NodeId> = runtime.remote_names().into_iter().collect();
            for (who, entity) in plan.scenario.all() {
                if plan.home(who) != node && plan.scenario.agent(who).is_some() {
                    let at = seen.get(entity.name.as_str());
                    let at = at.map(|at| NodeIx(u8::try_from(at.0).unwrap_or(u8::MAX)));
                    self.live.put(node, What::Sees(who, at));
                }
            }
        }
    }

    /// S12: the runtime has counted each dead letter that the books know.
    fn counts(&self) {
        for node in self.live.plan.scenario.node_ids() {
            let runs = self.live.with(|ledger| ledger.node(node).on && !ledger.node(node).ended);
            let Some(runtime) = self.live.runtime(node).filter(|_| runs) else { continue };
            for info in runtime.agents() {
                let who = self.live.plan.scenario.named(&info.name);
                if let Some(who) = who.filter(|who| self.live.plan.host_of(*who).is_none()) {
                    self.live.with(|ledger| ledger.counted(node, who, info.dead_letters));
                }
            }
        }
    }

    fn boots(&mut self, node: NodeIx) {
        if !self.live.with(|ledger| ledger.node(node).on) {
            let boot = self.live.with(|ledger| ledger.boots(node));
            self.ground.boot(node, boot);
        }
    }

    fn halts(&mut self, node: NodeIx, seen: bool) {
        if self.live.with(|ledger| ledger.node(node).on) {
            for todo in self.wakes_up(node) {
                self.after(0, todo);
            }
            let runtime = self.live.with(|ledger| {
                ledger.halt(node);
                ledger.node(node).runtime.take()
            });
            self.ground.halt(node, seen);
            drop(runtime);
            self.settles(false);
        }
    }

    /// A node that is gone, or whose tree has ended by itself, boots again.
    fn mend(&mut self, node: NodeIx) {
        let ended = self.live.with(|ledger| {
            let book = ledger.node(node);
            book.on && book.ended && !book.stopped
        });
        if ended {
            self.halts(node, true);
        }
        self.boots(node);
    }

    fn stop_tree(&self, node: NodeIx, within: Duration) {
        let runs = self.live.with(|ledger| {
            let book = ledger.node(node);
            let runs = book.on && !book.ended;
            book.stopped |= runs;
            runs
        });
        let Some(runtime) = self.live.runtime(node).filter(|_| runs) else { return };
        self.live.spawn(node, async move { runtime.stop_within(within).await });
    }

    /// Waits for the last stop, and looks at what is left.
    fn ends_all(&mut self, end: Instant) {
        let slice = Duration::from_millis(100);
        while self.ground.now() < end && !self.all_ended() {
            if !self.goes_until(self.ground.now().saturating_add(slice)) {
                return;
            }
        }
        let runtimes: Vec<Option<Runtime>> = self
            .live
            .with(|ledger| ledger.nodes.iter_mut().map(|node| node.runtime.take()).collect());
        drop(runtimes);
        if self.goes_until(self.ground.now().saturating_add(AFTERGLOW)) {
            self.live.with(|ledger| {
                ledger.lost_at_last();
                ledger.put(NodeIx(0), What::Over);
            });
            if let Err(found) = self.ground.left() {
                self.found.get_or_insert(found);
            }
        }
    }

    fn all_ended(&self) -> bool {
        self.live.with(|ledger| ledger.nodes.iter().all(|node| !node.on || node.ended))
    }

    fn outcome(self) -> Outcome {
        self.live.with(|ledger| self.ground.fired(&mut ledger.buggify.fired));
        let (found, now) = (self.found, self.ground.now());
        let (events, faults) = (self.ground.steps(), self.injected);
        let spent = self.spent;
        self.live.with(|ledger| {
            if let Some((invariant, text)) = found {
                ledger.now = now;
                ledger.violated(invariant, NodeIx(0), text);
            }
            let fired = ledger.buggify.fired;
            let busiest = ledger.busiest();
            let recorder = &mut ledger.recorder;
            Outcome {
                fired,
                digest: recorder.digest.value(),
                events,
                records: recorder.records,
                faults,
                violation: recorder.violation.clone(),
                marks: recorder.marks,
                trace: recorder.trace.take().unwrap_or_default(),
                ended: now,
                cut_short: spent.then_some(busiest),
            }
        })
    }
}

impl Live {
    /// Whether the driver of the plan is to look now, and not at its next instant.
    pub(crate) fn wants(&self) -> bool {
        self.with(|ledger| !ledger.to_mend.is_empty() || ledger.recorder.violation.is_some())
    }
}

/// A runtime for a boot of a node, and its start. `transport` is its wire to the others.
pub(crate) fn boot(
    live: &Arc<Live>,
    (node, boot): (NodeIx, u32),
    executor: &Arc<dyn Executor>,
    transport: Option<Arc<dyn Transport>>,
) -> impl Future<Output = ()> + Send + 'static {
    let knobs = &live.plan.knobs;
    let executor = &buggy(live, (node, boot), executor);
    let config = RuntimeConfig {
        send_timeout: knobs.send_timeout,
        on_root_exit: OnRootExit::Stay,
        choice: Choice::RoundRobin,
        seed: live.streams.draw(Purpose::Routing, u64::from(node.0), u64::from(boot)),
        types: types(live),
        transport,
        membership: membership::Config {
            node: NodeId(u64::from(node.0)),
            epoch: u64::from(boot),
            detector: DetectorConfig::Heartbeat {
                interval: knobs.heartbeat,
                timeout: knobs.heartbeat_timeout,
                threshold: knobs.heartbeat_threshold,
            },
            ask_every: knobs.heartbeat,
            lease: knobs.lease,
            ..membership::Config::default()
        },
        remote: crate::world::remote_config(boot, knobs),
        recorder: Some(Arc::new(Witness {
            live: Arc::clone(live),
            node,
            boot,
            orders: Orders::default(),
        })),
        ..RuntimeConfig::default()
    };
    let store = Arc::new(SimStore { live: Arc::clone(live), node });
    let config = RuntimeConfig { store, ..config };
    let runtime = Runtime::with_config(Arc::clone(executor), config);
    let pending = live.with(|ledger| {
        let book = ledger.node(node);
        book.runtime = Some(runtime.clone());
        book.executor = Some(Arc::clone(executor));
        std::mem::take(&mut book.pending)
    });
    pending.into_iter().for_each(|task| executor.spawn(task));
    let offered = runtime.host(offers(live, node));
    debug_assert!(offered.is_ok(), "a topology that was read can be offered: {offered:?}");
    let tree = tree(live, live.plan.scenario.root(node), boot);
    async move {
        // A start that fails is a tree that has ended: the witness has seen it.
        let _ = runtime.start(tree).await;
    }
}
