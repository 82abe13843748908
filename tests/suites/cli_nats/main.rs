//! The `lictor` command over a real nats-server: processes and servers that are killed, and who is let in.
//!
//! It is a test of the crate of the command, since only there cargo names the binary.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../nats_credentials.rs"]
mod credentials;
#[path = "../ports.rs"]
mod ports;
#[path = "../../../adapters/cli/tests/cli/processes.rs"]
#[allow(dead_code, reason = "the tests of the command use all of it")]
mod processes;
mod run;
mod secure;
#[path = "../nats_server.rs"]
mod server;
#[path = "../../../adapters/cli/tests/cli/support.rs"]
#[allow(dead_code, reason = "the tests of the command use all of it")]
mod support;
