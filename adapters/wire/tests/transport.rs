//! Sealed frames over a wire in memory.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::conformance::{self, End, Faults, Network};
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, Inbox, LinkEvent, SendError};
use lictor_runtime::{Executor, Task, Transport};
use lictor_tokio::TokioExecutor;
use lictor_wire::{
    Ambient, Keyring, Opener, SealCounters, SealedTransport, Sealer, SecretKey, UnixTime, Window,
    frame_limits, node_name,
};
use support::{NOW, other_key};

/// The executor's time as the time of day, and nonces by number.
#[derive(Debug)]
struct Paused {
    executor: Arc<dyn Executor>,
    /// How far this node's clock is ahead.
    ahead: Duration,
    nonces: AtomicU64,
    has_entropy: bool,
}

impl Ambient for Paused {
    fn unix_time(&self) -> UnixTime {
        let since = self.executor.now().saturating_since(lictor_kernel::Instant::ZERO);
        NOW.saturating_add(since).saturating_add(self.ahead)
    }

    fn nonce(&self) -> Option<[u8; 16]> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        self.has_entropy.then_some(nonce)
    }
}

fn key(node: u64) -> SecretKey {
    other_key(u8::try_from(node).unwrap())
}

fn keyring() -> Keyring {
    let mut keyring = Keyring::new();
    for node in 1..=3 {
        keyring.trust(node_name(NodeId(node)), key(node).public()).unwrap();
    }
    keyring
}

struct Setup {
    executor: Arc<dyn Executor>,
    network: Arc<Network>,
}

impl Setup {
    fn new() -> Self {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let network = Network::new(Arc::clone(&executor), 3);
        Self { executor, network }
    }

    fn sealed(&self, node: u64, peer: u64) -> Arc<SealedTransport> {
        self.with(node, peer, key(node), Duration::ZERO, true)
    }

    fn with(
        &self,
        node: u64,
        peer: u64,
        key: SecretKey,
        ahead: Duration,
        has_entropy: bool,
    ) -> Arc<SealedTransport> {
        let inner = self.network.transport(NodeId(node), vec![NodeId(peer)]);
        let name = node_name(NodeId(node));
        let sealer = Sealer::new(name.clone(), key, 1, Duration::from_secs(30)).unwrap();
        let window = Window::default();
        let opener = Opener::new(name, keyring(), window, frame_limits(), NOW).unwrap();
        let executor = Arc::clone(&self.executor);
        let nonces = AtomicU64::new(node << 32);
        let ambient = Arc::new(Paused { executor, ahead, nonces, has_entropy });
        Arc::new(SealedTransport::new(inner, sealer, opener, ambient))
    }
}

fn on_paused(task: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(task);
}

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// Runs a transport, and keeps what it hears.
fn run(transport: &Arc<impl Transport>) -> Heard {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let inbox = Inbox::new(move |_, event| {
        if let LinkEvent::Frame(frame) = event {
            sink.lock().unwrap().push(frame.as_bytes().to_vec());
        }
        true
    });
    tokio::spawn(Arc::clone(transport).run(inbox));
    heard
}

async fn moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[test]
fn it_is_a_transport() {
    conformance::transport(|name, case| {
        eprintln!("case: {name}");
        on_paused(async {
            let setup = Setup::new();
            let executor = Arc::clone(&setup.executor);
            End::both(case, executor, |node, peer| setup.sealed(node.0, peer.0)).await;
        });
    });
}

#[test]
fn a_wire_that_repeats_and_reorders_delivers_each_frame_once_at_most() {
    on_paused(async {
        let setup = Setup::new();
        setup.network.set_faults(Faults {
            loss_milli: 100,
            repeat_milli: 500,
            delay_max: Duration::from_millis(50),
            ..Faults::default()
        });
        let (one, two) = (setup.sealed(1, 2), setup.sealed(2, 1));
        let (_heard_one, heard) = (run(&one), run(&two));
        moment().await;
        for n in 0..500_u32 {
            one.send(NodeId(2), Frame::new(n.to_be_bytes())).unwrap();
        }
        moment().await;
        let mut heard = heard.lock().unwrap().clone();
        let count = heard.len();
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), count, "a frame came twice");
        assert!(count > 400 && count < 500, "{count} of 500");
        let counters = two.counters();
        assert_eq!(counters.opened, u64::try_from(count).unwrap());
        assert!(counters.replayed > 100, "{counters:?}");
        let refused = SealCounters { opened: 0, replayed: 0, ..counters };
        assert_eq!(refused, SealCounters::default());
        assert_eq!(one.counters().sealed, 500);
    });
}

