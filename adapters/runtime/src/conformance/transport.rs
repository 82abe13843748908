//! The suite that every transport passes.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};

use crate::executor::{Executor, Task};
use crate::transport::{FRAME_BYTES_MAX, Frame, Inbox, LinkEvent, SendError, Transport};

/// One end of a wire between two nodes that know each other.
#[derive(Clone, Debug)]
pub struct End {
    /// What this end runs on.
    pub executor: Arc<dyn Executor>,
    /// Its transport. It does not run yet.
    pub transport: Arc<dyn Transport>,
    /// The node at the other end.
    pub peer: NodeId,
    /// Whether this end begins, where one has to.
    pub is_first: bool,
}

impl End {
    /// Plays a case at both ends of a wire between nodes 1 and 2, on one executor, until both are
    /// over. `of` makes the transport of a node for its peer.
    ///
    /// # Panics
    /// As the case does.
    pub async fn both(
        case: TransportCase,
        executor: Arc<dyn Executor>,
        mut of: impl FnMut(NodeId, NodeId) -> Arc<dyn Transport>,
    ) {
        let mut end = |node, peer| {
            let (node, peer) = (NodeId(node), NodeId(peer));
            let (executor, transport) = (Arc::clone(&executor), of(node, peer));
            Some(case(Self { executor, transport, peer, is_first: node < peer }))
        };
        let mut ends = [end(1, 2), end(2, 1)];
        poll_fn(|cx| {
            for end in &mut ends {
                if end.as_mut().is_some_and(|task| task.as_mut().poll(cx).is_ready()) {
                    *end = None;
                }
            }
            if ends.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// One check of [`transport`]: makes the task of one end. Both ends run the same case.
pub type TransportCase = fn(End) -> Task;

/// Checks a [`Transport`]. `run` is called once per case with its name; it makes a fresh wire
/// between two nodes, calls the case for each end, drives both tasks to their ends, each on its own
/// host, and lets their panics through: they are the failures. A case takes less than a minute of
/// the host's time.
///
/// # Panics
/// When the transport breaks its contract.
pub fn transport(mut run: impl FnMut(&'static str, TransportCase)) {
    let cases: [(&'static str, TransportCase); 6] = [
        ("frames arrive, if they are sent again and again", frames_arrive),
        ("a link is up before its first frame", up_comes_first),
        ("bytes arrive as they are, of any size that is allowed", bytes_are_kept),
        ("what cannot be sent is refused by its error", refusals_are_typed),
        ("a send never waits, and a queue that nobody empties refuses", sends_are_bounded),
        ("a transport that is dropped is closed, and runs again", runs_again),
    ];
    for (name, case) in cases {
        run(name, case);
    }
}

const STEP: Duration = Duration::from_millis(20);

/// After its own work an end serves the other for so long.
const LINGER: Duration = Duration::from_secs(3);

/// No case waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

type Heard = Arc<Mutex<VecDeque<LinkEvent>>>;

struct Host {
    end: End,
    heard: Heard,
    run: Option<Task>,
}

impl Host {
    fn new(end: End) -> Self {
        let mut host = Self { end, heard: Heard::default(), run: None };
        host.begin();
        host
    }

    fn begin(&mut self) {
        let (heard, peer) = (Arc::clone(&self.heard), self.end.peer);
        let inbox = Inbox::new(move |from, event| {
            assert_eq!(from, peer, "there is one peer");
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
            true
        });
        self.run = Some(Arc::clone(&self.end.transport).run(inbox));
    }

    /// Lets the transport run for a moment.
    async fn step(&mut self) {
        let mut sleep = self.end.executor.sleep_until(self.now().saturating_add(STEP));
        let run = &mut self.run;
        poll_fn(|cx| {
            if let Some(run) = run {
                assert!(run.as_mut().poll(cx).is_pending(), "the transport has ended");
            }
            Pin::new(&mut sleep).poll(cx)
        })
        .await;
    }

    async fn linger(&mut self, serve: impl Fn(&Self, &Frame)) {
        let end = self.now().saturating_add(LINGER);
        while self.now() < end {
            while let Some(event) = self.take() {
                if let LinkEvent::Frame(frame) = event {
                    serve(self, &frame);
                }
            }
            self.step().await;
        }
    }

    fn take(&self) -> Option<LinkEvent> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.end.transport.send(self.end.peer, Frame::new(bytes))
    }

    fn now(&self) -> Instant {
        self.end.executor.now()
    }
}

/// Answers a question of the other end: `q...` with `a...`.
fn serve(host: &Host, frame: &Frame) {
    if let [b'q', label @ ..] = frame.as_bytes() {
        // It is asked again if this is lost.
        let _ = host.send(&[b"a", label].concat());
    }
}

/// Asks until the answer comes, and answers the other's questions meanwhile.
async fn exchange(host: &mut Host, label: &[u8]) {
    let (question, answer) = ([b"q", label].concat(), [b"a", label].concat());
    let end = host.now().saturating_add(PATIENCE);
    loop {
        // A link that is not up yet refuses, and a frame may be lost.
        let _ = host.send(&question);
        host.step().await;
        while let Some(event) = host.take() {
            let LinkEvent::Frame(frame) = event else { continue };
            if frame.as_bytes() == answer {
                return;
            }
            serve(host, &frame);
        }
        assert!(host.now() < end, "no answer in {PATIENCE:?}");
    }
}

fn frames_arrive(end: End) -> Task {
    Box::pin(async move {
        let mut host = Host::new(end);
        for round in 0..10 {
            exchange(&mut host, &[round]).await;
        }
        host.linger(serve).await;
    })
}

fn up_comes_first(end: End) -> Task {
    Box::pin(async move {
        let mut host = Host::new(end);
        let until = host.now().saturating_add(PATIENCE);
        let mut is_up = false;
        let mut frames = 0;
        while frames < 3 {
            assert!(host.now() < until, "no frame in {PATIENCE:?}");
            let _ = host.send(b"here");
            host.step().await;
            while let Some(event) = host.take() {
                match event {
                    LinkEvent::Up => is_up = true,
                    LinkEvent::Down => is_up = false,
                    LinkEvent::Frame(_) => {
                        assert!(is_up, "a frame over a link that is not up");
                        frames += 1;
                    }
                }
            }
        }
        host.linger(|host, _| {
            let _ = host.send(b"here");
        })
        .await;
    })
}

fn bytes_are_kept(end: End) -> Task {
    Box::pin(async move {
        let mut host = Host::new(end);
        let until = host.now().saturating_add(PATIENCE);
        let sizes = [0, 1, 2, 255, 256, 4096, 65_535, 65_536, FRAME_BYTES_MAX];
        let of_size = |size: usize| -> Vec<u8> {
            (0..size).map(|at| u8::try_from((at * 7 + size) % 251).unwrap_or(0)).collect()
        };
        let mut left: Vec<usize> = sizes.to_vec();
        while !left.is_empty() {
            assert!(host.now() < until, "frames of {left:?} bytes did not come");
            for size in sizes {
                let _ = host.send(&of_size(size));
            }
            for _ in 0..10 {
                host.step().await;
            }
            while let Some(event) = host.take() {
                if let LinkEvent::Frame(frame) = event {
                    let bytes = frame.as_bytes();
                    assert!(bytes == of_size(bytes.len()), "{} bytes were changed", bytes.len());
                    left.retain(|size| *size != bytes.len());
                }
            }
        }
        for size in sizes {
            let _ = host.send(&of_size(size));
        }
        host.linger(|_, _| {}).await;
    })
}

fn refusals_are_typed(end: End) -> Task {
    Box::pin(async move {
        let not_running = end.transport.send(end.peer, Frame::new([1]));
        assert_eq!(not_running, Err(SendError::Closed), "it does not run yet");
        let mut host = Host::new(end);
        exchange(&mut host, b"one").await;
        let stranger = NodeId(u64::MAX - 7);
        let sent = host.end.transport.send(stranger, Frame::new([1]));
        assert_eq!(sent, Err(SendError::UnknownPeer));
        let large = vec![0; FRAME_BYTES_MAX + 1];
        assert_eq!(host.send(&large), Err(SendError::TooLarge));
        host.linger(serve).await;
    })
}

fn sends_are_bounded(end: End) -> Task {
    Box::pin(async move {
        let mut host = Host::new(end);
        exchange(&mut host, b"one").await;
        let mut refused = None;
        for _ in 0..1 << 20 {
            if let Err(error) = host.send(b"more") {
                refused = Some(error);
                break;
            }
        }
        assert_eq!(refused, Some(SendError::Full), "a million frames wait");
        host.linger(serve).await;
    })
}

fn runs_again(end: End) -> Task {
    Box::pin(async move {
        let is_first = end.is_first;
        let mut host = Host::new(end);
        exchange(&mut host, b"one").await;
        host.linger(serve).await;
        if is_first {
            host.run = None;
            assert_eq!(host.send(b"question"), Err(SendError::Closed), "nothing runs");
            host.linger(|_, _| {}).await;
            host.begin();
        }
        exchange(&mut host, b"two").await;
        host.linger(serve).await;
    })
}
