//! The rules S1 to S9, checked upon every call from what went in and what came out.
//!
//! Nothing here looks into a machine, but for where a supervisor says it is in its life: what is
//! right for one that stops is wrong for one that runs. Where a rule depends on what only the
//! machine knows (which of several crashes of an instant it takes first), both ways are allowed:
//! the model decides such things exactly, the rules hold for whole trees, where there is no model.

use lictor_kernel::dynamic_supervisor::Removal;
use lictor_kernel::supervisor::{Event, Report};
use lictor_kernel::tree::{Action, Stage};
use lictor_kernel::{ChildId, Pid, ProcessId, Shutdown, Signal, Strategy, SupervisorId};

use super::rules::comes_back;
use super::world::{End, Past, Process, Watch};
use super::{Call, Command, Fault, Seen, Standing, Subject, World};

pub(super) type Verdict = Result<(), Fault>;

pub(super) fn broken<T>(rule: &'static str, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken { rule, what: what.into() })
}

/// What is known while the actions of one call are read.
struct Reading<'a> {
    call: Call,
    /// Of whom a fact is being told, as he was before it: overdue deadlines come before it.
    about: Option<Process>,
    before: &'a [(SupervisorId, Standing)],
    after: Vec<(SupervisorId, Standing)>,
}

fn standing(list: &[(SupervisorId, Standing)], id: SupervisorId) -> Standing {
    list.iter().find(|(other, _)| *other == id).map_or(Standing::Gone, |(_, standing)| *standing)
}

impl World {
    pub(super) fn judge<S: Subject>(
        &mut self,
        subject: &S,
        before: &[(SupervisorId, Standing)],
        call: Call,
        seen: &Seen,
    ) -> Verdict {
        self.timeout = seen.timeout;
        self.removed.clear();
        let about = self.note_call(call, seen);
        let after = self.standings(subject);
        let reading = Reading { call, about, before, after };
        for (at, action) in seen.actions.iter().enumerate() {
            self.read(subject, &reading, *action, seen.actions.get(at + 1))?;
        }
        if call == Call::Timeout {
            self.nothing_overdue(subject)?;
        }
        self.settled(subject)?;
        self.forget(subject);
        if self.ended && (self.timeout.is_some() || !self.live.is_empty()) {
            return broken("S7", "something is left after the end");
        }
        subject.names(self)
    }

    /// Takes in what the call itself says.
    fn note_call(&mut self, call: Call, seen: &Seen) -> Option<Process> {
        match call {
            Call::Start => self.begun = true,
            Call::Shutdown(by) => {
                let old = self.stopping.flatten();
                self.stopping = Some([old, by].into_iter().flatten().min());
            }
            Call::Kill => {
                self.killed = true;
                self.stopping.get_or_insert(None);
            }
            Call::Command(at, command) => self.note_command(at, command, seen.accepted),
            Call::Fact(supervisor, event) => return self.note_fact(supervisor, event),
            Call::Timeout => {}
        }
        None
    }

    fn note_command(&mut self, at: SupervisorId, command: Command, accepted: bool) {
        let Some(watch) = self.supervisors.get_mut(&at).filter(|_| accepted) else { return };
        let (Command::Terminate { id, .. }
        | Command::Restart(id)
        | Command::Delete(id)
        | Command::Add { id, .. }) = command
        else {
            return;
        };
        watch.past.entry(id).or_default().commanded = true;
        watch.commanded = true;
        // One that is being stopped already stops as it was told first.
        let told = self.live.iter().any(|live| {
            let process = live.process;
            process.supervisor == at && process.pid.child == id && live.told.is_some()
        });
        if let Command::Terminate { id, how: Some(how) } = command
            && !told
            && watch.planned.strategy.is_none()
            && let Some((_, spec)) = watch.planned.children.iter_mut().find(|(o, _)| *o == id)
        {
            spec.shutdown = how;
        }
    }

