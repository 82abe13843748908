//! Operations from bytes: every sequence of bytes is some history, and a short one is a short one.

use core::time::Duration;

use lictor_kernel::dynamic_supervisor::{self, Budget, SpawnerId};
use lictor_kernel::supervisor::Config;
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Curve, ExitReason, Instant, Intensity,
    Jitter, Restart, Shutdown, Strategy,
};

use super::{Advance, Answer, Command, Operation};

/// Bytes that are read from the front; zeros after their end.
#[derive(Clone, Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// All of them.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all were read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next byte, below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u8) -> u8 {
        self.byte().checked_rem(bound).unwrap_or(0)
    }

    /// One of a list that is not empty.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        assert!(!list.is_empty(), "there is something to pick");
        list[usize::from(self.byte()) % list.len()]
    }

    /// Up to `n` halves of a second.
    fn halves(&mut self, n: u8) -> Duration {
        Duration::from_millis(500 * u64::from(self.below(n)))
    }
}

const REASONS: [ExitReason; 12] = [
    ExitReason::Crashed,
    ExitReason::Normal,
    ExitReason::Crashed,
    ExitReason::Shutdown,
    ExitReason::Crashed,
    ExitReason::ShutdownBecause,
    ExitReason::Killed,
    ExitReason::StartTimeout,
    ExitReason::NoConnection,
    ExitReason::RestartsExhausted,
    ExitReason::Crashed,
    ExitReason::Normal,
];

fn shutdown(bytes: &mut Bytes<'_>) -> Shutdown {
    match bytes.below(8) {
        0 => Shutdown::BrutalKill,
        1 => Shutdown::Infinity,
        2 => Shutdown::Timeout(Duration::MAX),
        n => Shutdown::Timeout(Duration::from_millis(500 * u64::from(n - 3))),
    }
}

fn spec(bytes: &mut Bytes<'_>, auto: AutoShutdown) -> ChildSpec {
    let restart = bytes.pick(&[Restart::Permanent, Restart::Transient, Restart::Temporary]);
    let shutdown = shutdown(bytes);
    let flags = bytes.byte();
    let may = auto != AutoShutdown::Never && restart != Restart::Permanent;
    ChildSpec {
        restart,
        shutdown,
        significant: may && flags & 1 == 1,
        kind: if flags & 2 == 0 { ChildKind::Worker } else { ChildKind::Supervisor },
        start_timeout: (flags & 12 == 0).then(|| bytes.halves(5)),
    }
}

fn backoff(bytes: &mut Bytes<'_>) -> Backoff {
    let curves = [Curve::None, Curve::None, Curve::Constant, Curve::Linear, Curve::Exponential];
    let curve = bytes.pick(&curves);
    let base = bytes.halves(4);
    let max = base + bytes.halves(5);
    let stable_after = (bytes.below(4) == 0).then(|| bytes.halves(6));
    Backoff { curve, base, max, jitter: Jitter::None, stable_after }
}

fn auto(bytes: &mut Bytes<'_>) -> AutoShutdown {
    bytes.pick(&[
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
        AutoShutdown::Never,
    ])
}

fn intensity(bytes: &mut Bytes<'_>) -> Intensity {
    let max_restarts = u32::from(bytes.below(5));
    let period = bytes.halves(12) + Duration::from_millis(500);
    Intensity { max_restarts, period }
}

/// When it begins: mostly somewhere in the middle of time.
fn begin(bytes: &mut Bytes<'_>) -> Instant {
    match bytes.below(8) {
        0 => Instant::ZERO,
        1 => Instant::MAX.saturating_sub(Duration::from_secs(3)),
        _ => Instant::from_secs(100),
    }
}

/// A static supervisor of one to four children: its configuration, its children, its begin.
pub fn supervisor_setup(bytes: &mut Bytes<'_>) -> (Config, Vec<(ChildId, ChildSpec)>, Instant) {
    let strategy = bytes.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
    let (auto_shutdown, intensity, backoff) = (auto(bytes), intensity(bytes), backoff(bytes));
    let begin = begin(bytes);
    let children = 1 + bytes.below(4);
    let specs = (0..children).map(|id| (ChildId(u32::from(id)), spec(bytes, auto_shutdown)));
    let specs: Vec<_> = specs.collect();
    let max_children = u32::from(children) + u32::from(bytes.below(3));
    let config =
        Config { strategy, intensity, backoff, auto_shutdown, max_children, ..Config::default() };
    (config, specs, begin)
}

