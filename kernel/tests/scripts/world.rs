//! The machine that a script talks to.

use std::sync::Arc;

use lictor_kernel::supervisor::{ChildState, ConfigError, Counts};
use lictor_kernel::tree::{self, Machine, Plan, Stage};
use lictor_kernel::{
    ChildId, ChildKind, DynamicSupervisor, Instant, NameId, Node, Supervisor, SupervisorId, Tree,
    node,
};

use crate::read::{self, Numbers, wrong};
use crate::write::{self, Speaker};

/// One of the kernel's machines. The sizes differ by far, which does not matter here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    Static(Box<Supervisor>),
    Dynamic(Box<DynamicSupervisor>),
    Tree(Box<Tree>),
    Node(Box<Node>),
    /// It cannot be.
    Refused(ConfigError),
}

pub(crate) struct World {
    pub(crate) subject: Subject,
    pub(crate) plan: Arc<Plan>,
    pub(crate) numbers: Numbers,
    pub(crate) supervisors: Vec<String>,
}

impl World {
    /// The machine that a header describes.
    pub(crate) fn new(header: &[String]) -> Result<Self, String> {
        let Some((first, mut lines)) = header.split_first() else {
            return wrong("a script without a header", "");
        };
        let words: Vec<&str> = first.split_whitespace().collect();
        let (how, words) = match words.as_slice() {
            [how @ ("tree" | "node"), words @ ..] => (*how, words),
            words => ("", words),
        };
        let [kind @ ("supervisor" | "dynamic"), words @ ..] = words else {
            return wrong("a header", first);
        };
        let mut numbers = Numbers::default();
        let (plan, _) = read::plan(kind, words, 0, &mut lines, &mut numbers)?;
        if let Some(line) = lines.first() {
            return wrong("a header's line", line);
        }
        let subject = match (how, &plan) {
            ("tree", _) => Subject::Tree(Box::default()),
            ("node", _) => Subject::Node(Box::new(declared(&numbers))),
            (_, Plan::Static { config, children }) => {
                let specs: Vec<_> = children.iter().map(|child| (child.id, child.spec)).collect();
                match Supervisor::new(config.clone(), &specs) {
                    Ok(machine) => Subject::Static(Box::new(machine)),
                    Err(error) => Subject::Refused(error),
                }
            }
            (_, Plan::Dynamic(config)) => match DynamicSupervisor::new(config.clone()) {
                Ok(machine) => Subject::Dynamic(Box::new(machine)),
                Err(error) => Subject::Refused(error),
            },
        };
        Ok(Self { subject, plan: Arc::new(plan), numbers, supervisors: Vec::new() })
    }

    /// Makes one call, twice.
    pub(crate) fn call(&mut self, input: &str) -> Result<Vec<String>, String> {
        let words: Vec<&str> = input.split(' ').collect();
        let [time, words @ ..] = words.as_slice() else { return wrong("a call", input) };
        if *time == "?" {
            return self.ask(words);
        }
        let now = read::instant(time)?;
        let mut twin = Self {
            subject: self.subject.clone(),
            plan: Arc::clone(&self.plan),
            numbers: self.numbers.clone(),
            supervisors: self.supervisors.clone(),
        };
        let got = self.act(now, words)?;
        if twin.act(now, words)? != got || twin.subject != self.subject {
            return Err("the same call on an equal machine did something else".to_owned());
        }
        if words == ["timeout"] {
            let before = self.subject.clone();
            if !self.act(now, words)?.is_empty() || self.subject != before {
                return Err("a second timeout at the same instant did something".to_owned());
            }
        }
        Ok(got)
    }