    fn note_fact(&mut self, supervisor: SupervisorId, event: Event) -> Option<Process> {
        let (Event::Started { pid }
        | Event::StartIgnored { pid }
        | Event::StartFailed { pid }
        | Event::Exited { pid, .. }) = event;
        let process = ProcessId { supervisor, pid };
        let live = self.live.iter_mut().find(|live| live.process == process)?;
        let about = *live;
        let end = match event {
            Event::Started { .. } => {
                live.up = true;
                return Some(about);
            }
            Event::StartIgnored { .. } | Event::StartFailed { .. } if live.up => {
                return Some(about);
            }
            Event::StartIgnored { .. } => End::Ignored,
            Event::StartFailed { .. } => End::Failed,
            Event::Exited { .. } if !live.up => End::Failed,
            Event::Exited { reason, .. } => End::Exited(reason),
        };
        self.note_end(about, end);
        Some(about)
    }

    fn note_end(&mut self, live: Process, end: End) {
        let ProcessId { supervisor, pid } = live.process;
        let end = match live.told {
            _ if live.late => End::Failed,
            Some(_) => End::Told,
            None => end,
        };
        self.bury(live.process);
        let now = self.now;
        let Some(watch) = self.supervisors.get_mut(&supervisor) else { return };
        watch.past.entry(pid.child).or_default().last = Some((end, now));
        let Some(spec) = watch.spec(pid.child) else { return };
        if comes_back(&spec, end) || end == End::Failed {
            watch.heard.push((pid.child, now));
        }
    }

    fn read<S: Subject>(
        &mut self,
        subject: &S,
        reading: &Reading<'_>,
        action: Action,
        next: Option<&Action>,
    ) -> Verdict {
        let stale = matches!(action, Action::Report { report: Report::StaleEvent { .. }, .. });
        if self.ended && !stale {
            return broken("S2", format!("after the end: {action:?}"));
        }
        match action {
            Action::Start { process } => self.starts(reading, process, false),
            Action::Signal { process, signal } => self.signals(reading, process, signal),
            Action::Supervisor { supervisor, process, stage } => {
                self.supervisor(subject, reading, supervisor, process, stage)
            }
            Action::Removed { supervisor, child, why, .. } => {
                self.removes(reading, supervisor, child, why)
            }
            Action::Report { supervisor, report } => self.reports(supervisor, report, next),
        }
    }

    fn supervisor<S: Subject>(
        &mut self,
        subject: &S,
        reading: &Reading<'_>,
        id: SupervisorId,
        process: Option<ProcessId>,
        stage: Stage,
    ) -> Verdict {
        match stage {
            Stage::Initializing => {
                if let Some(process) = process {
                    self.starts(reading, process, true)?;
                } else {
                    self.root = Some(id);
                }
                let Some(planned) = subject.planned(process) else {
                    return broken("S4", format!("{id:?} was never planned"));
                };
                if self.supervisors.insert(id, Watch::new(planned)).is_some() {
                    return broken("S1", format!("{id:?} begins twice"));
                }
            }
            Stage::Ready => {
                let Some(watch) = self.supervisors.get_mut(&id) else {
                    return broken("S7", format!("{id:?} is ready after its end"));
                };
                watch.ready = true;
                if let Some(live) = self.live.iter_mut().find(|o| Some(o.process) == process) {
                    live.up = true;
                }
            }
            Stage::Exited(reason) => {
                if self.supervisors.remove(&id).is_none() {
                    return broken("S7", format!("{id:?} ends twice"));
                }
                let mut left = self.live.iter().filter(|live| live.process.supervisor == id);
                if let Some(left) = left.next() {
                    return broken("S7", format!("{id:?} ends before {:?}", left.process));
                }
                match process {
                    None => self.ended = true,
                    Some(process) => {
                        let Some(live) = self.find(process).copied() else {
                            return broken("S7", format!("{process:?} ends twice"));
                        };
                        let end = if live.up { End::Exited(reason) } else { End::Failed };
                        self.note_end(live, end);
                    }
                }
            }
        }
        Ok(())
    }

