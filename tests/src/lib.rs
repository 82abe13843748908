//! Under construction.

pub mod model;
pub mod otp;
