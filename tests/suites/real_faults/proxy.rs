//! A cable that can be held, in each direction, and cut.
//!
//! TCP does not lose bytes: a network that loses packets holds the stream up, for as long as it
//! lasts, and then all that was held up comes late. So that is what this does. A cut ends the
//! connections, and what was under way in them is lost.
#![allow(dead_code, reason = "not every test does everything with it")]

use std::sync::Arc;

use lictor::prelude::ms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a cable does at present.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct State {
    /// What the process sends does not come to the broker.
    pub(crate) holds_out: bool,
    /// What the broker sends does not come to the process.
    pub(crate) holds_in: bool,
    /// There are no connections, and none are made.
    pub(crate) is_cut: bool,
}

/// A cable between a process and a port.
pub(crate) struct Cable {
    pub(crate) port: u16,
    state: Arc<watch::Sender<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Cable {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                tokio::spawn(connect(near, target, shared.subscribe()));
            }
        });
        Self { port, state, task }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
        self.set(State { is_cut: true, ..State::default() });
    }
}

async fn connect(near: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    // A packet that is lost is one of a handshake as well.
    if state.wait_for(|state| !state.holds_out && !state.holds_in).await.is_err() {
        return;
    }
    if state.borrow().is_cut {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let out = pump(near_in, far_out, state.clone(), |state| state.holds_out);
    let back = pump(far_in, near_out, state.clone(), |state| state.holds_in);
    let cut = async move {
        let _ = state.wait_for(|state| state.is_cut).await;
    };
    tokio::select! {
        () = async { tokio::join!(out, back); } => {}
        () = cut => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    holds: impl Fn(&State) -> bool,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        if state.wait_for(|state| !holds(state)).await.is_err() {
            return;
        }
        // What is read while it is held waits here: it is checked again before it is written.
        let Ok(length @ 1..) = from.read(&mut buffer).await else { break };
        if state.wait_for(|state| !holds(state)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The end of the stream comes through as one, after a moment for the other direction.
    tokio::time::sleep(ms(1)).await;
    let _ = to.shutdown().await;
}