    fn starts(&mut self, reading: &Reading<'_>, process: ProcessId, supervisor: bool) -> Verdict {
        let ProcessId { supervisor: at, pid } = process;
        let now = self.now;
        let siblings = self.live.iter().filter(|live| live.process.supervisor == at);
        let siblings: Vec<Process> = siblings.copied().collect();
        let Some(watch) = self.supervisors.get_mut(&at) else {
            return broken("S2", format!("{process:?} starts under nobody"));
        };
        if let Call::Command(to, Command::Add { spec, .. }) = reading.call
            && to == at
            && watch.spec(pid.child).is_none()
        {
            watch.planned.children.push((pid.child, spec));
            watch.past.entry(pid.child).or_default().commanded = true;
        }
        if siblings.iter().any(|live| live.process.pid.child == pid.child) {
            return broken("S1", format!("{process:?} starts beside another of its child"));
        }
        if watch.newest.is_some_and(|newest| newest >= pid.incarnation) {
            return broken("S1", format!("{process:?} is no newer than those before"));
        }
        let ending = matches!(standing(reading.before, at), Standing::Stopping | Standing::Killing);
        if ending || watch.exhausted {
            return broken("S3", format!("{process:?} starts although its supervisor ends"));
        }
        watch.may_start(process, &siblings, now)?;
        watch.newest = Some(pid.incarnation);
        let past = watch.past.entry(pid.child).or_default();
        (past.started, past.scheduled, past.failed) = (true, None, false);
        self.live.push(Process {
            process,
            supervisor,
            up: false,
            since: now,
            late: false,
            told: None,
        });
        Ok(())
    }

    fn signals(&mut self, reading: &Reading<'_>, process: ProcessId, signal: Signal) -> Verdict {
        let at = process.supervisor;
        let about = reading.about.filter(|about| about.process == process);
        let now_told = self.find(process).and_then(|live| live.told);
        let about = about.map(|about| Process { told: now_told.or(about.told), ..about });
        let Some(live) = about.or_else(|| self.find(process).copied()) else {
            return broken("S2", format!("{signal:?} goes to {process:?}, which is gone"));
        };
        if let Some((Signal::Kill, _)) = live.told {
            return broken("S2", format!("{process:?} is told after it was killed"));
        }
        if live.told.is_some() && signal == Signal::Shutdown {
            return broken("S2", format!("{process:?} is asked twice"));
        }
        let now = self.now;
        let bound = self.killed || self.stopping.flatten().is_some_and(|by| by <= now);
        let standing = standing(&reading.after, at);
        let mut late = false;
        if let Some(watch) = self.supervisors.get(&at) {
            let killing = bound || matches!(standing, Standing::Killing | Standing::Gone);
            let ending = killing || standing == Standing::Stopping || watch.exhausted;
            late = !live.up && live.told.is_none() && signal == Signal::Kill && !ending;
            if signal == Signal::Kill && !killing {
                watch.may_kill(&live, now)?;
            }
            let here = |other: &&Process| other.process.supervisor == at;
            let siblings: Vec<Process> = self.live.iter().filter(here).copied().collect();
            watch.may_stop(&live, signal, ending, &siblings)?;
        }
        if let Some(live) = self.live.iter_mut().find(|live| live.process == process) {
            live.told = Some((signal, now));
            live.late |= late;
        }
        Ok(())
    }

    fn removes(
        &mut self,
        reading: &Reading<'_>,
        at: SupervisorId,
        child: ChildId,
        why: Option<Removal>,
    ) -> Verdict {
        let lives = |live: &Process| {
            live.process.supervisor == at
                && live.process.pid.child == child
                && reading.about.is_none_or(|about| about.process != live.process)
        };
        if self.live.iter().any(lives) {
            return broken("S9", format!("{child:?} is forgotten and lives"));
        }
        if let Some(watch) = self.supervisors.get_mut(&at) {
            watch.planned.children.retain(|(id, _)| *id != child);
            watch.past.remove(&child);
            watch.granted.retain(|(id, _)| *id != child || watch.planned.shared);
        }
        if why.is_some() {
            self.removed.push(child);
        }
        Ok(())
    }

