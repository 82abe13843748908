//! Supervisors before they run.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Machine;
use crate::dynamic_supervisor::{self, DynamicSupervisor};
use crate::supervisor::{self, ConfigError, Supervisor};
use crate::{ChildId, ChildSpec, SupervisorId};

/// A supervisor before it runs. Shared, because every restart begins from it again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Plan {
    /// A static supervisor and its children, in start order.
    Static {
        /// How it works.
        config: supervisor::Config,
        /// Its children.
        children: Vec<PlannedChild>,
    },
    /// A dynamic supervisor.
    Dynamic(dynamic_supervisor::Config),
}

/// A child before it runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlannedChild {
    /// Its id under its supervisor.
    pub id: ChildId,
    /// Its specification.
    pub spec: ChildSpec,
    /// What runs there.
    pub body: Body,
}

/// What runs as a child.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    /// Something outside the kernel.
    Worker,
    /// A supervisor.
    Supervisor(Arc<Plan>),
}

impl Plan {
    /// Checks this plan and all plans below it.
    ///
    /// # Errors
    /// The first [`ConfigError`] in start order.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut rest: Vec<&Self> = Vec::from([self]);
        while let Some(plan) = rest.pop() {
            plan.check_alone()?;
            if let Self::Static { children, .. } = plan {
                rest.extend(children.iter().rev().filter_map(|child| match &child.body {
                    Body::Supervisor(plan) => Some(&**plan),
                    Body::Worker => None,
                }));
            }
        }
        Ok(())
    }

    /// Checks this plan, and none of those below it.
    ///
    /// # Errors
    /// The first [`ConfigError`] in start order.
    pub fn check_alone(&self) -> Result<(), ConfigError> {
        match self {
            Self::Static { config, children } => {
                Supervisor::check(config, children.iter().map(|child| (child.id, child.spec)))
            }
            Self::Dynamic(config) => supervisor::check_policy(config.intensity, &config.backoff),
        }
    }

    /// A fresh machine. Its jitter depends on which incarnation it is.
    pub(super) fn machine(&self, id: SupervisorId) -> Result<Machine, ConfigError> {
        let mix = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self {
            Self::Static { config, children } => {
                let specs: Vec<_> = children.iter().map(|child| (child.id, child.spec)).collect();
                let config = supervisor::Config { seed: config.seed ^ mix, ..config.clone() };
                Supervisor::new(config, &specs).map(Machine::Static)
            }
            Self::Dynamic(config) => {
                let seed = config.seed ^ mix;
                let config = dynamic_supervisor::Config { seed, ..config.clone() };
                DynamicSupervisor::new(config).map(Machine::Dynamic)
            }
        }
    }
}
