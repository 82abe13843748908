//! What can be done to a task that it has not asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::VirtualExecutor;
use super::core::{Core, State};

/// The number of a task: tasks are numbered as they are spawned, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u64);

/// What happens to a task instead of one of its polls, or before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TaskFault {
    /// It is dropped where it waits: cancelled at that await.
    Drop,
    /// It is dropped by an unwinding panic, as if its poll had panicked.
    Panic,
    /// It is dropped where it waits, and its destructor panics at the end.
    PanicInDrop,
    /// It is polled as planned, and then woken without a cause.
    SpuriousWake,
}

/// The faults of one task.
#[derive(Default)]
pub(super) struct Trouble {
    /// By the poll, counted from 1.
    pub(super) faults: BTreeMap<u64, TaskFault>,
    pub(super) held: bool,
    /// It was woken while it was held.
    pub(super) parked: bool,
    pub(super) starved: bool,
    /// From a wake until it is ready.
    pub(super) delay: Duration,
}

/// Faults for tasks that do not exist yet, by name and place among the tasks of that name.
pub(super) type Planned = BTreeMap<(Arc<str>, u64), Vec<(u64, TaskFault)>>;

impl VirtualExecutor {
    /// The tasks of this name that are alive, oldest first. An agent's incarnations have its name,
    /// on a named host with the host's before it: `"a/counter"`.
    #[must_use]
    pub fn tasks_named(&self, name: &str) -> Vec<TaskId> {
        let state = self.core.state();
        let mut found: Vec<TaskId> = state
            .slots
            .iter()
            .filter(|slot| slot.live && &*slot.name == name)
            .map(|slot| TaskId(slot.index))
            .collect();
        found.sort_unstable();
        found
    }

    /// Does this to a task instead of its `poll`-th poll, counted from 1. `false` if the task is
    /// gone or has been polled so often.
    pub fn inject(&self, task: TaskId, poll: u64, fault: TaskFault) -> bool {
        self.core.trouble(task, |polls, trouble| {
            if polls >= poll {
                return false;
            }
            trouble.faults.insert(poll, fault);
            true
        })
    }

    /// Does this to a task at its next poll, and makes it ready. `false` if the task is gone.
    pub fn inject_now(&self, task: TaskId, fault: TaskFault) -> bool {
        let done = self.core.trouble(task, |polls, trouble| {
            trouble.faults.insert(polls + 1, fault);
            true
        });
        done && self.wake(task)
    }

    /// As [`VirtualExecutor::inject`], for the `nth` task of this name, counted from 0, whenever it
    /// is spawned from now on: the third incarnation of an agent, say.
    pub fn inject_into(&self, name: &str, nth: u64, poll: u64, fault: TaskFault) {
        let mut state = self.core.state();
        state.planned.entry((Arc::from(name), nth)).or_default().push((poll, fault));
    }

    /// Wakes a task without a cause. `false` if it is gone.
    pub fn wake(&self, task: TaskId) -> bool {
        let mut state = self.core.state();
        let Some(at) = state.find(task) else { return false };
        state.counters.spurious_wakes += 1;
        let generation = state.slots[at as usize].generation;
        self.core.wake_in(&mut state, at, generation);
        true
    }

    /// Does not poll a task until it is [released](VirtualExecutor::release): it hangs inside a
    /// poll, as one does that blocks its thread. Its wakes are kept. `false` if it is gone.
    pub fn hold(&self, task: TaskId) -> bool {
        self.core.trouble(task, |_, trouble| {
            trouble.held = true;
            true
        })
    }

    /// Lets a held task go on. `false` if it is gone.
    pub fn release(&self, task: TaskId) -> bool {
        let mut parked = false;
        let known = self.core.trouble(task, |_, trouble| {
            trouble.held = false;
            parked = std::mem::take(&mut trouble.parked);
            true
        });
        if parked {
            let mut state = self.core.state();
            if let Some(at) = state.find(task) {
                self.core.enqueue(&mut state, at);
            }
        }
        known
    }

    /// Lets a whole host stand still, as a process that is sent `SIGSTOP`: none of its tasks is
    /// polled, those that are spawned meanwhile included, until it [goes on](Self::resume_host).
    /// Its clock goes on.
    pub fn pause_host(&self, host: &str) {
        self.core.state().still.insert(Arc::from(host));
    }

    /// Lets a host go on that stands still. What was woken meanwhile is ready in this instant, in
    /// whatever order the schedule says.
    pub fn resume_host(&self, host: &str) {
        let mut state = self.core.state();
        if !state.still.remove(host) {
            return;
        }
        for (at, generation) in std::mem::take(&mut state.parked) {
            let slot = &state.slots[at as usize];
            if slot.generation == generation && slot.queued {
                // Of another host that stands still, it is put aside again.
                self.core.enqueue(&mut state, at);
            }
        }
    }

    /// Runs a task only when nobody else is ready, or no longer so. `false` if it is gone.
    pub fn starve(&self, task: TaskId, starved: bool) -> bool {
        self.core.trouble(task, |_, trouble| {
            trouble.starved = starved;
            true
        })
    }

    /// Lets so much time pass from each wake of a task until it is ready. `false` if it is gone.
    pub fn slow(&self, task: TaskId, delay: Duration) -> bool {
        self.core.trouble(task, |_, trouble| {
            trouble.delay = delay;
            true
        })
    }
}

impl Core {
    fn trouble(&self, task: TaskId, act: impl FnOnce(u64, &mut Trouble) -> bool) -> bool {
        let mut state = self.state();
        let Some(at) = state.find(task) else { return false };
        let slot = &mut state.slots[at as usize];
        act(slot.polls, slot.trouble.get_or_insert_default())
    }
}

impl State {
    pub(super) fn find(&self, task: TaskId) -> Option<u32> {
        let at = self.slots.iter().position(|slot| slot.live && slot.index == task.0)?;
        u32::try_from(at).ok()
    }
}
