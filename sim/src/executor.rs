//! Tier 1.5: the real runtime, and the user's own agents, in virtual time under hostile schedules.
//!
//! A host is a clock, a sleep and a spawn. This one has no thread and no real clock: it polls one
//! task after the other, and time passes only when nobody has anything left to do. So an hour of
//! back-off costs nothing, and the order of everything is a function of the seed. Which task runs
//! next is not taken from a queue but asked of a [`Schedule`], and every task may be dropped at any
//! await, woken without a cause, held, starved or delayed.
//!
//! The hard case is a draw that stays the same when something else changes. A shared generator, or
//! a key made of "the 17th task", moves every later draw once a fault is left out. So a task is
//! known by who spawned it and as which of its children (or by its name and its place among the
//! tasks of that name), and its n-th poll draws the same order whatever the others do.
//!
//! Rejected: a paused tokio runtime. Its ready queue is first in, first out; its timers round to
//! milliseconds; it cannot drop a task at a chosen await, and it does not know of a task that
//! nobody will ever wake.
//!
//! ```
//! use lictor_sim::executor::{Schedule, VirtualExecutor};
//! use lictor_runtime::Executor;
//! use lictor_kernel::Instant;
//!
//! let executor = VirtualExecutor::new(Schedule::Seeded(7));
//! let host = executor.host("");
//! let slept = executor.block_on(async {
//!     host.sleep_until(Instant::from_secs(3600)).await;
//!     host.now()
//! });
//! assert_eq!(slept.unwrap(), Instant::from_secs(3600));
//! ```

mod core;
mod faults;
mod ready;
mod report;
mod run;
mod sleep;
mod slot;

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::executor::{Executor, Role, Task};

use self::core::Core;
pub use self::faults::{TaskFault, TaskId};
pub(crate) use self::report::seconds;
pub use self::report::{Counters, Report, Stuck, TaskInfo};
pub(crate) use self::run::Watch;
use self::sleep::Sleep;

/// Which of the tasks that are ready runs next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Schedule {
    /// The one that was woken first, as on a single-threaded tokio runtime.
    Fifo,
    /// Each time a task becomes ready it draws a place; the lowest runs. A task may be overtaken
    /// many times, but time does not pass over one that is ready.
    Seeded(u64),
    /// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): each task draws a
    /// priority for its life, the highest always runs, and at `depth - 1` random polls the one that
    /// runs falls below all others. A bug of depth `d` in a run of `horizon` polls of `n` tasks is
    /// found with a probability of at least `1 / (n * horizon^(d-1))`. A task that wakes itself
    /// while it is polled asks for others to run: it draws again, lest it run for ever.
    Pct {
        /// The seed.
        seed: u64,
        /// How many ordered events the bug needs; 1 never changes a priority.
        depth: u32,
        /// The polls among which the changes are drawn: about as many as a run has.
        horizon: u64,
    },
}

impl Schedule {
    /// PCT over runs of about 10,000 polls.
    #[must_use]
    pub const fn pct(seed: u64, depth: u32) -> Self {
        Self::Pct { seed, depth, horizon: 10_000 }
    }

    /// One of the three kinds, in turn, with this seed: for campaigns over many seeds.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        match seed % 8 {
            0 => Self::Fifo,
            1..=4 => Self::Seeded(seed),
            5 => Self::Pct { seed, depth: 2, horizon: 1_000 },
            6 => Self::Pct { seed, depth: 3, horizon: 1_000 },
            7.. => Self::Pct { seed, depth: 5, horizon: 1_000 },
        }
    }

    const fn seed(self) -> u64 {
        match self {
            Self::Fifo => 0,
            Self::Seeded(seed) | Self::Pct { seed, .. } => seed,
        }
    }
}

/// How a [`VirtualExecutor`] treats its tasks. [`Config::of`] is a fair host; every field makes it
/// less so. Rates are per million.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Who runs next.
    pub schedule: Schedule,
    /// The seed of everything else that is drawn. [`Config::of`] takes the schedule's.
    pub seed: u64,
    /// Virtual time that each poll takes: a slow host. Zero by default, so that a poll is an
    /// instant.
    pub poll_cost: Duration,
    /// How often a sleep ends late.
    pub late_timers: u32,
    /// How late it ends then, at most.
    pub late_by: Duration,
    /// How often a task that has just been polled is woken without a cause.
    pub spurious_wakes: u32,
    /// How often, instead of being polled, a client is dropped at the await where it waits. A
    /// client is a task of [`VirtualExecutor::spawn_client`].
    pub cancel_clients: u32,
    /// How often, instead of being polled, an incarnation of an agent is dropped.
    pub kill_agents: u32,
    /// Before time passes, every task that waits is polled once more. One that gets anywhere,
    /// though nobody had woken it, is [`Stuck::MissedWake`].
    pub check_wakes: bool,
    /// After so many polls a run ends as [`Stuck::Livelock`].
    pub max_polls: u64,
    /// As `max_polls`, for polls at one instant. Default one million.
    pub max_polls_per_instant: u64,
}

impl Config {
    /// A fair host with this schedule.
    #[must_use]
    pub const fn of(schedule: Schedule) -> Self {
        Self {
            schedule,
            seed: schedule.seed(),
            poll_cost: Duration::ZERO,
            late_timers: 0,
            late_by: Duration::ZERO,
            spurious_wakes: 0,
            cancel_clients: 0,
            kill_agents: 0,
            check_wakes: false,
            max_polls: u64::MAX,
            max_polls_per_instant: 1_000_000,
        }
    }
}

