//! `lictor sim`: breaking a topology before the world does.
//!
//! One module for each subcommand; each has its arguments, and one function from them to an
//! [`Outcome`].

mod check;

use clap::Subcommand;

use crate::Outcome;

/// The subcommands of `lictor sim`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    Check(check::CheckArgs),
}

pub(crate) fn sim(command: &SimCommand) -> Outcome {
    match command {
        SimCommand::Check(args) => check::check(args),
    }
}
