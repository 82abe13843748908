//! The registry against lists that are searched from end to end.

use lictor_kernel::{
    AnnounceError, Announcement, CAPABILITIES_MAX, Change, ChangeKind, ChildId, ChildKind,
    Declaration, DeclareError, Glob, Instant, JoinError, Match, Merge, NameId, Names, NodeId,
    Owner, Pid, ProcessId, Registry, RegistryLimits, Status, SupervisorId, UpdateError, WatchError,
    Watched, WatcherId,
};
use proptest::prelude::*;

const NAMES: u32 = 3;
const NODES: u64 = 3;
const GROUP: NameId = NameId(50);

fn process(incarnation: u64) -> ProcessId {
    let pid = Pid { child: ChildId(1), incarnation };
    ProcessId { supervisor: SupervisorId(1), pid }
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Starting,
        Status::Up,
        Status::Restarting,
        Status::Suspended,
        Status::Down,
    ])
}

fn capabilities() -> impl Strategy<Value = Vec<NameId>> {
    prop::collection::vec((100..103_u32).prop_map(NameId), 0..3)
}

fn lease() -> impl Strategy<Value = Instant> {
    prop_oneof![4 => (0..6_u64).prop_map(Instant::from_nanos), 1 => Just(Instant::MAX)]
}

/// What a remote node says, with its capabilities owned.
#[derive(Clone, PartialEq, Debug)]
struct Said {
    name: NameId,
    node: NodeId,
    /// Epoch, incarnation, revision.
    stamp: (u64, u64, u64),
    lease_until: Instant,
    status: Status,
    capabilities: Vec<NameId>,
}

impl Said {
    fn announcement(&self) -> Announcement<'_> {
        Announcement {
            node: self.node,
            epoch: self.stamp.0,
            incarnation: self.stamp.1,
            revision: self.stamp.2,
            lease_until: self.lease_until,
            status: self.status,
            kind: ChildKind::Worker,
            capabilities: &self.capabilities,
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let who = (0..NAMES, 0..NODES);
    let stamp = (0..3_u64, 0..2_u64, 0..2_u64);
    (who, stamp, lease(), status(), capabilities()).prop_map(
        |((name, node), stamp, lease_until, status, mut capabilities)| {
            capabilities.sort_unstable();
            capabilities.dedup();
            let (name, node) = (NameId(name), NodeId(node));
            Said { name, node, stamp, lease_until, status, capabilities }
        },
    )
}

#[derive(Clone, Debug)]
enum Op {
    Declare { name: u32, incarnation: Option<u64>, status: Status, capabilities: Vec<NameId> },
    SetProcess { name: u32, incarnation: u64, status: Status },
    SetStatus { name: u32, status: Status },
    SetCapabilities { name: u32, capabilities: Vec<NameId> },
    Unregister { name: u32 },
    Announce(Said),
    Withdraw { name: u32, node: u64, epoch: u64, incarnation: u64 },
    Renew { node: u64, epoch: u64, lease_until: Instant },
    NodeDown { node: u64 },
    Timeout { now: u64 },
    Join { name: u32 },
    Leave { name: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES;
    let node = 0..NODES;
    prop_oneof![
        3 => (name.clone(), prop::option::of(0..3_u64), status(), capabilities()).prop_map(
            |(name, incarnation, status, capabilities)| Op::Declare {
                name, incarnation, status, capabilities
            }),
        3 => (name.clone(), 0..3_u64, status())
            .prop_map(|(name, incarnation, status)| Op::SetProcess { name, incarnation, status }),
        2 => (name.clone(), status()).prop_map(|(name, status)| Op::SetStatus { name, status }),
        1 => (name.clone(), capabilities())
            .prop_map(|(name, capabilities)| Op::SetCapabilities { name, capabilities }),
        2 => name.clone().prop_map(|name| Op::Unregister { name }),
        6 => said().prop_map(Op::Announce),
        2 => (name.clone(), node.clone(), 0..3_u64, 0..2_u64).prop_map(
            |(name, node, epoch, incarnation)| Op::Withdraw { name, node, epoch, incarnation }),
        1 => (node.clone(), 0..3_u64, lease())
            .prop_map(|(node, epoch, lease_until)| Op::Renew { node, epoch, lease_until }),
        1 => node.prop_map(|node| Op::NodeDown { node }),
        2 => (0..6_u64).prop_map(|now| Op::Timeout { now }),
        2 => name.clone().prop_map(|name| Op::Join { name }),
        1 => name.prop_map(|name| Op::Leave { name }),
    ]
}

#[derive(Clone, PartialEq, Debug)]
struct LocalRow {
    name: NameId,
    newest: Option<u64>,
    process: Option<u64>,
    status: Status,
    capabilities: Vec<NameId>,
}

/// Owner, status, capabilities as a lookup shows them.
type Shown = Option<(Owner, Status, Vec<NameId>)>;

#[derive(Default)]
struct Model {
    locals: Vec<LocalRow>,
    claims: Vec<Said>,
    epochs: Vec<(NodeId, u64)>,
    group: Vec<NameId>,
    told: Vec<Change>,
}

fn has_process(status: Status) -> bool {
    matches!(status, Status::Starting | Status::Up | Status::Suspended)
}

/// The watches of the test: (1 watches name 0 and everything), (2 name 0), (0 everything).
fn told(name: NameId) -> Vec<WatcherId> {
    let watchers: &[u64] = if name == NameId(0) { &[1, 2, 0] } else { &[0, 1] };
    watchers.iter().map(|watcher| WatcherId(*watcher)).collect()
}

impl Model {
    fn local(&mut self, name: u32) -> Option<&mut LocalRow> {
        self.locals.iter_mut().find(|row| row.name == NameId(name))
    }

