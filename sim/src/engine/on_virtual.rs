//! Tier 1.5: a plan with the real runtime on the virtual executor.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::Executor;

use super::host::Host;
use super::wire::Network;
use crate::buggify::{Buggify, Fired, Point};
use crate::executor::{Config, Stuck, TaskFault, TaskId, VirtualExecutor};
use crate::fault::{Fault, Group, Kind, Target};
use crate::live::{ClockChange, Driver, Found, Ground, LinkChange, Live, Tap, boot};
use crate::outcome::{Options, Outcome};
use crate::plan::Plan;
use crate::record::NodeIx;

/// How late timers are at most where what is simulated misbehaves.
const LATE_BY: Duration = Duration::from_millis(1);

/// Runs a plan.
pub(super) fn run(plan: &Plan, options: Options) -> Outcome {
    let plan = Arc::new(plan.clone());
    let buggify = Buggify::new(&plan);
    let wavers = buggify.has(Point::ExtraYield) || buggify.has(Point::SpuriousWake);
    let config = Config {
        seed: plan.seed,
        // One that was to be woken by a timer that is late does not miss its wake, and by a clock
        // that has leapt nobody is woken. One that wakes itself for nothing always could go on.
        check_wakes: plan.faults.iter().all(|fault| fault.kind.facts().group != Group::Clock)
            && !wavers,
        max_polls_per_instant: 4_000_000,
        late_timers: buggify.rate(Point::LateTimer),
        late_by: LATE_BY,
        ..Config::of(options.schedule)
    };
    let executor = VirtualExecutor::with_config(config);
    let clock = executor.host("clock");
    let live = Live::new(&plan, options.trace, Arc::new(move || clock.now()));
    if buggify.has(Point::LateTimer) {
        live.with(|ledger| ledger.recorder.checks.in_steps_of(LATE_BY));
    }
    let network = Network::new(&live, executor.host("wire"));
    let hosts = plan
        .scenario
        .node_ids()
        .map(|node| Host::new(executor.host(&format!("n{}", node.0))))
        .collect();
    let events_max = options.events_max;
    let ground = Virtual { executor, live: Arc::clone(&live), network, hosts, events_max };
    let outcome = Driver::new(Arc::clone(&live), ground, events_max).run(options.until);
    live.forget();
    outcome
}

struct Virtual {
    executor: VirtualExecutor,
    live: Arc<Live>,
    network: Arc<Network>,
    hosts: Vec<Arc<Host>>,
    events_max: u64,
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the rest is one invariant")]
fn found(stuck: &Stuck) -> Found {
    let invariant = match stuck {
        Stuck::Livelock(_) => "L6",
        Stuck::Deadlock(_) | Stuck::MissedWake(_) | Stuck::ShutDown => "L7",
    };
    (invariant, stuck.to_string())
}

impl Virtual {
    /// The tasks of a node that are alive.
    fn tasks_of(&self, node: NodeIx) -> Vec<TaskId> {
        let (of_agents, of_others) = (format!("n{}/", node.0), format!("n{}#", node.0));
        let tasks = self.executor.tasks().into_iter();
        let here = tasks
            .filter(|task| task.name.starts_with(&of_agents) || task.name.starts_with(&of_others));
        here.map(|task| task.id).collect()
    }
}

impl Virtual {
    /// Those that are incarnations of agents.
    fn agents_of(&self, node: NodeIx) -> Vec<TaskId> {
        let of_agents = format!("n{}/", node.0);
        let tasks = self.executor.tasks().into_iter();
        tasks.filter(|task| task.name.starts_with(&of_agents)).map(|task| task.id).collect()
    }
}

impl Ground for Virtual {
    fn now(&self) -> Instant {
        self.executor.now()
    }