/// A dynamic supervisor and its begin.
pub fn dynamic_setup(bytes: &mut Bytes<'_>) -> (dynamic_supervisor::Config, Instant) {
    let few = |bytes: &mut Bytes<'_>| (bytes.below(4) == 0).then(|| 1 + u32::from(bytes.below(4)));
    let config = dynamic_supervisor::Config {
        budget: bytes.pick(&[Budget::Child, Budget::Shared]),
        auto_shutdown: auto(bytes),
        intensity: intensity(bytes),
        backoff: backoff(bytes),
        max_children: few(bytes),
        max_total_spawns: few(bytes).map(u64::from),
        max_children_per_spawner: few(bytes),
        max_total_spawns_per_spawner: few(bytes).map(u64::from),
        ..dynamic_supervisor::Config::default()
    };
    (config, begin(bytes))
}

fn answer(bytes: &mut Bytes<'_>) -> Answer {
    match bytes.below(12) {
        0..=5 => Answer::Well,
        6 => Answer::Late,
        7 => Answer::Ignored,
        8 | 9 => Answer::Failed,
        _ => Answer::Exited(bytes.pick(&REASONS)),
    }
}

fn advance(bytes: &mut Bytes<'_>) -> Advance {
    match bytes.below(14) {
        0..=5 => Advance::ToDeadline,
        6 => Advance::BeforeDeadline,
        7 => Advance::PastDeadline(Duration::from_nanos(1)),
        8 => Advance::PastDeadline(bytes.halves(4)),
        9 => Advance::ToWindowEdge(0),
        10 => Advance::ToWindowEdge(if bytes.below(2) == 0 { 1 } else { -1 }),
        11 => Advance::By(Duration::from_nanos(1)),
        12 => Advance::By(Duration::MAX),
        _ => Advance::By(bytes.halves(8)),
    }
}

fn command(bytes: &mut Bytes<'_>) -> Command {
    let id = ChildId(u32::from(bytes.below(6)));
    let spawner = SpawnerId(u64::from(bytes.below(3)));
    match bytes.below(8) {
        0..=2 => Command::Add {
            id,
            spec: spec(bytes, AutoShutdown::AnySignificant),
            spawner: (bytes.below(3) > 0).then_some(spawner),
        },
        3 => Command::Terminate { id, how: None },
        4 => Command::Terminate { id, how: Some(shutdown(bytes)) },
        5 => Command::Restart(id),
        6 => Command::Delete(id),
        _ => Command::Forget(spawner),
    }
}

/// The next operation; `None` at the end of the bytes.
pub fn operation(bytes: &mut Bytes<'_>) -> Option<Operation> {
    if bytes.is_empty() {
        return None;
    }
    let which = |bytes: &mut Bytes<'_>| u16::from(bytes.byte());
    Some(match bytes.below(32) {
        0..=7 => Operation::Answer { which: which(bytes), how: answer(bytes) },
        8..=12 => Operation::Obey,
        13..=17 => Operation::Die { which: which(bytes), reason: bytes.pick(&REASONS) },
        18 => Operation::AllDie { reversed: bytes.below(2) == 1, reason: bytes.pick(&REASONS) },
        19..=22 => Operation::Command { at: which(bytes), command: command(bytes) },
        23..=26 => Operation::Advance(advance(bytes)),
        27 => Operation::Timeout,
        28 => Operation::Shutdown { within: (bytes.below(2) == 1).then(|| bytes.halves(5)) },
        29 if bytes.below(4) == 0 => Operation::Kill,
        29 => Operation::Begin,
        _ => Operation::Nonsense {
            what: bytes.byte(),
            which: which(bytes),
            reason: bytes.pick(&REASONS),
        },
    })
}
