//! Processes of the operating system, looked at from outside.

use std::time::{Duration, Instant};

use crate::support::LONG;

/// A script whose process and whose grandchild ignore SIGTERM and the end of their input. Any line
/// of its output is garbage and says that it is set up.
pub(crate) const STUBBORN: &str = "trap '' TERM; \
    sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & \
    echo ready; while :; do sleep 1000; done";

/// A text as a topology takes it anywhere.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace("${", "$${")
}

/// Whether a process runs; one that nobody has reaped yet does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat_of(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Whether a process is still in the table, dead or alive.
pub(crate) fn exists(pid: u32) -> bool {
    stat_of(pid).is_some()
}

/// The state and the parent of a process.
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// All living descendants of a process.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![of];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        at += 1;
        let is_child = |pid: &&u32| stat_of(**pid).is_some_and(|(_, of)| of == parent);
        found.extend(pids.iter().filter(is_child));
    }
    found.remove(0);
    found.into_iter().filter(|pid| is_alive(*pid)).collect()
}

/// Waits for what no event tells.
pub(crate) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < until, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}
