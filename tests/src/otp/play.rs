//! Plays a scenario, step by step.

use std::rc::Rc;
use std::sync::Arc;

use lictor_kernel::SupervisorId;
use serde_json::{Value, json};

use super::mailbox::Message;
use super::scenario::{Call, Scenario, Step};
use super::trace::Malformed;
use super::world::{Worker, World};

/// The trace of a scenario, without the scenario line.
///
/// # Errors
/// [`Malformed`] if the scenario never comes to rest: no recording of it can exist.
pub(super) fn play(scenario: &Scenario) -> Result<Vec<Value>, Malformed> {
    let restless = |message: String| Malformed { line: 1, message };
    let mut world = World::new(Rc::clone(&scenario.tree), scenario.t0);
    for plan in &scenario.pre {
        world.plan(plan);
    }
    let mut t = scenario.t0;
    world.trace.push(json!({"ev": "step", "i": 0, "t": t, "op": ["start_tree"]}));
    let result = world.start_tree().map_err(restless)?;
    world.trace.push(json!({"ev": "result", "i": 0, "res": result}));
    for (n, (op, step)) in scenario.steps.iter().enumerate() {
        if let Step::Sleep(ms) = step {
            t = t.saturating_add(*ms);
        }
        let i = n + 1;
        world.trace.push(json!({"ev": "step", "i": i, "t": t, "op": op}));
        world.clock.step(t);
        let result =
            world.step(step).map_err(|message| restless(format!("steps[{n}]: {message}")))?;
        world.trace.push(json!({"ev": "result", "i": i, "res": result}));
    }
    let last = world.state(t);
    world.trace.push(last);
    sort_parallel(&mut world.trace);
    Ok(world.trace)
}

impl World {
    fn start_tree(&mut self) -> Result<Value, String> {
        let root = Rc::clone(&self.root);
        let Some(sup) = root.sup() else { return Err("the root must be a supervisor".to_owned()) };
        if let Some(reason) = sup.refusal() {
            self.refused(&root.id, "top", &reason);
            return Ok(json!(["error", reason]));
        }
        let plan = Arc::new(self.plan_of(sup));
        let mut actions = Vec::new();
        let started = self.tree.start(self.clock.now, &plan, &mut actions);
        started.map_err(|error| format!("the kernel refuses the tree: {error}"))?;
        self.put_first(actions);
        self.come_to_rest(None)?;
        Ok(self.root_started.take().unwrap_or(Value::Null))
    }

    fn step(&mut self, step: &Step) -> Result<Value, String> {
        self.results = vec![Value::Null];
        match step {
            Step::Plan(_) | Step::Exit(..) | Step::Call(..) => {
                self.queue(step, 0);
                self.come_to_rest(None)?;
            }
            Step::Sleep(_) => return Ok(json!("ok")),
            Step::Burst(name, steps) => {
                let Some(suspended) = self.sup_named(name) else { return Ok(json!("not_alive")) };
                self.results = vec![Value::Null; steps.len()];
                for (place, step) in steps.iter().enumerate() {
                    self.queue(step, place);
                    // What concerns other supervisors goes on.
                    self.come_to_rest(Some(suspended))?;
                }
                self.come_to_rest(None)?;
                return Ok(Value::Array(core::mem::take(&mut self.results)));
            }
            Step::StopRoot(name) => {
                if self.sup_named(name).is_none() || Some(name.as_str()) != self.root_name() {
                    return Ok(json!("not_alive"));
                }
                let mut actions = Vec::new();
                self.tree.shutdown(self.clock.now, None, &mut actions);
                self.put_first(actions);
                self.come_to_rest(None)?;
                return Ok(json!("shutdown"));
            }
        }
        Ok(self.results.pop().unwrap_or(Value::Null))
    }

    /// A step that goes into a mailbox, if anywhere.
    fn queue(&mut self, step: &Step, place: usize) {
        let result = match step {
            Step::Plan(plan) => {
                self.plan(plan);
                json!("ok")
            }
            Step::Exit(name, reason) => self.worker_exits(name, reason),
            Step::Call(name, call) => match self.sup_named(name) {
                None => json!("not_alive"),
                Some(id) => {
                    let target = match call {
                        Call::Terminate(child) => self.latest.get(child).copied(),
                        Call::Start(_)
                        | Call::Delete(_)
                        | Call::Restart(_)
                        | Call::Which
                        | Call::Count => None,
                    };
                    let message = Message::Call { place, call: call.clone(), target };
                    self.sups.entry(id).and_modify(|sup| sup.mailbox.push_back(message));
                    return;
                }
            },
            Step::Sleep(_) | Step::Burst(..) | Step::StopRoot(_) => Value::Null,
        };
        if let Some(slot) = self.results.get_mut(place) {
            *slot = result;
        }
    }

    fn worker_exits(&mut self, name: &str, reason: &Value) -> Value {
        let worker = self.latest.get(name).and_then(|p| Some((*p, self.workers.get(p)?)));
        let Some((process, Worker { alive: true, .. })) = worker else {
            return json!("not_alive");
        };
        let killed = json!("killed");
        let reason = if *reason == json!("kill") { &killed } else { reason };
        self.die(process, reason.clone(), "step");
        let message = Message::Exit(process.pid);
        self.sups.entry(process.supervisor).and_modify(|sup| sup.mailbox.push_back(message));
        json!("ok")
    }

    fn sup_named(&self, name: &str) -> Option<SupervisorId> {
        self.sups.iter().find(|(_, sup)| sup.child.id == name).map(|(id, _)| *id)
    }

    fn root_name(&self) -> Option<&str> {
        self.tree.root().and_then(|id| self.sups.get(&id)).map(|sup| sup.child.id.as_str())
    }

    /// The last line: who is alive, and what each supervisor knows.
    fn state(&self, t: u64) -> Value {
        let workers = self.workers.values().filter(|worker| worker.alive);
        let workers = workers.map(|worker| (worker.id.as_str(), worker.n));
        let sups = self.sups.values().map(|sup| (sup.child.id.as_str(), sup.n));
        let mut alive: Vec<(&str, u64)> = workers.chain(sups).collect();
        alive.sort_unstable();
        let mut sups: Vec<(&str, SupervisorId)> =
            self.sups.iter().map(|(id, sup)| (sup.child.id.as_str(), *id)).collect();
        sups.sort_unstable();
        let sups: Vec<Value> = sups
            .into_iter()
            .map(|(name, id)| {
                let (children, counts) = (self.which_children(id), self.count_children(id));
                json!({"id": name, "children": children, "counts": counts})
            })
            .collect();
        json!({"ev": "final", "t": t, "alive": alive, "sups": sups})
    }
}

/// The order of the exits in a parallel stop is promised by nobody: they are sorted by id.
fn sort_parallel(trace: &mut [Value]) {
    let key = |line: &Value| (line["par"] == json!(true)).then(|| line["sup"].to_string());
    for run in trace.chunk_by_mut(|a, b| key(a).is_some() && key(a) == key(b)) {
        if run.len() > 1 {
            run.sort_by_key(|line| line["id"].to_string());
        }
    }
}
