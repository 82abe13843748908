//! What is measured: the wall, the processor's time of the whole process, its memory.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The processor's time that all threads of this process have used.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

/// A measurement that has begun.
pub struct Watch {
    wall: Instant,
    cpu: Duration,
}

/// What it took, both in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub wall: f64,
    pub cpu: f64,
}

impl Watch {
    pub fn start() -> Self {
        let cpu = cpu();
        Self { wall: Instant::now(), cpu }
    }

    pub fn took(&self) -> Took {
        let wall = self.wall.elapsed().as_nanos() as f64;
        Took { wall, cpu: cpu().saturating_sub(self.cpu).as_nanos() as f64 }
    }
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes =
        line.and_then(|line| line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Resident memory now, in bytes.
pub fn resident() -> u64 {
    status("VmRSS")
}

/// The most memory that was ever resident, in bytes.
pub fn peak() -> u64 {
    status("VmHWM")
}

/// The most memory that was ever resident and is not of a file, in bytes. The pages of the program
/// and of its libraries, with all the crates that it has, come in pieces of 64 kB and only grow:
/// what of them is there at the end is taken off.
pub fn own_peak() -> u64 {
    peak().saturating_sub(status("RssFile"))
}

/// The median and the 99th percentile.
pub fn percentiles(mut samples: Vec<f64>) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    let at = |part: usize| samples.get(samples.len() * part / 100).copied().unwrap_or(0.0);
    (at(50), at(99))
}
