//! `lictor tree`.

use std::time::Duration;

use lictor::kernel::ChildSpec;
use lictor::topology::{AgentNode, Child, DynamicSupervisorNode, SupervisorNode};
use lictor::{Restart, Shutdown, Value, strategy_name};
use serde_json::json;

use crate::Outcome;
use crate::args::TreeArgs;
use crate::output;
use crate::source::Source;

pub(crate) fn tree(args: &TreeArgs) -> Outcome {
    let source = Source::read_tree(&args.file);
    let Some(topology) = &source.topology else {
        output::complain(&source.render(output::style(&std::io::stderr())));
        return Outcome::BadInput;
    };
    let text = if args.json { json(&topology.root).to_string() } else { text(&topology.root) };
    match output::print(&(text + "\n")) {
        Ok(()) => Outcome::Clean,
        Err(_) => Outcome::Failed,
    }
}

/// The tree in the form in which a running one is printed, with its policies.
pub(crate) fn text(root: &SupervisorNode) -> String {
    let mut lines = vec![supervisor_label(root)];
    children(root, "", &mut lines);
    lines.join("\n")
}

/// The parser bounds the depth.
fn children(node: &SupervisorNode, prefix: &str, lines: &mut Vec<String>) {
    for (at, child) in node.children.iter().enumerate() {
        let last = at + 1 == node.children.len();
        let (connector, indent) =
            if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        lines.push(format!("{prefix}{connector}{}", label(child)));
        if let Child::Supervisor(node) = child {
            children(node, &format!("{prefix}{indent}"), lines);
        }
    }
}

fn label(child: &Child) -> String {
    match child {
        Child::Supervisor(node) => {
            format!("{}{}", supervisor_label(node), policy(&node.spec, true))
        }
        Child::Agent(node) => agent_label("[agent]", node),
        Child::GenServer(node) => agent_label("[srv]", node),
        Child::DynamicSupervisor(node) => dynamic_label(node),
        _ => child.name().to_owned(),
    }
}

fn supervisor_label(node: &SupervisorNode) -> String {
    let (strategy, budget) = (strategy_name(node.strategy), node.intensity);
    let window = short(budget.period);
    format!("[sup] {} ({strategy}) {} restarts in {window}", node.name, budget.max_restarts)
}

fn dynamic_label(node: &DynamicSupervisorNode) -> String {
    let limit = node.limits.max_children;
    let limit = limit.map_or_else(String::new, |limit| format!(" at most {limit}"));
    format!("[dyn] {}{limit}{}", node.name, policy(&node.spec, true))
}

fn agent_label(tag: &str, node: &AgentNode) -> String {
    let at = place(node.process.as_deref());
    format!("{tag} {}{at}: {}{}", node.name, node.type_name, policy(&node.spec, false))
}

/// In which process, if not in that of the tree.
fn place(process: Option<&str>) -> String {
    process.map_or_else(String::new, |process| format!(" @{process}"))
}

/// What differs from the default.
fn policy(spec: &ChildSpec, supervisor: bool) -> String {
    let mut words = Vec::new();
    if spec.restart != Restart::Transient {
        words.push(restart_name(spec.restart).to_owned());
    }
    match (spec.shutdown, supervisor) {
        (Shutdown::BrutalKill, _) => words.push("brutal_kill".to_owned()),
        (Shutdown::Infinity, false) => words.push("waited for".to_owned()),
        (Shutdown::Timeout(timeout), _) if supervisor || timeout != Duration::from_secs(5) => {
            words.push(format!("{} to stop", short(timeout)));
        }
        (Shutdown::Infinity, true) | (Shutdown::Timeout(_), _) => {}
    }
    if spec.significant {
        words.push("significant".to_owned());
    }
    if words.is_empty() { String::new() } else { format!(", {}", words.join(", ")) }
}

const fn restart_name(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

/// A duration as a file writes it.
fn short(duration: Duration) -> String {
    format!("{duration:?}")
}

fn shutdown_json(shutdown: Shutdown) -> Value {
    match shutdown {
        Shutdown::BrutalKill => "brutal_kill".into(),
        Shutdown::Infinity => "infinity".into(),
        Shutdown::Timeout(timeout) => timeout.as_secs_f64().into(),
    }
}

/// The tree for machines. Durations are seconds.
pub(crate) fn json(node: &SupervisorNode) -> Value {
    let mut value = json!({
        "kind": "supervisor",
        "name": node.name,
        "strategy": strategy_name(node.strategy),
        "max_restarts": node.intensity.max_restarts,
        "restart_window": node.intensity.period.as_secs_f64(),
        "children": node.children.iter().map(child_json).collect::<Value>(),
    });
    spec_json(&mut value, &node.spec);
    value
}

fn child_json(child: &Child) -> Value {
    let (kind, node) = match child {
        Child::Supervisor(node) => return json(node),
        Child::Agent(node) => ("agent", node),
        Child::GenServer(node) => ("server", node),
        Child::DynamicSupervisor(node) => {
            let mut value = json!({
                "kind": "dynamic_supervisor",
                "name": node.name,
                "max_children": node.limits.max_children,
                "max_restarts": node.intensity.max_restarts,
                "restart_window": node.intensity.period.as_secs_f64(),
            });
            spec_json(&mut value, &node.spec);
            return value;
        }
        _ => return json!({ "kind": "unknown", "name": child.name() }),
    };
    let mut value = json!({
        "kind": kind,
        "name": node.name,
        "type": node.type_name,
        "process": node.process,
        "capabilities": node.capabilities,
        "mailbox_size": node.mailbox.size,
    });
    spec_json(&mut value, &node.spec);
    value
}

fn spec_json(value: &mut Value, spec: &ChildSpec) {
    value["restart"] = restart_name(spec.restart).into();
    value["shutdown"] = shutdown_json(spec.shutdown);
    value["significant"] = spec.significant.into();
}
