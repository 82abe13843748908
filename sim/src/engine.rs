//! Which engine runs a plan.

mod host;
#[cfg(feature = "turmoil")]
mod on_turmoil;
mod on_virtual;
mod wire;

use std::fmt;
use std::time::Duration;

use lictor_kernel::Instant;

use crate::broker::Medium;
use crate::fault::{Engines, Kind};
use crate::outcome::{Options, Outcome};
use crate::plan::{Act, Plan, duration_text};
use crate::world;

/// An engine that runs plans.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Engine {
    /// The kernel world (tier 1): the kernel's machines, everything else modelled.
    #[default]
    Kernel,
    /// The virtual executor (tier 1.5): the real runtime in virtual time.
    Virtual,
    /// Turmoil (tier 2): the real runtime on tokio over a simulated network.
    Turmoil,
}

impl Engine {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Kernel, Self::Virtual, Self::Turmoil];

    /// Its word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Virtual => "virtual",
            Self::Turmoil => "turmoil",
        }
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// [`EngineError`] if this program does not have the engine, or the engine not a fault of the
    /// plan; and if the run has more events than it may have.
    pub fn run(self, plan: &Plan, options: Options) -> Result<Outcome, EngineError> {
        self.is_built_in()?;
        self.can(plan)?;
        let outcome = match self {
            Self::Kernel => world::run(plan, options),
            Self::Virtual => on_virtual::run(plan, options),
            #[cfg(feature = "turmoil")]
            Self::Turmoil => on_turmoil::run(plan, options),
            #[cfg(not(feature = "turmoil"))]
            Self::Turmoil => return Err(NotBuiltIn(self).into()),
        };
        match outcome.cut_short {
            None => Ok(outcome),
            Some(busiest) => Err(EngineError::TooManyEvents {
                seed: plan.seed,
                events: outcome.events,
                at: outcome.ended,
                of: plan.horizon,
                busiest: busiest.map(|who| plan.scenario.entity(who).name.clone()),
            }),
        }
    }

    /// Whether the engine has all that the plan needs.
    ///
    /// # Errors
    /// [`EngineError::NoFault`] for the first fault that it has not, and [`EngineError::NoPlaces`],
    /// [`EngineError::NoClaims`] and [`EngineError::NoMedium`] as well.
    pub fn can(self, plan: &Plan) -> Result<(), EngineError> {
        let mut kinds = plan.faults.iter().map(|fault| fault.kind);
        match kinds.find(|kind| !kind.facts().engines.has(self)) {
            Some(kind) => return Err(EngineError::NoFault(self, kind)),
            None if plan.knobs.child_lease.is_some() && !self.places() => {
                return Err(EngineError::NoPlaces(self));
            }
            None if self.is_modelled() => return Ok(()),
            None => {}
        }
        let mut acts = plan.operations.iter().map(|operation| operation.act);
        if let Some(act) = acts.find(Act::needs_model) {
            return Err(EngineError::NoClaims(self, act.word()));
        }
        match plan.knobs.medium {
            Medium::Direct => Ok(()),
            medium @ (Medium::NatsCore | Medium::JetStream | Medium::ZeroMq) => {
                Err(EngineError::NoMedium(self, medium))
            }
        }
    }

    /// Whether all but the kernel is a model: only then can a node say that it has a name behind
    /// which there is nobody, and only then is there a broker between the nodes.
    #[must_use]
    pub const fn is_modelled(self) -> bool {
        matches!(self, Self::Kernel)
    }

    /// Whether agents can run on other nodes than their supervisors here: only such an engine makes
    /// anything of [`Knobs::child_lease`](crate::plan::Knobs::child_lease). Elsewhere they run with
    /// their tree.
    #[must_use]
    pub const fn places(self) -> bool {
        matches!(self, Self::Kernel | Self::Virtual)
    }

    /// Whether this program has the engine.
    ///
    /// # Errors
    /// [`NotBuiltIn`] if not.
    pub const fn is_built_in(self) -> Result<(), NotBuiltIn> {
        match self {
            Self::Kernel | Self::Virtual => Ok(()),
            Self::Turmoil if cfg!(feature = "turmoil") => Ok(()),
            Self::Turmoil => Err(NotBuiltIn(self)),
        }
    }
}

impl Engines {
    /// Whether this engine is among them.
    #[must_use]
    pub const fn has(self, engine: Engine) -> bool {
        match engine {
            Engine::Kernel => self.kernel,
            Engine::Virtual => self.virtual_executor,
            Engine::Turmoil => self.turmoil,
        }
    }
}

/// This program was built without that engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NotBuiltIn(pub Engine);

impl fmt::Display for NotBuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine `{}` is not built into this program", self.0.word())
    }
}

impl std::error::Error for NotBuiltIn {}

/// Why an engine does not run a plan, or not to its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// See [`NotBuiltIn`].
    NotBuiltIn(Engine),
    /// The plan has a fault of a kind that the engine cannot do.
    NoFault(Engine, Kind),
    /// The plan has an operation that nobody can carry out on the engine, such as `claim`: its
    /// word in plans.
    NoClaims(Engine, &'static str),
    /// The plan has agents run on other nodes than their supervisors, and the engine places none.
    NoPlaces(Engine),
    /// In the plan something is between the nodes that the engine does not have.
    NoMedium(Engine, Medium),
    /// The run has had as many events as a run may have.
    TooManyEvents {
        /// Of the plan.
        seed: u64,
        /// How many.
        events: u64,
        /// When that was, on the world's clock.
        at: Instant,
        /// The horizon of the plan.
        of: Duration,
        /// The agent that had most to do.
        busiest: Option<String>,
    },
}

impl From<NotBuiltIn> for EngineError {
    fn from(NotBuiltIn(engine): NotBuiltIn) -> Self {
        Self::NotBuiltIn(engine)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn(engine) => NotBuiltIn(*engine).fmt(f),
            Self::NoFault(engine, kind) => {
                let name = kind.facts().name;
                write!(f, "the engine `{}` cannot do the fault `{name}`", engine.word())
            }
            Self::NoClaims(engine, word) => {
                write!(f, "the engine `{}` cannot do the operation `{word}`", engine.word())
            }
            Self::NoPlaces(engine) => write!(
                f,
                "the engine `{}` places no agents, and the plan has a `child_lease`; `kernel` and \
                 `virtual` do; leave `child_lease` out of `knobs`, and all run with their trees",
                engine.word()
            ),
            Self::TooManyEvents { seed, events, at, of, busiest } => {
                let at = duration_text(Duration::from_nanos(at.as_nanos()));
                let of = duration_text(*of);
                write!(
                    f,
                    "the run of seed {seed} has had {events} events by {at} of {of}, and a run has \
                     no more"
                )?;
                match busiest {
                    Some(name) => write!(f, "; `{name}` has most to do"),
                    None => Ok(()),
                }
            }
            Self::NoMedium(engine, medium) => {
                let medium = medium.word();
                write!(f, "the engine `{}` does not have the medium `{medium}`", engine.word())
            }
        }
    }
}

impl std::error::Error for EngineError {}
