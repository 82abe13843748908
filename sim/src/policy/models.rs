//! What happens to the children.

use core::time::Duration;

use super::table::human;

/// A crash model with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crashes {
    /// What it is called in reports. The draws of the model are keyed by it.
    pub name: String,
    /// What happens.
    pub model: CrashModel,
}

/// When children crash. Instants are counted from when all children are up for the first time.
///
/// Children are indices into [`Policy::children`](super::Policy::children), and stand for the child
/// of every supervisor; no index at all means every child.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CrashModel {
    /// Each child crashes by itself, after a time that is exponentially distributed.
    Mtbf {
        /// Mean time from up to crash, for each child.
        mean: Duration,
        /// Which children.
        children: Vec<usize>,
    },
    /// A broken version is deployed: the children crash at once, and what is started before the fix
    /// does not stay up.
    CrashLoop {
        /// When the broken version comes.
        at: Duration,
        /// How long after that what is started is good again.
        fixed_after: Duration,
        /// How the broken version fails.
        fails: Fails,
        /// Which children.
        children: Vec<usize>,
    },
    /// Messages that crash whoever handles them come in, and are delivered again after each restart
    /// until they are given up.
    Poison {
        /// Mean time between two such messages to one child (exponentially distributed).
        every: Duration,
        /// How long after its delivery (or after the start) the child crashes.
        crash_after: Duration,
        /// How many times a message is delivered before it is skipped.
        deliveries: Option<u32>,
        /// How old a message becomes before it is skipped.
        expires: Option<Duration>,
        /// Which children.
        children: Vec<usize>,
    },
    /// What all children depend on goes down. Each of them crashes, and no start succeeds until it
    /// is back; each start is a request to it.
    Outage {
        /// When it goes down.
        at: Duration,
        /// How long it is down, if it is left in peace.
        lasts: Duration,
        /// Within what time the children notice, evenly spread. Zero: all in one instant.
        notice: Duration,
        /// How many starts within [`STORM_BUCKET`](super::STORM_BUCKET) it can stand while it is
        /// down. `None`: any number.
        capacity: Option<u32>,
        /// How long it stays down from each moment at which there were more.
        prolongs: Duration,
    },
    /// What really happened, to one of the supervisors, drawn from the seed for each crash. A crash
    /// of a child that is down at the time is left out and counted.
    Recorded {
        /// The crashes, in any order.
        crashes: Vec<RecordedCrash>,
    },
}

/// How a broken version fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fails {
    /// It cannot be started.
    AtStart,
    /// It comes up, and crashes this long after.
    After(Duration),
}

/// A line of a crash log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordedCrash {
    /// When.
    pub at: Duration,
    /// Who; `None`: one that is drawn from the seed.
    pub child: Option<usize>,
}

impl CrashModel {
    /// All children that it names.
    pub(super) fn children(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::Mtbf { children, .. }
            | Self::CrashLoop { children, .. }
            | Self::Poison { children, .. } => Box::new(children.iter().copied()),
            Self::Outage { .. } => Box::new(std::iter::empty()),
            Self::Recorded { crashes } => Box::new(crashes.iter().filter_map(|crash| crash.child)),
        }
    }

    /// What happens, in a line.
    #[must_use]
    pub fn describe(&self) -> String {
        let of = |children: &[usize]| match children.len() {
            0 => "every child".to_owned(),
            1 => "one child".to_owned(),
            n => format!("{n} children"),
        };
        let time = |duration: &Duration| human(duration.as_secs_f64());
        match self {
            Self::Mtbf { mean, children } => {
                let mean = time(mean);
                format!("{} crashes at random, {mean} apart on average", of(children))
            }
            Self::CrashLoop { at, fixed_after, fails, children } => {
                let how = match fails {
                    Fails::AtStart => "cannot start".to_owned(),
                    Fails::After(after) => format!("crashes {} after each start", time(after)),
                };
                let (at, fixed_after) = (time(at), time(fixed_after));
                format!("from {at} on, {} {how}; fixed {fixed_after} later", of(children))
            }
            Self::Poison { every, crash_after, deliveries, expires, children } => {
                let times = deliveries.map(|n| format!("{n} deliveries"));
                let age = expires.as_ref().map(time);
                let (every, crash_after) = (time(every), time(crash_after));
                let until: Vec<String> = times.into_iter().chain(age).collect();
                format!(
                    "{} gets a poison message {every} apart on average and crashes \
                     {crash_after} into it; skipped after {}",
                    of(children),
                    until.join(" or ")
                )
            }
            Self::Outage { at, lasts, capacity, prolongs, .. } => {
                let (at, lasts, prolongs) = (time(at), time(lasts), time(prolongs));
                let peace = capacity.map_or_else(String::new, |capacity| {
                    format!("; more than {capacity} starts in 100 ms keep it down {prolongs} more")
                });
                format!("what every child depends on is down for {lasts} from {at} on{peace}")
            }
            Self::Recorded { crashes } => format!("{} recorded crashes", crashes.len()),
        }
    }
}
