//! Our agents for civitas processes: announced, reached by name, by pattern and by capability,
//! asked for their health, and told what to do by those who may.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lictor_runtime::broker::Subscription;
use lictor_runtime::reply::reply_slot;
use lictor_runtime::{
    AgentInfo, EventKind, Message, RawRef, ReplyTo, Role, Runtime, SendOptions, Status, message,
};
use lictor_wire::{Map, Message as Wire, Value as WireValue};

use crate::codec::{from_payload, text};
use crate::hub::{Back, DEREGISTER, Hub, REGISTER, RESTART, count};

impl Hub {
    /// Which of our agents a foreign process may know: those with public names that are not
    /// themselves foreign.
    fn own_agents(&self) -> Vec<AgentInfo> {
        let Some(runtime) = self.state().served.clone() else { return Vec::new() };
        let mut agents = runtime.agents();
        let state = self.state();
        agents.retain(|agent| {
            !agent.name.starts_with('_') && !state.remotes.contains_key(&agent.name)
        });
        agents
    }

    /// Says what has changed among our agents since it was said last.
    pub(crate) fn reconcile(&self) {
        let agents = self.own_agents();
        let (new, gone) = {
            let mut state = self.state();
            let now = self.codec.ambient.unix_time().as_millis();
            let newest = state.offered.values().max().copied().unwrap_or(0);
            // Greater than any that a name had before, so that nobody takes it for a ghost.
            let epoch = now.max(newest.saturating_add(1));
            let is_there = |name: &Arc<str>| agents.iter().any(|agent| agent.name == *name);
            let mut gone = Vec::new();
            state.offered.retain(|name, epoch| {
                let stays = is_there(name);
                if !stays {
                    gone.push((Arc::clone(name), *epoch));
                }
                stays
            });
            let mut new = Vec::new();
            for agent in &agents {
                if !state.offered.contains_key(&agent.name) {
                    state.offered.insert(Arc::clone(&agent.name), epoch);
                    new.push(agent.clone());
                }
            }
            (new, gone)
        };
        for (name, epoch) in gone {
            self.broker.unsubscribe(&Subscription::Address(Arc::clone(&name)));
            self.withdraw(&name, epoch);
        }
        let is_first = !new.is_empty() && new.len() == self.state().offered.len();
        for agent in new {
            let wanted = Subscription::Address(Arc::clone(&agent.name));
            if let Err(error) = self.broker.subscribe(wanted) {
                tracing::error!(target: "lictor", name = &*agent.name, "not offered: {error}");
                self.state().offered.remove(&agent.name);
                continue;
            }
            self.announce(&agent);
        }
        if is_first && self.state().ready {
            self.announce_name(&self.health);
            self.announce_name(RESTART);
        }
    }

    /// Announces all again: for whoever has come since.
    pub(crate) fn announce_all(&self) {
        let agents = self.own_agents();
        for agent in &agents {
            self.announce(agent);
        }
        // A supervisor there probes and orders by name, and knows only names that were announced.
        if self.state().ready && !agents.is_empty() {
            self.announce_name(&self.health);
            self.announce_name(RESTART);
        }
    }

    fn announce_name(&self, name: &str) {
        self.send(REGISTER, |wire| {
            wire.kind = "_agency.register".to_owned();
            wire.payload.insert("name", name);
        });
    }

    fn announce(&self, agent: &AgentInfo) {
        let epoch = {
            let state = self.state();
            let Some(epoch) = state.offered.get(&agent.name).filter(|_| state.ready) else {
                return;
            };
            *epoch
        };
        let tags = agent.capabilities.iter().map(|tag| WireValue::from(tag.clone()));
        let capabilities = WireValue::List(tags.collect());
        self.send(REGISTER, |wire| {
            wire.kind = "_agency.register".to_owned();
            wire.payload = Map::from([
                ("name", WireValue::from(&*agent.name)),
                ("capabilities", capabilities),
                ("capability_metadata", WireValue::Map(Map::new())),
                ("health_channel", WireValue::from(&*self.health)),
                ("epoch", WireValue::from(epoch)),
            ]);
            let signing = self.codec.signing.as_ref();
            if let Some(key) = signing.and_then(|signing| signing.public(&agent.name)) {
                wire.payload.insert("pubkey", key);
            }
        });
    }