    fn run_until(&mut self, at: Instant) -> Result<(), Found> {
        let live = Arc::clone(&self.live);
        let (executor, most) = (&self.executor, self.events_max);
        let mut watch = || {
            let stops = executor.counters().polls >= most || live.wants();
            if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        executor.run_until_watched(at, &mut watch).map_err(|stuck| found(&stuck))
    }

    fn settle(&mut self, _: bool) -> Result<(), Found> {
        self.executor.run_until_idle().map_err(|stuck| found(&stuck))
    }

    fn boot(&mut self, node: NodeIx, number: u32) {
        let host: Arc<dyn Executor> = Arc::<Host>::clone(&self.hosts[usize::from(node.0)]);
        let has_peers = self.live.plan.scenario.nodes() > 1;
        let transport = has_peers.then(|| {
            let inner = self.network.plug(node, number);
            let live = Arc::clone(&self.live);
            Arc::new(Tap { inner, live, node, boot: number }) as _
        });
        let start = boot(&self.live, (node, number), &host, transport);
        host.spawn(Box::pin(start));
    }

    fn halt(&mut self, node: NodeIx, seen: bool) {
        let boot = self.live.with(|ledger| ledger.node(node).boot);
        self.network.unplug(node, boot, seen);
        for task in self.tasks_of(node) {
            self.executor.inject_now(task, TaskFault::Drop);
        }
    }

    fn link(&mut self, change: LinkChange) {
        self.network.change(change);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only faults of tasks come here")]
    fn task(&mut self, fault: &Fault, begins: bool) -> Option<u64> {
        let tasks = match fault.target {
            Target::Who(who) => {
                let entity = self.live.plan.scenario.entity(who);
                let node = self.live.plan.home(who);
                self.executor.tasks_named(&format!("n{}/{}", node.0, entity.name))
            }
            // The driver stays fast: a plan's command is carried out at its instant.
            Target::Node(node) => self.agents_of(node),
            Target::World | Target::Link(..) => Vec::new(),
        };
        let again = Some(10_000_000).filter(|_| begins);
        match fault.kind {
            Kind::Starve => {
                for task in tasks {
                    self.executor.starve(task, begins);
                }
                // Those that come meanwhile, too.
                again
            }
            Kind::SlowHost => {
                let delay =
                    if begins { Duration::from_micros(fault.amount) } else { Duration::ZERO };
                for task in tasks {
                    self.executor.slow(task, delay);
                }
                again
            }
            Kind::SpuriousWake => {
                for task in tasks.into_iter().filter(|_| begins) {
                    self.executor.wake(task);
                }
                Some(fault.amount).filter(|_| begins)
            }
            Kind::DropFuture | Kind::PanicInPoll => {
                let what =
                    if fault.kind == Kind::DropFuture { TaskFault::Drop } else { TaskFault::Panic };
                if let Some(task) = tasks.last() {
                    let polls = self.executor.tasks().into_iter().find(|info| info.id == *task);
                    let polls = polls.map_or(0, |info| info.polls);
                    self.executor.inject(*task, polls.saturating_add(fault.amount.max(1)), what);
                }
                None
            }
            _ => None,
        }
    }

    fn clock(&mut self, node: NodeIx, change: ClockChange) {
        self.hosts[usize::from(node.0)].change(change);
    }

    fn pause(&mut self, node: NodeIx, begins: bool) {
        let host = format!("n{}", node.0);
        if begins {
            self.executor.pause_host(&host);
        } else {
            self.executor.resume_host(&host);
        }
    }

    fn left(&mut self) -> Result<(), Found> {
        match self.executor.tasks().as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let tasks = self.executor.live_tasks();
                Err(("S7", format!("{tasks} tasks live after the last stop; one is {first}")))
            }
        }
    }

    fn fired(&self, fired: &mut Fired) {
        fired.add(Point::LateTimer, self.executor.counters().late_timers);
    }

    fn steps(&self) -> u64 {
        self.executor.counters().polls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Schedule;

    #[test]
    fn who_waits_for_what_never_comes_is_found() {
        let executor = VirtualExecutor::new(Schedule::Seeded(0));
        let stuck = executor.block_on(std::future::pending::<()>()).unwrap_err();
        let (invariant, text) = found(&stuck);
        assert_eq!(invariant, "L7", "{text}");
        assert!(text.starts_with("deadlock"), "{text}");
    }
}
