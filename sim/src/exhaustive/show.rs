//! A history in words.

use core::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lictor_kernel::supervisor::Event;
use lictor_kernel::tree::{Action, Stage};
use lictor_kernel::{ChildId, Instant, ProcessId};

use crate::operation::{Call, Command, Operation, Seen, Session, Subject};

/// A line for each call of a history, the last of which may go wrong.
pub(super) fn lines<S: Subject>(root: &Session<S>, operations: &[Operation]) -> Vec<String> {
    let mut session = root.clone();
    let mut lines = Vec::new();
    for operation in operations {
        let names = session.subject.clone();
        let before = lines.len();
        let mut tell = |now, call, seen: &Seen| lines.push(line(&names, now, call, seen));
        let played = catch_unwind(AssertUnwindSafe(|| session.play_told(*operation, &mut tell)));
        if !matches!(played, Ok(Ok(()))) && lines.len() == before {
            lines.push(format!("{} {operation:?}", time(session.world.now)));
        }
    }
    lines
}

fn time(now: Instant) -> String {
    let nanos = now.as_nanos();
    format!("{:>6}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn line<S: Subject>(subject: &S, now: Instant, call: Call, seen: &Seen) -> String {
    let child = |child: ChildId| subject.label(child);
    let process =
        |process: ProcessId| format!("{}#{}", child(process.pid.child), process.pid.incarnation);
    let mut text = time(now) + " ";
    let _ = match call {
        Call::Start => write!(text, "start"),
        Call::Timeout => write!(text, "timeout"),
        Call::Kill => write!(text, "kill"),
        Call::Shutdown(None) => write!(text, "shutdown"),
        Call::Shutdown(Some(by)) => write!(text, "shutdown by{}", time(by)),
        Call::Fact(supervisor, event) => {
            let name = |pid| process(ProcessId { supervisor, pid });
            match event {
                Event::Started { pid } => write!(text, "{} is up", name(pid)),
                Event::StartIgnored { pid } => write!(text, "{} has nothing to start", name(pid)),
                Event::StartFailed { pid } => write!(text, "{} fails to start", name(pid)),
                Event::Exited { pid, reason } => write!(text, "{} ends: {reason:?}", name(pid)),
            }
        }
        Call::Command(_, Command::Add { id, .. }) => write!(text, "add number {}", id.0),
        Call::Command(_, Command::Terminate { id, .. }) => write!(text, "terminate {}", child(id)),
        Call::Command(_, Command::Restart(id)) => write!(text, "restart {}", child(id)),
        Call::Command(_, Command::Delete(id)) => write!(text, "delete {}", child(id)),
        Call::Command(_, Command::Forget(id)) => write!(text, "forget spawner {}", id.0),
    };
    let mut separator = " -> ";
    for action in &seen.actions {
        text += separator;
        separator = "; ";
        let _ = match *action {
            Action::Start { process: p } => write!(text, "start {}", process(p)),
            Action::Signal { process: p, signal } => write!(text, "{signal:?} {}", process(p)),
            Action::Supervisor { process: p, stage, .. } => {
                let name = p.map_or_else(|| "the root".to_owned(), process);
                match stage {
                    Stage::Initializing => write!(text, "{name} begins"),
                    Stage::Ready => write!(text, "{name} is ready"),
                    Stage::Exited(reason) => write!(text, "{name} exits {reason:?}"),
                }
            }
            Action::Removed { child: id, .. } => write!(text, "{} is forgotten", child(id)),
            Action::Report { report, .. } => write!(text, "report {report:?}"),
        };
    }
    text
}