    fn withdraw(&self, name: &str, epoch: u64) {
        self.send(DEREGISTER, |wire| {
            wire.kind = "_agency.deregister".to_owned();
            wire.payload =
                Map::from([("name", WireValue::from(name)), ("epoch", WireValue::from(epoch))]);
        });
    }

    /// Takes all our agents back.
    pub(crate) fn withdraw_all(&self) {
        let offered = std::mem::take(&mut self.state().offered);
        for (name, epoch) in offered {
            self.broker.unsubscribe(&Subscription::Address(Arc::clone(&name)));
            self.withdraw(&name, epoch);
        }
    }

    /// Answers whoever watches us.
    pub(crate) fn probed(&self, probe: &Wire) {
        if probe.kind != "_agency.health_probe" {
            return count(&self.counters.disobeyed);
        }
        let agents = self.own_agents();
        let entries = agents.iter().map(|agent| (agent.name.to_string(), health_of(agent)));
        let mut map = Map::new();
        for (name, health) in entries {
            map.insert(name, health);
        }
        let payload = Map::from([
            ("worker_id", WireValue::from(&*self.config.node)),
            ("agents", WireValue::Map(map)),
        ]);
        self.send_back(&back(probe, Arc::clone(&self.health)), "_agency.health_ack", payload, None);
    }

    /// An order to start one of our agents anew.
    pub(crate) fn ordered(self: &Arc<Self>, order: &Wire, may_order: bool) {
        let Some(name) = text(&order.payload, "agent_name") else { return };
        let runtime = {
            let state = self.state();
            // All workers hear it; whose agent it is obeys.
            let Some(runtime) = state.served.clone() else { return };
            if !state.offered.contains_key(name) {
                return;
            }
            runtime
        };
        if order.kind != "_agency.restart" || !may_order {
            return count(&self.counters.disobeyed);
        }
        let (name, by) = (name.to_owned(), order.sender.clone());
        let restart = async move { drop(runtime.restart_agent(&name, &by).await) };
        self.executor.spawn(Box::pin(restart));
    }

    /// A message at the address of one of our agents.
    pub(crate) fn serve(self: &Arc<Self>, address: &str, wire: Wire, may_order: bool) {
        let Some(runtime) = self.state().served.clone() else { return };
        if message::is_reserved(&wire.kind) {
            return self.control(&runtime, address, &wire, may_order);
        }
        let agent = match runtime.raw(address) {
            Ok(agent) => agent,
            Err(error) => {
                return self.undelivered(asked(&wire, address).as_ref(), &error.to_string());
            }
        };
        let ttl = wire.ttl.map(|ttl| ttl.get() - self.codec.age(&wire));
        let options = match ttl.map(Duration::try_from_secs_f64) {
            Some(Err(_)) => return count(&self.counters.expired),
            Some(Ok(ttl)) => SendOptions::new().ttl(ttl),
            None => SendOptions::new(),
        };
        let options = options.timeout(self.config.call_timeout);
        let options = if wire.priority > 0 { options.priority() } else { options };
        self.deliver(agent, wire, options);
    }

    /// What belongs to the system is never given to an agent.
    fn control(self: &Arc<Self>, runtime: &Runtime, address: &str, wire: &Wire, may_order: bool) {
        let offered = self.state().offered.get_key_value(address).map(|(name, _)| Arc::clone(name));
        let Some(name) = offered else { return };
        match &*wire.kind {
            "_agency.heartbeat" => {
                let back = back(wire, name);
                self.send_back(&back, "_agency.heartbeat_ack", Map::new(), None);
            }
            // The consumer has gone; what it asked for was sent at once.
            "civitas.stream.cancel" => {}
            "_agency.suspend" | "_agency.resume" | "_agency.force_restart" if may_order => {
                self.obey(runtime.clone(), &name, wire);
            }
            _ => count(&self.counters.disobeyed),
        }
    }

    fn obey(&self, runtime: Runtime, name: &Arc<str>, wire: &Wire) {
        let word = |key| text(&wire.payload, key).unwrap_or_default().to_owned();
        let (kind, name) = (wire.kind.clone(), name.to_string());
        let (reason, approver, by) = (word("reason"), word("approver"), wire.sender.clone());
        let order = async move {
            // Whoever gave the order is not told: civitas has no answer for it.
            drop(match &*kind {
                "_agency.suspend" => runtime.suspend(&name, &reason).await,
                "_agency.resume" => runtime.resume(&name, &approver).await,
                _ => runtime.restart_agent(&name, &by).await,
            });
        };
        self.executor.spawn(Box::pin(order));
    }

