//! The proven defects of civitas 0.12, each by its id, the right way round.
//!
//! Defect ids that are shown elsewhere: D30 (faults of a topology file, one by one) is in the tests
//! of the topology parser; D28 (streams) comes with streams.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "defects/data.rs"]
mod data;
#[path = "defects/dynamic.rs"]
mod dynamic;
#[path = "defects/supervision.rs"]
mod supervision;
#[path = "runtime_support.rs"]
mod support;
