//! The `lictor` command, from outside and from inside.

mod builtins;
mod check;
mod exec;
mod processes;
mod run;
mod support;