    /// Gives a message to its agent. The first step is made here, so that messages queue in the
    /// order in which they came; what has to wait, for room or for its answer, waits elsewhere.
    fn deliver(self: &Arc<Self>, agent: RawRef, wire: Wire, options: SendOptions) {
        let back = asked(&wire, agent.name()).map(Arc::new);
        let Some(waiting) = Waiting::enter(self) else {
            return self.undelivered(back.as_deref(), "too many messages wait here");
        };
        let name = agent.name().to_owned();
        let mut task: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(carry(waiting, agent, wire, options, back.clone()));
        let mut context = Context::from_waker(Waker::noop());
        // The message is decoded by the user's code: its panic must not end the receiver.
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => self.executor.spawn_as(Role::Remote(&name), task),
            Err(_) => self.undelivered(back.as_deref(), "reading the message has panicked"),
        }
    }

    /// A message was not given to its agent: who asked is told why.
    fn undelivered(&self, back: Option<&Back>, why: &str) {
        count(&self.counters.undelivered);
        if let Some(back) = back {
            self.fail(back, why);
        }
    }
}

async fn carry(
    waiting: Waiting,
    agent: RawRef,
    mut wire: Wire,
    options: SendOptions,
    back: Option<Arc<Back>>,
) {
    let hub = &waiting.0;
    let payload = match from_payload(std::mem::take(&mut wire.payload)) {
        Ok(payload) => payload,
        Err(why) => return hub.undelivered(back.as_deref(), &why),
    };
    let message = Message::new(std::mem::take(&mut wire.kind), payload).sent_by(&*wire.sender);
    let Some(back) = back else {
        if agent.send_with(message, options).await.is_err() {
            count(&hub.counters.undelivered);
        }
        return;
    };
    let deadline = hub.executor.now().saturating_add(hub.config.call_timeout);
    let (reply_to, reply) = reply_slot();
    let message = message.with_reply_to(ReplyTo::new(reply_to));
    match agent.send_with(message, options).await {
        Ok(()) => match timeout(hub, deadline, reply).await {
            Some(Ok(answer)) => hub.reply(&back, answer),
            Some(Err(failure)) => hub.fail(&back, &failure.to_string()),
            None => hub.fail(&back, "no answer in time"),
        },
        Err(error) => hub.undelivered(Some(&back), &error.to_string()),
    }
}

/// What a future gives until a deadline.
async fn timeout<T>(
    hub: &Hub,
    deadline: lictor_kernel::Instant,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut sleep = hub.executor.sleep_until(deadline);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// A message that is being delivered or answered; bounded.
struct Waiting(Arc<Hub>);

impl Waiting {
    fn enter(hub: &Arc<Hub>) -> Option<Self> {
        let mut state = hub.state();
        if state.waiting >= hub.config.waiting {
            return None;
        }
        state.waiting += 1;
        Some(Self(Arc::clone(hub)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Where the answer to a question goes; `None` for a message that wants none.
fn asked(wire: &Wire, from: &str) -> Option<Back> {
    wire.reply_to.is_some().then(|| back(wire, from.into()))
}

fn back(wire: &Wire, from: Arc<str>) -> Back {
    let to = wire.reply_to.clone().unwrap_or_else(|| wire.sender.clone());
    Back { to, correlation: wire.correlation_id.clone(), from }
}

fn health_of(agent: &AgentInfo) -> WireValue {
    let has_ended = matches!(agent.status, Status::Stopped | Status::Crashed);
    WireValue::Map(Map::from([
        ("status", WireValue::from(agent.status.name())),
        ("task_alive", WireValue::from(!has_ended)),
        ("mailbox_depth", WireValue::from(agent.queued)),
    ]))
}

/// Whether an event may have changed which agents there are.
pub(crate) const fn is_change(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Started { .. }
            | EventKind::Stopped { .. }
            | EventKind::Removed { .. }
            | EventKind::SupervisorStarted { .. }
            | EventKind::Terminated { .. }
    )
}