#[test]
fn large_frames_go_in_halves_that_may_overtake_each_other() {
    on_paused(async {
        let setup = Setup::new();
        let delay_max = Duration::from_millis(50);
        setup.network.set_faults(Faults { delay_max, ..Faults::default() });
        let (one, two) = (setup.sealed(1, 2), setup.sealed(2, 1));
        let (_heard_one, heard) = (run(&one), run(&two));
        moment().await;
        for n in 0..4_u8 {
            let mut bytes = vec![n; FRAME_BYTES_MAX - usize::from(n)];
            bytes[0] = 0xff;
            one.send(NodeId(2), Frame::new(bytes)).unwrap();
            moment().await;
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 4);
        for (n, bytes) in (0..).zip(heard.iter()) {
            assert_eq!(bytes.len(), FRAME_BYTES_MAX - usize::from(n));
            assert!(bytes[0] == 0xff && bytes[1..].iter().all(|byte| *byte == n));
        }
        assert_eq!(two.counters().opened, 8);
    });
}

#[test]
fn half_frames_that_stay_alone_do_not_pile_up() {
    on_paused(async {
        let setup = Setup::new();
        let (one, two) = (setup.sealed(1, 2), setup.sealed(2, 1));
        let (_heard_one, heard) = (run(&one), run(&two));
        moment().await;
        for _ in 0..40 {
            setup.network.set_faults(Faults { loss_milli: 500, ..Faults::default() });
            one.send(NodeId(2), Frame::new(vec![1; FRAME_BYTES_MAX])).unwrap();
            moment().await;
        }
        let counters = two.counters();
        let whole = u64::try_from(heard.lock().unwrap().len()).unwrap();
        let halves = counters.opened - 2 * whole;
        assert!(halves > 5, "{counters:?}");
        assert_eq!(counters.halves_lost, halves - 4, "four are kept");
    });
}

/// A wire whose frames the test hands on itself.
#[derive(Debug, Default)]
struct ByHand {
    sent: Mutex<Vec<Frame>>,
    inbox: Mutex<Option<Inbox>>,
}

