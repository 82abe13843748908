//! The slab of tasks and everything that is known of them, behind one lock.
//!
//! Nothing foreign runs under the lock: a future is taken out of its slot before it is polled or
//! dropped, and wakers of others are called after the lock is gone. So a task may wake, spawn and
//! sleep from wherever it likes, its destructor included.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use lictor_kernel::Instant;
use lictor_runtime::executor::{Role, Task};

use super::faults::{Planned, TaskId, Trouble};
use super::ready::{Entry, Ready, change_points, priority};
use super::report::{Counters, TaskInfo};
use super::sleep::{Key, Timer};
use super::slot::{Kind, Slot, TaskWaker};
use super::{Config, Schedule};
use crate::digest::Digest;
use crate::stream::{Purpose, Streams, mix};

pub(super) struct Core {
    pub(super) config: Config,
    /// Of [`Config::seed`]: everything but the order.
    pub(super) streams: Streams,
    /// Of the schedule's own seed: the order.
    order: Streams,
    /// Read without the lock; nanoseconds.
    now: AtomicU64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) ready: Ready,
    /// Ready, but only when nobody else is.
    pub(super) starved: VecDeque<Entry>,
    /// Hosts that stand still.
    pub(super) still: BTreeSet<Arc<str>>,
    /// Ready, but of a host that stands still; in the order of their wakes.
    pub(super) parked: Vec<Entry>,
    pub(super) timers: BTreeMap<Key, Timer>,
    pub(super) registered: u64,
    /// The task that is being polled.
    pub(super) current: Option<u32>,
    pub(super) counters: Counters,
    pub(super) digest: Digest,
    pub(super) changes: VecDeque<(u64, u64)>,
    pub(super) planned: Planned,
    /// How many tasks each name has had.
    names: BTreeMap<Arc<str>, u64>,
    no_name: Arc<str>,
    /// Spawned from outside, without a name; and futures that were blocked on.
    strangers: u64,
    pub(super) panics: VecDeque<(Arc<str>, String)>,
    /// At the present instant.
    pub(super) polls_here: u64,
    /// Something was polled since all tasks that wait were last checked.
    pub(super) unchecked: bool,
    pub(super) closed: bool,
}