/// Runs tasks in virtual time, one at a time, in the order that the schedule says.
///
/// The value owns its tasks: dropping it drops them, and ends what is spawned later at once. What
/// runs on it holds a [`host`](Self::host), which does not keep it alive. It is `Send` and `Sync`
/// because hosts are, but runs are reproducible only while a single thread uses it.
pub struct VirtualExecutor {
    core: Arc<Core>,
}

impl VirtualExecutor {
    /// A fair host with this schedule, at instant zero.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self::with_config(Config::of(schedule))
    }

    /// A host at instant zero.
    #[must_use]
    pub fn with_config(config: Config) -> Self {
        Self { core: Arc::new(Core::new(config)) }
    }

    /// What runtimes run on. The names of the tasks of a host begin with `name` and a slash, unless
    /// `name` is empty; hosts of one executor share its clock and its schedule.
    #[must_use]
    pub fn host(&self, name: &str) -> Arc<dyn Executor> {
        Arc::new(Host { core: Arc::clone(&self.core), name: Arc::from(name) })
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// Spawns a task that [`Config::cancel_clients`] may drop, under a name.
    pub fn spawn_client(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        self.core.spawn_named((&Arc::from(""), name), slot::Kind::Client, Box::pin(future));
    }

    /// Runs `future`, and everything else meanwhile, until it is ready. Time passes as needed.
    ///
    /// # Errors
    /// [`Stuck`]: nobody will ever wake the future, or a limit was reached.
    ///
    /// # Panics
    /// When the future does, and inside a task of this executor.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        self.core.block_on(future, None)
    }

    /// Runs everything that is ready, and what becomes ready by that. No time passes, but for what
    /// polls cost.
    ///
    /// # Errors
    /// [`Stuck`], if a limit was reached or a wake was missed.
    pub fn run_until_idle(&self) -> Result<(), Stuck> {
        self.core.run_until_idle(None)
    }

    /// Runs everything until `instant`, that instant included, and stays there. Nothing happens if
    /// it has passed.
    ///
    /// # Errors
    /// As [`VirtualExecutor::run_until_idle`].
    pub fn run_until(&self, instant: Instant) -> Result<(), Stuck> {
        self.core.run_until(instant, None)
    }

    /// As [`VirtualExecutor::run_until`], that much later.
    ///
    /// # Errors
    /// As [`VirtualExecutor::run_until_idle`].
    pub fn advance(&self, time: Duration) -> Result<(), Stuck> {
        self.run_until(self.now().saturating_add(time))
    }

    /// As [`VirtualExecutor::block_on`], watched.
    pub(crate) fn block_on_watched<F: Future>(
        &self,
        future: F,
        watch: Watch<'_>,
    ) -> Result<F::Output, Stuck> {
        self.core.block_on(future, Some(watch))
    }

    /// As [`VirtualExecutor::run_until_idle`], watched.
    pub(crate) fn run_until_idle_watched(&self, watch: Watch<'_>) -> Result<(), Stuck> {
        self.core.run_until_idle(Some(watch))
    }

    /// As [`VirtualExecutor::run_until`], watched.
    pub(crate) fn run_until_watched(
        &self,
        instant: Instant,
        watch: Watch<'_>,
    ) -> Result<(), Stuck> {
        self.core.run_until(instant, Some(watch))
    }

    /// What has happened so far, in numbers.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.state().counters
    }

    /// How many tasks are alive.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.core.state().live()
    }

    /// How many sleeps have not ended.
    #[must_use]
    pub fn pending_timers(&self) -> usize {
        self.core.state().timers.len()
    }

    /// One number for everything that was polled, when, and what came of it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.core.state().digest.value()
    }

    /// The tasks that are alive, in the order of their spawning.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.core.state().tasks()
    }

    /// What the tasks said that ended by a panic, oldest first; the last thousand.
    #[must_use]
    pub fn panics(&self) -> Vec<(Arc<str>, String)> {
        self.core.state().panics.iter().cloned().collect()
    }

    /// Drops all tasks, as the end of the host does, and whatever is spawned from now on.
    pub fn shut_down(&self) {
        self.core.shut_down();
    }
}

impl Drop for VirtualExecutor {
    fn drop(&mut self) {
        self.core.shut_down();
    }
}

impl Debug for VirtualExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.core, f)
    }
}

impl Executor for VirtualExecutor {
    fn now(&self) -> Instant {
        self.core.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep::new(Arc::clone(&self.core), deadline))
    }

    fn spawn(&self, task: Task) {
        self.core.spawn(None, task);
    }

    fn spawn_as(&self, role: Role<'_>, task: Task) {
        self.core.spawn_role(&Arc::from(""), role, task);
    }
}

/// A named part of a virtual executor.
struct Host {
    core: Arc<Core>,
    name: Arc<str>,
}

impl Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({:?})", self.name)
    }
}

impl Executor for Host {
    fn now(&self) -> Instant {
        self.core.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep::new(Arc::clone(&self.core), deadline))
    }

    fn spawn(&self, task: Task) {
        self.core.spawn(Some(&self.name), task);
    }

    fn spawn_as(&self, role: Role<'_>, task: Task) {
        self.core.spawn_role(&self.name, role, task);
    }
}

/// The future of a block in the shape in which the loop polls it.
type Root<'a> = &'a mut dyn FnMut(&mut std::task::Context<'_>) -> std::task::Poll<()>;

/// A future on the stack and where its output goes.
fn into_root<'a, F: Future>(
    mut future: Pin<&'a mut F>,
    output: &'a mut Option<F::Output>,
) -> impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<()> + 'a {
    move |cx| {
        future.as_mut().poll(cx).map(|ready| {
            *output = Some(ready);
        })
    }
}