    pub(crate) fn speaker(&self) -> Speaker<'_> {
        Speaker { numbers: &self.numbers, supervisors: &self.supervisors }
    }

    pub(crate) fn say_tree(&mut self, actions: &[tree::Action]) -> Vec<String> {
        for action in actions {
            self.note_supervisor(*action);
        }
        let speaker = self.speaker();
        actions.iter().map(|action| speaker.of_tree(*action)).collect()
    }

    pub(crate) fn say_node(&mut self, actions: &[node::Action]) -> Vec<String> {
        for action in actions {
            if let node::Action::Supervision(action) = action {
                self.note_supervisor(*action);
            }
        }
        let speaker = self.speaker();
        actions.iter().map(|action| speaker.of_node(*action)).collect()
    }

    /// Remembers the name of a supervisor that begins.
    fn note_supervisor(&mut self, action: tree::Action) {
        if let tree::Action::Supervisor { supervisor, process, stage: Stage::Initializing } = action
        {
            let name = process.map_or("root", |process| self.numbers.name(process.pid.child));
            let name = name.to_owned();
            assert_eq!(usize::try_from(supervisor.0), Ok(self.supervisors.len()));
            self.supervisors.push(name);
        }
    }

    /// The tree, if there is one.
    fn tree(&self) -> Option<&Tree> {
        match &self.subject {
            Subject::Tree(tree) => Some(tree),
            Subject::Node(node) => Some(node.tree()),
            Subject::Static(_) | Subject::Dynamic(_) | Subject::Refused(_) => None,
        }
    }

    /// Asks without changing anything.
    fn ask(&self, words: &[&str]) -> Result<Vec<String>, String> {
        let machine = match (words.get(1), self.tree()) {
            (Some(word), Some(tree)) => {
                let supervisor = self.supervisor(word)?;
                match tree.supervisor(supervisor) {
                    Some(machine) => Some(machine.clone()),
                    None => return Ok(vec!["gone".to_owned()]),
                }
            }
            (_, _) => match &self.subject {
                Subject::Static(machine) => Some(Machine::Static((**machine).clone())),
                Subject::Dynamic(machine) => Some(Machine::Dynamic((**machine).clone())),
                Subject::Tree(_) | Subject::Node(_) | Subject::Refused(_) => None,
            },
        };
        match (words.first(), machine) {
            (Some(&"next"), _) => {
                Ok(vec![self.poll_timeout().map_or_else(|| "never".to_owned(), write::instant)])
            }
            (Some(&"children"), Some(machine)) => Ok(self.children(&machine.which_children())),
            (Some(&"count"), Some(machine)) => Ok(vec![count(machine.count_children())]),
            (Some(&"phase"), Some(Machine::Static(machine))) => {
                Ok(vec![write::phase(machine.phase()).to_owned()])
            }
            (Some(&"phase"), Some(Machine::Dynamic(machine))) => Ok(vec![
                match (machine.is_running(), machine.is_stopped()) {
                    (true, _) => "running",
                    (_, true) => "stopped",
                    (false, false) => "new or stopping",
                }
                .to_owned(),
            ]),
            (Some(&"spawners"), Some(Machine::Dynamic(machine))) => {
                Ok(vec![machine.spawners().to_string()])
            }
            (Some(&"names"), None) => self.names(),
            (_, _) => wrong("a question", &words.join(" ")),
        }
    }

    fn children(&self, children: &[(ChildId, ChildState)]) -> Vec<String> {
        let speaker = self.speaker();
        children.iter().map(|(id, state)| speaker.state(*id, *state)).collect()
    }

    /// The names that the node knows and how they do.
    fn names(&self) -> Result<Vec<String>, String> {
        let Subject::Node(node) = &self.subject else { return wrong("a question", "names") };
        let mut names = Vec::new();
        for (id, name) in self.numbers.all() {
            if let Some(entry) = node.registry().lookup(NameId(id.0)) {
                names.push(format!("{name} {}", write::status(entry.status)));
            }
        }
        if node.in_limbo() > 0 {
            names.push(format!("{} in limbo", node.in_limbo()));
        }
        Ok(names)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.subject {
            Subject::Static(machine) => machine.poll_timeout(),
            Subject::Dynamic(machine) => machine.poll_timeout(),
            Subject::Tree(tree) => tree.poll_timeout(),
            Subject::Node(node) => node.poll_timeout(),
            Subject::Refused(_) => None,
        }
    }

    /// `name@number`.
    pub(crate) fn supervisor(&self, word: &str) -> Result<SupervisorId, String> {
        let Some((name, number)) = word.split_once('@') else { return wrong("a supervisor", word) };
        let number: usize = read::number(number)?;
        if self.supervisors.get(number).is_none_or(|known| known != name) {
            return wrong("a supervisor", word);
        }
        Ok(SupervisorId(number as u64))
    }
}

fn count(counts: Counts) -> String {
    let Counts { specs, active, supervisors, workers } = counts;
    format!("specs={specs} active={active} supervisors={supervisors} workers={workers}")
}

/// A node with the names of a plan declared, each with the number of its child.
fn declared(numbers: &Numbers) -> Node {
    let mut node = Node::new(node::Config::default());
    for (id, name) in numbers.all() {
        let declared = node.declare(name, ChildKind::Worker, &[], &mut Vec::new());
        assert_eq!(declared, Ok(NameId(id.0)));
    }
    node
}