    fn lookup(&self, name: NameId) -> Shown {
        if let Some(row) = self.locals.iter().find(|row| row.name == name) {
            let owner = Owner::Local(row.process.map(process));
            return Some((owner, row.status, row.capabilities.clone()));
        }
        let claims = self.claims.iter().filter(|claim| claim.name == name);
        let best = claims.max_by_key(|claim| (claim.stamp.0, claim.stamp.1, claim.node))?;
        let owner = Owner::Remote {
            node: best.node,
            epoch: best.stamp.0,
            incarnation: best.stamp.1,
            lease_until: best.lease_until,
        };
        Some((owner, best.status, best.capabilities.clone()))
    }

    fn edit<R>(&mut self, name: NameId, edit: impl FnOnce(&mut Self) -> R) -> R {
        let identity = |shown: &Shown| {
            shown.as_ref().map(|shown| match shown.0 {
                Owner::Local(process) => (process, None),
                Owner::Remote { node, epoch, incarnation, .. } => {
                    (None, Some((node, epoch, incarnation)))
                }
            })
        };
        let before = self.lookup(name);
        let result = edit(self);
        let after = self.lookup(name);
        let kind = match (&before, &after) {
            (None, None) => None,
            (None, Some(shown)) => Some(ChangeKind::Registered(shown.1)),
            (Some(_), None) => Some(ChangeKind::Unregistered),
            (Some(_), Some(new)) if identity(&before) != identity(&after) => {
                Some(ChangeKind::OwnerChanged(new.1))
            }
            (Some(old), Some(new)) if old.1 != new.1 => Some(ChangeKind::StatusChanged(new.1)),
            (Some(old), Some(new)) if old.2 != new.2 => Some(ChangeKind::CapabilitiesChanged),
            (Some(_), Some(_)) => None,
        };
        if after.is_none() {
            self.group.retain(|member| *member != name);
        }
        if let Some(kind) = kind {
            let watchers = told(name).into_iter();
            self.told.extend(watchers.map(|watcher| Change { watcher, name, kind }));
        }
        result
    }

    fn drop_where(&mut self, mut doomed: Vec<Said>) -> usize {
        doomed.sort_by_key(|claim| claim.name);
        for claim in &doomed {
            self.edit(claim.name, |model| model.claims.retain(|other| other != claim));
        }
        doomed.len()
    }

