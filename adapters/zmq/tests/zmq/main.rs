//! Clients and forwarders of ours, over real sockets and over simulated ones.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod clients;
mod configuration;
mod conformance;
#[path = "../../../../tests/suites/folder.rs"]
mod folder;
mod hostile;
mod simulated;
mod simulated_network;
mod support;
