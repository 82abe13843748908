//! The bodies of the fuzz targets: each takes any bytes and panics if something is wrong.
//!
//! They live here and not beside the fuzzer, so that an ordinary test on a stable compiler replays
//! every input that was ever worth keeping. Any bytes are some history.

mod connection;
mod proxy;

pub use connection::connection;
pub use proxy::proxy;

/// Bytes that are read as choices; past their end all choices are 0.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// As many bytes as the next one says, up to `most`.
    fn bytes(&mut self, most: u8) -> &'a [u8] {
        let length = usize::from(self.byte().min(most));
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}
