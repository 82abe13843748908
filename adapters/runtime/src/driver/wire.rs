//! The driver's part of the wire: what the kernel says to peers, and hears from them.

use std::sync::Arc;

use lictor_kernel::membership::{self, Frame, PeerChange};
use lictor_kernel::node::{Action, Event};
use lictor_kernel::{Ended, Instant, NodeId};

use super::{Effect, World};
use crate::events::EventKind;
use crate::executor::Role;
use crate::frame::{Body, Claim, kind_of, summary_of};
use crate::runtime::Shared;
use crate::token::Token;

impl World {
    /// The peers that the transport knows are asked from now on.
    pub(super) fn join(&mut self, shared: &Shared, now: Instant) {
        let Some(peers) = &shared.peers else { return };
        let mut actions = std::mem::take(&mut self.actions);
        for node in peers.transport.peers() {
            if let Err(error) = self.node.add_peer(now, node, &mut actions) {
                tracing::error!(target: "lictor", node = node.0, "not a peer: {error}");
            }
        }
        self.perform(now, &mut actions);
        self.running_wire = true;
    }

    /// Says goodbye and forgets all peers.
    pub(super) fn part(&mut self, now: Instant) {
        if !self.running_wire {
            return;
        }
        self.running_wire = false;
        let mut actions = std::mem::take(&mut self.actions);
        self.node.leave(&mut actions);
        // The names in the goodbyes are none, so they may be resolved after what follows.
        let peers: Vec<NodeId> = self.node.membership().peers().map(|(node, _)| node).collect();
        for node in peers {
            self.node.remove_peer(now, node, &mut actions);
        }
        self.perform(now, &mut actions);
    }

    pub(super) fn link(&mut self, now: Instant, node: NodeId, is_up: bool) {
        let event = if is_up { Event::PeerReachable(node) } else { Event::PeerDown(node) };
        self.peer_event(now, event);
    }

    pub(super) fn hear(&mut self, now: Instant, node: NodeId, body: Body) {
        if let Body::Remote(said) = body {
            return self.hear_remote(now, node, &said);
        }
        // A claim that names what cannot be a name, or too many, is not one.
        if let Some(frame) = self.interned(body) {
            self.peer_event(now, Event::Peer(node, frame));
        }
    }

    pub(super) fn peer_event(&mut self, now: Instant, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.record_event(now, &event);
        self.node.handle(now, event, &mut actions);
        self.perform(now, &mut actions);
    }

    fn interned(&mut self, body: Body) -> Option<Frame> {
        Some(match body {
            Body::Hello { epoch, seq } => Frame::Hello { epoch, seq },
            Body::Probe { epoch, seq } => Frame::Probe { epoch, seq },
            Body::Alive { epoch, seq, count, digest } => {
                Frame::Alive { epoch, seq, summary: summary_of(count, digest) }
            }
            Body::Claim(claim) => {
                let Claim { epoch, name, incarnation, revision, status, .. } = claim;
                let tags = claim.capabilities.iter().map(String::as_str);
                let capabilities = self.node.intern_tags(tags).ok()?;
                let (status, kind) = (status.into(), kind_of(claim.is_supervisor));
                let name = self.intern_remote(&name)?;
                let claim = membership::Claim { incarnation, revision, status, kind, capabilities };
                Frame::Claim { epoch, name, claim }
            }
            Body::Withdraw { epoch, name, incarnation } => {
                // A name that is not known here need not be withdrawn.
                let name = self.node.names().lookup(&name)?;
                Frame::Withdraw { epoch, name, incarnation }
            }
            Body::Bye { epoch } => Frame::Bye { epoch },
            Body::Remote(_)
            | Body::Post(_)
            | Body::Answer(_)
            | Body::Dead(_)
            | Body::Credit(_)
            | Body::HowFar(_) => return None,
        })
    }

    pub(super) fn intern_remote(&mut self, name: &str) -> Option<lictor_kernel::NameId> {
        let is_new = self.node.names().lookup(name).is_none();
        let id = self.node.intern_remote(name).ok()?;
        if is_new && let Some(recorder) = &self.recorder {
            recorder.name(id, name);
        }
        Some(id)
    }

    /// A frame with its names as text, while they resolve.
    pub(super) fn spelled(&self, frame: Frame) -> Option<Body> {
        let text = |name| self.node.names().resolve(name).map(str::to_owned);
        Some(match frame {
            Frame::Hello { epoch, seq } => Body::Hello { epoch, seq },
            Frame::Probe { epoch, seq } => Body::Probe { epoch, seq },
            Frame::Alive { epoch, seq, summary } => {
                let membership::Summary { count, digest } = summary;
                Body::Alive { epoch, seq, count, digest }
            }
            Frame::Claim { epoch, name, claim } => {
                let tags = self.node.tag_sets().resolve(claim.capabilities).iter();
                let tags = tags.filter_map(|tag| self.node.tags().resolve(*tag));
                Body::Claim(Claim {
                    epoch,
                    name: text(name)?,
                    incarnation: claim.incarnation,
                    revision: claim.revision,
                    status: claim.status.into(),
                    is_supervisor: claim.kind == lictor_kernel::ChildKind::Supervisor,
                    capabilities: tags.map(str::to_owned).collect(),
                })
            }
            Frame::Withdraw { epoch, name, incarnation } => {
                Body::Withdraw { epoch, name: text(name)?, incarnation }
            }
            Frame::Bye { epoch } => Body::Bye { epoch },
        })
    }

    pub(super) fn peer_changed(&mut self, node: NodeId, change: PeerChange) {
        let node = node.0;
        self.event(match change {
            PeerChange::Up(epoch) => EventKind::PeerUp { node, epoch },
            PeerChange::Suspect => EventKind::PeerSuspect { node },
            PeerChange::Down => EventKind::PeerDown { node },
        });
    }

    pub(super) fn call_ended(&mut self, ended: Ended) {
        self.effects.push_back(Effect::CallEnded(ended.call));
    }

    /// Carries out what was decided outside of the driver's own steps: only the wire is concerned.
    pub(crate) fn tell_peers(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.record_action(self.now, &action);
            if let Action::Send(node, frame) = action
                && let Some(body) = self.spelled(frame)
            {
                self.effects.push_back(Effect::Say(node, Box::new(body)));
            }
        }
        self.actions = actions;
    }

    pub(super) fn record_event(&self, now: Instant, event: &Event) {
        if let Some(recorder) = &self.recorder {
            recorder.event(now, event);
        }
    }

    pub(super) fn record_action(&self, now: Instant, action: &Action) {
        if let Some(recorder) = &self.recorder {
            recorder.action(now, action);
        }
    }
}

/// Runs the transport until the token is raised, and a little longer, to bring the goodbyes out.
pub(crate) fn run_wire(shared: &Arc<Shared>, over: &Arc<Token>) {
    let Some(peers) = &shared.peers else { return };
    let run = Arc::clone(&peers.transport).run(shared.wire_inbox());
    let (shared_here, over) = (Arc::clone(shared), Arc::clone(over));
    let transport = Arc::clone(&peers.transport);
    let task = Box::pin(async move {
        let end = async {
            over.raised().await;
            let until = shared_here.executor.now().saturating_add(transport.linger());
            crate::token::first(transport.flush(), shared_here.timers.wait_until(until)).await;
        };
        crate::token::first(run, end).await;
    });
    shared.executor.spawn_as(Role::Wire, task);
}
