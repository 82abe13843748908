//! Settings in which an agent names another one.
//!
//! What they name is known only when the whole tree is read, so they are kept until then. A warning
//! and no error: an agent may be of another program.

use crate::diagnostic::Quoted;
use crate::fields::Fields;
use crate::reader::{Place, Reader};
use crate::suggest::nearest;
use crate::tree::{Kind, Span};

/// So many names are compared, to find those that were meant: in a file of many agents, whose work
/// is to be bounded, some slips are only shown.
const COMPARED_MAX: usize = 100_000;

/// What was said of names so far.
#[derive(Debug, Default)]
pub(crate) struct References<'a> {
    /// The agents of the tree.
    agents: Vec<&'a str>,
    /// Settings that name one.
    named: Vec<Reference<'a>>,
    /// Whether agents may come to be while the tree runs.
    is_open: bool,
}

#[derive(Debug)]
struct Reference<'a> {
    by: &'a str,
    key: &'a str,
    name: &'a str,
    span: Span,
    path: Place<'a>,
}

impl<'a> Reader<'a> {
    /// Keeps the name of an agent, and what its settings name.
    pub(crate) fn refer(&mut self, fields: &Fields<'a>, name: &'a str, type_name: &str) {
        self.references.agents.push(name);
        let tree = self.tree;
        let keys = self.names_in.iter().filter(|(kind, _)| *kind == type_name);
        let Some(config) = fields.get("config") else { return };
        let Kind::Mapping(settings) = &tree.node(config.value).kind else { return };
        for (_, key) in keys {
            let Some(entry) = settings.iter().find(|entry| entry.key == *key) else { continue };
            // What a variable gives is never repeated, and differs from place to place.
            let Some(to) = self.scalar(entry.value).filter(|it| !it.substituted) else { continue };
            let path = self.place([&config.key, &entry.key]);
            let (key, span) = (entry.key.as_str(), entry.value.span);
            self.references.named.push(Reference { by: name, key, name: &to.text, span, path });
        }
    }

    /// A supervisor whose children are not in the file.
    pub(crate) fn opens(&mut self) {
        self.references.is_open = true;
    }

    /// Warns of names that no agent has, and none can come to have.
    pub(crate) fn dangling(&mut self) {
        let References { mut agents, named, is_open } = std::mem::take(&mut self.references);
        if is_open {
            return;
        }
        agents.sort_unstable();
        let mut compared: usize = 0;
        for Reference { by, key, name, span, path } in named {
            if agents.binary_search(&name).is_ok() || !crate::is_valid_name(name) {
                continue;
            }
            compared = compared.saturating_add(agents.len());
            let helps = !self.is_full() && compared <= COMPARED_MAX;
            let others = agents.iter().copied().filter(|agent| helps && *agent != by);
            let meant = nearest(name, others);
            self.at_place(path, |reader| {
                let (by, name) = (Quoted(by), Quoted(name));
                let message = format_args!("agent {by}: `{key}` names {name}, which no agent is");
                if let Some(d) = reader.warning("no-such-agent", span, message) {
                    match meant {
                        Some(meant) => d.help(format!("did you mean `{meant}`?")),
                        None => d.help("what is sent there is lost: add an agent of this name"),
                    };
                }
            });
        }
    }
}
