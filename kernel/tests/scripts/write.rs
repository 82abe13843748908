//! From the kernel's values to words.

use lictor_kernel::dynamic_supervisor::{self, Removal, SpawnerId};
use lictor_kernel::membership::PeerChange;
use lictor_kernel::supervisor::{self, ChildState, Phase, Report};
use lictor_kernel::tree::Stage;
use lictor_kernel::{
    CallOutcome, ChildId, ExitReason, Instant, Pid, ProcessId, Signal, Status, SupervisorId, node,
    tree,
};

use crate::read::Numbers;

/// Names of processes and supervisors.
pub(crate) struct Speaker<'a> {
    pub(crate) numbers: &'a Numbers,
    /// The name of each supervisor that ever ran, by its number.
    pub(crate) supervisors: &'a [String],
}

pub(crate) fn instant(at: Instant) -> String {
    let nanos = at.as_nanos();
    match nanos {
        u64::MAX => "max".to_owned(),
        _ if nanos.is_multiple_of(1_000_000_000) => format!("{}s", nanos / 1_000_000_000),
        _ if nanos.is_multiple_of(1_000_000) => format!("{}ms", nanos / 1_000_000),
        _ if u64::MAX - nanos < 1_000_000 => format!("max-{}ns", u64::MAX - nanos),
        _ => format!("{}s+{}ns", nanos / 1_000_000_000, nanos % 1_000_000_000),
    }
}

pub(crate) const fn reason(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Normal => "normal",
        ExitReason::Shutdown => "shutdown",
        ExitReason::ShutdownBecause => "because",
        ExitReason::Killed => "killed",
        ExitReason::Crashed => "crashed",
        ExitReason::StartTimeout => "start_timeout",
        ExitReason::NoConnection => "noconnection",
        ExitReason::RestartsExhausted => "exhausted",
    }
}

const fn signal(signal: Signal) -> &'static str {
    match signal {
        Signal::Shutdown => "shutdown",
        Signal::Kill => "kill",
    }
}

fn removal(why: Removal) -> String {
    match why {
        Removal::Exited(why) => format!("exited {}", reason(why)),
        Removal::RestartsExhausted => "exhausted".to_owned(),
        Removal::StartFailed => "start_failed".to_owned(),
        Removal::StartIgnored => "ignored".to_owned(),
        Removal::Terminated => "terminated".to_owned(),
        Removal::SupervisorStopped => "supervisor_stopped".to_owned(),
    }
}

pub(crate) const fn status(status: Status) -> &'static str {
    match status {
        Status::Starting => "starting",
        Status::Up => "up",
        Status::Restarting => "restarting",
        Status::Suspended => "suspended",
        Status::Down => "down",
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::New => "new",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Restarting => "restarting",
        Phase::Command { .. } => "command",
        Phase::Stopping { .. } => "stopping",
        Phase::Stopped { .. } => "stopped",
    }
}