impl Transport for ByHand {
    fn peers(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn send(&self, _: NodeId, frame: Frame) -> Result<(), SendError> {
        self.sent.lock().unwrap().push(frame);
        Ok(())
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        *self.inbox.lock().unwrap() = Some(inbox);
        Box::pin(std::future::pending())
    }
}

fn boot(setup: &Setup, node: u64, epoch: u64, inner: &Arc<ByHand>) -> Arc<SealedTransport> {
    let name = node_name(NodeId(node));
    let sealer = Sealer::new(name.clone(), key(node), epoch, Duration::from_secs(30)).unwrap();
    let opener = Opener::new(name, keyring(), Window::default(), frame_limits(), NOW).unwrap();
    let executor = Arc::clone(&setup.executor);
    let nonces = AtomicU64::new(epoch << 32);
    let ambient = Paused { executor, ahead: Duration::ZERO, nonces, has_entropy: true };
    let inner = Arc::<ByHand>::clone(inner);
    Arc::new(SealedTransport::new(inner, sealer, opener, Arc::new(ambient)))
}

#[test]
fn halves_of_two_boots_are_no_frame() {
    on_paused(async {
        let setup = Setup::new();
        let (theirs, ours) = (Arc::<ByHand>::default(), Arc::<ByHand>::default());
        for (epoch, byte) in [(1, b'a'), (2, b'b')] {
            let other = boot(&setup, 1, epoch, &theirs);
            other.send(NodeId(2), Frame::new(vec![byte; FRAME_BYTES_MAX])).unwrap();
        }
        let two = boot(&setup, 2, 1, &ours);
        let heard = run(&two);
        moment().await;
        let sent = theirs.sent.lock().unwrap().clone();
        let [first, _lost, third, fourth] = &sent[..] else { panic!("{} halves", sent.len()) };
        let inbox = ours.inbox.lock().unwrap();
        for half in [first, third, fourth] {
            assert!(inbox.as_ref().unwrap().frame(NodeId(1), half.clone()));
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1, "the whole frame of the second boot");
        assert!(heard[0].len() == FRAME_BYTES_MAX && heard[0].iter().all(|byte| *byte == b'b'));
        assert_eq!(two.counters().opened, 3);
    });
}

// A stranger who hands a frame on as his own must not make the genuine one look like a copy.
#[test]
fn a_frame_that_came_as_anothers_first_is_taken_from_its_signer() {
    on_paused(async {
        let setup = Setup::new();
        let (theirs, ours) = (Arc::<ByHand>::default(), Arc::<ByHand>::default());
        boot(&setup, 1, 1, &theirs).send(NodeId(2), Frame::new([7])).unwrap();
        let two = boot(&setup, 2, 1, &ours);
        let heard = run(&two);
        moment().await;
        let frame = theirs.sent.lock().unwrap()[0].clone();
        let inbox = ours.inbox.lock().unwrap();
        for from in [3, 1, 1] {
            inbox.as_ref().unwrap().frame(NodeId(from), frame.clone());
        }
        assert_eq!(*heard.lock().unwrap(), [[7]]);
        let counters = two.counters();
        assert_eq!((counters.misdirected, counters.opened, counters.replayed), (1, 1, 1));
    });
}

#[test]
fn strangers_do_not_hide_what_is_refused_of_those_that_have_keys() {
    on_paused(async {
        let (setup, ours) = (Setup::new(), Arc::<ByHand>::default());
        let two = boot(&setup, 2, 1, &ours);
        let _heard = run(&two);
        moment().await;
        let inbox = ours.inbox.lock().unwrap();
        let say = |from| inbox.as_ref().unwrap().frame(NodeId(from), Frame::new([0]));
        assert!((100..3100).chain([1]).all(say));
        let refused = two.refused();
        assert_eq!(refused.len(), 1024 + 1);
        assert_eq!((refused[0].peer, refused[0].frames), (NodeId(1), 1));
        assert_eq!(two.counters().unsigned, 3001);
    });
}

/// What arrives at node 1 when the frames of node 2 are made by `other`.
async fn refused(setup: &Setup, other: Arc<impl Transport>) -> SealCounters {
    let one = setup.sealed(1, 2);
    let (heard, _heard_two) = (run(&one), run(&other));
    moment().await;
    other.send(NodeId(1), Frame::new([1, 2, 3])).unwrap();
    moment().await;
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(one.counters().opened, 0);
    let refused = one.refused();
    assert_eq!((refused.len(), refused[0].peer, refused[0].frames), (1, NodeId(2), 1));
    one.counters()
}

#[test]
fn refusals_are_counted_by_their_reason() {
    let check = |make: &dyn Fn(&Setup) -> Arc<SealedTransport>, expected: SealCounters| {
        on_paused(async {
            let setup = Setup::new();
            let other = make(&setup);
            assert_eq!(refused(&setup, other).await, expected);
        });
    };
    let none = SealCounters::default();
    check(
        &|setup| setup.with(2, 1, key(9), Duration::ZERO, true),
        SealCounters { forged: 1, ..none },
    );
    let hour = Duration::from_secs(3600);
    check(&|setup| setup.with(2, 1, key(2), hour, true), SealCounters { expired: 1, ..none });
    // Node 3 speaks over the link of node 2; node 7 has no key.
    let as_other = |setup: &Setup, name: u64| {
        let inner = setup.network.transport(NodeId(2), vec![NodeId(1)]);
        let name = node_name(NodeId(name));
        let sealer = Sealer::new(name.clone(), key(3), 1, Duration::from_secs(30)).unwrap();
        let window = Window::default();
        let opener = Opener::new(name, keyring(), window, frame_limits(), NOW).unwrap();
        let executor = Arc::clone(&setup.executor);
        let nonces = AtomicU64::new(0);
        let ambient = Paused { executor, ahead: Duration::ZERO, nonces, has_entropy: true };
        Arc::new(SealedTransport::new(inner, sealer, opener, Arc::new(ambient)))
    };
    check(&|setup| as_other(setup, 3), SealCounters { misdirected: 1, ..none });
    check(&|setup| as_other(setup, 7), SealCounters { unknown_signer: 1, ..none });
}

/// A wire whose flush is over at once and that wants to be waited for.
#[derive(Debug)]
struct Patient;

impl Transport for Patient {
    fn peers(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn send(&self, _: NodeId, _: Frame) -> Result<(), SendError> {
        Ok(())
    }

    fn run(self: Arc<Self>, _: Inbox) -> Task {
        Box::pin(std::future::pending())
    }

    fn flush(self: Arc<Self>) -> Task {
        Box::pin(std::future::ready(()))
    }

    fn linger(&self) -> Duration {
        Duration::from_secs(7)
    }
}

#[test]
fn the_end_of_a_sealed_wire_is_that_of_the_wire_below() {
    on_paused(async {
        let setup = Setup::new();
        let name = node_name(NodeId(1));
        let sealer = Sealer::new(name.clone(), key(1), 1, Duration::from_secs(30)).unwrap();
        let opener = Opener::new(name, keyring(), Window::default(), frame_limits(), NOW).unwrap();
        let executor = Arc::clone(&setup.executor);
        let nonces = AtomicU64::new(0);
        let ambient = Paused { executor, ahead: Duration::ZERO, nonces, has_entropy: true };
        let sealed = SealedTransport::new(Arc::new(Patient), sealer, opener, Arc::new(ambient));
        let sealed = Arc::new(sealed);
        assert_eq!(sealed.linger(), Duration::from_secs(7));
        let flushed = tokio::time::timeout(Duration::from_secs(1), Arc::clone(&sealed).flush());
        assert!(flushed.await.is_ok());
    });
}

#[test]
fn plain_frames_are_unsigned() {
    on_paused(async {
        let setup = Setup::new();
        let one = setup.sealed(1, 2);
        let plain = setup.network.transport(NodeId(2), vec![NodeId(1)]);
        let heard = run(&one);
        tokio::spawn(Arc::clone(&plain).run(Inbox::new(|_, _| true)));
        moment().await;
        plain.send(NodeId(1), Frame::new(*b"\x01{}")).unwrap();
        plain.send(NodeId(1), Frame::new([0x8a, 0xa1, b'v', 3, 0xa0])).unwrap();
        moment().await;
        assert!(heard.lock().unwrap().is_empty());
        let counters = one.counters();
        assert_eq!((counters.unsigned, counters.malformed, counters.opened), (1, 1, 0));
    });
}

#[test]
fn a_host_without_entropy_sends_nothing() {
    on_paused(async {
        let setup = Setup::new();
        let one = setup.with(1, 2, key(1), Duration::ZERO, false);
        let _heard = run(&one);
        moment().await;
        assert_eq!(one.send(NodeId(2), Frame::new([1])), Err(SendError::Unreachable));
        let large = Frame::new(vec![0; FRAME_BYTES_MAX + 1]);
        assert_eq!(one.send(NodeId(2), large), Err(SendError::TooLarge));
        assert_eq!(one.counters(), SealCounters::default());
    });
}

#[test]
fn keys_can_be_changed_while_it_runs() {
    on_paused(async {
        let setup = Setup::new();
        let (one, two) = (setup.sealed(1, 2), setup.with(2, 1, key(9), Duration::ZERO, true));
        let (heard, _heard_two) = (run(&one), run(&two));
        moment().await;
        one.with_keyring(|keyring| keyring.trust(node_name(NodeId(2)), key(9).public()).unwrap());
        two.send(NodeId(1), Frame::new([7])).unwrap();
        moment().await;
        assert_eq!(*heard.lock().unwrap(), [[7]]);
    });
}
