//! Reading a topology file, with all its faults: those of the text, and those that only the agent
//! types know.

use std::path::Path;

use lictor::topology::{
    AgentNode, Child, Diagnostic, Diagnostics, Options, ProcessEnvironment, Severity, Style,
    SupervisorNode, Topology,
};
use lictor::{AgentTypes, Setup, Value};
use serde::Serialize;

/// A topology file as it was read.
pub(crate) struct Source {
    pub(crate) file: String,
    /// The topology, unless there is a fault.
    pub(crate) topology: Option<Topology>,
    found: Found,
    text: String,
}

enum Found {
    Unreadable(String),
    Text(Diagnostics, Vec<BadConfig>),
}

/// An agent that cannot be set up as the file says.
struct BadConfig {
    agent: String,
    detail: String,
    line: u32,
    column: u32,
}

/// What `check --json` writes for each file.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    ok: bool,
    diagnostics: Vec<Fault<'a>>,
    omitted: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Fault<'a> {
    Text(&'a Diagnostic),
    Other {
        severity: Severity,
        code: &'static str,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<u32>,
    },
}

impl Source {
    /// Reads a file and sets up every agent of it, without starting any.
    pub(crate) fn read(path: &Path, types: &AgentTypes) -> Self {
        Self::read_with(path, Some(types))
    }

    /// Reads a file for its tree alone: agents may have any type.
    pub(crate) fn read_tree(path: &Path) -> Self {
        Self::read_with(path, None)
    }

    fn read_with(path: &Path, types: Option<&AgentTypes>) -> Self {
        let file = path.display().to_string();
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                let found = Found::Unreadable(format!("cannot read {file}: {error}"));
                return Self { file, topology: None, found, text: String::new() };
            }
        };
        let known: Vec<&str> = types.map(|types| types.names().collect()).unwrap_or_default();
        let mut options = Options::new(&ProcessEnvironment);
        if types.is_some() {
            options = options.known_types(&known);
        }
        let checked = lictor::topology::check(&file, &text, &options);
        let mut bad = Vec::new();
        if let (Some(topology), Some(types)) = (&checked.topology, types) {
            check_agents(&topology.root, types, &mut bad);
        }
        let topology = checked.topology.filter(|_| bad.is_empty());
        let text = String::from_utf8_lossy(&text).into_owned();
        Self { file, topology, found: Found::Text(checked.diagnostics, bad), text }
    }

    /// All faults and warnings as text; empty if there are none.
    pub(crate) fn render(&self, style: Style) -> String {
        match &self.found {
            Found::Unreadable(error) => format!("{}: {error}\n", paint(style, "error[unreadable]")),
            Found::Text(diagnostics, bad) => {
                let mut text = diagnostics.render(style);
                for bad in bad {
                    text.push_str(&bad.render(&self.file, &self.text, style));
                }
                match bad.len() {
                    0 => {}
                    1 => text.push_str(&format!("{}: 1 error\n", self.file)),
                    n => text.push_str(&format!("{}: {n} errors\n", self.file)),
                }
                text
            }
        }
    }

    /// All faults and warnings as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let (diagnostics, omitted) = match &self.found {
            Found::Unreadable(error) => {
                let message = error.clone();
                let severity = Severity::Error;
                let fault = Fault::Other {
                    severity,
                    code: "unreadable",
                    message,
                    line: None,
                    column: None,
                };
                (vec![fault], 0)
            }
            Found::Text(diagnostics, bad) => {
                let bad = bad.iter().map(|bad| Fault::Other {
                    severity: Severity::Error,
                    code: "bad-config",
                    message: format!("agent {:?}: {}", bad.agent, bad.detail),
                    line: Some(bad.line),
                    column: Some(bad.column),
                });
                let faults = diagnostics.iter().map(Fault::Text).chain(bad).collect();
                (faults, diagnostics.omitted())
            }
        };
        let ok = self.topology.is_some();
        let report = Report { file: &self.file, ok, diagnostics, omitted };
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// Sets up every agent; the parser bounds the depth.
fn check_agents(node: &SupervisorNode, types: &AgentTypes, bad: &mut Vec<BadConfig>) {
    for child in &node.children {
        match child {
            Child::Supervisor(node) => check_agents(node, types, bad),
            Child::Agent(node) | Child::GenServer(node) => check_agent(node, types, bad),
            Child::DynamicSupervisor(_) => {}
            _ => {}
        }
    }
}

fn check_agent(node: &AgentNode, types: &AgentTypes, bad: &mut Vec<BadConfig>) {
    let setup = Setup {
        name: node.name.clone(),
        config: if node.config.is_empty() { Value::Null } else { node.config.clone().into() },
        credentials: node
            .credentials
            .iter()
            .map(|(provider, secret)| (provider.to_owned(), secret.to_owned()))
            .collect(),
    };
    let detail = match types.make(&node.type_name, &setup) {
        Some(Ok(_)) => return,
        Some(Err(error)) => error.to_string(),
        None => format!("unknown type {:?}", node.type_name),
    };
    let (line, column) = (node.origin.line, node.origin.column);
    bad.push(BadConfig { agent: node.name.clone(), detail, line, column });
}

impl BadConfig {
    /// In the form of the other faults.
    fn render(&self, file: &str, text: &str, style: Style) -> String {
        let Self { agent, detail, line, column } = self;
        let head = paint(style, "error[bad-config]");
        let at = usize::try_from(*line).unwrap_or(0).saturating_sub(1);
        let source = text.lines().nth(at).unwrap_or("");
        let shown: String =
            source.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let margin = line.to_string().len();
        let offset = usize::try_from(*column).unwrap_or(1).saturating_sub(1);
        let width = shown.chars().count().saturating_sub(offset).max(1);
        let carets = "^".repeat(width);
        format!(
            "{head}: agent `{agent}`: {detail}\n{:margin$}--> {file}:{line}:{column}\n\
             {:margin$} |\n{line} | {shown}\n{:margin$} | {:offset$}{carets}\n\n",
            "", "", "", "",
        )
    }
}

fn paint(style: Style, text: &str) -> String {
    if style == Style::Ansi { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
}
