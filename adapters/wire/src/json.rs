//! JSON, as much of it as messages need, in the two forms in which civitas writes it.
//!
//! Written by hand, for the places of faults, for keys that appear twice, and because `serde_json`
//! turns an integer that is too large into a float that is not the same. It is the oracle of the
//! tests instead.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

/// How JSON is written. Every reader takes both.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Spacing {
    /// As Python's `json`: `", "` and `": "`, and nothing beyond ASCII.
    #[default]
    Wide,
    /// As `orjson`: no spaces, and UTF-8.
    Compact,
}
