//! Living with civitas, the Python runtime: its processes as supervised agents of ours, and our
//! agents for its runtimes, over one [`Broker`].
//!
//! - [`Civitas::remote`] is an agent to be put under a supervisor that stands for one in a civitas
//!   worker: it crashes when that one does or when its process is lost, and its restart starts that
//!   one anew. Whoever reaches our agent reaches it.
//! - [`Civitas::serve`] announces our agents, so that a civitas runtime reaches them by name, by
//!   pattern and by capability, and may watch them.
//! - [`Civitas::stream`] consumes a stream of chunks; an agent of ours that answers a streaming
//!   consumer with a list produces one.
//!
//! What is supported is listed in `docs/civitas.md`.

mod calls;
mod codec;
mod config;
mod fleet;
mod hub;
mod remote;
mod serve;
mod signing;
mod stream;

use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use lictor_kernel::Instant;
use lictor_runtime::broker::{Broker, BrokerInbox};
use lictor_runtime::{AgentSpec, Events, Executor, Message, Runtime, RuntimeEvent, Task, Value};
use lictor_wire::Ambient;

pub use codec::{Format, Rejected};
pub use config::{CivitasConfig, CivitasCounters, CivitasError};
pub use fleet::{Announcement, End, Fleet, FleetConfig, Pulse, Refused, Told};
pub use signing::Signing;
pub use stream::{Chunks, STREAM_CHUNKS_MAX, StreamError, StreamLimits};

use calls::Asker;
use codec::{Codec, to_payload};
use hub::Hub;
use stream::Sink;

/// A node's part among civitas processes at one broker. Cheap to clone.
#[derive(Clone)]
pub struct Civitas(Arc<Hub>);

impl Debug for Civitas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Civitas").field(&self.0).finish()
    }
}

impl Civitas {
    /// A node's part. Nothing is moved before [`Civitas::run`].
    ///
    /// # Errors
    /// [`CivitasError`].
    pub fn new(
        executor: Arc<dyn Executor>,
        broker: Arc<dyn Broker>,
        ambient: Arc<dyn Ambient>,
        config: CivitasConfig,
        signing: Option<Signing>,
    ) -> Result<Self, CivitasError> {
        let codec = Codec { ambient, format: config.format, signing };
        Hub::new(executor, broker, codec, config).map(Self)
    }

    /// An agent of the name of a foreign one, which it stands for: permanent, with 30 s to be
    /// there. To be put under a supervisor of the runtime that [`Civitas::run`] runs beside.
    pub fn remote(&self, name: &str) -> AgentSpec {
        remote::remote(&self.0, name)
    }

    /// Offers the agents of a runtime to civitas processes, from now on, with all that will come.
    pub fn serve(&self, runtime: &Runtime) {
        let follower = {
            let mut state = self.0.state();
            state.served = Some(runtime.clone());
            state.is_followed = false;
            state.follower.take()
        };
        if let Some(follower) = follower {
            follower.wake();
        }
        self.0.reconcile();
    }

    /// Takes our agents back, and is over when that has left the process.
    pub async fn withdraw(&self) {
        self.0.state().served = None;
        self.0.withdraw_all();
        Arc::clone(&self.0.broker).flush().await;
    }

    /// Moves messages until the task is dropped.
    #[must_use]
    pub fn run(&self) -> Task {
        let hub = Arc::clone(&self.0);
        let listener = Arc::clone(&hub);
        let inbox = BrokerInbox::new(move |event| listener.hear(event));
        let moves = Arc::clone(&hub.broker).run(inbox);
        Box::pin(async move {
            let _running = Running(Arc::clone(&hub));
            let changes = changes(&hub);
            let announces = announces(&hub);
            let probes = probes(&hub);
            let (mut moves, mut changes) = (moves, pin!(changes));
            let (mut announces, mut probes) = (pin!(announces), pin!(probes));
            poll_fn(|cx| {
                let others: [Pin<&mut dyn Future<Output = ()>>; 3] =
                    [changes.as_mut(), announces.as_mut(), probes.as_mut()];
                for other in others {
                    // None of them ends.
                    let _ = other.poll(cx);
                }
                moves.as_mut().poll(cx)
            })
            .await;
        })
    }

