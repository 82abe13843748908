//! A `config` from which is taken what its agent's type has found fault with, so that the type
//! finds the next one.

use crate::model::AgentNode;
use crate::options::AgentCheck;
use crate::suggest::{is_slip, nearest};

/// Keys of which each is left out in turn, to find out of which one serde speaks.
const TRIED: usize = 32;

/// An agent whose settings are tried.
pub(crate) struct Trial {
    pub(crate) node: AgentNode,
    /// Keys that are not tried any more.
    pub(crate) gone: Vec<String>,
    /// Keys that were surely meant, each with what is written.
    pub(crate) renamed: Vec<(String, String)>,
}

/// The words in backquotes.
pub(crate) fn quoted(why: &str) -> impl Iterator<Item = &str> {
    why.split('`').skip(1).step_by(2)
}

impl Trial {
    /// The setting that a refusal is about: the first that it names; or, as serde names none for a
    /// value of the wrong type, the one without which the refusal is another one.
    pub(crate) fn culprit(&self, agents: &dyn AgentCheck, why: &str) -> Option<String> {
        let config = &self.node.config;
        if let Some(named) = quoted(why).find(|word| config.contains_key(*word)) {
            return Some(named.to_owned());
        }
        if !why.contains("invalid type") && !why.contains("invalid value") {
            return None;
        }
        let changes = |key: &&String| {
            let mut node = self.node.clone();
            node.config.remove(*key);
            agents.check(&node).err().as_deref() != Some(why)
        };
        config.keys().take(TRIED).find(changes).cloned()
    }

    /// What an unknown key perhaps meant. It is serde that most types are read with, and this is
    /// how it says that.
    pub(crate) fn meant(&self, key: &str, why: &str) -> Option<String> {
        let unknown = why.contains("unknown field `");
        unknown.then(|| nearest(key, quoted(why).skip(1))).flatten().map(str::to_owned)
    }

    /// How a key is written in the file.
    pub(crate) fn written<'k>(&'k self, key: &'k str) -> &'k str {
        let renamed = self.renamed.iter().find(|(meant, _)| meant == key);
        renamed.map_or(key, |(_, written)| written)
    }

    /// Takes a setting out; its value goes on under the key that was surely meant.
    pub(crate) fn put_aside(&mut self, key: &str, meant: Option<String>) {
        let value = self.node.config.remove(key);
        let free = |meant: &String| {
            is_slip(key, meant)
                && !self.node.config.contains_key(meant)
                && !self.gone.contains(meant)
        };
        match (value, meant.filter(free)) {
            (Some(value), Some(meant)) => {
                self.node.config.insert(meant.clone(), value);
                self.renamed.push((meant, key.to_owned()));
            }
            (Some(_) | None, _) => self.gone.push(key.to_owned()),
        }
    }
}
