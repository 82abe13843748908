//! The loop: one poll after the other, and time when there is none.

use std::future::Future;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use lictor_kernel::Instant;
use lictor_runtime::executor::Task;

use super::core::{Core, State, drop_quietly, text_of};
use super::faults::TaskFault;
use super::report::{Report, Stuck};
use super::sleep::Timer;
use super::slot::Kind;
use super::{Root, into_root};
use crate::stream::{Purpose, mix};

/// Called after every poll, and when time has passed; `Break` ends the run where it is.
pub(crate) type Watch<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// What is to be done next.
enum Next {
    /// To be polled; the body is on the stack of a `block_on` if it is not here.
    Poll(u32, Option<Task>, Waker),
    /// To be dropped instead, in this way.
    End(u32, Task, TaskFault),
    /// Timers have ended: whom to wake.
    Wake(Vec<Waker>),
    /// Nothing until that instant, or for ever.
    Nothing(Option<u64>),
}

type Guard<'a> = MutexGuard<'a, State>;

/// How far a run goes.
#[derive(Clone, Copy)]
enum Goal {
    /// Until nobody is ready; for no sleep is waited.
    Idle,
    Until(u64),
    /// Until the root is ready.
    Root,
}

impl Goal {
    /// Whether a sleep until then is waited for.
    const fn waits_for(self, at: u64) -> bool {
        match self {
            Self::Idle => false,
            Self::Until(until) => at <= until,
            Self::Root => true,
        }
    }
}

/// How a run ended.
enum Ended {
    Done,
    Broken,
}

impl Core {
    pub(super) fn run_until(
        self: &Arc<Self>,
        until: Instant,
        watch: Option<Watch<'_>>,
    ) -> Result<(), Stuck> {
        let ended = self.drive(Goal::Until(until.as_nanos()), None, watch)?;
        if matches!(ended, Ended::Done) {
            let mut state = self.state();
            self.set_now(&mut state, until.as_nanos());
        }
        Ok(())
    }

    pub(super) fn block_on<F: Future>(
        self: &Arc<Self>,
        future: F,
        watch: Option<Watch<'_>>,
    ) -> Result<F::Output, Stuck> {
        let mut output = None;
        let future = pin!(future);
        let at = {
            let mut state = self.state();
            assert!(state.current.is_none(), "block_on inside a task: await the future instead");
            let (identity, name) = (state.stranger(), state.no_name());
            self.place(&mut state, Kind::Root, (Arc::clone(&name), name), identity)
        };
        let result = {
            let _leave = Leave { core: self, at };
            let mut root = into_root(future, &mut output);
            self.drive(Goal::Root, Some((at, &mut root)), watch)
        };
        result?;
        output.ok_or(Stuck::ShutDown)
    }

    pub(super) fn run_until_idle(self: &Arc<Self>, watch: Option<Watch<'_>>) -> Result<(), Stuck> {
        self.drive(Goal::Idle, None, watch).map(|_| ())
    }