    fn announce(&mut self, said: &Said) -> Merge {
        let epoch = self.epochs.iter_mut().find(|row| row.0 == said.node);
        match epoch {
            Some(row) if said.stamp.0 < row.1 => return Merge::Stale,
            Some(row) => row.1 = said.stamp.0,
            None => self.epochs.push((said.node, said.stamp.0)),
        }
        let old =
            |c: &&Said| c.node == said.node && c.stamp.0 < said.stamp.0 && c.name != said.name;
        let doomed = self.claims.iter().filter(old).cloned().collect();
        self.drop_where(doomed);
        let same = |c: &Said| c.node == said.node && c.name == said.name;
        let present = self.claims.iter().find(|claim| same(claim)).cloned();
        let mut new = said.clone();
        if let Some(present) = present {
            if said.stamp < present.stamp {
                return Merge::Stale;
            }
            if said.stamp == present.stamp {
                let content = |c: &Said| (c.status, c.capabilities.clone());
                if content(&present) > content(said) {
                    new = present.clone();
                }
                new.lease_until = present.lease_until.max(said.lease_until);
            }
        }
        self.edit(said.name, |model| {
            model.claims.retain(|claim| !same(claim));
            model.claims.push(new);
        });
        match self.lookup(said.name) {
            Some((Owner::Remote { node, .. }, ..)) if node == said.node => Merge::Visible,
            _ => Merge::Hidden,
        }
    }
}

fn declare(
    registry: &mut Registry,
    model: &mut Model,
    (name, incarnation, status): (u32, Option<u64>, Status),
    mut capabilities: Vec<NameId>,
    changes: &mut Vec<Change>,
) {
    let declaration = Declaration {
        process: incarnation.map(process),
        status,
        kind: ChildKind::Worker,
        capabilities: &capabilities.clone(),
    };
    let name = NameId(name);
    let hidden = match model.lookup(name) {
        Some((Owner::Remote { node, .. }, ..)) => Some(node),
        _ => None,
    };
    let needs_process = matches!(status, Status::Up | Status::Suspended);
    let expected = if model.local(name.0).is_some() {
        Err(DeclareError::Taken)
    } else if needs_process && incarnation.is_none() {
        Err(DeclareError::NoProcess)
    } else {
        capabilities.sort_unstable();
        capabilities.dedup();
        let process = incarnation.filter(|_| has_process(status));
        let row = LocalRow { name, newest: incarnation, process, status, capabilities };
        model.edit(name, |model| model.locals.push(row));
        Ok(hidden)
    };
    assert_eq!(registry.declare(name, declaration, changes), expected);
}

fn apply_local(registry: &mut Registry, model: &mut Model, op: Op, changes: &mut Vec<Change>) {
    match op {
        Op::Declare { name, incarnation, status, capabilities } => {
            declare(registry, model, (name, incarnation, status), capabilities, changes);
        }
        Op::SetProcess { name, incarnation, status } => {
            let expected = match model.local(name) {
                None => Err(UpdateError::NoSuchName),
                Some(row) if row.newest.is_some_and(|newest| incarnation < newest) => {
                    Err(UpdateError::Stale)
                }
                Some(row)
                    if row.newest == Some(incarnation)
                        && row.process.is_none()
                        && has_process(status) =>
                {
                    Err(UpdateError::Stale)
                }
                Some(_) => Ok(()),
            };
            if expected.is_ok() {
                model.edit(NameId(name), |model| {
                    let row = model.local(name).expect("checked before");
                    row.newest = Some(incarnation);
                    row.process = Some(incarnation).filter(|_| has_process(status));
                    row.status = status;
                });
            }
            let result = registry.set_process(NameId(name), process(incarnation), status, changes);
            assert_eq!(result, expected);
        }
        Op::SetStatus { name, status } => {
            let needs_process = matches!(status, Status::Up | Status::Suspended);
            let expected = match model.local(name) {
                None => Err(UpdateError::NoSuchName),
                Some(row) if row.process.is_none() && needs_process => Err(UpdateError::NoProcess),
                Some(_) => Ok(()),
            };
            if expected.is_ok() {
                model.edit(NameId(name), |model| {
                    let row = model.local(name).expect("checked before");
                    row.status = status;
                    row.process = row.process.filter(|_| has_process(status));
                });
            }
            assert_eq!(registry.set_status(NameId(name), status, changes), expected);
        }
        Op::SetCapabilities { name, mut capabilities } => {
            let result = registry.set_capabilities(NameId(name), &capabilities, changes);
            assert_eq!(result.is_ok(), model.local(name).is_some());
            capabilities.sort_unstable();
            capabilities.dedup();
            model.edit(NameId(name), |model| {
                model.local(name).map(|row| row.capabilities = capabilities)
            });
        }
        other @ (Op::Unregister { .. }
        | Op::Announce(_)
        | Op::Withdraw { .. }
        | Op::Renew { .. }
        | Op::NodeDown { .. }
        | Op::Timeout { .. }
        | Op::Join { .. }
        | Op::Leave { .. }) => apply_remote(registry, model, other, changes),
    }
}

fn apply_remote(registry: &mut Registry, model: &mut Model, op: Op, changes: &mut Vec<Change>) {
    match op {
        Op::Unregister { name } => {
            let was = model.local(name).is_some();
            model.edit(NameId(name), |model| model.locals.retain(|row| row.name != NameId(name)));
            assert_eq!(registry.unregister(NameId(name), changes), was);
        }
        Op::Announce(said) => {
            let merge = registry.register_remote(said.name, said.announcement(), changes);
            assert_eq!(merge, Ok(model.announce(&said)));
        }
        Op::Withdraw { name, node, epoch, incarnation } => {
            let (name, node) = (NameId(name), NodeId(node));
            let ended = |c: &&Said| {
                c.name == name && c.node == node && (c.stamp.0, c.stamp.1) <= (epoch, incarnation)
            };
            let doomed = model.claims.iter().filter(ended).cloned().collect();
            let count = model.drop_where(doomed);
            let result = registry.unregister_remote(name, node, epoch, incarnation, changes);
            assert_eq!(result, count == 1);
        }
        Op::Renew { node, epoch, lease_until } => {
            let known = model.epochs.contains(&(NodeId(node), epoch));
            for claim in model.claims.iter_mut().filter(|c| known && c.node == NodeId(node)) {
                claim.lease_until = claim.lease_until.max(lease_until);
            }
            assert_eq!(registry.renew(NodeId(node), epoch, lease_until), known);
        }
        Op::NodeDown { node } => {
            let of_node = model.claims.iter().filter(|claim| claim.node == NodeId(node));
            let doomed = of_node.cloned().collect();
            let count = model.drop_where(doomed);
            assert_eq!(registry.node_down(NodeId(node), changes), count);
        }
        Op::Timeout { now } => {
            let now = Instant::from_nanos(now);
            let mut due: Vec<_> =
                model.claims.iter().filter(|claim| claim.lease_until <= now).cloned().collect();
            due.sort_by_key(|claim| (claim.lease_until, claim.name, claim.node));
            for claim in due {
                model.drop_where(vec![claim]);
            }
            registry.handle_timeout(now, changes);
            assert!(registry.poll_timeout().is_none_or(|next| next > now));
        }
        Op::Join { name } => {
            let name = NameId(name);
            let expected = match model.lookup(name) {
                None => Err(JoinError::NoSuchName),
                Some(_) => Ok(!model.group.contains(&name)),
            };
            if expected == Ok(true) {
                model.group.push(name);
            }
            assert_eq!(registry.join(GROUP, name), expected);
        }
        Op::Leave { name } => {
            let was = model.group.contains(&NameId(name));
            model.group.retain(|member| *member != NameId(name));
            assert_eq!(registry.leave(GROUP, NameId(name)), was);
        }
        Op::Declare { .. }
        | Op::SetProcess { .. }
        | Op::SetStatus { .. }
        | Op::SetCapabilities { .. } => unreachable!("handled before"),
    }
}

fn compare(registry: &Registry, model: &Model) {
    for name in (0..NAMES).map(NameId) {
        let shown = registry.lookup(name);
        assert_eq!(registry.contains(name), shown.is_some());
        let shown = shown.map(|entry| (entry.owner, entry.status, entry.capabilities.to_vec()));
        assert_eq!(shown, model.lookup(name));
    }
    let mut members = model.group.clone();
    members.sort_unstable();
    assert_eq!(registry.members(GROUP).collect::<Vec<_>>(), members);
    let next = model.claims.iter().map(|claim| claim.lease_until).min();
    assert_eq!(registry.poll_timeout(), next.filter(|at| *at < Instant::MAX));
    for wanted in [&[][..], &[NameId(100)], &[NameId(101), NameId(100)], &[NameId(102); 2]] {
        for mode in [Match::Any, Match::All] {
            let has = |name: &NameId| {
                let capabilities = model.lookup(*name).map(|shown| shown.2).unwrap_or_default();
                match mode {
                    Match::Any => wanted.iter().any(|one| capabilities.contains(one)),
                    Match::All => {
                        !wanted.is_empty() && wanted.iter().all(|one| capabilities.contains(one))
                    }
                }
            };
            let expected: Vec<_> = (0..NAMES).map(NameId).filter(has).collect();
            let mut found = vec![GROUP];
            registry.find(mode, wanted, &mut found);
            assert_eq!((found[0], &found[1..]), (GROUP, &expected[..]));
        }
    }
}

proptest! {
    // Rules: R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R12
    #[test]
    fn the_registry_is_a_few_lists(ops in prop::collection::vec(op(), 0..60)) {
        let mut registry = Registry::new(RegistryLimits::DEFAULT);
        let mut model = Model::default();
        let of_zero = Watched::Name(NameId(0));
        for (watcher, watched) in
            [(1, of_zero), (2, of_zero), (0, Watched::Everything), (1, Watched::Everything)]
        {
            prop_assert_eq!(registry.watch(WatcherId(watcher), watched), Ok(true));
        }
        for op in ops {
            let mut changes = Vec::new();
            apply_local(&mut registry, &mut model, op, &mut changes);
            prop_assert_eq!(&changes, &std::mem::take(&mut model.told));
            compare(&registry, &model);
        }
    }

    // Rule: R6
    #[test]
    fn announcements_merge_the_same_in_any_order_and_number(
        all in prop::collection::vec(said(), 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let merge = |all: &[Said]| {
            let mut registry = Registry::new(RegistryLimits::DEFAULT);
            for said in all {
                let merged = registry.register_remote(said.name, said.announcement(), &mut vec![]);
                assert!(merged.is_ok());
            }
            registry
        };
        let mut shuffled = all.clone();
        for (n, index) in order.iter().enumerate().take(all.len()) {
            shuffled.swap(n, index.index(all.len()));
        }
        let repeats: Vec<_> = order.iter().filter(|_| !all.is_empty()).collect();
        shuffled.extend(repeats.iter().map(|index| all[index.index(all.len())].clone()));
        prop_assert_eq!(merge(&all), merge(&shuffled));
    }
}

fn worker<'a>(node: u64, epoch: u64) -> Announcement<'a> {
    Announcement {
        node: NodeId(node),
        epoch,
        incarnation: 0,
        revision: 0,
        lease_until: Instant::from_secs(10),
        status: Status::Up,
        kind: ChildKind::Worker,
        capabilities: &[],
    }
}

const IDLE: Declaration<'static> = Declaration {
    process: None,
    status: Status::Starting,
    kind: ChildKind::Worker,
    capabilities: &[],
};

// Rule: R7
// Civitas Z34: after a clean stop the same name was refused for ever.
#[test]
fn a_rolling_restart_may_reuse_a_name_with_the_same_epoch() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    let name = NameId(1);
    let mut changes = Vec::new();
    assert_eq!(registry.register_remote(name, worker(1, 0), &mut changes), Ok(Merge::Visible));
    assert!(registry.unregister_remote(name, NodeId(1), 0, 0, &mut changes));
    assert!(!registry.contains(name));
    assert_eq!(registry.register_remote(name, worker(1, 0), &mut changes), Ok(Merge::Visible));
    assert_eq!(registry.node_down(NodeId(1), &mut changes), 1);
    assert_eq!(registry.register_remote(name, worker(1, 0), &mut changes), Ok(Merge::Visible));
    // The successor on another node takes over when the old one withdraws, whatever came first.
    assert_eq!(registry.register_remote(name, worker(0, 0), &mut changes), Ok(Merge::Hidden));
    assert!(registry.unregister_remote(name, NodeId(1), 0, 0, &mut changes));
    let owner = registry.lookup(name).map(|entry| entry.owner);
    assert!(matches!(owner, Some(Owner::Remote { node: NodeId(0), .. })));
}

// Rule: R8
#[test]
fn a_lease_may_be_renewed_in_its_last_instant_and_the_last_one_never_ends() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    let mut changes = Vec::new();
    let (first, second) = (Instant::from_secs(10), Instant::from_secs(20));
    registry.register_remote(NameId(1), worker(1, 5), &mut changes).unwrap();
    assert_eq!(registry.poll_timeout(), Some(first));
    assert!(!registry.renew(NodeId(1), 4, second));
    assert!(registry.renew(NodeId(1), 5, second));
    registry.handle_timeout(first, &mut changes);
    assert!(registry.contains(NameId(1)));
    assert!(registry.renew(NodeId(1), 5, Instant::MAX));
    registry.handle_timeout(Instant::MAX, &mut changes);
    assert!(registry.contains(NameId(1)));
    assert_eq!(registry.poll_timeout(), None);
}

