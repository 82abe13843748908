//! Agent types by name: what a topology or a spawn request may ask for, and nothing else.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::error::AgentError;
use crate::message::{Value, from_value};
use crate::spec::{AgentSpec, agent};

/// What an agent is set up with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// Its configuration; null if none was given.
    pub config: Value,
    /// Its credentials by provider.
    pub credentials: BTreeMap<String, String>,
}

impl Setup {
    /// The configuration as a type of the agent's own.
    ///
    /// # Errors
    /// It does not fit. No configuration counts as an empty map.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, AgentError> {
        let config = if self.config.is_null() {
            Value::Object(serde_json::Map::new())
        } else {
            self.config.clone()
        };
        from_value(config).map_err(|error| AgentError::new(format!("bad config: {error}")))
    }
}

type Make = dyn Fn(&Setup) -> Result<AgentSpec, AgentError> + Send + Sync;

/// The agent types that an application offers by name.
#[derive(Clone, Default)]
pub struct AgentTypes(BTreeMap<String, Arc<Make>>);

impl AgentTypes {
    /// No types.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a type. `prepare` checks the setup once, before anything is started, and returns the
    /// factory that makes each incarnation. An earlier type of the same name is replaced.
    #[must_use]
    pub fn with<A, F, P>(mut self, kind: &str, prepare: P) -> Self
    where
        A: Agent,
        F: Fn() -> A + Send + Sync + 'static,
        P: Fn(&Setup) -> Result<F, AgentError> + Send + Sync + 'static,
    {
        let make = move |setup: &Setup| Ok(agent(setup.name.clone(), prepare(setup)?));
        self.0.insert(kind.to_owned(), Arc::new(make));
        self
    }

    /// Offers a type by its whole specification, whose name is replaced by the setup's.
    #[must_use]
    pub fn with_spec<P>(mut self, kind: &str, prepare: P) -> Self
    where
        P: Fn(&Setup) -> Result<AgentSpec, AgentError> + Send + Sync + 'static,
    {
        self.0.insert(kind.to_owned(), Arc::new(prepare));
        self
    }

    /// The names of the types, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A specification of this type; `None` if it is unknown.
    #[must_use]
    pub fn make(&self, kind: &str, setup: &Setup) -> Option<Result<AgentSpec, AgentError>> {
        Some((self.0.get(kind)?)(setup).map(|spec| spec.named(setup.name.clone())))
    }
}

impl Debug for AgentTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
