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

impl NodeId {
    /// The number of the node of this name (in a topology, its `process`): the same on every host
    /// and in every release. FNV-1a, then the finalizer of SplitMix64; two of a thousand names are
    /// the same with a chance of 3 in 10^14.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, fold);
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self(hash ^ (hash >> 31))
    }
}

/// A name, interned by [`Names`](crate::Names).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameId(pub u32);

/// A call in flight. Never reused within a node (Erlang's reference).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);
