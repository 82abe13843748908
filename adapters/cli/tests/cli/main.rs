//! The `lictor` command, from outside and from inside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod builtins;
mod check;
mod cluster;
mod exec;
mod keys;
mod plans;
mod policy;
mod processes;
mod run;
mod sim;
mod support;
mod terminal;
mod workers;
