//! Ports for servers that are started later, or again.
//!
//! What the system gives for port 0 it gives to any connection that is opened before the server has
//! it. These lie below that range (32768 to 60999 on Linux), and each process begins elsewhere.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const LOWEST: u32 = 15_000;
const COUNT: u32 = 15_000;

pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = LOWEST + (std::process::id().wrapping_mul(131).wrapping_add(number)) % COUNT;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all {COUNT} ports are taken");
}
