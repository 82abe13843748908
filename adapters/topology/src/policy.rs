//! The words of the file format and what they stand for.

use lictor_kernel::{AutoShutdown, Curve, Jitter, Restart, Strategy};

use crate::model::{Budget, InHand, Overflow};

pub(crate) use crate::fields::Words;
pub(crate) const STRATEGIES: Words<Strategy> = &[
    ("ONE_FOR_ONE", Strategy::OneForOne),
    ("ONE_FOR_ALL", Strategy::OneForAll),
    ("REST_FOR_ONE", Strategy::RestForOne),
];

pub(crate) const CURVES: Words<Curve> = &[
    ("CONSTANT", Curve::Constant),
    ("LINEAR", Curve::Linear),
    ("EXPONENTIAL", Curve::Exponential),
    ("NONE", Curve::None),
];

pub(crate) const JITTERS: Words<Jitter> = &[
    ("none", Jitter::None),
    ("quarter", Jitter::Quarter),
    ("full", Jitter::Full),
    ("decorrelated", Jitter::Decorrelated),
];

pub(crate) const AUTO_SHUTDOWNS: Words<AutoShutdown> = &[
    ("never", AutoShutdown::Never),
    ("any_significant", AutoShutdown::AnySignificant),
    ("all_significant", AutoShutdown::AllSignificant),
];

pub(crate) const RESTARTS: Words<Restart> = &[
    ("permanent", Restart::Permanent),
    ("transient", Restart::Transient),
    ("temporary", Restart::Temporary),
];

/// civitas says `never` for the children of a dynamic supervisor.
pub(crate) const SPAWNED_RESTARTS: Words<Restart> = &[
    ("permanent", Restart::Permanent),
    ("transient", Restart::Transient),
    ("temporary", Restart::Temporary),
    ("never", Restart::Temporary),
];

pub(crate) const OVERFLOWS: Words<Overflow> = &[
    ("wait", Overflow::Wait),
    ("reject", Overflow::Reject),
    ("drop_oldest", Overflow::DropOldest),
];

pub(crate) const IN_HANDS: Words<InHand> = &[
    ("drop", InHand::Drop),
    ("redeliver", InHand::Redeliver),
    ("dead_letter", InHand::DeadLetter),
];

pub(crate) const BUDGETS: Words<Budget> = &[("child", Budget::Child), ("shared", Budget::Shared)];

/// The canonical word for a value.
pub(crate) fn word_of<T: Copy + PartialEq>(words: Words<T>, value: T) -> &'static str {
    words.iter().find(|(_, other)| *other == value).map_or("", |(word, _)| word)
}