// Rule: R13
#[test]
fn every_table_has_its_limit() {
    let limits = RegistryLimits { names: 1, claims: 2, nodes: 2, memberships: 1, watches: 1 };
    let mut registry = Registry::new(limits);
    let none = &mut Vec::new();
    assert_eq!(registry.declare(NameId(1), IDLE, none), Ok(None));
    assert_eq!(registry.declare(NameId(2), IDLE, none), Err(DeclareError::TooManyNames));
    assert_eq!(registry.join(GROUP, NameId(1)), Ok(true));
    assert_eq!(registry.join(NameId(51), NameId(1)), Err(JoinError::TooManyMemberships));
    assert_eq!(registry.watch(WatcherId(1), Watched::Everything), Ok(true));
    assert_eq!(registry.watch(WatcherId(1), Watched::Everything), Ok(false));
    let full = Err(WatchError::TooManyWatches);
    assert_eq!(registry.watch(WatcherId(2), Watched::Everything), full);
    assert_eq!(registry.unwatch_all(WatcherId(1)), 1);
    assert_eq!(registry.watch(WatcherId(2), Watched::Name(NameId(1))), Ok(true));
    assert!(registry.unwatch(WatcherId(2), Watched::Name(NameId(1))));
    for (name, node) in [(3, 1), (4, 2)] {
        registry.register_remote(NameId(name), worker(node, 0), none).unwrap();
    }
    let full = Err(AnnounceError::TooManyClaims);
    assert_eq!(registry.register_remote(NameId(5), worker(1, 0), none), full);
    let full = Err(AnnounceError::TooManyNodes);
    assert_eq!(registry.register_remote(NameId(5), worker(3, 0), none), full);
    // A node without claims makes room for another.
    assert_eq!(registry.node_down(NodeId(1), none), 1);
    assert_eq!(registry.register_remote(NameId(5), worker(3, 0), none), Ok(Merge::Visible));
    let many: Vec<_> = (0..=u32::try_from(CAPABILITIES_MAX).unwrap()).map(NameId).collect();
    let too_many = Err(UpdateError::TooManyCapabilities);
    assert_eq!(registry.set_capabilities(NameId(1), &many, none), too_many);
    assert_eq!(registry.set_capabilities(NameId(1), &many[1..], none), Ok(()));
}

