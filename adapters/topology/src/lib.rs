//! Topology files: YAML in, a validated [`Topology`] or every fault of the file out.
//!
//! ```
//! use lictor_topology::{Options, parse};
//!
//! let yaml = b"
//! supervision:
//!   strategy: one_for_all
//!   max_restart: 5
//!   children:
//!     - agent: { name: echo, type: lictor.echo }
//! ";
//! let faults = parse("app.yaml", yaml, &Options::default()).unwrap_err();
//! let fault = faults.iter().next().unwrap();
//! assert_eq!((fault.line, fault.column, fault.code), (4, 3, "unknown-key"));
//! assert_eq!(fault.help.as_deref(), Some("did you mean `max_restarts`?"));
//! ```
//!
//! The schema is strict: what is not understood is an error, never ignored. All faults are found in
//! one run; only a fault of the YAML itself (a missing quote, a tab) hides what comes after it.
//!
//! The work is bounded whatever the input: 1 MiB of text, 64 levels, a budget for what aliases
//! expand to, at most [`MAX_REPORTED`] reported faults (the rest are counted).
//!
//! Other documents can be read the same way: see [`document`].
//!
//! The text is read by an event parser into a tree in which every value knows its place, and the
//! tree is read by hand. Deriving the schema with serde would be shorter, but serde stops at the
//! first fault, hides duplicate keys and loses places inside tagged enums.
#![forbid(unsafe_code)]

mod child;
mod decode;
mod diagnostic;
pub mod document;
mod emit;
mod fields;
mod json;
mod model;
mod name;
mod network;
mod options;
mod parse;
mod policy;
mod quantity;
mod reader;
mod references;
mod render;
mod scalar;
mod security;
mod substitute;
mod suggest;
mod text;
mod topology;
mod transport;
mod tree;
mod trial;

pub use diagnostic::{Diagnostic, Diagnostics, MAX_REPORTED, Related, Severity};
pub use model::{
    AgentNode, Budget, Child, Credentials, DynamicSupervisorNode, InHand, MailboxPolicy, Origin,
    Overflow, SpawnLimits, SupervisorNode, Topology,
};
pub use name::is_valid_name;
pub use network::{
    Curve, Identity, IdentityMode, JetStream, Membership, Nats, NatsSecurity, Process, Secret,
    Security, Signing, Tls, Transport, TransportKind, Zmq,
};
pub use options::{
    AgentCheck, Environment, Foreign, NoEnvironment, Options, Overrides, ProcessEnvironment,
};
pub use quantity::{BadDuration, duration};
pub use render::Style;
pub use transport::{is_nats_server, is_zmq_address};

use document::{Format, Limits};
use reader::Reader;

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The deepest nesting of lists and mappings that is read, aliases included.
pub const MAX_DEPTH: usize = 64;

/// How many values a file may hold once its aliases are expanded.
pub const MAX_VALUES: usize = 600_000;

/// How many bytes of text a file may hold once its aliases and variables are expanded.
pub const MAX_EXPANDED_BYTES: usize = 4 * 1024 * 1024;

/// What [`check`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The topology, unless there was an error.
    pub topology: Option<Topology>,
    /// All errors and warnings, in the order of the file.
    pub diagnostics: Diagnostics,
}

/// Reads and validates a topology file.
///
/// `file_name` only appears in diagnostics; nothing is opened. Warnings are dropped when there is
/// no error; [`check`] keeps them.
///
/// # Errors
///
/// Every fault of the file, errors and warnings, when at least one is an error.
pub fn parse(file_name: &str, text: &[u8], options: &Options<'_>) -> Result<Topology, Diagnostics> {
    let checked = check(file_name, text, options);
    checked.topology.ok_or(checked.diagnostics)
}

/// Reads and validates a topology file, and keeps the warnings of a valid one.
#[must_use]
pub fn check(file_name: &str, text: &[u8], options: &Options<'_>) -> Checked {
    let format = Format { holds: "topology", first_key: "supervision", limits: Limits::SMALL };
    let read =
        document::read_tree(file_name, text, &format, options.environment, |tree, faults| {
            Reader::by(tree, faults, options).topology()
        });
    Checked { topology: read.value, diagnostics: read.diagnostics }
}