impl Core {
    pub(super) fn new(config: Config) -> Self {
        let state = State {
            slots: Vec::new(),
            free: Vec::new(),
            ready: Ready::new(config.schedule),
            starved: VecDeque::new(),
            still: BTreeSet::new(),
            parked: Vec::new(),
            timers: BTreeMap::new(),
            registered: 0,
            current: None,
            counters: Counters::default(),
            digest: Digest::default(),
            changes: change_points(config.schedule),
            planned: BTreeMap::new(),
            names: BTreeMap::new(),
            no_name: Arc::from(""),
            strangers: 0,
            panics: VecDeque::new(),
            polls_here: 0,
            unchecked: false,
            closed: false,
        };
        Self {
            streams: Streams::new(config.seed),
            order: Streams::new(config.schedule.seed()),
            config,
            now: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// Only the loop calls it, so time does not go back.
    pub(super) fn set_now(&self, state: &mut State, nanos: u64) {
        if nanos > self.now.load(Ordering::Relaxed) {
            self.now.store(nanos, Ordering::Relaxed);
            state.digest.word(nanos);
            state.polls_here = 0;
        }
    }

    pub(super) fn spawn(self: &Arc<Self>, host: Option<&Arc<str>>, task: Task) {
        let mut state = self.state();
        let identity = match state.current {
            Some(parent) => {
                let parent = &mut state.slots[parent as usize];
                parent.children += 1;
                mix(parent.identity ^ parent.children)
            }
            None => state.stranger(),
        };
        let name = Arc::clone(&state.no_name);
        let host = Arc::clone(host.unwrap_or(&name));
        self.insert(state, Kind::Plain, (host, name), identity, task);
    }

    pub(super) fn spawn_role(self: &Arc<Self>, host: &Arc<str>, role: Role<'_>, task: Task) {
        let slash = if host.is_empty() { "" } else { "/" };
        let (name, kind) = match role {
            Role::Agent(name) => (format!("{host}{slash}{name}"), Kind::Agent),
            Role::Delayed(name) => (format!("{host}{slash}{name}#delayed"), Kind::Plain),
            Role::Driver => (format!("{host}#driver"), Kind::Plain),
            Role::Wire => (format!("{host}#wire"), Kind::Plain),
            Role::Timers => (format!("{host}#timers"), Kind::Plain),
            Role::Remote(name) => (format!("{host}{slash}{name}#remote"), Kind::Plain),
            // Roles to come.
            _ => (format!("{host}{slash}{role:?}"), Kind::Plain),
        };
        self.spawn_named((host, &name), kind, task);
    }

    pub(super) fn spawn_named(
        self: &Arc<Self>,
        (host, name): (&Arc<str>, &str),
        kind: Kind,
        task: Task,
    ) {
        let mut state = self.state();
        let name = match state.names.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        let count = state.names.entry(Arc::clone(&name)).or_insert(0);
        let nth = *count;
        *count += 1;
        let identity = mix(hash(&name) ^ mix(nth));
        let planned = state.planned.remove(&(Arc::clone(&name), nth));
        let at = self.insert(state, kind, (Arc::clone(host), name), identity, task);
        if let (Some(planned), Some(at)) = (planned, at) {
            let faults = planned.into_iter().collect();
            self.state().slots[at as usize].trouble =
                Some(Box::new(Trouble { faults, ..Trouble::default() }));
        }
    }

    /// Puts a task into the slab and makes it ready. After the shut-down it is dropped instead.
    fn insert(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        kind: Kind,
        host_and_name: (Arc<str>, Arc<str>),
        identity: u64,
        task: Task,
    ) -> Option<u32> {
        if state.closed {
            drop(state);
            drop_quietly(task);
            return None;
        }
        let at = self.place(&mut state, kind, host_and_name, identity);
        state.slots[at as usize].body = Some(task);
        Some(at)
    }

    /// A slot for a task that is ready.
    pub(super) fn place(
        self: &Arc<Self>,
        state: &mut State,
        kind: Kind,
        (host, name): (Arc<str>, Arc<str>),
        identity: u64,
    ) -> u32 {
        let at = state.free.pop().unwrap_or_else(|| {
            let at = u32::try_from(state.slots.len()).expect("fewer than 2^32 tasks at once");
            state.slots.push(Slot::empty(Arc::clone(&state.no_name)));
            at
        });
        let index = state.counters.spawned;
        state.counters.spawned += 1;
        let generation = state.slots[at as usize].generation;
        let waker = TaskWaker { core: Arc::clone(self), slot: at, generation };
        state.slots[at as usize] = Slot {
            live: true,
            queued: true,
            kind,
            waker: Some(Waker::from(Arc::new(waker))),
            identity,
            priority: priority(self.order, identity, 0),
            index,
            host,
            ..Slot::new(generation, name)
        };
        self.enqueue(state, at);
        at
    }

    /// Puts a task that counts as queued into its queue.
    pub(super) fn enqueue(&self, state: &mut State, at: u32) {
        let slot = &state.slots[at as usize];
        let entry = (at, slot.generation);
        if slot.trouble.as_ref().is_some_and(|trouble| trouble.starved) {
            state.starved.push_back(entry);
            return;
        }
        let key = match self.config.schedule {
            Schedule::Fifo => 0,
            Schedule::Seeded(_) => self.order.draw(Purpose::Schedule, slot.identity, slot.polls),
            Schedule::Pct { .. } => slot.priority,
        };
        state.ready.push(key, entry);
    }

    /// The priority of a task that has just let others run of its own will.
    pub(super) const fn lower(&self, slot: &Slot) -> u64 {
        priority(self.order, slot.identity, slot.polls)
    }

    pub(super) fn wake(&self, at: u32, generation: u32) {
        let mut state = self.state();
        state.counters.wakes += 1;
        self.wake_in(&mut state, at, generation);
    }

    pub(super) fn wake_in(&self, state: &mut State, at: u32, generation: u32) {
        let by = state.current.map(|by| state.slots[by as usize].index);
        let slot = &mut state.slots[at as usize];
        if slot.generation != generation {
            state.counters.stale_wakes += 1;
            return;
        }
        slot.last_wake = Some((self.now(), by));
        if slot.queued {
            return;
        }
        slot.queued = true;
        if state.current == Some(at) && matches!(self.config.schedule, Schedule::Pct { .. }) {
            slot.priority = self.lower(slot);
        }
        if let Some(trouble) = &slot.trouble
            && !trouble.delay.is_zero()
        {
            let ready = self.now().saturating_add(trouble.delay).as_nanos();
            state.add_timer(ready, Timer::Ready((at, generation)));
            return;
        }
        self.enqueue(state, at);
    }

    /// Drops everything, with the lock free; what that spawns is dropped as well.
    pub(super) fn shut_down(&self) {
        let mut state = self.state();
        state.closed = true;
        let timers = std::mem::take(&mut state.timers);
        let mut bodies = Vec::new();
        for at in 0..state.slots.len() {
            if let Some(body) = state.slots[at].body.take() {
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                bodies.push((body, state.remove(at)));
            }
        }
        state.ready.clear();
        state.starved.clear();
        state.parked.clear();
        drop(state);
        drop(timers);
        for (body, waker) in bodies {
            drop_quietly(body);
            drop(waker);
        }
    }
}

impl State {
    pub(super) fn stranger(&mut self) -> u64 {
        self.strangers += 1;
        mix(self.strangers)
    }

    pub(super) fn no_name(&self) -> Arc<str> {
        Arc::clone(&self.no_name)
    }

    pub(super) fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Frees a slot; its waker is for the caller to drop when the lock is gone.
    pub(super) fn remove(&mut self, at: u32) -> Option<Waker> {
        let empty = Arc::clone(&self.no_name);
        let slot = &mut self.slots[at as usize];
        let waker = slot.waker.take();
        let generation = slot.generation.wrapping_add(1);
        *slot = Slot::new(generation, empty);
        self.free.push(at);
        waker
    }

    pub(super) fn info(&self, slot: &Slot) -> TaskInfo {
        TaskInfo {
            id: TaskId(slot.index),
            name: Arc::clone(&slot.name),
            polls: slot.polls,
            last_wake: slot.last_wake.map(|(at, _)| at),
            woken_by: slot.last_wake.and_then(|(_, by)| by).map(TaskId),
            ready: slot.queued,
            held: self.is_held(slot),
        }
    }

    /// Whether a task, or its whole host, stands still.
    pub(super) fn is_held(&self, slot: &Slot) -> bool {
        slot.trouble.as_ref().is_some_and(|trouble| trouble.held) || self.still.contains(&slot.host)
    }

    pub(super) fn tasks(&self) -> Vec<TaskInfo> {
        let live = self.slots.iter().filter(|slot| slot.live);
        let mut tasks: Vec<_> = live.map(|slot| self.info(slot)).collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }

    /// How many panics are kept.
    const PANICS: usize = 1_000;

    pub(super) fn note_panic(&mut self, name: Arc<str>, text: String) {
        if self.panics.len() == Self::PANICS {
            self.panics.pop_front();
        }
        self.panics.push_back((name, text));
    }
}

impl Slot {
    pub(super) fn new(generation: u32, name: Arc<str>) -> Self {
        let host = Arc::clone(&name);
        Self {
            generation,
            live: false,
            queued: false,
            kind: Kind::Plain,
            body: None,
            waker: None,
            identity: 0,
            polls: 0,
            priority: 0,
            last_wake: None,
            index: 0,
            children: 0,
            sleeps: 0,
            host,
            name,
            trouble: None,
        }
    }

    fn empty(name: Arc<str>) -> Self {
        Self::new(0, name)
    }
}

/// Drops a task whose destructor may panic; what it said.
pub(super) fn drop_quietly(task: Task) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| drop(task))).err().map(|panic| text_of(&*panic))
}

pub(super) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "panicked without a text".to_owned()
    }
}

/// A name as a number: FNV-1a, then mixed.
fn hash(name: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(name.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

impl Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualExecutor")
            .field("now", &self.now())
            .field("live", &self.state().live())
            .finish_non_exhaustive()
    }
}
