//! Which engine runs a plan.

use std::fmt;

use crate::fault::Engines;
use crate::outcome::{Options, Outcome};
use crate::plan::Plan;
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
    /// [`NotBuiltIn`] if this program does not have the engine.
    pub fn run(self, plan: &Plan, options: Options) -> Result<Outcome, NotBuiltIn> {
        self.is_built_in()?;
        match self {
            Self::Kernel => Ok(world::run(plan, options)),
            Self::Virtual | Self::Turmoil => Err(NotBuiltIn(self)),
        }
    }

    /// Whether this program has the engine.
    ///
    /// # Errors
    /// [`NotBuiltIn`] if not.
    pub const fn is_built_in(self) -> Result<(), NotBuiltIn> {
        match self {
            Self::Kernel => Ok(()),
            Self::Virtual | Self::Turmoil => Err(NotBuiltIn(self)),
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
