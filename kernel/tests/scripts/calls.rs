//! The calls that a script can make.

use std::fmt::Debug;
use std::sync::Arc;

use lictor_kernel::dynamic_supervisor::SpawnerId;
use lictor_kernel::node::Callee;
use lictor_kernel::supervisor::{Event, TerminateChildError};
use lictor_kernel::tree::{Body, PlannedChild};
use lictor_kernel::{
    ChildId, ChildKind, ChildSpec, DynamicSupervisor, ExitReason, Instant, Node, NodeId, Pid,
    ProcessId, Shutdown, Supervisor, SupervisorId, Tree, dynamic_supervisor, node, supervisor,
    tree,
};

use crate::read::{self, wrong};
use crate::world::{Subject, World};

/// What was answered, if anything, and what to do.
type Said<A> = (Option<String>, Vec<A>);

/// A call, read.
enum Call {
    Start,
    Timeout,
    Kill,
    Shutdown(Option<Instant>),
    Fact(SupervisorId, Event),
    Add(SupervisorId, ChildId, ChildSpec, Option<SpawnerId>),
    Terminate(SupervisorId, ChildId, Option<Shutdown>),
    Restart(SupervisorId, ChildId),
    Delete(SupervisorId, ChildId),
    Forget(SpawnerId),
    Declare(String),
    Begin(Callee, Instant),
    PeerDown(NodeId),
}

fn answer<T, E: Debug>(result: &Result<T, E>) -> Option<String> {
    Some(match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("error {error:?}").split('(').next().unwrap_or("").to_owned(),
    })
}

impl World {
    /// Makes one call.
    pub(crate) fn act(&mut self, now: Instant, words: &[&str]) -> Result<Vec<String>, String> {
        if let Subject::Refused(error) = &self.subject {
            return Ok(vec![format!("refused {error:?}")]);
        }
        let call = self.read(words)?;
        let plan = Arc::clone(&self.plan);
        let (answer, said) = match &mut self.subject {
            Subject::Static(machine) => {
                let (answer, actions) = on_static(machine, now, call)?;
                let speaker = self.speaker();
                (answer, actions.iter().map(|action| speaker.of_static(*action)).collect())
            }
            Subject::Dynamic(machine) => {
                let (answer, actions) = on_dynamic(machine, now, call)?;
                let speaker = self.speaker();
                (answer, actions.iter().map(|action| speaker.of_dynamic(*action)).collect())
            }
            Subject::Tree(machine) => {
                let (answer, actions) = on_tree(machine, &plan, now, call)?;
                (answer, self.say_tree(&actions))
            }
            Subject::Node(machine) => {
                if let Call::Declare(name) = &call {
                    let declared = machine.declare(name, ChildKind::Worker, &[], &mut Vec::new());
                    let Ok(id) = declared else { return wrong("a name", name) };
                    self.numbers.set(ChildId(id.0), name);
                    return Ok(Vec::new());
                }
                let (answer, actions) = on_node(machine, &plan, now, call)?;
                (answer, self.say_node(&actions))
            }
            Subject::Refused(_) => (None, Vec::new()),
        };
        Ok(answer.into_iter().chain(said).collect())
    }

