//! Which names there are, who owns each, and who wants to know.
//!
//! The registry keeps what each side said, not who won: one local declaration per name, and one
//! claim per name and remote node. What a lookup shows is computed from these (local first, then
//! the greatest claim), so announcements may come in any order, repeated or late, and all orders
//! end the same. Storing only a winner, as civitas does, loses the runner-up when the winner goes.
//!
//! The hard case is the rolling restart: a node stops cleanly and its successor announces the same
//! names. No tombstone per name is kept that could refuse it (civitas Z34); only the newest boot
//! epoch of each node is, and what is older than that is refused. A message delayed within one
//! epoch may thus revive an entry that was withdrawn, at most until its lease ends.

mod entry;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::time::Deadlines;
use crate::{Glob, Instant, NameId, Names, NodeId, ProcessId, Table};

pub use entry::{
    AnnounceError, Announcement, CAPABILITIES_MAX, Change, ChangeKind, Declaration, DeclareError,
    Entry, JoinError, Match, Merge, Owner, RegistryLimits, Status, UpdateError, WatchError,
    Watched, WatcherId,
};
use entry::{Claim, Local, difference, members, moved, sorted};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Peer {
    epoch: u64,
    names: BTreeSet<NameId>,
}

/// The names of this node and what it knows of those of others.
///
/// Methods that can change what lookups show push one [`Change`] per watcher and name: the watchers
/// of the name first, then those of everything, each by [`WatcherId`], each once. Unless noted, an
/// operation is `O(log n)` and its pushes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Registry {
    limits: RegistryLimits,
    locals: Table<NameId, Local>,
    claims: BTreeMap<(NameId, NodeId), Claim>,
    peers: BTreeMap<NodeId, Peer>,
    leases: Deadlines<(NameId, NodeId)>,
    by_capability: BTreeSet<(NameId, NameId)>,
    groups: BTreeSet<(NameId, NameId)>,
    memberships: BTreeSet<(NameId, NameId)>,
    watches: BTreeSet<(Watched, WatcherId)>,
    watchers: BTreeSet<(WatcherId, Watched)>,
    /// While somebody keeps track: local names that were edited and names that lost a claim, since
    /// this was last emptied.
    edited: Option<Edited>,
}

