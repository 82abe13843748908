//! Under construction.

pub mod otp;
