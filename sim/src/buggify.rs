//! Points at which what is simulated misbehaves now and then, within what it may do.
//!
//! A fault of a plan is what the world does to a node. This is less: a timer that is a little late,
//! a queue that says full, a task that lets others go first. No promise is broken, so nobody may
//! notice; but what is always prompt in a simulation is where a promise that nobody made is relied
//! upon. A plan whose knob `buggify` is on has about a quarter of the points, by its seed, and each
//! fires rarely, by who asks and at what.
//!
//! It is a value that executors, transports and worlds of the simulator are given, and no global:
//! what runs in production has never heard of it.

use crate::engine::Engine;
use crate::plan::Plan;
use crate::stream::{Purpose, Streams};

macro_rules! points {
    ($($point:ident $name:literal $per_million:literal [$k:literal $v:literal $t:literal]
       $network:literal $what:literal,)*) => {
        /// A point.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Point { $(#[doc = $what] $point,)* }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// Its name in summaries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }

            /// How often it fires where it is on, in a million times.
            const fn per_million(self) -> u32 {
                match self { $(Self::$point => $per_million,)* }
            }

            /// Whether it is on the way of a run on this engine; some need two nodes.
            const fn is_on_the_way(self, engine: Engine, nodes: usize) -> bool {
                let (here, network) = match self { $(Self::$point => (match engine {
                    Engine::Kernel => $k == 1,
                    Engine::Virtual => $v == 1,
                    Engine::Turmoil => $t == 1,
                }, $network),)* };
                here && (nodes > 1 || !network)
            }
        }
    };
}

// Columns: name, chance in a million, engines (1, 1.5, 2), whether it is between nodes.
points! {
    LateTimer "late_timer" 20_000 [1 1 0] false
        "A timer fires up to a millisecond late.",
    SpuriousWake "spurious_wake" 10_000 [1 1 1] false
        "A kernel, or a task, is woken for nothing.",
    ExtraYield "extra_yield" 10_000 [1 1 1] false
        "What could go on lets others go first.",
    SlowKill "slow_kill" 250_000 [1 0 0] false
        "A process that was killed takes up to 50 ms to be gone.",
    StartToldTwice "start_told_twice" 50_000 [1 0 0] false
        "A kernel is told twice that a process is up.",
    EndToldTwice "end_told_twice" 50_000 [1 0 0] false
        "A kernel is told twice that a process is gone.",
    ShortQueue "short_queue" 1_000 [1 1 1] true
        "A transport says that its queue is full.",
    LateFrame "late_frame" 20_000 [1 1 0] true
        "A frame is under way up to 3 ms longer, and those of other peers pass it.",
}

impl Point {
    /// Those that runs of this scenario pass on this engine.
    pub fn reachable(engine: Engine, nodes: usize) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |point| point.is_on_the_way(engine, nodes))
    }
}

/// How often each point has fired.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Fired([u64; Point::ALL.len()]);

impl Fired {
    /// How often this one has.
    #[must_use]
    pub const fn of(&self, point: Point) -> u64 {
        self.0[point as usize]
    }

    /// Adds what happened in another run.
    pub fn merge(&mut self, other: &Self) {
        for (here, there) in self.0.iter_mut().zip(other.0) {
            *here = here.saturating_add(there);
        }
    }

    pub(crate) const fn add(&mut self, point: Point, times: u64) {
        let count = &mut self.0[point as usize];
        *count = count.saturating_add(times);
    }
}

/// Of how many plans that have points one has a certain point, in a million.
const ON: u32 = 250_000;

/// The points of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buggify {
    streams: Streams,
    on: [bool; Point::ALL.len()],
    pub(crate) fired: Fired,
}

impl Buggify {
    /// Of a run of this plan: none, unless it wants some.
    pub(crate) fn new(plan: &Plan) -> Self {
        let streams = Streams::new(plan.seed);
        let mut on = [false; Point::ALL.len()];
        for (n, on) in (0..).zip(&mut on) {
            *on = plan.knobs.buggify && streams.chance(Purpose::Buggify, u64::MAX, n, ON);
        }
        Self { streams, on, fired: Fired::default() }
    }

    /// Whether a point is on in this run.
    #[inline]
    pub(crate) const fn has(&self, point: Point) -> bool {
        self.on[point as usize]
    }

    /// Whether a point fires for this one, the n-th time.
    #[inline]
    pub(crate) fn fires(&mut self, point: Point, whose: u64, n: u64) -> bool {
        let fires = self.has(point) && self.would(point, whose, n);
        if fires {
            self.fired.add(point, 1);
        }
        fires
    }

    fn would(&self, point: Point, whose: u64, n: u64) -> bool {
        let whose = whose ^ ((point as u64 + 1) << 56);
        self.streams.chance(Purpose::Buggify, whose, n, point.per_million())
    }

    /// How much, from 1 to `most`, where a point fires.
    #[inline]
    pub(crate) fn amount(&mut self, point: Point, whose: u64, n: u64, most: u64) -> u64 {
        if !self.fires(point, whose, n) {
            return 0;
        }
        let whose = whose ^ ((point as u64 + 101) << 56);
        self.streams.between(Purpose::Buggify, whose, n, 1, most)
    }

    /// How often in a million a point fires in this run.
    pub(crate) const fn rate(&self, point: Point) -> u32 {
        if self.has(point) { point.per_million() } else { 0 }
    }
}
