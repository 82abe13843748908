//! Registry and router against a plain list of claims.

use core::time::Duration;
use std::collections::BTreeMap;

use lictor_kernel::{
    Announcement, ChildId, ChildKind, Declaration, Glob, Instant, Merge, NameId, Names, NodeId,
    Owner, Pid, ProcessId, Registry, RegistryLimits, Route, Router, Status, SupervisorId,
    Undeliverable,
};

use crate::operation::Bytes;

const NAMES: [&str; 4] = ["a", "a.b", "c", "d.e.f"];

const STATUSES: [Status; 5] =
    [Status::Up, Status::Starting, Status::Restarting, Status::Suspended, Status::Down];

/// What a node says of a name. The status follows from the stamp, so that equal stamps mean equal
/// contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Claim {
    name: NameId,
    node: NodeId,
    stamp: (u64, u64, u64),
    lease: Instant,
    status: Status,
}

/// The rules R1 to R8, read aloud.
#[derive(Default)]
struct Model {
    locals: BTreeMap<NameId, Status>,
    claims: Vec<Claim>,
    epochs: BTreeMap<NodeId, u64>,
}

impl Model {
    /// What a lookup shows: the local name, else the greatest claim.
    fn shown(&self, name: NameId) -> Option<(Option<Claim>, Status)> {
        if let Some(status) = self.locals.get(&name) {
            return Some((None, *status));
        }
        let claims = self.claims.iter().filter(|claim| claim.name == name);
        let greatest = claims.max_by_key(|claim| (claim.stamp.0, claim.stamp.1, claim.node));
        greatest.map(|claim| (Some(*claim), claim.status))
    }

    fn announce(&mut self, new: Claim) -> bool {
        let epoch = self.epochs.entry(new.node).or_insert(new.stamp.0);
        if new.stamp.0 < *epoch {
            return false;
        }
        *epoch = new.stamp.0;
        // A newer epoch ends all claims of older ones, but this name's, which is replaced.
        self.claims.retain(|claim| {
            claim.node != new.node || claim.stamp.0 == new.stamp.0 || claim.name == new.name
        });
        let same = |claim: &&mut Claim| claim.node == new.node && claim.name == new.name;
        match self.claims.iter_mut().find(same) {
            None => self.claims.push(new),
            Some(old) if old.stamp < new.stamp => *old = new,
            Some(old) if old.stamp == new.stamp => old.lease = old.lease.max(new.lease),
            Some(_) => return false,
        }
        true
    }
}

struct Pair {
    now: Instant,
    names: Names,
    ids: Vec<NameId>,
    registry: Registry,
    model: Model,
    incarnation: u64,
}

/// Registry and router against a plain list.
///
/// # Panics
/// If they differ.
pub fn registry_router(data: &[u8]) {
    let mut names = Names::new(64);
    let ids = NAMES.iter().map(|name| names.intern(name).unwrap_or(NameId(0))).collect();
    let registry = Registry::new(RegistryLimits::DEFAULT);
    let (now, model) = (Instant::from_secs(1), Model::default());
    let mut pair = Pair { now, names, ids, registry, model, incarnation: 0 };
    let mut bytes = Bytes::new(data);
    while !bytes.is_empty() {
        pair.step(&mut bytes);
        pair.compare();
    }
}

