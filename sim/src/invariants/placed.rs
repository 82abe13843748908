//! S9 and S10 for agents that run on other nodes than their supervisors, and what follows from it:
//! at most one incarnation is alive, at every instant of the world and whatever the clocks of nodes
//! show; each process is started once and its end told once; after healing what runs is what the
//! supervisors want (L5).
//!
//! Source: simulation.md section 3; kernel rules H1 to H17. Alive is what may handle a message: it
//! was begun, has not ended, its node runs, and its lease holds. A host tells until when each of
//! its processes may go on, on the world's clock; a boot of a host that is taken for dead and lives
//! on has a number of its own, behind those of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant, Signal, Status};

use super::books::{Books, How, Life};
use super::{Judgement, Verdict, by};
use crate::fault::{Kind, Target};
use crate::marks::{Mark, Marks};
use crate::plan::{Act, Plan};
use crate::record::{Here, MessageId, NodeIx, Placed as Stage, Process, Record, What, Who};

/// A process that a node runs for another one.
#[derive(Clone, Copy, Debug)]
struct Run {
    process: Process,
    begun: Instant,
    up: bool,
    told: Option<Instant>,
    /// It may handle nothing from then on.
    until: Instant,
}

/// A start that waits.
#[derive(Clone, Copy, Debug)]
struct Wait {
    process: Process,
    since: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    nodes: usize,
    boots: Vec<u32>,
    runs: BTreeMap<(Who, NodeIx), Run>,
    /// Names that a node has since it runs them for another one.
    has: BTreeSet<(Who, NodeIx)>,
    /// By name, the host's boot and the owner's: all that was ever started.
    started: BTreeSet<(Who, u32, u32, Process)>,
    suspended: BTreeSet<Who>,
    /// By node: its clock leaps, so that nothing is promised to those that it owns.
    leaps: Vec<bool>,
    /// When what a supervisor wants and what runs have long come to the same.
    settled: Duration,
    waits: BTreeMap<Who, Wait>,
    /// (owner, host): since when it is in sight.
    in_sight: BTreeMap<(NodeIx, NodeIx), Instant>,
    /// By name: the boot of the host on which it last ran.
    ran_on: BTreeMap<Who, u32>,
}

impl Placed {
    pub(super) fn new(plan: &Plan) -> Self {
        let nodes = plan.scenario.nodes();
        let leaps = |node: NodeIx| {
            let is_leap = |fault: &&crate::fault::Fault| fault.kind == Kind::Skew;
            plan.faults.iter().filter(is_leap).any(|fault| fault.target == Target::Node(node))
        };
        let lease = plan.knobs.child_lease.unwrap_or_default();
        Self {
            nodes,
            boots: vec![0; nodes],
            runs: BTreeMap::new(),
            has: BTreeSet::new(),
            started: BTreeSet::new(),
            suspended: BTreeSet::new(),
            leaps: plan.scenario.node_ids().map(leaps).collect(),
            settled: lease.saturating_mul(3).saturating_add(Duration::from_secs(2)),
            waits: BTreeMap::new(),
            in_sight: BTreeMap::new(),
            ran_on: BTreeMap::new(),
        }
    }

    /// Whether a record about a message is one of an agent that runs elsewhere.
    pub(super) fn is_of_hosts(&self, books: &Books, record: &Record) -> bool {
        match record.what {
            What::Delivered(_, process) => self.runs.contains_key(&(process.who, record.node)),
            // What its supervisor says of the name comes later, or came before.
            What::Queued(_, who) => books.of(who).host.is_some(),
            _ => false,
        }
    }

    /// A message that is queued for an agent that runs elsewhere, or handled by it.
    pub(super) fn message(&self, books: &Books, record: &Record) -> Judgement {
        let (message, process) = match record.what {
            What::Delivered(message, process) => (message, process),
            What::Queued(message, who) => return by("S2", self.is_had(record.node, message, who)),
            _ => return Ok(()),
        };
        let Some(run) = self.runs.get(&(process.who, record.node)) else { return Ok(()) };
        let now = record.at;
        let odd = books.clock_is_odd.get(usize::from(record.node.0)).copied().unwrap_or(true);
        let why = if run.process != process || !run.up {
            "which is not up"
        } else if self.suspended.contains(&process.who) {
            "which is suspended"
        } else if run.told.is_some_and(|told| told < now) {
            "which was told to stop"
        } else if run.until <= now && !odd {
            return by("S10", Err(format!("{process:?} is given {message:?} after its lease")));
        } else {
            return Ok(());
        };
        by("S2", Err(format!("{message:?} is delivered to {process:?}, {why}")))
    }

