//! The floor: a tokio task behind a channel, and nothing else.
//!
//! `Raw` has an unbounded channel, `Raw64` one of 64 messages. Names are a map behind a read-write
//! lock; a restart is a task that awaits the other one and spawns it again on the same receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::peer::{Crash, Peer, name};

pub enum Message {
    Add(u64),
    Get(oneshot::Sender<u64>),
    Panic,
    Fail,
}

enum Receiver {
    Free(mpsc::UnboundedReceiver<Message>),
    Bound(mpsc::Receiver<Message>),
}

/// One incarnation of a counter.
async fn work(receiver: Arc<AsyncMutex<Receiver>>) -> Result<(), ()> {
    let mut receiver = receiver.lock().await;
    let mut count = 0;
    loop {
        let message = match &mut *receiver {
            Receiver::Free(receiver) => receiver.recv().await,
            Receiver::Bound(receiver) => receiver.recv().await,
        };
        match message {
            Some(Message::Add(n)) => count += n,
            Some(Message::Get(reply)) => drop(reply.send(count)),
            Some(Message::Panic) => panic!("as you wish"),
            Some(Message::Fail) => return Err(()),
            None => return Ok(()),
        }
    }
}

async fn supervise(receiver: Receiver) {
    let receiver = Arc::new(AsyncMutex::new(receiver));
    loop {
        if let Ok(Ok(())) = tokio::spawn(work(Arc::clone(&receiver))).await {
            return;
        }
    }
}

async fn plain_free(mut receiver: mpsc::UnboundedReceiver<Message>) {
    let mut count = 0;
    while let Some(message) = receiver.recv().await {
        match message {
            Message::Add(n) => count += n,
            Message::Get(reply) => drop(reply.send(count)),
            Message::Panic | Message::Fail => return,
        }
    }
}

async fn plain_bound(mut receiver: mpsc::Receiver<Message>) {
    let mut count = 0;
    while let Some(message) = receiver.recv().await {
        match message {
            Message::Add(n) => count += n,
            Message::Get(reply) => drop(reply.send(count)),
            Message::Panic | Message::Fail => return,
        }
    }
}

pub struct World<S> {
    tasks: Vec<JoinHandle<()>>,
    names: RwLock<HashMap<String, S>>,
    /// Kept, so that a supervised counter of the restart rows can be made late.
    restarted: Mutex<Option<JoinHandle<()>>>,
}

impl<S> World<S> {
    fn new(tasks: Vec<JoinHandle<()>>, names: HashMap<String, S>) -> Self {
        Self { tasks, names: RwLock::new(names), restarted: Mutex::new(None) }
    }

    async fn end(self) {
        drop(self.names);
        drop(self.restarted);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn crash<S>(
    world: &mut World<S>,
    counter: &mut S,
    fresh: impl FnOnce() -> (S, Receiver),
    send: impl AsyncFn(&S, Message),
    how: Crash,
) -> Option<()> {
    let is_first = world.restarted.lock().expect("not poisoned").is_none();
    if is_first {
        // The counter of the other rows is a bare task; here it is supervised.
        let (sender, receiver) = fresh();
        *counter = sender;
        let task = tokio::spawn(supervise(receiver));
        *world.restarted.lock().expect("not poisoned") = Some(task);
    }
    send(counter, if how == Crash::Panic { Message::Panic } else { Message::Fail }).await;
    let (reply, answer) = oneshot::channel();
    send(counter, Message::Get(reply)).await;
    assert_eq!(answer.await, Ok(0));
    Some(())
}

pub struct Raw;

impl Peer for Raw {
    type Ref = mpsc::UnboundedSender<Message>;
    type World = World<Self::Ref>;

    async fn start(count: usize, named: bool) -> (Self::World, Vec<Self::Ref>) {
        let (mut tasks, mut senders) = (Vec::new(), Vec::new());
        let mut names = HashMap::new();
        for at in 0..count {
            let (sender, receiver) = mpsc::unbounded_channel();
            tasks.push(tokio::spawn(plain_free(receiver)));
            if named {
                names.insert(name(at), sender.clone());
            }
            senders.push(sender);
        }
        (World::new(tasks, names), senders)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.send(Message::Add(add)).expect("it is up");
    }

    async fn get(to: &Self::Ref) -> u64 {
        let (reply, answer) = oneshot::channel();
        to.send(Message::Get(reply)).expect("it is up");
        answer.await.expect("it answers")
    }

    async fn stop(world: Self::World, counters: Vec<Self::Ref>) {
        drop(counters);
        world.end().await;
    }

    fn lookup(world: &Self::World, name: &str) -> Option<Self::Ref> {
        world.names.read().expect("not poisoned").get(name).cloned()
    }

    async fn crash(world: &mut Self::World, counter: &mut Self::Ref, how: Crash) -> Option<()> {
        let fresh = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            (sender, Receiver::Free(receiver))
        };
        let send = async |to: &Self::Ref, message| to.send(message).expect("it is up");
        crash(world, counter, fresh, send, how).await
    }
}

pub struct Raw64;

impl Peer for Raw64 {
    type Ref = mpsc::Sender<Message>;
    type World = World<Self::Ref>;

    async fn start(count: usize, named: bool) -> (Self::World, Vec<Self::Ref>) {
        let (mut tasks, mut senders) = (Vec::new(), Vec::new());
        let mut names = HashMap::new();
        for at in 0..count {
            let (sender, receiver) = mpsc::channel(64);
            tasks.push(tokio::spawn(plain_bound(receiver)));
            if named {
                names.insert(name(at), sender.clone());
            }
            senders.push(sender);
        }
        (World::new(tasks, names), senders)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.send(Message::Add(add)).await.expect("it is up");
    }

    async fn get(to: &Self::Ref) -> u64 {
        let (reply, answer) = oneshot::channel();
        to.send(Message::Get(reply)).await.expect("it is up");
        answer.await.expect("it answers")
    }

    async fn stop(world: Self::World, counters: Vec<Self::Ref>) {
        drop(counters);
        world.end().await;
    }

    fn lookup(world: &Self::World, name: &str) -> Option<Self::Ref> {
        world.names.read().expect("not poisoned").get(name).cloned()
    }

    async fn crash(world: &mut Self::World, counter: &mut Self::Ref, how: Crash) -> Option<()> {
        let fresh = || {
            let (sender, receiver) = mpsc::channel(64);
            (sender, Receiver::Bound(receiver))
        };
        let send = async |to: &Self::Ref, message| to.send(message).await.expect("it is up");
        crash(world, counter, fresh, send, how).await
    }
}
