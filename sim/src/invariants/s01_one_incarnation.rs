//! S1: of each child at most one incarnation is alive, and incarnations only grow.
//!
//! Source: design.md (stale facts, at most one live incarnation); kernel rule V26. A process lives
//! from the kernel's wish to start it until the kernel is told of its end.

use super::{Invariant, Verdict};
use crate::plan::Plan;
use crate::record::{NodeIx, Process, Record, What};

#[derive(Clone, Debug)]
pub(crate) struct OneIncarnation {
    /// By number of the name: the newest, and whether it lives.
    newest: Vec<Option<(Process, bool)>>,
    /// By number of the name: where it lives.
    nodes: Vec<NodeIx>,
}

impl OneIncarnation {
    pub(crate) fn new(plan: &Plan) -> Self {
        let nodes = plan.scenario.all().map(|(_, entity)| entity.node).collect();
        Self { newest: vec![None; plan.scenario.len()], nodes }
    }

    fn begins(&mut self, process: Process) -> Verdict {
        let slot = &mut self.newest[usize::from(process.who.0)];
        match *slot {
            Some((newest, true)) => {
                return Err(format!("{process:?} is started while {newest:?} is alive"));
            }
            Some((newest, false)) if process <= newest => {
                return Err(format!("{process:?} is started after {newest:?}, and not newer"));
            }
            Some((_, false)) | None => *slot = Some((process, true)),
        }
        Ok(())
    }

    fn ends(&mut self, process: Process) {
        if let Some((newest, lives)) = &mut self.newest[usize::from(process.who.0)]
            && *newest == process
        {
            *lives = false;
        }
    }

    /// The node is gone, and all on it; a new boot counts from the start.
    fn forget(&mut self, node: NodeIx) {
        for (newest, _) in self.newest.iter_mut().zip(&self.nodes).filter(|(_, at)| **at == node) {
            *newest = None;
        }
    }
}

impl Invariant for OneIncarnation {
    const ID: &'static str = "S1";

    fn see(&mut self, record: &Record) -> Verdict {
        match record.what {
            What::Start(process) => self.begins(process),
            What::StartIgnored(process) | What::StartFailed(process) | What::Exited(process, _) => {
                self.ends(process);
                Ok(())
            }
            What::Halted => {
                self.forget(record.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