    fn reports(&mut self, at: SupervisorId, report: Report, next: Option<&Action>) -> Verdict {
        let Some(watch) = self.supervisors.get_mut(&at) else { return Ok(()) };
        match report {
            Report::ChildTerminated { pid, reason } => {
                let end = End::Exited(reason);
                if !watch.spec(pid.child).is_some_and(|spec| comes_back(&spec, end)) {
                    return Ok(());
                }
                let gives_up = Report::RestartsExhausted { child: pid.child };
                let gives_up = Action::Report { supervisor: at, report: gives_up };
                if next == Some(&gives_up) { Ok(()) } else { watch.grants(pid.child) }
            }
            Report::StartFailed { pid: Pid { child, .. }, .. } => {
                watch.past.entry(child).or_default().failed = watch.ready;
                Ok(())
            }
            Report::RestartScheduled { child, at } => watch.schedules(child, at),
            Report::RestartsExhausted { child } => watch.gives_up(child),
            Report::ShutdownError { .. } | Report::StaleEvent { .. } => Ok(()),
        }
    }

    /// After a timeout of `now` nobody has been given more time than is his.
    fn nothing_overdue<S: Subject>(&self, subject: &S) -> Verdict {
        let now = self.now;
        if self.timeout.is_some_and(|at| at <= now) {
            return broken("S8", "a deadline that is due stays");
        }
        for live in self.live.iter().filter(|live| !live.supervisor) {
            let Some(watch) = self.supervisors.get(&live.process.supervisor) else { continue };
            let Some(spec) = watch.spec(live.process.pid.child) else { continue };
            let standing = subject.standing(live.process.supervisor);
            let due = match live.told {
                Some((Signal::Kill, _)) => continue,
                Some((Signal::Shutdown, at)) => match spec.shutdown {
                    Shutdown::Timeout(timeout) => Some(at.saturating_add(timeout)),
                    Shutdown::BrutalKill | Shutdown::Infinity => None,
                },
                // A supervisor that stops drops start deadlines: the child's turn to stop comes.
                None if live.up || matches!(standing, Standing::Stopping | Standing::Killing) => {
                    None
                }
                None => spec.start_timeout.map(|timeout| live.since.saturating_add(timeout)),
            };
            let bound = self.stopping.flatten().filter(|_| standing != Standing::Settled);
            let due = [due, bound].into_iter().flatten().min();
            if due.is_some_and(|due| due <= now) {
                return broken("S8", format!("{:?} should have been killed by now", live.process));
            }
        }
        Ok(())
    }

    /// Crashes that are older than the window matter no more, once all that was heard is judged.
    fn forget<S: Subject>(&mut self, subject: &S) {
        let now = self.now;
        for (id, watch) in &mut self.supervisors {
            let judged = subject.standing(*id) == Standing::Settled
                && !watch.past.values().any(|past| past.failed);
            if judged {
                let period = watch.planned.intensity.period;
                watch.heard.retain(|(_, at)| now.saturating_since(*at) < period);
                watch.granted.retain(|(_, at)| now.saturating_since(*at) < period);
            }
        }
    }

    /// Where nothing is under way, everything that comes back is there or will be (S5).
    fn settled<S: Subject>(&self, subject: &S) -> Verdict {
        for (id, watch) in &self.supervisors {
            if !watch.ready || subject.standing(*id) != Standing::Settled {
                continue;
            }
            let waits = |past: &Past| past.failed || past.scheduled.is_some();
            if watch.planned.strategy != Some(Strategy::OneForOne)
                && (watch.commanded || watch.past.values().any(waits))
            {
                continue;
            }
            for (child, spec) in &watch.planned.children {
                let Some(past) = watch.past.get(child).filter(|past| !past.commanded) else {
                    continue;
                };
                let Some((end, _)) = past.last else { continue };
                let lives = self
                    .live
                    .iter()
                    .any(|live| live.process.supervisor == *id && live.process.pid.child == *child);
                if comes_back(spec, end) && !lives && !waits(past) {
                    return broken("S5", format!("{child:?} of {id:?} should come back"));
                }
            }
        }
        Ok(())
    }
}