    fn read(&mut self, words: &[&str]) -> Result<Call, String> {
        let alone = SupervisorId(0);
        Ok(match words {
            ["start"] => Call::Start,
            ["timeout"] => Call::Timeout,
            ["kill"] => Call::Kill,
            ["shutdown"] => Call::Shutdown(None),
            ["shutdown", by] => Call::Shutdown(Some(by_instant(by)?)),
            ["started", process] => self.fact(process, |pid| Event::Started { pid })?,
            ["ignored", process] => self.fact(process, |pid| Event::StartIgnored { pid })?,
            ["failed", process] => self.fact(process, |pid| Event::StartFailed { pid })?,
            ["crash", process] => {
                self.fact(process, |pid| Event::Exited { pid, reason: ExitReason::Crashed })?
            }
            ["exit", process, reason] => {
                let reason = read::reason(reason)?;
                self.fact(process, |pid| Event::Exited { pid, reason })?
            }
            ["add" | "spawn", child, words @ ..] => {
                let (supervisor, name) = self.under(child)?;
                let (spawner, words): (Vec<&str>, Vec<&str>) =
                    words.iter().partition(|word| word.starts_with("for="));
                let spawner = match spawner.first().and_then(|word| word.strip_prefix("for=")) {
                    Some(number) => Some(SpawnerId(read::number(number)?)),
                    None => None,
                };
                let spec = read::spec(ChildSpec::worker(), words.into_iter())?;
                Call::Add(supervisor, self.numbers.number(name), spec, spawner)
            }
            ["terminate", child, how @ ..] => {
                let (supervisor, name) = self.under(child)?;
                let how = match how {
                    [] => None,
                    [how, ..] => Some(read::shutdown(how)?),
                };
                Call::Terminate(supervisor, self.numbers.known(name)?, how)
            }
            ["restart", child] => {
                let (supervisor, name) = self.under(child)?;
                Call::Restart(supervisor, self.numbers.number(name))
            }
            ["delete", child] => {
                let (supervisor, name) = self.under(child)?;
                Call::Delete(supervisor, self.numbers.known(name)?)
            }
            ["forget", spawner] => Call::Forget(SpawnerId(read::number(spawner)?)),
            ["declare", name] => Call::Declare((*name).to_owned()),
            ["call", "peer", peer, by] => {
                Call::Begin(Callee::Node(NodeId(read::number(peer)?)), by_instant(by)?)
            }
            ["call", process, by] => {
                let (supervisor, pid) = self.process(process, alone)?;
                Call::Begin(Callee::Process(ProcessId { supervisor, pid }), by_instant(by)?)
            }
            ["peer_down", peer] => Call::PeerDown(NodeId(read::number(peer)?)),
            _ => return wrong("a call", &words.join(" ")),
        })
    }

    fn fact(&self, word: &str, event: impl FnOnce(Pid) -> Event) -> Result<Call, String> {
        let (supervisor, pid) = self.process(word, SupervisorId(0))?;
        Ok(Call::Fact(supervisor, event(pid)))
    }

    /// `child`, or `supervisor@number/child` in a tree.
    fn under<'a>(&self, word: &'a str) -> Result<(SupervisorId, &'a str), String> {
        match word.split_once('/') {
            Some((supervisor, name)) => Ok((self.supervisor(supervisor)?, name)),
            None => Ok((SupervisorId(0), word)),
        }
    }

    /// `child#incarnation`, or `supervisor@number/child#incarnation` in a tree.
    fn process(&self, word: &str, alone: SupervisorId) -> Result<(SupervisorId, Pid), String> {
        let (supervisor, pid) = match word.split_once('/') {
            Some((supervisor, pid)) => (self.supervisor(supervisor)?, pid),
            None => (alone, word),
        };
        let Some((name, incarnation)) = pid.split_once('#') else {
            return wrong("a process", word);
        };
        let child = self.numbers.known(name)?;
        Ok((supervisor, Pid { child, incarnation: read::number(incarnation)? }))
    }
}

fn by_instant(word: &str) -> Result<Instant, String> {
    word.strip_prefix("by=").map_or_else(|| wrong("a deadline", word), read::instant)
}

fn not_here<T>() -> Result<T, String> {
    Err("no such call to this machine".to_owned())
}

fn on_static(
    machine: &mut Supervisor,
    now: Instant,
    call: Call,
) -> Result<Said<supervisor::Action>, String> {
    let mut out = Vec::new();
    let mut told = None;
    match call {
        Call::Start => machine.start(now, &mut out),
        Call::Timeout => machine.handle_timeout(now, &mut out),
        Call::Kill => machine.kill(now, &mut out),
        Call::Shutdown(by) => machine.shutdown(now, by, &mut out),
        Call::Fact(_, event) => machine.handle(now, event, &mut out),
        Call::Add(_, id, spec, None) => {
            told = answer(&machine.start_child(now, id, spec, &mut out));
        }
        Call::Terminate(_, id, None) => told = answer(&machine.terminate_child(now, id, &mut out)),
        Call::Restart(_, id) => told = answer(&machine.restart_child(now, id, &mut out)),
        Call::Delete(_, id) => told = answer(&machine.delete_child(now, id, &mut out)),
        Call::Add(..)
        | Call::Terminate(..)
        | Call::Forget(_)
        | Call::Declare(_)
        | Call::Begin(..)
        | Call::PeerDown(_) => return not_here(),
    }
    Ok((told, out))
}