    /// Asks a foreign agent for a stream.
    ///
    /// # Errors
    /// [`StreamError::Unsent`].
    pub fn stream(
        &self,
        to: &str,
        kind: &str,
        payload: Value,
        limits: StreamLimits,
    ) -> Result<Chunks, StreamError> {
        let hub = &self.0;
        let unsent = |why: &str| StreamError::Unsent(why.to_owned());
        let payload = to_payload(payload).map_err(StreamError::Unsent)?;
        let (producer, sink): (Arc<str>, _) = (to.into(), Arc::new(Sink::default()));
        let begun = hub.begin(&producer, Asker::Stream(Arc::clone(&sink)));
        let (key, correlation) = begun.map_err(|_| unsent("too many questions are open"))?;
        let sent = hub.send(to, |wire| {
            wire.kind = kind.to_owned();
            wire.payload = payload;
            wire.reply_to = Some(format!("{}{key}", hub.replies));
            wire.correlation_id = Some(correlation.clone());
        });
        let executor = Arc::clone(&hub.executor);
        let hub = Arc::clone(hub);
        if !sent {
            hub.end_stream(&key, None);
            return Err(unsent("the broker did not take the question"));
        }
        Ok(Chunks { hub, executor, sink, key, correlation, producer, limits, begun: false })
    }

    /// Sends a message to a foreign agent that nobody here stands for; says whether it was taken.
    pub fn send(&self, to: &str, message: Message) -> bool {
        self.0.forward(&Arc::from(to), message)
    }

    /// The foreign agents that are known, and whether each is alive.
    #[must_use]
    pub fn foreign(&self) -> Vec<(Arc<str>, bool)> {
        let state = self.0.state();
        state.fleet.names().map(|(name, lives)| (Arc::clone(name), lives)).collect()
    }

    /// The foreign agents that have a capability and are alive, in name order.
    #[must_use]
    pub fn capable(&self, capability: &str) -> Vec<Arc<str>> {
        let state = self.0.state();
        let has = |name: &str| state.fleet.capabilities(name).iter().any(|tag| tag == capability);
        let names = state.fleet.names().filter(|(name, lives)| *lives && has(name));
        names.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// What has been seen since the start.
    #[must_use]
    pub fn counters(&self) -> CivitasCounters {
        self.0.counters.read()
    }

    /// Questions to foreign agents that are open.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.0.open_calls()
    }
}

/// Follows what happens to our agents: of each runtime that is served, until it has ended or
/// another one is.
async fn changes(hub: &Arc<Hub>) {
    loop {
        let mut events = poll_fn(|cx| {
            let mut state = hub.state();
            let Some(runtime) = state.served.clone().filter(|_| !state.is_followed) else {
                state.follower = Some(cx.waker().clone());
                return Poll::Pending;
            };
            state.is_followed = true;
            Poll::Ready(runtime)
        })
        .await
        .events();
        hub.reconcile();
        while let Some(event) = next_of_followed(hub, &mut events).await {
            if serve::is_change(&event.kind) {
                hub.reconcile();
            }
        }
        hub.reconcile();
    }
}

/// What happens next, unless another runtime is to be followed.
async fn next_of_followed(hub: &Hub, events: &mut Events) -> Option<RuntimeEvent> {
    let mut next = pin!(events.next());
    poll_fn(|cx| {
        {
            let mut state = hub.state();
            if !state.is_followed {
                return Poll::Ready(None);
            }
            state.follower = Some(cx.waker().clone());
        }
        next.as_mut().poll(cx)
    })
    .await
}

async fn announces(hub: &Arc<Hub>) {
    loop {
        let next = hub.executor.now().saturating_add(hub.config.announce_every);
        hub.executor.sleep_until(next).await;
        hub.announce_all();
    }
}

/// Asks foreign processes when it is time to.
async fn probes(hub: &Arc<Hub>) {
    loop {
        let deadline = hub.poll_timeout().unwrap_or(Instant::MAX);
        let mut sleep = hub.executor.sleep_until(deadline);
        poll_fn(|cx| {
            let changed = {
                let mut state = hub.state();
                state.clock = Some(cx.waker().clone());
                state.fleet.poll_timeout().unwrap_or(Instant::MAX) != deadline
            };
            if changed {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(cx)
        })
        .await;
        let now = hub.executor.now();
        hub.tell(|state, told| state.fleet.handle_timeout(now, told));
    }
}

/// The time in which it runs.
struct Running(Arc<Hub>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.ready, state.is_followed) = (false, false);
    }
}
