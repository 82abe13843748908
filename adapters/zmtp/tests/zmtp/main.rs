//! The wire of ZeroMQ: two of our ends against each other, hostile peers, the forwarder.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod connections;
mod curve;
mod deadlines;
mod forwarder;
mod hostile;
mod pair;