fn on_dynamic(
    machine: &mut DynamicSupervisor,
    now: Instant,
    call: Call,
) -> Result<Said<dynamic_supervisor::Action>, String> {
    let mut out = Vec::new();
    let mut told = None;
    match call {
        Call::Start => machine.start(&mut out),
        Call::Timeout => machine.handle_timeout(now, &mut out),
        Call::Kill => machine.kill(now, &mut out),
        Call::Shutdown(by) => machine.shutdown(now, by, &mut out),
        Call::Fact(_, event) => machine.handle(now, event, &mut out),
        Call::Add(_, id, spec, spawner) => {
            told = answer(&machine.spawn(now, id, spec, spawner, &mut out));
        }
        Call::Terminate(_, id, how) => {
            let known = machine.terminate_child(now, id, how, &mut out);
            told = answer(&known.then_some(()).ok_or(TerminateChildError::NotFound));
        }
        Call::Forget(spawner) => machine.forget_spawner(spawner),
        Call::Restart(..)
        | Call::Delete(..)
        | Call::Declare(_)
        | Call::Begin(..)
        | Call::PeerDown(_) => return not_here(),
    }
    Ok((told, out))
}

fn on_tree(
    tree: &mut Tree,
    plan: &Arc<tree::Plan>,
    now: Instant,
    call: Call,
) -> Result<Said<tree::Action>, String> {
    let mut out = Vec::new();
    let mut told = None;
    match call {
        Call::Start => {
            told = tree.start(now, plan, &mut out).err().map(|e| format!("refused {e:?}"))
        }
        Call::Timeout => tree.handle_timeout(now, &mut out),
        Call::Shutdown(by) => tree.shutdown(now, by, &mut out),
        Call::Fact(supervisor, event) => tree.handle(now, supervisor, event, &mut out),
        Call::Add(at, id, spec, spawner) => {
            let child = PlannedChild { id, spec, body: Body::Worker };
            told = match tree.supervisor(at) {
                Some(tree::Machine::Dynamic(_)) => {
                    answer(&tree.spawn(now, at, child, spawner, &mut out))
                }
                Some(tree::Machine::Static(_)) | None => {
                    answer(&tree.start_child(now, at, child, &mut out))
                }
            };
        }
        Call::Terminate(at, id, how) => {
            told = answer(&tree.terminate_child(now, at, id, how, &mut out));
        }
        Call::Restart(at, id) => told = answer(&tree.restart_child(now, at, id, &mut out)),
        Call::Delete(at, id) => told = answer(&tree.delete_child(now, at, id, &mut out)),
        Call::Kill | Call::Forget(_) | Call::Declare(_) | Call::Begin(..) | Call::PeerDown(_) => {
            return not_here();
        }
    }
    Ok((told, out))
}

fn on_node(
    node: &mut Node,
    plan: &Arc<tree::Plan>,
    now: Instant,
    call: Call,
) -> Result<Said<node::Action>, String> {
    let mut out = Vec::new();
    let mut told = None;
    match call {
        Call::Start => {
            told = node.start(now, plan, &mut out).err().map(|e| format!("refused {e:?}"))
        }
        Call::Timeout => node.handle_timeout(now, &mut out),
        Call::Shutdown(by) => node.shutdown(now, by, &mut out),
        Call::Fact(supervisor, event) => {
            node.handle(now, node::Event::Supervision(supervisor, event), &mut out);
        }
        Call::PeerDown(peer) => node.handle(now, node::Event::PeerDown(peer), &mut out),
        Call::Add(at, id, spec, spawner) => {
            let child = PlannedChild { id, spec, body: Body::Worker };
            told = match node.tree().supervisor(at) {
                Some(tree::Machine::Dynamic(_)) => {
                    answer(&node.spawn(now, at, child, spawner, &mut out))
                }
                Some(tree::Machine::Static(_)) | None => {
                    answer(&node.start_child(now, at, child, &mut out))
                }
            };
        }
        Call::Terminate(at, id, how) => {
            told = answer(&node.terminate_child(now, at, id, how, &mut out));
        }
        Call::Restart(at, id) => told = answer(&node.restart_child(now, at, id, &mut out)),
        Call::Delete(at, id) => told = answer(&node.delete_child(now, at, id, &mut out)),
        Call::Begin(callee, by) => {
            let begun = node.parts().3.begin(callee, by);
            told = Some(
                begun.map_or_else(|e| format!("error {e:?}"), |call| format!("call {}", call.0)),
            );
        }
        Call::Kill | Call::Forget(_) | Call::Declare(_) => return not_here(),
    }
    Ok((told, out))
}