// Rule: R11
#[test]
fn a_glob_lists_names_in_byte_order() {
    let mut names = Names::new(10);
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    for text in ["b", "a.2", "_sys", "a.10", "unregistered"] {
        let id = names.intern_system(text).unwrap();
        if text != "unregistered" {
            registry.declare(id, IDLE, &mut Vec::new()).unwrap();
        }
    }
    for (glob, expected) in
        [("*", &["a.10", "a.2", "b"][..]), ("a.*", &["a.10", "a.2"]), ("_*", &["_sys"])]
    {
        let mut found = Vec::new();
        registry.matching(&names, &Glob::new(glob).unwrap(), &mut found);
        let texts: Vec<_> = found.iter().filter_map(|id| names.resolve(*id)).collect();
        assert_eq!(texts, expected);
    }
}

// Rules: R4, R8
#[test]
fn a_hundred_thousand_entries() {
    let mut registry = Registry::new(RegistryLimits::DEFAULT);
    let mut changes = Vec::new();
    registry.watch(WatcherId(0), Watched::Everything).unwrap();
    for name in (0..100_000).map(NameId) {
        registry.register_remote(name, worker(u64::from(name.0 % 10), 1), &mut changes).unwrap();
    }
    assert_eq!(registry.node_down(NodeId(3), &mut changes), 10_000);
    registry.register_remote(NameId(4), worker(4, u64::MAX), &mut changes).unwrap();
    assert_eq!(changes.len(), 100_000 + 10_000 + 10_000);
    registry.handle_timeout(Instant::MAX, &mut changes);
    assert_eq!(changes.len(), 200_001);
    assert_eq!(registry.poll_timeout(), None);
}