    /// A mailbox is open as long as its host has the name. (H13)
    fn is_had(&self, node: NodeIx, message: MessageId, who: Who) -> Verdict {
        if self.has.contains(&(who, node)) {
            return Ok(());
        }
        let node = node.0;
        Err(format!("{message:?} is queued for {who:?} on node {node}, which does not run it"))
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record) -> Judgement {
        let (now, node) = (record.at, record.node);
        match record.what {
            What::Has(who, here) => by("S9", self.has_name(node, who, here)),
            What::Here(process, Here::Begins(boot)) => {
                by("S10", self.begins(books, now, node, process, boot))
            }
            What::Here(process, here) => by("S9", self.goes_on(now, node, process, here)),
            What::Started(process)
            | What::StartIgnored(process)
            | What::StartFailed(process)
            | What::Exited(process, _) => by("S9", told_once(books, record, process)),
            What::Status(who, status) if books.of(who).host == Some(node) => {
                if status == Status::Suspended {
                    self.suspended.insert(who);
                } else {
                    self.suspended.remove(&who);
                }
                by("S9", self.is_true(who, node, status))
            }
            // Nobody wants it suspended any more: it may go on before its node says so.
            What::Operation(number) => {
                if let Some(Act::Resume(who)) = books.acts.get(number as usize) {
                    self.suspended.remove(who);
                }
                Ok(())
            }
            What::Booted(boot) => {
                self.boots[usize::from(node.0)] = boot;
                Ok(())
            }
            What::Halted => {
                self.runs.retain(|(_, at), _| *at != node);
                self.has.retain(|(_, at)| *at != node);
                self.suspended.retain(|who| books.of(*who).host != Some(node));
                self.in_sight.retain(|(owner, _), _| *owner != node);
                self.waits.retain(|who, _| books.of(*who).node != node);
                Ok(())
            }
            What::Outlives(_, begins) => {
                self.outlives(node, begins);
                Ok(())
            }
            What::Calm => by("L5", self.is_as_wanted(books, now)),
            What::Over => match self.runs.values().next() {
                Some(run) => {
                    by("S7", Err(format!("{:?} is alive after the last stop", run.process)))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A host takes a name once, and gives back what it has.
    fn has_name(&mut self, node: NodeIx, who: Who, here: bool) -> Verdict {
        let key = (who, node);
        let changed = if here { self.has.insert(key) } else { self.has.remove(&key) };
        if changed {
            return Ok(());
        }
        let does = if here { "takes" } else { "gives back" };
        Err(format!("node {} {does} {who:?} for the second time", node.0))
    }

    fn begins(
        &mut self,
        books: &Books,
        now: Instant,
        node: NodeIx,
        process: Process,
        boot: u32,
    ) -> Verdict {
        let who = process.who;
        let all = (who, NodeIx(0))..=(who, NodeIx(u8::MAX));
        let excused = self.leaps[usize::from(books.of(who).node.0)];
        let is_alive = |at: NodeIx, run: &Run| at == node || (!excused && run.until > now);
        let alive = self.runs.range(all).find(|((_, at), run)| is_alive(*at, run));
        if let Some(((_, at), run)) = alive {
            return Err(format!(
                "{process:?} is started on node {} while {:?} is alive on node {}",
                node.0, run.process, at.0
            ));
        }
        if usize::from(node.0) < self.nodes {
            let host_boot = self.boots[usize::from(node.0)];
            if !self.started.insert((who, host_boot, boot, process)) {
                return Err(format!(
                    "{process:?} is started on node {} for the second time",
                    node.0
                ));
            }
        }
        let run = Run { process, begun: now, up: false, told: None, until: Instant::MAX };
        self.runs.insert((who, node), run);
        Ok(())
    }

    fn goes_on(&mut self, now: Instant, node: NodeIx, process: Process, here: Here) -> Verdict {
        let key = (process.who, node);
        let run = self.runs.get_mut(&key).filter(|run| run.process == process);
        let Some(run) = run else {
            return Err(format!("{here:?} of {process:?}, which does not run on node {}", node.0));
        };
        match here {
            Here::Begins(_) => {}
            Here::Up if run.up => return Err(format!("{process:?} comes up twice")),
            Here::Up => run.up = true,
            Here::Told(_) => run.told = run.told.or(Some(now)),
            Here::Leased(until) => run.until = until,
            Here::Ignored | Here::Failed | Here::Ended(_) => {
                self.runs.remove(&key);
            }
        }
        Ok(())
    }

    /// What a host says of a name that it runs for another node.
    fn is_true(&self, who: Who, node: NodeIx, status: Status) -> Verdict {
        let up = self.runs.get(&(who, node)).is_some_and(|run| run.up);
        let wrong = match status {
            Status::Up | Status::Suspended => !up,
            Status::Starting | Status::Restarting => up,
            // What an older boot of its owner has is told to end after that. (H11)
            Status::Down => false,
        };
        if wrong {
            let node = node.0;
            return Err(format!("node {node} says of {who:?} that it is {status:?}"));
        }
        Ok(())
    }

    /// The older boot of a node gets another number, or is gone.
    fn outlives(&mut self, node: NodeIx, begins: bool) {
        let older = NodeIx(node.0.saturating_add(u8::try_from(self.nodes).unwrap_or(u8::MAX)));
        let runs = std::mem::take(&mut self.runs);
        let moved = |((who, at), run)| {
            if at == node && begins { ((who, older), run) } else { ((who, at), run) }
        };
        self.runs = runs.into_iter().map(moved).collect();
        if !begins {
            self.runs.retain(|(_, at), _| *at != older);
        }
    }

    /// L5: what every supervisor wants runs where it is placed, and nothing else does.
    fn is_as_wanted(&self, books: &Books, now: Instant) -> Verdict {
        let long_ago = |at: Instant| now.saturating_since(at) > self.settled;
        for (key, run) in &self.runs {
            let book = books.of(key.0);
            let wanted = book.life != Life::None && book.newest == Some(run.process);
            let ended = book.end.is_none_or(|end| long_ago(end.at));
            if !wanted && ended && long_ago(run.begun) {
                return Err(format!(
                    "{:?} runs on node {}, and nobody wants it",
                    run.process, key.1.0
                ));
            }
        }
        for number in 0..books.child.len() {
            let who = Who(u16::try_from(number).unwrap_or(u16::MAX));
            let book = books.of(who);
            let (Some(host), Life::Up) = (book.host, book.life) else { continue };
            let run = self.runs.get(&(who, host)).filter(|run| run.up && run.until > now);
            let since = book.end.map_or(Instant::ZERO, |end| end.at);
            if run.map(|run| run.process) != book.newest && long_ago(since) {
                let host = host.0;
                return Err(format!("{:?} is up, and does not run on node {host}", book.newest));
            }
        }
        Ok(())
    }

    /// What was reached; after it was judged, and before the books have it.
    pub(super) fn notes(&mut self, books: &Books, record: &Record, marks: &mut Marks) {
        let (now, node) = (record.at, record.node);
        match record.what {
            What::PeerUp(peer) => {
                self.in_sight.insert((node, peer), now);
            }
            What::PeerDown(peer) => {
                self.in_sight.remove(&(node, peer));
            }
            What::Placed(process, _, Stage::Waiting) => {
                self.waits.insert(process.who, Wait { process, since: now });
            }
            What::Placed(process, host, Stage::Ordered(_)) => {
                let wait = self.waits.remove(&process.who);
                let wait = wait.filter(|wait| wait.process == process);
                let seen = self.in_sight.get(&(node, host));
                if let (Some(wait), Some(seen)) = (wait, seen)
                    && now > wait.since.max(*seen)
                {
                    marks.reach(Mark::FenceWaited);
                }
            }
            What::Started(process) if books.of(process.who).host.is_some() => {
                let end = books.of(process.who).end;
                let lost = How::Exited(ExitReason::NoConnection);
                if end.is_some_and(|end| end.how == lost) {
                    marks.reach(Mark::PlacedRestarted);
                }
            }
            What::Here(process, Here::Told(Signal::Kill)) => {
                let run = self.runs.get(&(process.who, node));
                if run.is_some_and(|run| run.until <= now) {
                    marks.reach(Mark::LeaseRanOut);
                }
            }
            What::Here(process, Here::Up) if usize::from(node.0) < self.nodes => {
                let boot = self.boots[usize::from(node.0)];
                if self.ran_on.insert(process.who, boot).is_some_and(|before| before < boot) {
                    marks.reach(Mark::HostRebooted);
                }
            }
            _ => {}
        }
    }
}

/// Each fact of a process on another node reaches its supervisor once. (H3)
fn told_once(books: &Books, record: &Record, process: Process) -> Verdict {
    let book = books.of(process.who);
    if book.host.is_none() {
        return Ok(());
    }
    let twice = match record.what {
        What::Started(_) => book.life != Life::Starting,
        _ => book.life == Life::None,
    };
    if twice || book.newest != Some(process) {
        return Err(format!("the supervisor hears again of {process:?}: {:?}", record.what));
    }
    Ok(())
}
