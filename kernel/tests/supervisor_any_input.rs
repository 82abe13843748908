//! Any input in any phase at any time: nothing panics, nothing spins, nothing is left at the end.
//!
//! Times jump back and forth and lie at the ends of `u64`; facts are about processes that live, are
//! gone or never were; commands come when they come.

#[path = "supervisor_any_input/subject.rs"]
mod subject;

use std::collections::{BTreeMap, BTreeSet};

use lictor_kernel::supervisor::Event;
use lictor_kernel::{ChildId, ExitReason, Instant, Pid, ProcessId, SupervisorId};
use proptest::prelude::*;

use crate::subject::{Call, Subject, any_call, any_plan, any_static_plan};

/// When a call is made.
#[derive(Clone, Copy, Debug)]
enum When {
    At(u64),
    /// This much after the call before, or before it.
    Off(i64),
    /// At the next deadline, or this much beside it.
    Due(i64),
}

fn any_when() -> impl Strategy<Value = When> {
    prop_oneof![
        6 => (0..5_i64).prop_map(When::Off),
        2 => (-5..5_i64).prop_map(When::Off),
        4 => (-1..2_i64).prop_map(When::Due),
        1 => (0..20_u64).prop_map(When::At),
        1 => (u64::MAX - 20..=u64::MAX).prop_map(When::At),
        1 => any::<u64>().prop_map(When::At),
    ]
}

fn any_calls() -> impl Strategy<Value = Vec<(When, Call)>> {
    prop::collection::vec((any_when(), any_call()), 0..80)
}

/// What was started, what was heard of it, and when that was.
#[derive(Default)]
struct Witness {
    started: Vec<ProcessId>,
    ended: BTreeSet<ProcessId>,
    newest: BTreeMap<(SupervisorId, ChildId), Pid>,
    now: u64,
}

impl Witness {
    fn time(&self, when: When, subject: &Subject) -> u64 {
        match when {
            When::At(at) => at,
            When::Off(by) => self.now.saturating_add_signed(by),
            When::Due(by) => subject
                .poll_timeout()
                .map_or(self.now, |at| at.as_nanos().saturating_add_signed(by)),
        }
    }

    fn step(&mut self, subject: &mut Subject, when: When, call: Call) -> Result<(), TestCaseError> {
        self.now = self.time(when, subject);
        let now = Instant::from_nanos(self.now);
        let was_stopped = subject.is_stopped();
        let told = subject.call(now, call, &self.started);
        if let Some((
            process,
            Event::Exited { .. } | Event::StartIgnored { .. } | Event::StartFailed { .. },
        )) = told.fact
        {
            self.ended.insert(process);
        }
        for process in &told.starts {
            prop_assert!(!was_stopped, "a start after the end");
            let key = (process.supervisor, process.pid.child);
            let before = self.newest.insert(key, process.pid);
            if let Some(before) = before {
                prop_assert!(before.incarnation < process.pid.incarnation);
                let before = ProcessId { pid: before, ..*process };
                prop_assert!(self.ended.contains(&before), "two processes of one child");
            }
            self.started.push(*process);
        }
        prop_assert!(told.signals.iter().all(|process| self.started.contains(process)));
        if was_stopped {
            prop_assert!(told.signals.is_empty() && told.exits == 0);
        }
        if subject.is_stopped() {
            prop_assert_eq!(subject.poll_timeout(), None);
        }
        prop_assert!(subject.children() <= subject.children_max());
        self.settles(subject, now)
    }

    /// A timeout leaves nothing due, and a second one does nothing.
    fn settles(&self, subject: &Subject, now: Instant) -> Result<(), TestCaseError> {
        let Some(due) = subject.poll_timeout().filter(|due| *due <= now) else { return Ok(()) };
        let mut subject = subject.clone();
        let told = subject.call(now, Call::Timeout, &[]);
        let next = subject.poll_timeout();
        prop_assert!(next.is_none_or(|next| next > now), "due at {due:?}, now {now:?}: {told:?}");
        let before = subject.clone();
        let told = subject.call(now, Call::Timeout, &[]);
        prop_assert!(told.actions == 0 && subject == before);
        Ok(())
    }
}

fn check(mut subject: Subject, calls: &[(When, Call)]) -> Result<(), TestCaseError> {
    let mut witness = Witness::default();
    for (when, call) in calls {
        witness.step(&mut subject, *when, *call)?;
    }
    // After a shutdown, and once everything that was started has ended, it has ended, too.
    witness.step(&mut subject, When::Off(0), Call::Start)?;
    witness.step(&mut subject, When::Off(0), Call::Shutdown(None))?;
    for _ in 0..20 {
        for which in 0..witness.started.len() {
            let exit = Call::Exited(which, ExitReason::Shutdown);
            witness.step(&mut subject, When::Off(0), exit)?;
        }
    }
    prop_assert!(subject.is_stopped());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Rules: A1, A3, A5, V26, V27
    #[test]
    fn a_static_supervisor_takes_anything(plan in any_static_plan(), calls in any_calls()) {
        check(Subject::alone(&plan), &calls)?;
    }

    // Rules: A1, A3, A5, V26, V27
    #[test]
    fn a_dynamic_supervisor_takes_anything(seed: u64, calls in any_calls()) {
        check(Subject::dynamic(seed), &calls)?;
    }

    // Rules: A1, A3, A5, V26, V27, E6
    #[test]
    fn a_tree_takes_anything(plan in any_plan(), calls in any_calls()) {
        check(Subject::tree(&plan), &calls)?;
    }

    // Rules: A1, A3, A5, K4
    #[test]
    fn a_node_takes_anything(plan in any_plan(), calls in any_calls()) {
        check(Subject::node(&plan), &calls)?;
    }

    // Rule: A4
    #[test]
    fn the_same_calls_do_the_same(plan in any_plan(), calls in any_calls()) {
        for make in [Subject::alone, Subject::tree, Subject::node] {
            let run = || {
                let mut subject = make(&plan);
                let (mut witness, mut said) = (Witness::default(), Vec::new());
                for (when, call) in &calls {
                    witness.now = witness.time(*when, &subject);
                    let now = Instant::from_nanos(witness.now);
                    let told = subject.call(now, *call, &witness.started);
                    witness.started.extend(&told.starts);
                    said.push(told);
                }
                (subject, said)
            };
            prop_assert_eq!(run(), run());
        }
    }
}
