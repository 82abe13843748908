//! The `lictor` command, from outside and from inside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod builtins;
mod check;
mod cluster;
mod curve;
mod exec;
mod keys;
mod plans;
mod policy;
mod processes;
mod run;
mod signed;
mod sim;
mod support;
mod terminal;
mod workers;
