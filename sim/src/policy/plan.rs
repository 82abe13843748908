//! What is compared, and how.

use core::fmt;
use core::time::Duration;

use lictor_kernel::supervisor::{Config, ConfigError, Strategy};
use lictor_kernel::{Backoff, ChildId, ChildSpec, Intensity, Restart, Shutdown, Supervisor};

use super::models::Crashes;

/// A restart policy, and the children that it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What it is called in reports.
    pub name: String,
    /// Who is restarted together.
    pub strategy: Strategy,
    /// The restart budget.
    pub intensity: Intensity,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// The names of the children, in start order; at least one. They are permanent.
    pub children: Vec<String>,
    /// How many supervisors like this there are, each with all the children; at least one. They
    /// have nothing in common but what happens to all of them at once. A supervisor starts its
    /// children one by one, so storms of restarts need several.
    pub supervisors: u32,
    /// How long a child takes to come up, and to find out that it cannot. At least a millisecond,
    /// so that restarts take time.
    pub start_time: Duration,
    /// How long a child takes to stop when it is told to.
    pub stop_time: Duration,
    /// How long after the supervisor gave up the whole tree is started again, by its parent or by a
    /// person. `None`: never, it stays down until the end of the run.
    pub repair_after: Option<Duration>,
}

impl Policy {
    /// The defaults of a supervisor (three restarts within 60 seconds, a second of wait) for
    /// `child-1`, `child-2`, ..., which take 50 ms to start and 10 ms to stop; repaired after five
    /// minutes.
    #[must_use]
    pub fn new(name: &str, children: u32) -> Self {
        Self {
            name: name.to_owned(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            children: (1..=children).map(|n| format!("child-{n}")).collect(),
            supervisors: 1,
            start_time: Duration::from_millis(50),
            stop_time: Duration::from_millis(10),
            repair_after: Some(Duration::from_secs(300)),
        }
    }

    /// How many children all supervisors have together.
    pub(super) fn total_children(&self) -> usize {
        let supervisors = usize::try_from(self.supervisors).unwrap_or(usize::MAX);
        self.children.len().saturating_mul(supervisors)
    }

    /// A supervisor that works by this policy and has not started anything yet.
    pub(super) fn supervisor(
        &self,
        seed: u64,
        first_incarnation: u64,
    ) -> Result<Supervisor, ConfigError> {
        let config = Config {
            strategy: self.strategy,
            intensity: self.intensity,
            backoff: self.backoff,
            seed,
            first_incarnation,
            ..Config::default()
        };
        let spec = ChildSpec {
            restart: Restart::Permanent,
            shutdown: Shutdown::Infinity,
            ..ChildSpec::worker()
        };
        let specs: Vec<_> =
            (0..).map(ChildId).zip(&self.children).map(|(id, _)| (id, spec)).collect();
        Supervisor::new(config, &specs)
    }
}

/// How much is simulated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// How many runs each pair of a policy and a model gets; the seeds are 0, 1, 2, ...
    pub seeds: u32,
    /// How long a run is, in virtual time, from when all children are up.
    pub duration: Duration,
    /// How many threads work; 0 counts as 1. The figures do not depend on it.
    pub threads: usize,
}

/// Why nothing can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError {
    /// There is no policy, no crash model, no seed, or no time.
    Nothing,
    /// The kernel refuses the policy with this name.
    Config(String, ConfigError),
    /// The policy with this name has no children, or no supervisor.
    NoChildren(String),
    /// The policy with this name starts its children in less than a millisecond.
    StartTime(String),
    /// This crash model names a child by an index that this policy does not have.
    UnknownChild {
        /// The model.
        crashes: String,
        /// The policy.
        policy: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is nothing to compare"),
            Self::Config(name, error) => write!(f, "policy {name}: {error}"),
            Self::NoChildren(name) => write!(f, "policy {name} has no children, or no supervisor"),
            Self::StartTime(name) => write!(f, "policy {name}: a start takes at least 1 ms"),
            Self::UnknownChild { crashes, policy } => {
                write!(f, "crash model {crashes} names a child that policy {policy} does not have")
            }
        }
    }
}

impl std::error::Error for PolicyError {}

/// Checks all that can be wrong with values that were not read from a file.
pub(super) fn check(
    policies: &[Policy],
    crashes: &[Crashes],
    settings: &Settings,
) -> Result<(), PolicyError> {
    let empty = policies.is_empty() || crashes.is_empty();
    if empty || settings.seeds == 0 || settings.duration.is_zero() {
        return Err(PolicyError::Nothing);
    }
    for policy in policies {
        let name = || policy.name.clone();
        policy.supervisor(0, 1).map_err(|error| PolicyError::Config(name(), error))?;
        if policy.children.is_empty() || policy.supervisors == 0 {
            return Err(PolicyError::NoChildren(name()));
        }
        if policy.start_time < Duration::from_millis(1) {
            return Err(PolicyError::StartTime(name()));
        }
        for crash in crashes {
            if crash.model.children().any(|child| child >= policy.children.len()) {
                let crashes = crash.name.clone();
                return Err(PolicyError::UnknownChild { crashes, policy: name() });
            }
        }
    }
    Ok(())
}
