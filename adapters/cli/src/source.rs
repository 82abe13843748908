//! Reading a topology file, with all its faults: those of the text, and those that only the agent
//! types know.

use std::fs::File;
use std::io::stdin;
use std::path::Path;

use crate::builtins::{self, Ledger};

use lictor::AgentTypes;
use lictor::topology::{
    Diagnostic, Diagnostics, Foreign, Options, Overrides, ProcessEnvironment, Severity, Style,
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
    /// Reads a file, or standard input for `-`, to run its tree with these types; starts nothing.
    /// `overrides` hold instead of what the file says of its transport.
    pub(crate) fn read_to_run(path: &Path, types: &AgentTypes, overrides: &Overrides) -> Self {
        Self::read(path, types, options().overrides(overrides))
    }

    /// As [`Source::read_to_run`], to host what the file places on one of its processes.
    pub(crate) fn read_to_host(
        path: &Path,
        types: &AgentTypes,
        overrides: &Overrides,
        process: &str,
    ) -> Self {
        Self::read(path, types, options().overrides(overrides).process(process))
    }

    /// Reads a file to judge it: of what other programs run only what can be known of it.
    pub(crate) fn read_to_judge(path: &Path) -> Self {
        Self::read(path, &builtins::types(&Ledger::new()), options().foreign(Foreign::Warn))
    }

    /// Reads a file for its tree: agents may have any type, and those of the built-in types must
    /// be set up as these can be.
    pub(crate) fn read_tree(path: &Path) -> Self {
        Self::read(path, &builtins::types(&Ledger::new()), options().foreign(Foreign::Accept))
    }

    fn read(path: &Path, types: &AgentTypes, options: Options<'_>) -> Self {
        let from_stdin = path.as_os_str() == "-";
        let file = if from_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        let text = if from_stdin {
            lictor::read_bounded(stdin().lock())
        } else {
            File::open(path).and_then(lictor::read_bounded)
        };
        match text {
            Ok(text) => {
                let checked = lictor::check_by(&file, &text, types, options);
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

/// Variables are those of this process.
fn options() -> Options<'static> {
    Options::new(&ProcessEnvironment).names_in(&builtins::NAMES_IN)
}

fn paint(style: Style, text: &str) -> String {
    if style == Style::Ansi { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
}
