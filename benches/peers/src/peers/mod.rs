//! The crates that are compared.

pub mod actix;
pub mod coerce;
pub mod kameo;
pub mod lictor;
pub mod ractor;
pub mod raw;