    fn drive(
        self: &Arc<Self>,
        goal: Goal,
        mut root: Option<(u32, Root<'_>)>,
        mut watch: Option<Watch<'_>>,
    ) -> Result<Ended, Stuck> {
        let mut state = self.state();
        assert!(state.current.is_none(), "a run inside a task of the same executor");
        loop {
            match self.next(&mut state, goal)? {
                Next::Poll(at, Some(task), waker) => {
                    state = self.poll_task(state, at, task, &waker);
                    state.slots[at as usize].keep(waker);
                    self.pay(&mut state);
                }
                Next::Poll(at, None, waker) => {
                    let Some((own, poll)) = &mut root else { continue };
                    if *own != at {
                        continue;
                    }
                    drop(state);
                    let polled = poll(&mut Context::from_waker(&waker));
                    state = self.state();
                    state.current = None;
                    state.slots[at as usize].waker = Some(waker);
                    self.pay(&mut state);
                    if polled.is_ready() {
                        return Ok(Ended::Done);
                    }
                }
                Next::End(at, task, fault) => state = self.end_task(state, at, task, fault),
                Next::Wake(wakers) => {
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                    state = self.state();
                    continue;
                }
                Next::Nothing(timer) => {
                    if self.config.check_wakes && state.unchecked && !state.is_late(self.now()) {
                        state = self.check_wakes(state, &mut root)?;
                        continue;
                    }
                    match timer {
                        Some(at) if goal.waits_for(at) => {
                            self.set_now(&mut state, at);
                        }
                        _ if matches!(goal, Goal::Root) => {
                            return Err(Stuck::Deadlock(self.report(&state, |_| true)));
                        }
                        _ => return Ok(Ended::Done),
                    }
                }
            }
            if let Some(watch) = &mut watch {
                drop(state);
                if watch().is_break() {
                    return Ok(Ended::Broken);
                }
                state = self.state();
            }
        }
    }

    fn report(&self, state: &State, which: impl Fn(&super::TaskInfo) -> bool) -> Report {
        let tasks = state.tasks().into_iter().filter(which).collect();
        Report { at: self.now(), polls: state.counters.polls, tasks }
    }

    fn report_of(&self, state: &State, task: super::TaskInfo) -> Report {
        Report { at: self.now(), polls: state.counters.polls, tasks: vec![task] }
    }

    /// What to do next: timers that are due first, then who is ready.
    fn next(&self, state: &mut State, goal: Goal) -> Result<Next, Stuck> {
        if state.closed {
            return Err(Stuck::ShutDown);
        }
        let now = self.now().as_nanos();
        let first = state.timers.first_key_value().map(|(key, _)| key.0);
        if first.is_some_and(|at| at <= now) {
            return Ok(Next::Wake(self.due(state, now)));
        }
        let late = matches!(goal, Goal::Until(until) if now > until);
        loop {
            let entry = match late {
                true => None,
                false => state.ready.pop().or_else(|| state.starved.pop_front()),
            };
            let Some(entry) = entry else { return Ok(Next::Nothing(first)) };
            if let Some(next) = self.take(state, entry) {
                let limits = (self.config.max_polls, self.config.max_polls_per_instant);
                if state.counters.polls > limits.0 || state.polls_here > limits.1 {
                    self.put_back(state, next);
                    return Err(Stuck::Livelock(self.report(state, |task| task.ready)));
                }
                return Ok(next);
            }
        }
    }

    /// Takes a task out of its slot; `None` if it is gone, or held.
    fn take(&self, state: &mut State, (at, generation): (u32, u32)) -> Option<Next> {
        let slot = &mut state.slots[at as usize];
        if slot.generation != generation || !slot.queued {
            return None;
        }
        if !state.still.is_empty() && state.still.contains(&slot.host) {
            state.parked.push((at, generation));
            return None;
        }
        let mut fault = None;
        if let Some(trouble) = &mut slot.trouble {
            if trouble.held {
                trouble.parked = true;
                return None;
            }
            fault = trouble.faults.remove(&(slot.polls + 1));
        }
        slot.queued = false;
        slot.polls += 1;
        let (identity, n, kind) = (slot.identity, slot.polls, slot.kind);
        state.counters.polls += 1;
        state.polls_here += 1;
        state.unchecked = true;
        if state.changes.front().is_some_and(|(poll, _)| *poll <= state.counters.polls)
            && let Some((_, fallen)) = state.changes.pop_front()
        {
            slot.priority = fallen;
        }
        let rate = match kind {
            Kind::Client => self.config.cancel_clients,
            Kind::Agent => self.config.kill_agents,
            Kind::Plain | Kind::Root => 0,
        };
        if rate > 0 && self.streams.chance(Purpose::Cancel, identity, n, rate) {
            fault = Some(TaskFault::Drop);
        }
        match fault {
            Some(fault @ (TaskFault::Drop | TaskFault::Panic | TaskFault::PanicInDrop)) => {
                let body = slot.body.take()?;
                return Some(Next::End(at, body, fault));
            }
            Some(TaskFault::SpuriousWake) => {
                state.counters.spurious_wakes += 1;
                slot.queued = true;
            }
            None => {
                let rate = self.config.spurious_wakes;
                let whose = mix(identity);
                if rate > 0 && self.streams.chance(Purpose::Cancel, whose, n, rate) {
                    state.counters.spurious_wakes += 1;
                    slot.queued = true;
                }
            }
        }
        state.current = Some(at);
        let waker = slot.waker.take()?;
        let body = slot.body.take();
        if slot.queued {
            self.enqueue(state, at);
        }
        Some(Next::Poll(at, body, waker))
    }

    /// Undoes the taking of a task that is not polled after all.
    fn put_back(&self, state: &mut State, next: Next) {
        state.current = None;
        let (Next::Poll(at, ..) | Next::End(at, ..)) = &next else { return };
        let slot = &mut state.slots[*at as usize];
        let queued = std::mem::replace(&mut slot.queued, true);
        let at = *at;
        match next {
            Next::Poll(_, body, waker) => {
                slot.body = body;
                slot.waker = Some(waker);
            }
            Next::End(_, body, _) => slot.body = Some(body),
            Next::Wake(_) | Next::Nothing(_) => {}
        }
        if !queued {
            self.enqueue(state, at);
        }
    }

    /// The timers that are due, in their order.
    fn due(&self, state: &mut State, now: u64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(first) = state.timers.first_entry() {
            if first.key().0 > now {
                break;
            }
            let timer = first.remove();
            state.counters.timers_fired += 1;
            match timer {
                Timer::Wake(waker, _) => wakers.push(waker),
                Timer::Ready((at, generation)) => {
                    if state.slots[at as usize].generation == generation {
                        self.enqueue(state, at);
                    }
                }
            }
        }
        wakers
    }

    /// Polls a task with the lock free, and puts it back or away.
    fn poll_task<'a>(
        self: &'a Arc<Self>,
        state: Guard<'a>,
        at: u32,
        mut task: Task,
        waker: &Waker,
    ) -> Guard<'a> {
        drop(state);
        let polled =
            catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(waker))));
        let mut state = self.state();
        state.current = None;
        let slot = &mut state.slots[at as usize];
        let (identity, outcome) = (slot.identity, u64::from(!matches!(polled, Ok(Poll::Pending))));
        match polled {
            Ok(Poll::Pending) => slot.body = Some(task),
            Ok(Poll::Ready(())) => {
                state.counters.completed += 1;
                state = self.put_away(state, at, task, None);
            }
            Err(panic) => {
                state.counters.panicked += 1;
                let text = text_of(&*panic);
                state = self.put_away(state, at, task, Some(text));
            }
        }
        state.digest.word(identity ^ outcome);
        state
    }

    /// A poll takes its time.
    fn pay(&self, state: &mut State) {
        if !self.config.poll_cost.is_zero() {
            let later = self.now().saturating_add(self.config.poll_cost).as_nanos();
            self.set_now(state, later);
        }
    }

    /// A task that has ended: its slot is free, and then it is dropped.
    fn put_away<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        at: u32,
        task: Task,
        panic: Option<String>,
    ) -> Guard<'a> {
        let name = Arc::clone(&state.slots[at as usize].name);
        let waker = state.remove(at);
        drop(state);
        let in_drop = drop_quietly(task);
        drop(waker);
        let mut state = self.state();
        for text in panic.into_iter().chain(in_drop) {
            state.note_panic(Arc::clone(&name), text);
        }
        state
    }

    /// Ends a task by a fault.
    fn end_task<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        at: u32,
        task: Task,
        fault: TaskFault,
    ) -> Guard<'a> {
        let (identity, name) = {
            let slot = &state.slots[at as usize];
            (slot.identity, Arc::clone(&slot.name))
        };
        state.counters.dropped += 1;
        state.digest.word(identity ^ 2);
        let waker = state.remove(at);
        drop(state);
        let injected =
            || -> Box<dyn std::any::Any + Send> { Box::new("a panic of the simulation") };
        let ended = catch_unwind(AssertUnwindSafe(|| match fault {
            TaskFault::Panic => {
                let _task = task;
                resume_unwind(injected());
            }
            TaskFault::PanicInDrop => {
                drop(task);
                resume_unwind(injected());
            }
            TaskFault::Drop | TaskFault::SpuriousWake => drop(task),
        }));
        drop(waker);
        let mut state = self.state();
        if let Err(panic) = ended {
            let text = text_of(&*panic);
            state.note_panic(name, text);
        }
        state
    }

    /// Polls every task that waits: one that gets anywhere has missed its wake.
    fn check_wakes<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        root: &mut Option<(u32, Root<'_>)>,
    ) -> Result<Guard<'a>, Stuck> {
        state.unchecked = false;
        let waits = |at: &u32| {
            let slot = &state.slots[*at as usize];
            let held = state.is_held(slot);
            slot.live && !slot.queued && !held && slot.kind != Kind::Root
        };
        let count = u32::try_from(state.slots.len()).unwrap_or(u32::MAX);
        let mut waiting: Vec<u32> = (0..count).filter(waits).collect();
        waiting.sort_by_key(|at| state.slots[*at as usize].index);
        for at in waiting {
            let slot = &mut state.slots[at as usize];
            let (Some(task), Some(waker)) = (slot.body.take(), slot.waker.take()) else { continue };
            let info = state.info(&state.slots[at as usize]);
            let before = (state.counters.wakes, state.counters.spawned);
            let ended = (state.counters.completed, state.counters.panicked);
            state.current = Some(at);
            state.counters.polls += 1;
            state = self.poll_task(state, at, task, &waker);
            let over = (state.counters.completed, state.counters.panicked) != ended;
            let moved = (state.counters.wakes, state.counters.spawned) != before;
            if !over {
                state.slots[at as usize].keep(waker);
            }
            if over || moved {
                return Err(Stuck::MissedWake(self.report_of(&state, info)));
            }
        }
        let Some((at, poll)) = root else { return Ok(state) };
        let slot = &mut state.slots[*at as usize];
        if slot.queued {
            return Ok(state);
        }
        let Some(waker) = slot.waker.take() else { return Ok(state) };
        let info = state.info(&state.slots[*at as usize]);
        state.current = Some(*at);
        drop(state);
        let polled = poll(&mut Context::from_waker(&waker));
        state = self.state();
        state.current = None;
        state.slots[*at as usize].waker = Some(waker);
        if polled.is_ready() {
            return Err(Stuck::MissedWake(self.report_of(&state, info)));
        }
        Ok(state)
    }
}

impl super::slot::Slot {
    /// Takes its waker back, unless the task has ended and the slot is another's.
    fn keep(&mut self, waker: Waker) {
        if self.live && self.waker.is_none() {
            self.waker = Some(waker);
        }
    }
}

/// Frees the slot of a `block_on`, also when its future panics.
struct Leave<'a> {
    core: &'a Arc<Core>,
    at: u32,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.core.state();
        state.current = None;
        if state.slots[self.at as usize].live {
            let waker = state.remove(self.at);
            drop(state);
            drop(waker);
        }
    }
}
