//! What a crate must be able to do to be compared, and nothing more.

use std::future::Future;
use std::time::Duration;

/// How a counter is made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    Panic,
    Error,
}

/// One crate. Every counter hangs under one supervisor, where the crate has such a thing.
pub trait Peer: Sized + 'static {
    /// A reference to a counter.
    type Ref: Clone + Send + Sync + 'static;
    /// What keeps the counters alive.
    type World: Send + Sync + 'static;

    /// Starts supervised counters, by name (`agent-0`, `agent-1`, ...) if the crate has names or
    /// `named` asks for them; returns when all are up.
    fn start(
        count: usize,
        named: bool,
    ) -> impl Future<Output = (Self::World, Vec<Self::Ref>)> + Send;

    /// Sends; where the mailbox is bounded, waits for room.
    fn tell(to: &Self::Ref, add: u64) -> impl Future<Output = ()> + Send;

    /// Asks.
    fn get(to: &Self::Ref) -> impl Future<Output = u64> + Send;

    /// Ends all counters; returns when all have ended.
    fn stop(world: Self::World, counters: Vec<Self::Ref>) -> impl Future<Output = ()> + Send;

    /// The counter of this name.
    fn lookup(_world: &Self::World, _name: &str) -> Option<Self::Ref> {
        None
    }

    /// From the sending of the message that fails to the answer of the next incarnation; `None` if
    /// the crate restarts nothing. `self_ref` is replaced where a restart gives a new reference.
    fn crash(
        _world: &mut Self::World,
        _counter: &mut Self::Ref,
        _how: Crash,
    ) -> impl Future<Output = Option<()>> + Send {
        std::future::ready(None)
    }

    /// As the crash, while 50 messages of 10 ms each wait at the supervisor.
    fn crash_under_load(
        _world: &mut Self::World,
        _counter: &mut Self::Ref,
    ) -> impl Future<Output = Option<Duration>> + Send {
        std::future::ready(None)
    }

    /// One message to each of many counters.
    fn broadcast(
        _world: &Self::World,
        counters: &[Self::Ref],
    ) -> impl Future<Output = usize> + Send {
        async move {
            for counter in counters {
                Self::tell(counter, 1).await;
            }
            counters.len()
        }
    }
}

/// The messages that wait at the supervisor: how many, and how long each takes.
pub const LOAD: usize = 50;
pub const LOAD_EACH: Duration = Duration::from_millis(10);

/// What names look like.
pub fn name(at: usize) -> String {
    format!("agent-{at}")
}
