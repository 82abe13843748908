//! Faults that hold at an agent, for every engine.

use crate::fault::Kind;

/// Faults that hold at an agent: how many of each kind, or by how much.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effects {
    pub(crate) crash_in_start: u32,
    pub(crate) ignore_start: u32,
    pub(crate) hang_in_start: u32,
    pub(crate) crash_in_stop: u32,
    /// At a supervisor: whenever it stops a child, another one crashes.
    pub(crate) crash_in_sweep: u32,
    pub(crate) ignore_shutdown: u32,
    pub(crate) slow_start: u64,
    pub(crate) slow_stop: u64,
    pub(crate) slow: u64,
    pub(crate) crash_loop: Option<u64>,
}

impl Effects {
    /// A fault begins or ends; kinds that do not hold at an agent change nothing.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest does not hold at an agent")]
    pub(crate) fn change(&mut self, kind: Kind, amount: u64, begins: bool) {
        let count = |held: &mut u32| {
            *held = if begins { *held + 1 } else { held.saturating_sub(1) };
        };
        let slower = |held: &mut u64| {
            *held = if begins { held.saturating_add(amount) } else { held.saturating_sub(amount) };
        };
        match kind {
            Kind::CrashInStart => count(&mut self.crash_in_start),
            Kind::IgnoreStart => count(&mut self.ignore_start),
            Kind::CrashInStop => count(&mut self.crash_in_stop),
            Kind::CrashInSweep => count(&mut self.crash_in_sweep),
            Kind::HangInStart => count(&mut self.hang_in_start),
            Kind::IgnoreShutdown => count(&mut self.ignore_shutdown),
            Kind::SlowStart => slower(&mut self.slow_start),
            Kind::SlowStop => slower(&mut self.slow_stop),
            Kind::Slow => slower(&mut self.slow),
            Kind::CrashLoop => self.crash_loop = begins.then_some(amount),
            _ => {}
        }
    }
}