impl Pair {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let out = &mut Vec::new();
        let name = bytes.pick(&self.ids);
        let node = NodeId(u64::from(bytes.below(3)));
        match bytes.below(12) {
            0 => self.declare(name, bytes),
            1 => {
                let known = self.model.locals.remove(&name).is_some();
                assert_eq!(self.registry.unregister(name, out), known);
            }
            2 => self.update(name, bytes),
            3..=6 => self.announce(name, node, bytes),
            7 => {
                let stamp = (u64::from(bytes.below(3)), u64::from(bytes.below(3)));
                let before = self.model.claims.len();
                let ends = |claim: &Claim| {
                    claim.name == name
                        && claim.node == node
                        && (claim.stamp.0, claim.stamp.1) <= stamp
                };
                self.model.claims.retain(|claim| !ends(claim));
                let ended = self.registry.unregister_remote(name, node, stamp.0, stamp.1, out);
                assert_eq!(ended, self.model.claims.len() < before);
            }
            8 => {
                let (epoch, lease) = (u64::from(bytes.below(3)), self.lease(bytes));
                let known = self.model.epochs.get(&node) == Some(&epoch);
                let ours = |claim: &&mut Claim| known && claim.node == node;
                self.model
                    .claims
                    .iter_mut()
                    .filter(ours)
                    .for_each(|claim| claim.lease = claim.lease.max(lease));
                assert_eq!(self.registry.renew(node, epoch, lease), known);
            }
            9 => {
                let before = self.model.claims.len();
                self.model.claims.retain(|claim| claim.node != node);
                let ended = self.registry.node_down(node, out);
                assert_eq!(ended, before - self.model.claims.len());
            }
            10 => {
                let by = Duration::from_secs(u64::from(bytes.below(4)));
                self.now = self.now.saturating_add(by);
            }
            _ => {
                self.registry.handle_timeout(self.now, out);
                let now = self.now;
                self.model.claims.retain(|claim| claim.lease > now || claim.lease == Instant::MAX);
            }
        }
    }

    fn lease(&self, bytes: &mut Bytes<'_>) -> Instant {
        match bytes.below(8) {
            0 => Instant::MAX,
            n => self.now.saturating_add(Duration::from_secs(u64::from(n - 1))),
        }
    }

    fn process(&mut self) -> ProcessId {
        self.incarnation += 1;
        let pid = Pid { child: ChildId(0), incarnation: self.incarnation };
        ProcessId { supervisor: SupervisorId(0), pid }
    }

    fn declare(&mut self, name: NameId, bytes: &mut Bytes<'_>) {
        let status = bytes.pick(&STATUSES);
        let process = (bytes.below(2) == 0).then(|| self.process());
        let (kind, capabilities) = (ChildKind::Worker, &[][..]);
        let declaration = Declaration { process, status, kind, capabilities };
        let declared = self.registry.declare(name, declaration, &mut Vec::new());
        let needs = matches!(status, Status::Up | Status::Suspended);
        let may = !self.model.locals.contains_key(&name) && (process.is_some() || !needs);
        assert_eq!(declared.is_ok(), may, "{declared:?}");
        if may {
            self.model.locals.insert(name, status);
        }
    }

    /// A new incarnation is always accepted.
    fn update(&mut self, name: NameId, bytes: &mut Bytes<'_>) {
        let (status, process) = (bytes.pick(&STATUSES), self.process());
        let updated = self.registry.set_process(name, process, status, &mut Vec::new());
        assert_eq!(updated.is_ok(), self.model.locals.contains_key(&name), "{updated:?}");
        if updated.is_ok() {
            self.model.locals.insert(name, status);
        }
    }

    fn announce(&mut self, name: NameId, node: NodeId, bytes: &mut Bytes<'_>) {
        let stamp =
            (u64::from(bytes.below(3)), u64::from(bytes.below(3)), u64::from(bytes.below(2)));
        let lease_until = self.lease(bytes);
        let status = STATUSES[usize::from(stamp.1 != 0) * 4 * usize::from(stamp.2 != 0)];
        let announcement = Announcement {
            node,
            epoch: stamp.0,
            incarnation: stamp.1,
            revision: stamp.2,
            lease_until,
            status,
            kind: ChildKind::Worker,
            capabilities: &[],
        };
        let merged = self.registry.register_remote(name, announcement, &mut Vec::new());
        let kept = self.model.announce(Claim { name, node, stamp, lease: lease_until, status });
        let shown = self.model.shown(name).and_then(|(claim, _)| claim);
        let expected = match (kept, shown) {
            (false, _) => Merge::Stale,
            (true, Some(claim)) if claim.node == node => Merge::Visible,
            (true, _) => Merge::Hidden,
        };
        assert_eq!(merged, Ok(expected));
    }

    fn compare(&self) {
        let leases = self.model.claims.iter().map(|claim| claim.lease);
        let next = leases.filter(|lease| *lease < Instant::MAX).min();
        assert_eq!(self.registry.poll_timeout(), next, "the next lease");
        for name in &self.ids {
            let entry = self.registry.lookup(*name);
            let shown = self.model.shown(*name);
            let seen = entry.as_ref().map(|entry| {
                let remote = match entry.owner {
                    Owner::Local(_) => None,
                    Owner::Remote { node, epoch, incarnation, lease_until } => {
                        Some((node, epoch, incarnation, lease_until))
                    }
                };
                (remote, entry.status)
            });
            let expected = shown.map(|(claim, status)| {
                let of = |c: Claim| (c.node, c.stamp.0, c.stamp.1, c.lease);
                (claim.map(of), status)
            });
            assert_eq!(seen, expected, "what is shown of {name:?}");
            self.routes(*name, shown);
        }
        self.broadcast();
    }

    fn routes(&self, name: NameId, shown: Option<(Option<Claim>, Status)>) {
        let route = Router::route(self.now, &self.registry, name);
        let fits = match (route, shown) {
            (Route::Undeliverable(Undeliverable::NoSuchName), None) => true,
            (Route::Undeliverable(Undeliverable::LeaseExpired), Some((Some(claim), _))) => {
                claim.lease < self.now
            }
            (Route::Undeliverable(Undeliverable::Down), Some((claim, Status::Down))) => {
                claim.is_none_or(|claim| claim.lease >= self.now)
            }
            (Route::Local { .. }, Some((None, status))) => status != Status::Down,
            (Route::Remote { node, .. }, Some((Some(claim), status))) => {
                node == claim.node && claim.lease >= self.now && status != Status::Down
            }
            (Route::Undeliverable(_) | Route::Local { .. } | Route::Remote { .. }, _) => false,
        };
        assert!(fits, "{route:?} for {name:?} of {shown:?}");
    }

    /// A broadcast reaches all that can be reached, but its sender.
    fn broadcast(&self) {
        let Ok(glob) = Glob::new("*") else { unreachable!("it is a glob") };
        let sender = self.ids.first().copied();
        let mut routes = Vec::new();
        Router::broadcast(self.now, &self.registry, &self.names, &glob, sender, &mut routes);
        let reached = |name: &NameId| {
            let route = Router::route(self.now, &self.registry, *name);
            Some(*name) != sender && !matches!(route, Route::Undeliverable(_))
        };
        let expected = self.ids.iter().filter(|name| reached(name)).count();
        assert_eq!(routes.len(), expected, "{routes:?}");
    }
}
