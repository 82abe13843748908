//! `lictor sim`: breaking a topology before the world does.
//!
//! One module for each subcommand; each has its arguments, and one function from them to an
//! [`Outcome`].

mod check;
mod explore;
mod failure;
mod input;
mod interrupt;
mod meter;
mod parity;
mod replay;
mod run;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use lictor_sim::engine::{Engine, EngineError};
use lictor_sim::scenario::NODES_MAX;

use crate::Outcome;

/// The subcommands of `lictor sim`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    Check(check::CheckArgs),
    Run(run::RunArgs),
    Explore(explore::ExploreArgs),
    Replay(replay::ReplayArgs),
    Parity(parity::ParityArgs),
}

pub(crate) fn sim(command: &SimCommand) -> Outcome {
    match command {
        SimCommand::Check(args) => check::check(args),
        SimCommand::Run(args) => run::run(args),
        SimCommand::Explore(args) => explore::explore(args),
        SimCommand::Replay(args) => replay::replay(args),
        SimCommand::Parity(args) => parity::parity(args),
    }
}

/// Threads, at most: all are started before the first result is taken.
const THREADS_MAX: usize = 1024;

fn nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().ok().filter(|nodes| (1..=NODES_MAX).contains(nodes));
    nodes.ok_or_else(|| format!("a world has 1 to {NODES_MAX} nodes"))
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= THREADS_MAX);
    threads.ok_or_else(|| format!("1 to {THREADS_MAX} threads are possible"))
}

/// The engine, if it is one beside which the model runs, or none is asked for; otherwise it has
/// said so.
fn with_model(engine: Engine, model: bool) -> Option<Engine> {
    if model && engine != Engine::Kernel {
        crate::output::complain(
            "error: the reference model runs beside the kernels of one engine alone\n  = help: \
             leave out `--model`, or `--engine`\n",
        );
        return None;
    }
    Some(engine)
}

/// Says why a plan was not run, or not to its end, and how to mend that.
fn complain_of(file: &str, error: &EngineError) {
    let help = if matches!(error, EngineError::TooManyEvents { .. }) {
        "\n  = help: a shorter horizon, `calm` or backoff, fewer operations, or a \
         longer `every` of a ticker"
    } else {
        ""
    };
    crate::output::complain(&format!("error: {file}: {error}{help}\n"));
}

/// Writes a file that a flag names, or says why not: one that cannot be made is a fault of the
/// flag, one that cannot be written in full is output that is lost.
fn write_file(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Outcome> {
    let complain = |error: io::Error, outcome: Outcome| {
        crate::output::complain(&format!("error: cannot write {}: {error}\n", file.display()));
        outcome
    };
    let made = File::create(file).map_err(|error| complain(error, Outcome::BadInput))?;
    let mut out = BufWriter::new(made);
    let written = write(&mut out).and_then(|()| out.flush());
    written.map_err(|error| complain(error, Outcome::Failed))
}

/// What runs a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum EngineArg {
    /// The kernel's machines; agents, links and clocks are models.
    Kernel,
    /// The real runtime in virtual time.
    Virtual,
    /// The real runtime on tokio, over a simulated network.
    Turmoil,
}

impl EngineArg {
    /// The engine, if this program has it; otherwise it has said so.
    fn built_in(self) -> Option<Engine> {
        let engine = match self {
            Self::Kernel => Engine::Kernel,
            Self::Virtual => Engine::Virtual,
            Self::Turmoil => Engine::Turmoil,
        };
        match engine.is_built_in() {
            Ok(()) => Some(engine),
            Err(error) => {
                crate::output::complain(&format!(
                    "error: {error}\n  = help: `--engine kernel` is\n"
                ));
                None
            }
        }
    }
}
