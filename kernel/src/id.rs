//! Identities. Small, `Copy`, ordered; strings stay at the edge.

/// A child of a supervisor: the specification, stable over restarts. Chosen by the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChildId(pub u32);

/// A process: one incarnation of a child. Each start has a greater incarnation than all before it
/// under the same supervisor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid {
    /// Which specification it runs.
    pub child: ChildId,
    /// Which start of it.
    pub incarnation: u64,
}

/// One incarnation of a supervisor within a node. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SupervisorId(pub u64);

/// A process within a node: a supervisor's incarnation and the process under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId {
    /// The supervisor that decides about the process.
    pub supervisor: SupervisorId,
    /// The process under that supervisor.
    pub pid: Pid,
}

/// A node: one runtime in one operating-system process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// A name, interned by [`Names`](crate::Names).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameId(pub u32);

/// A call in flight. Never reused within a node (Erlang's reference).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);