impl Speaker<'_> {
    pub(crate) fn child(&self, id: ChildId) -> &str {
        self.numbers.name(id)
    }

    pub(crate) fn pid(&self, pid: Pid) -> String {
        format!("{}#{}", self.child(pid.child), pid.incarnation)
    }

    pub(crate) fn supervisor(&self, id: SupervisorId) -> String {
        let name = usize::try_from(id.0).ok().and_then(|id| self.supervisors.get(id));
        format!("{}@{}", name.map_or("unknown", String::as_str), id.0)
    }

    pub(crate) fn process(&self, process: ProcessId) -> String {
        format!("{}/{}", self.supervisor(process.supervisor), self.pid(process.pid))
    }

    pub(crate) fn state(&self, id: ChildId, state: ChildState) -> String {
        let name = self.child(id);
        match state {
            ChildState::Starting(pid) => format!("{name} starting {}", self.pid(pid)),
            ChildState::Up(pid) => format!("{name} up {}", self.pid(pid)),
            ChildState::Stopping(pid) => format!("{name} stopping {}", self.pid(pid)),
            ChildState::Restarting { at } => format!("{name} restarting at {}", instant(at)),
            ChildState::Down => format!("{name} down"),
        }
    }

    fn report(&self, report: Report) -> String {
        match report {
            Report::ChildTerminated { pid, reason: why } => {
                format!("terminated {} {}", self.pid(pid), reason(why))
            }
            Report::StartFailed { pid, reason: why } => {
                format!("start_failed {} {}", self.pid(pid), reason(why))
            }
            Report::ShutdownError { pid, reason: why } => {
                format!("shutdown_error {} {}", self.pid(pid), reason(why))
            }
            Report::RestartScheduled { child, at } => {
                format!("restart {} at {}", self.child(child), instant(at))
            }
            Report::RestartsExhausted { child } => format!("exhausted {}", self.child(child)),
            Report::StaleEvent { pid } => format!("stale {}", self.pid(pid)),
        }
    }

    pub(crate) fn of_static(&self, action: supervisor::Action) -> String {
        use supervisor::Action as A;
        match action {
            A::Start { pid } => format!("start {}", self.pid(pid)),
            A::Signal { pid, signal: how } => format!("{} {}", signal(how), self.pid(pid)),
            A::Ready => "ready".to_owned(),
            A::Removed { child } => format!("removed {}", self.child(child)),
            A::Report(report) => format!("report {}", self.report(report)),
            A::Exit { reason: why } => format!("exit {}", reason(why)),
        }
    }

    pub(crate) fn of_dynamic(&self, action: dynamic_supervisor::Action) -> String {
        use dynamic_supervisor::Action as A;
        match action {
            A::Start { pid } => format!("start {}", self.pid(pid)),
            A::Signal { pid, signal: how } => format!("{} {}", signal(how), self.pid(pid)),
            A::Ready => "ready".to_owned(),
            A::Removed { child, spawner, why } => {
                format!("removed {}", self.removed(child, spawner, Some(why)))
            }
            A::Report(report) => format!("report {}", self.report(report)),
            A::Exit { reason: why } => format!("exit {}", reason(why)),
        }
    }

    fn removed(&self, child: ChildId, spawner: Option<SpawnerId>, why: Option<Removal>) -> String {
        let mut text = self.child(child).to_owned();
        if let Some(spawner) = spawner {
            text += &format!(" for={}", spawner.0);
        }
        if let Some(why) = why {
            text += &format!(" {}", removal(why));
        }
        text
    }

    pub(crate) fn of_tree(&self, action: tree::Action) -> String {
        use tree::Action as A;
        match action {
            A::Start { process } => format!("start {}", self.process(process)),
            A::Signal { process, signal: how } => {
                format!("{} {}", signal(how), self.process(process))
            }
            A::Supervisor { supervisor, process, stage } => {
                let name = self.supervisor(supervisor);
                match (stage, process) {
                    (Stage::Initializing, Some(process)) => {
                        format!("{name} begins as {}", self.process(process))
                    }
                    (Stage::Initializing, None) => format!("{name} begins"),
                    (Stage::Ready, _) => format!("{name} ready"),
                    (Stage::Exited(why), _) => format!("{name} exited {}", reason(why)),
                }
            }
            A::Removed { supervisor, child, spawner, why } => {
                let removed = self.removed(child, spawner, why);
                format!("removed {}/{removed}", self.supervisor(supervisor))
            }
            A::Report { supervisor, report } => {
                format!("report {}: {}", self.supervisor(supervisor), self.report(report))
            }
        }
    }

    pub(crate) fn of_node(&self, action: node::Action) -> String {
        use node::Action as A;
        match action {
            A::Supervision(action) => self.of_tree(action),
            A::Status { name, status: now } => {
                format!("name {} {}", self.child(ChildId(name.0)), status(now))
            }
            A::CallEnded(ended) => {
                let how = match ended.outcome {
                    CallOutcome::TimedOut => "timed_out",
                    CallOutcome::CalleeDown(why) => reason(why),
                };
                format!("call {} ended {how}", ended.call.0)
            }
            A::Peer(peer, found) => {
                let found = match found {
                    PeerChange::Up(_) => "up",
                    PeerChange::Suspect => "suspect",
                    PeerChange::Down => "down",
                };
                format!("peer {} {found}", peer.0)
            }
            A::Send(peer, frame) => format!("send {} {frame:?}", peer.0),
            A::Watch(change) => format!("watch {change:?}"),
            A::Remote(peer, frame) => format!("remote {} {frame:?}", peer.0),
            A::Placed { node, stage, .. } => format!("placed {} {stage:?}", node.0),
            A::Hosted { name, here } => format!("hosted {} {here}", name.0),
            A::Diverted(action) => format!("elsewhere {}", self.of_tree(action)),
            A::Leased { process, until } => format!("leased {process:?} {until:?}"),
        }
    }
}
