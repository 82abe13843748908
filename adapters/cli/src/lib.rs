//! The `lictor` command: runs, checks, shows and breaks topologies.
//!
//! It is a library so that its parts can be tested, and so that a program with agent types of its
//! own can offer the [built-in ones](builtins) too.
#![forbid(unsafe_code)]

mod args;
pub mod builtins;
mod check;
mod duration;
mod keys;
mod log;
mod output;
mod policy;
mod progress;
mod run;
mod sim;
mod source;
mod tree;
mod wire;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

/// How a command ended, as its exit status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Outcome {
    /// 0: as asked.
    Clean,
    /// 1: the tree failed, or did not start; a simulation found a fault.
    Failed,
    /// 2: the file or the flags are no good. (What clap uses, too.)
    BadInput,
    /// 130: killed by the second Ctrl-C.
    Killed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Clean => 0,
            Outcome::Failed => 1,
            Outcome::BadInput => 2,
            Outcome::Killed => 130,
        })
    }
}

/// Runs the command with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Worker(args) => worker::worker(&args),
        Command::Check(args) => check::check(&args),
        Command::Tree(args) => tree::tree(&args),
        Command::Sim { command } => sim::sim(&command),
        Command::Policy(args) => policy::policy(&args),
        Command::Keys { command } => keys::keys(&command),
    };
    outcome.into()
}
