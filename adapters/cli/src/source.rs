//! Reading a topology file, with all its faults: those of the text, and those that only the agent
//! types know.

use std::fs::File;
use std::io::stdin;
use std::path::Path;

use crate::builtins;

use lictor::AgentTypes;
use lictor::topology::{
    self, Diagnostic, Diagnostics, Options, Overrides, ProcessEnvironment, Severity, Style,
    Topology,
};
use serde::Serialize;

/// A topology file as it was read.
pub(crate) struct Source {
    pub(crate) file: String,
    /// The topology, unless there is a fault.
    pub(crate) topology: Option<Topology>,
    found: Found,
}

enum Found {
    Unreadable(String),
    Text(Diagnostics),
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
    Unreadable { severity: Severity, code: &'static str, message: &'a str, help: &'a str },
}

/// What to do about a file that cannot be read.
const READABLE: &str = "give the path of a file, or `-` for standard input";

impl Source {
    /// Reads a file, or standard input for `-`, and sets up every agent of it; starts none.
    pub(crate) fn read(path: &Path, types: &AgentTypes) -> Self {
        Self::read_over(path, types, &Overrides::default())
    }

    /// As [`Source::read`], with what holds instead of what the file says of its transport.
    pub(crate) fn read_over(path: &Path, types: &AgentTypes, overrides: &Overrides) -> Self {
        Self::read_with(path, Some(types), overrides)
    }

    /// Reads a file for its tree: agents may have any type, and those of the built-in types must
    /// be set up as these can be.
    pub(crate) fn read_tree(path: &Path) -> Self {
        Self::read_with(path, None, &Overrides::default())
    }

    fn read_with(path: &Path, types: Option<&AgentTypes>, overrides: &Overrides) -> Self {
        let from_stdin = path.as_os_str() == "-";
        let file = if from_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        let text = if from_stdin {
            lictor::read_bounded(stdin().lock())
        } else {
            File::open(path).and_then(lictor::read_bounded)
        };
        match text {
            Ok(text) => {
                let checked = match types {
                    Some(types) => lictor::check_with(&file, &text, types, overrides),
                    None => {
                        let own = builtins::Settings::default();
                        let options = Options::new(&ProcessEnvironment).agents(&own);
                        topology::check(&file, &text, &options)
                    }
                };
                let found = Found::Text(checked.diagnostics);
                Self { file, topology: checked.topology, found }
            }
            Err(error) => {
                let found = Found::Unreadable(format!("cannot read {file}: {error}"));
                Self { file, topology: None, found }
            }
        }
    }

    /// All faults and warnings as text; empty if there are none.
    pub(crate) fn render(&self, style: Style) -> String {
        match &self.found {
            Found::Unreadable(error) => {
                let head = paint(style, "error[unreadable]");
                format!("{head}: {error}\n  = help: {READABLE}\n")
            }
            Found::Text(diagnostics) => diagnostics.render(style),
        }
    }

    /// All faults and warnings as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let (diagnostics, omitted) = match &self.found {
            Found::Unreadable(message) => {
                let (severity, code) = (Severity::Error, "unreadable");
                (vec![Fault::Unreadable { severity, code, message, help: READABLE }], 0)
            }
            Found::Text(faults) => (faults.iter().map(Fault::Text).collect(), faults.omitted()),
        };
        let ok = self.topology.is_some();
        let report = Report { file: &self.file, ok, diagnostics, omitted };
        serde_json::to_string(&report).unwrap_or_default()
    }
}

fn paint(style: Style, text: &str) -> String {
    if style == Style::Ansi { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
}