/// What was edited since the last look.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Edited {
    /// Local names.
    pub(crate) locals: Vec<NameId>,
    /// Names that lost a claim.
    pub(crate) claims: Vec<NameId>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(limits: RegistryLimits) -> Self {
        Self {
            limits,
            locals: Table::new(),
            claims: BTreeMap::new(),
            peers: BTreeMap::new(),
            leases: Deadlines::default(),
            by_capability: BTreeSet::new(),
            groups: BTreeSet::new(),
            memberships: BTreeSet::new(),
            watches: BTreeSet::new(),
            watchers: BTreeSet::new(),
            edited: None,
        }
    }

    /// Declares a name of this node; its process may come later. Returns the node whose claim the
    /// name now hides, if there is one: local wins. (R1, R4)
    ///
    /// # Errors
    /// [`DeclareError::Taken`] by a local name, whatever its status; [`DeclareError::NoProcess`];
    /// [`DeclareError::TooManyNames`]; [`DeclareError::TooManyCapabilities`].
    pub fn declare(
        &mut self,
        name: NameId,
        declaration: Declaration<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<Option<NodeId>, DeclareError> {
        let Declaration { process, status, kind, capabilities } = declaration;
        if self.locals.contains_key(name) {
            return Err(DeclareError::Taken);
        }
        if process.is_none() && matches!(status, Status::Up | Status::Suspended) {
            return Err(DeclareError::NoProcess);
        }
        if self.locals.len() >= self.limits.names {
            return Err(DeclareError::TooManyNames);
        }
        let capabilities = sorted(capabilities).ok_or(DeclareError::TooManyCapabilities)?;
        let local = Local::new(process, status, kind, capabilities);
        let hidden = self.greatest_claim(name).map(|(node, _)| node);
        self.edit(name, changes, |registry| registry.locals.insert(name, local));
        self.note_local(name);
        Ok(hidden)
    }

    /// Takes a fact about a process of a local name. A newer process replaces an older one; with
    /// [`Status::Restarting`] or [`Status::Down`] the process is known to have ended. (R2)
    ///
    /// # Errors
    /// [`UpdateError::NoSuchName`]; [`UpdateError::Stale`] if a newer process (by supervisor, then
    /// incarnation) is known, or if this one has ended and the status says otherwise.
    pub fn set_process(
        &mut self,
        name: NameId,
        process: ProcessId,
        status: Status,
        changes: &mut Vec<Change>,
    ) -> Result<(), UpdateError> {
        let local = self.locals.get(name).ok_or(UpdateError::NoSuchName)?;
        let age = |process: ProcessId| (process.supervisor, process.pid.incarnation);
        if let Some(newest) = local.newest() {
            let ended = !local.is_alive();
            let revived = age(process) == age(newest) && ended && status.has_process();
            if age(process) < age(newest) || revived {
                return Err(UpdateError::Stale);
            }
        }
        self.edit_status(name, changes, |local| local.set_process(process, status));
        Ok(())
    }

    /// Sets how a local name is doing, whatever its process. [`Status::Restarting`] and
    /// [`Status::Down`] leave it without one. (R3)
    ///
    /// # Errors
    /// [`UpdateError::NoSuchName`]; [`UpdateError::NoProcess`] for up or suspended without one.
    pub fn set_status(
        &mut self,
        name: NameId,
        status: Status,
        changes: &mut Vec<Change>,
    ) -> Result<(), UpdateError> {
        let local = self.locals.get(name).ok_or(UpdateError::NoSuchName)?;
        if !local.is_alive() && matches!(status, Status::Up | Status::Suspended) {
            return Err(UpdateError::NoProcess);
        }
        self.edit_status(name, changes, |local| local.set_status(status));
        Ok(())
    }

    /// Replaces the capabilities of a local name. `O(capabilities * log n)`. (R9)
    ///
    /// # Errors
    /// [`UpdateError::NoSuchName`]; [`UpdateError::TooManyCapabilities`].
    pub fn set_capabilities(
        &mut self,
        name: NameId,
        capabilities: &[NameId],
        changes: &mut Vec<Change>,
    ) -> Result<(), UpdateError> {
        if !self.locals.contains_key(name) {
            return Err(UpdateError::NoSuchName);
        }
        let capabilities = sorted(capabilities).ok_or(UpdateError::TooManyCapabilities)?;
        self.edit_local(name, changes, |local| local.set_capabilities(capabilities));
        Ok(())
    }

    /// Removes a local name and says whether it was there. A remote claim that it hid shows again;
    /// otherwise the name leaves its groups. (R1, R10)
    pub fn unregister(&mut self, name: NameId, changes: &mut Vec<Change>) -> bool {
        self.note_local(name);
        self.edit(name, changes, |registry| registry.locals.remove(name).is_some())
    }

    /// Merges what another node says of one of its names. (R4, R5, R6)
    ///
    /// Per name and node the greatest (epoch, incarnation, revision) is kept, and of equal ones the
    /// longest lease; lookups show the greatest (epoch, incarnation, node). A newer epoch ends all
    /// claims of the older ones, which costs `O(claims ended * log n)`.
    ///
    /// # Errors
    /// [`AnnounceError::TooManyCapabilities`]; [`AnnounceError::TooManyNodes`] if every known node
    /// has claims, else the lowest one without is forgotten, in `O(nodes)`;
    /// [`AnnounceError::TooManyClaims`], while the newer epoch is still taken note of.
    pub fn register_remote(
        &mut self,
        name: NameId,
        announcement: Announcement<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<Merge, AnnounceError> {
        let Announcement { node, epoch, incarnation, revision, lease_until, status, kind, .. } =
            announcement;
        let capabilities =
            sorted(announcement.capabilities).ok_or(AnnounceError::TooManyCapabilities)?;
        if self.peers.get(&node).is_some_and(|peer| epoch < peer.epoch) {
            return Ok(Merge::Stale);
        }
        self.note_epoch(node, epoch, name, changes)?;
        let new = Claim { epoch, incarnation, revision, lease_until, status, kind, capabilities };
        let merged = match self.claims.get(&(name, node)) {
            Some(present) => match present.merge(new) {
                Some(merged) => merged,
                None => return Ok(Merge::Stale),
            },
            None if self.claims.len() >= self.limits.claims => {
                return Err(AnnounceError::TooManyClaims);
            }
            None => new,
        };
        self.edit(name, changes, |registry| registry.insert_claim(name, node, merged));
        let shown = !self.locals.contains_key(name)
            && self.greatest_claim(name).is_some_and(|(shown, _)| shown == node);
        Ok(if shown { Merge::Visible } else { Merge::Hidden })
    }

    /// Ends a claim of another node, if it is not newer than (epoch, incarnation), and says whether
    /// there was one. The name may be announced again, with the same epoch or a newer one. (R7)
    pub fn unregister_remote(
        &mut self,
        name: NameId,
        node: NodeId,
        epoch: u64,
        incarnation: u64,
        changes: &mut Vec<Change>,
    ) -> bool {
        let ends = |claim: &Claim| (claim.epoch, claim.incarnation) <= (epoch, incarnation);
        if !self.claims.get(&(name, node)).is_some_and(ends) {
            return false;
        }
        self.edit(name, changes, |registry| registry.remove_claim(name, node));
        true
    }

    /// Extends all leases of a node to `lease_until` where they are shorter, and says whether the
    /// node is known with just this epoch. `O(names of the node * log n)`. (R8)
    pub fn renew(&mut self, node: NodeId, epoch: u64, lease_until: Instant) -> bool {
        let Some(peer) = self.peers.get(&node).filter(|peer| peer.epoch == epoch) else {
            return false;
        };
        for name in &peer.names {
            let Some(claim) = self.claims.get_mut(&(*name, node)) else { continue };
            if claim.lease_until < lease_until {
                self.leases.clear(claim.lease_until, (*name, node));
                claim.lease_until = lease_until;
                if lease_until < Instant::MAX {
                    self.leases.set(lease_until, (*name, node));
                }
            }
        }
        true
    }

    /// Ends all claims of a node that is lost, in the order of names, and returns how many. Its
    /// epoch is remembered; it may come back with the same one. `O(claims ended * log n)`. (R7)
    pub fn node_down(&mut self, node: NodeId, changes: &mut Vec<Change>) -> usize {
        self.drop_claims(node, None, changes)
    }

    /// When the next lease ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.leases.next()
    }

    /// Ends the claims whose lease ends at or before `now`, in the order of (lease, name, node).
    /// Renewals of that same instant must be in first. Without one due it does nothing.
    /// `O(claims ended * log n)`. (R8)
    pub fn handle_timeout(&mut self, now: Instant, changes: &mut Vec<Change>) {
        while let Some((_, (name, node))) = self.leases.pop_due(now) {
            self.edit(name, changes, |registry| registry.remove_claim(name, node));
        }
    }

    /// What is known of a name: the local one, or else the greatest claim.
    /// `O(log n + claims to the name)`. (R4)
    #[must_use]
    pub fn lookup(&self, name: NameId) -> Option<Entry> {
        if let Some(local) = self.locals.get(name) {
            let (owner, status) = local.shown();
            let capabilities = local.capabilities();
            return Some(Entry { owner, status, kind: local.kind, capabilities });
        }
        let (node, claim) = self.greatest_claim(name)?;
        let &Claim { epoch, incarnation, lease_until, status, kind, .. } = claim;
        let owner = Owner::Remote { node, epoch, incarnation, lease_until };
        Some(Entry { owner, status, kind, capabilities: Arc::clone(&claim.capabilities) })
    }

    /// Of [`Registry::lookup`] only who answers for the name and how it is doing; for who asks
    /// often. `O(log n + claims to the name)`. (R4)
    #[must_use]
    pub fn owner(&self, name: NameId) -> Option<(Owner, Status)> {
        if let Some(local) = self.locals.get(name) {
            return Some(local.shown());
        }
        let (node, claim) = self.greatest_claim(name)?;
        let &Claim { epoch, incarnation, lease_until, status, .. } = claim;
        Some((Owner::Remote { node, epoch, incarnation, lease_until }, status))
    }

    /// Whether there is such a name, local or remote, whatever its status.
    #[must_use]
    pub fn contains(&self, name: NameId) -> bool {
        self.locals.contains_key(name) || self.claims_to(name).next().is_some()
    }

    /// Pushes the names that match, in byte order. `O(names with the glob's prefix)`. (R11)
    pub fn matching(&self, names: &Names, glob: &Glob, found: &mut Vec<NameId>) {
        let candidates = names.with_prefix(glob.prefix());
        let matching = candidates.filter(|(text, id)| glob.matches(text) && self.contains(*id));
        found.extend(matching.map(|(_, id)| id));
    }

    /// Pushes the names with any or all of the capabilities, in the order of ids. No capability
    /// finds nothing. `O(names with any of them)`. (R9)
    pub fn find(&self, mode: Match, capabilities: &[NameId], found: &mut Vec<NameId>) {
        let start = found.len();
        let wanted = match mode {
            Match::Any => capabilities,
            Match::All => capabilities.get(..1).unwrap_or(&[]),
        };
        for capability in wanted {
            found.extend(members(&self.by_capability, *capability));
        }
        let mut tail = found.split_off(start);
        tail.sort_unstable();
        tail.dedup();
        if mode == Match::All {
            let has = |name, capability| self.by_capability.contains(&(capability, name));
            tail.retain(|name| capabilities.iter().all(|capability| has(*name, *capability)));
        }
        found.append(&mut tail);
    }

    /// Puts a name into a group and says whether it is new there. (R10)
    ///
    /// # Errors
    /// [`JoinError::NoSuchName`]; [`JoinError::TooManyMemberships`].
    pub fn join(&mut self, group: NameId, name: NameId) -> Result<bool, JoinError> {
        if !self.contains(name) {
            return Err(JoinError::NoSuchName);
        }
        if self.groups.contains(&(group, name)) {
            return Ok(false);
        }
        if self.groups.len() >= self.limits.memberships {
            return Err(JoinError::TooManyMemberships);
        }
        self.memberships.insert((name, group));
        Ok(self.groups.insert((group, name)))
    }

    /// Takes a name out of a group and says whether it was there.
    pub fn leave(&mut self, group: NameId, name: NameId) -> bool {
        self.memberships.remove(&(name, group));
        self.groups.remove(&(group, name))
    }

    /// The members of a group, in the order of ids.
    pub fn members(&self, group: NameId) -> impl Iterator<Item = NameId> {
        members(&self.groups, group)
    }

    /// The claims of a node in this epoch: name, incarnation and revision, in the order of names.
    pub fn claims_of(&self, node: NodeId, epoch: u64) -> impl Iterator<Item = (NameId, u64, u64)> {
        let names = self.peers.get(&node).into_iter().flat_map(|peer| &peer.names);
        names.filter_map(move |name| {
            let claim = self.claims.get(&(*name, node)).filter(|claim| claim.epoch == epoch)?;
            Some((*name, claim.incarnation, claim.revision))
        })
    }

    /// Whether anything here is about this name: a declaration, a claim, a group or a watch.
    pub(crate) fn refers_to(&self, name: NameId) -> bool {
        let watches =
            (Watched::Name(name), WatcherId(0))..=(Watched::Name(name), WatcherId(u64::MAX));
        self.contains(name)
            || self.members(name).next().is_some()
            || self.watches.range(watches).next().is_some()
    }

    /// Keeps track of what is edited from now on, or no longer.
    pub(crate) fn keep_track(&mut self, keep: bool) {
        self.edited = keep.then(Edited::default);
    }

    pub(crate) const fn edited(&mut self) -> Option<&mut Edited> {
        self.edited.as_mut()
    }

    /// The names declared on this node, in the order of ids.
    pub fn locals(&self) -> impl Iterator<Item = NameId> {
        self.locals.keys()
    }

    /// Tells a watcher of changes from now on, and says whether that is new. (R12)
    ///
    /// # Errors
    /// [`WatchError::TooManyWatches`].
    pub fn watch(&mut self, watcher: WatcherId, watched: Watched) -> Result<bool, WatchError> {
        if self.watches.contains(&(watched, watcher)) {
            return Ok(false);
        }
        if self.watches.len() >= self.limits.watches {
            return Err(WatchError::TooManyWatches);
        }
        self.watchers.insert((watcher, watched));
        Ok(self.watches.insert((watched, watcher)))
    }

    /// Ends one watch and says whether it was set.
    pub fn unwatch(&mut self, watcher: WatcherId, watched: Watched) -> bool {
        self.watchers.remove(&(watcher, watched));
        self.watches.remove(&(watched, watcher))
    }

    /// Ends all watches of a watcher and returns how many. `O(watches ended * log n)`.
    pub fn unwatch_all(&mut self, watcher: WatcherId) -> usize {
        let all = (watcher, Watched::Name(NameId(0)))..=(watcher, Watched::Everything);
        let mut ended = 0_usize;
        while let Some((_, watched)) = self.watchers.range(all.clone()).next().copied() {
            self.unwatch(watcher, watched);
            ended = ended.saturating_add(1);
        }
        ended
    }

    fn claims_to(&self, name: NameId) -> impl Iterator<Item = (NodeId, &Claim)> {
        let all = (name, NodeId(0))..=(name, NodeId(u64::MAX));
        self.claims.range(all).map(|((_, node), claim)| (*node, claim))
    }

    fn greatest_claim(&self, name: NameId) -> Option<(NodeId, &Claim)> {
        self.claims_to(name).max_by_key(|(node, claim)| (claim.epoch, claim.incarnation, *node))
    }

    /// Remembers the newest epoch of a node and ends what is older, except its claim to `keep`.
    fn note_epoch(
        &mut self,
        node: NodeId,
        epoch: u64,
        keep: NameId,
        changes: &mut Vec<Change>,
    ) -> Result<(), AnnounceError> {
        if let Some(peer) = self.peers.get_mut(&node) {
            let is_newer = epoch > peer.epoch;
            peer.epoch = peer.epoch.max(epoch);
            if is_newer {
                self.drop_claims(node, Some(keep), changes);
            }
            return Ok(());
        }
        if self.peers.len() >= self.limits.nodes {
            let mut peers = self.peers.iter();
            let idle = peers.find(|(_, peer)| peer.names.is_empty()).map(|(node, _)| *node);
            self.peers.remove(&idle.ok_or(AnnounceError::TooManyNodes)?);
        }
        self.peers.insert(node, Peer { epoch, names: BTreeSet::new() });
        Ok(())
    }

    fn drop_claims(
        &mut self,
        node: NodeId,
        keep: Option<NameId>,
        changes: &mut Vec<Change>,
    ) -> usize {
        let Some(peer) = self.peers.get(&node) else { return 0 };
        let names: Vec<_> = peer.names.iter().copied().filter(|n| Some(*n) != keep).collect();
        for name in &names {
            self.edit(*name, changes, |registry| registry.remove_claim(*name, node));
        }
        names.len()
    }

    fn insert_claim(&mut self, name: NameId, node: NodeId, claim: Claim) {
        let lease_until = claim.lease_until;
        if let Some(old) = self.claims.insert((name, node), claim) {
            self.leases.clear(old.lease_until, (name, node));
        }
        if lease_until < Instant::MAX {
            self.leases.set(lease_until, (name, node));
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.names.insert(name);
        }
    }

    fn remove_claim(&mut self, name: NameId, node: NodeId) {
        if let Some(claim) = self.claims.remove(&(name, node)) {
            self.leases.clear(claim.lease_until, (name, node));
            if let Some(edited) = &mut self.edited {
                edited.claims.push(name);
            }
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.names.remove(&name);
        }
    }

    fn edit_local(
        &mut self,
        name: NameId,
        changes: &mut Vec<Change>,
        edit: impl FnOnce(&mut Local),
    ) {
        self.note_local(name);
        self.edit(name, changes, |registry| registry.locals.get_mut(name).map(edit));
    }

    /// As `edit_local`, for an edit of the process and the status alone: what is shown is compared
    /// where it stands, and the indexes stay as they are.
    fn edit_status(
        &mut self,
        name: NameId,
        changes: &mut Vec<Change>,
        edit: impl FnOnce(&mut Local),
    ) {
        self.note_local(name);
        let Some(local) = self.locals.get_mut(name) else { return };
        let before = local.shown();
        edit(local);
        if let Some(kind) = moved(before, local.shown()) {
            self.publish(name, kind, changes);
        }
    }

    fn note_local(&mut self, name: NameId) {
        if let Some(edited) = &mut self.edited {
            edited.locals.push(name);
        }
    }

    /// Runs an edit that concerns one name, then brings the indexes and the watchers up to date.
    fn edit<R>(
        &mut self,
        name: NameId,
        changes: &mut Vec<Change>,
        edit: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let before = self.lookup(name);
        let result = edit(self);
        let after = self.lookup(name);
        self.index(name, before.as_ref(), after.as_ref());
        if let Some(kind) = difference(before.as_ref(), after.as_ref()) {
            self.publish(name, kind, changes);
        }
        result
    }

    fn index(&mut self, name: NameId, before: Option<&Entry>, after: Option<&Entry>) {
        let capabilities =
            |entry: Option<&Entry>| entry.map(|entry| Arc::clone(&entry.capabilities));
        let (old, new) = (capabilities(before), capabilities(after));
        if old != new {
            for capability in old.iter().flat_map(|old| old.iter()) {
                self.by_capability.remove(&(*capability, name));
            }
            for capability in new.iter().flat_map(|new| new.iter()) {
                self.by_capability.insert((*capability, name));
            }
        }
        if before.is_some() && after.is_none() {
            let groups: Vec<_> = members(&self.memberships, name).collect();
            for group in groups {
                self.leave(group, name);
            }
        }
    }

    fn publish(&self, name: NameId, kind: ChangeKind, changes: &mut Vec<Change>) {
        if self.watches.is_empty() {
            return;
        }
        let watching = |watched| {
            let all = (watched, WatcherId(0))..=(watched, WatcherId(u64::MAX));
            self.watches.range(all).map(|(_, watcher)| *watcher)
        };
        let of_name = Watched::Name(name);
        let told = |watcher: &WatcherId| self.watches.contains(&(of_name, *watcher));
        let others = watching(Watched::Everything).filter(|watcher| !told(watcher));
        let watchers = watching(of_name).chain(others);
        changes.extend(watchers.map(|watcher| Change { watcher, name, kind }));
    }
}
