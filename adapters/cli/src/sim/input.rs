//! Reading plans, and saying what is wrong with them.

use std::fs::File;
use std::io::stdin;
use std::path::Path;

use lictor::topology::{AgentNode, ProcessEnvironment};
use lictor_sim::engine::Engine;
use lictor_sim::plan::{Plan, Reading};

use crate::builtins::{self, Ledger};
use crate::output;

/// Plans are larger than topologies.
const BYTES_MAX: u64 = 32 << 20;

/// Reads a plan, or standard input for `-`; `None` if it has said what is wrong.
pub(super) fn plan(path: &Path, engine: Engine) -> Option<Plan> {
    let from_stdin = path.as_os_str() == "-";
    let file = if from_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let text = if from_stdin {
        read_bounded(stdin().lock())
    } else {
        File::open(path).and_then(read_bounded)
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            output::complain(&format!("error: cannot read {file}: {error}\n"));
            return None;
        }
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let files = |relative: &str| {
        let open = File::open(folder.join(relative)).and_then(lictor::read_bounded);
        open.map_err(|error| error.to_string())
    };
    let types = builtins::types(&Ledger::new());
    let known: Vec<&str> = types.names().collect();
    let set_up = |agent: &AgentNode| lictor::set_up(&types, agent);
    let reading = Reading {
        environment: &ProcessEnvironment,
        engine: Some(engine),
        files: &files,
        known_types: Some(&known),
        agents: Some(&set_up),
    };
    match Plan::read(&file, &text, &reading) {
        Ok(plan) => Some(plan),
        Err(faults) => {
            output::complain(&faults.render(output::style(&std::io::stderr())));
            None
        }
    }
}

/// A little more than may be read, so that the reader of plans can say that it is too much.
fn read_bounded(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut from.take(BYTES_MAX + 1), &mut text)?;
    Ok(text)
}
