//! How a supervisor works, and what it cannot work by.

use crate::{Backoff, ChildId, ChildSpec, ExitReason, Intensity, Restart};

/// Which children are restarted together with one that failed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Strategy {
    /// Only the one that failed.
    #[default]
    OneForOne,
    /// All: the others are stopped in reverse start order, then all are started in start order.
    OneForAll,
    /// The one that failed and all after it in start order.
    RestForOne,
}

/// Whether the end of a significant child ends the supervisor.
///
/// Looked at only when a child ends by itself and is not restarted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum AutoShutdown {
    /// Never. No child may be significant.
    #[default]
    Never,
    /// When one significant child has ended.
    AnySignificant,
    /// When the last significant child has ended.
    AllSignificant,
}

/// How a supervisor works.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Who is restarted together.
    pub strategy: Strategy,
    /// The restart budget, shared by all children.
    pub intensity: Intensity,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// Whether significant children end the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// The reason that the supervisor exits with when its budget is used up. The default,
    /// `RestartsExhausted`, is not clean, so a transient subtree comes back; OTP's is `Shutdown`.
    pub exhausted: ExitReason,
    /// No more children than this, those that are down included.
    pub max_children: u32,
    /// Seed of the jitter.
    pub seed: u64,
    /// The first start has this incarnation; each later one a greater.
    pub first_incarnation: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            auto_shutdown: AutoShutdown::Never,
            exhausted: ExitReason::RestartsExhausted,
            max_children: 1 << 24,
            seed: 0,
            first_incarnation: 1,
        }
    }
}

/// A configuration that no supervisor can work by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two children have this id.
    DuplicateChild(ChildId),
    /// The restart window has no length.
    ZeroPeriod,
    /// The backoff's base is longer than its cap.
    BackoffBaseAboveMax,
    /// The child is significant, but permanent, or under a supervisor that never shuts down by
    /// itself (OTP `bad_combination`).
    BadCombination(ChildId),
    /// More children than [`Config::max_children`].
    TooManyChildren,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::DuplicateChild(id) => write!(f, "two children have the id {}", id.0),
            Self::ZeroPeriod => f.write_str("the restart window must be longer than zero"),
            Self::BackoffBaseAboveMax => f.write_str("the backoff's base is above its maximum"),
            Self::BadCombination(id) => write!(
                f,
                "child {} is significant, but permanent or under auto_shutdown never",
                id.0
            ),
            Self::TooManyChildren => f.write_str("more children than max_children"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Whether a child with this specification may hang under a supervisor with this rule.
pub(crate) fn allows(auto_shutdown: AutoShutdown, spec: &ChildSpec) -> bool {
    !spec.significant
        || (auto_shutdown != AutoShutdown::Never && spec.restart != Restart::Permanent)
}

/// Checks the parts of a policy that both kinds of supervisors share.
pub(crate) fn check_policy(intensity: Intensity, backoff: &Backoff) -> Result<(), ConfigError> {
    if intensity.period.is_zero() {
        return Err(ConfigError::ZeroPeriod);
    }
    if backoff.base > backoff.max {
        return Err(ConfigError::BackoffBaseAboveMax);
    }
    Ok(())
}
