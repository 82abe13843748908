//! The `lictor` command, from outside and from inside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod builtins;
mod check;
mod cluster;
mod curve;
mod exec;
mod keys;
mod own;
mod plans;
mod policy;
#[path = "../../../../tests/suites/ports.rs"]
mod ports;
mod processes;
mod run;
mod signed;
mod sim;
mod support;
mod terminal;
mod workers;
