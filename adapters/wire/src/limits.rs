//! How much a message may hold.
//!
//! The same limits hold for reading and for writing, so that nothing is sent that a peer with the
//! same limits would refuse. Whatever a header claims, no more is set aside for it than the bytes
//! behind it can fill.

/// Bounds of one message. The defaults are stated at the fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Bytes of the whole, envelope included. By default 1 MiB, which is also what a NATS server
    /// takes.
    pub bytes: usize,
    /// Lists and maps inside each other, the payload itself being the first. By default 64. A
    /// number of this type is always safe for the stack.
    pub depth: u8,
    /// Values of the whole: each field, each element, and each value of a map is one. By default
    /// 65,536.
    pub items: usize,
    /// Bytes of one text, one key or one run of bytes. By default 1 MiB, so that `bytes` decides.
    pub text: usize,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self { bytes: 1 << 20, depth: 64, items: 1 << 16, text: 1 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
