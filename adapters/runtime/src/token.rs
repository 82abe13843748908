//! A flag that can be awaited: raised once, by whoever ends what others wait with.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, wake};

#[derive(Debug)]
pub(crate) struct Token(Mutex<State>);

#[derive(Default, Debug)]
struct State {
    raised: bool,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Token {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    pub(crate) fn raise(&self) {
        let mut state = self.0.lock();
        state.raised = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(wake);
    }

    pub(crate) fn raised(&self) -> Raised<'_> {
        Raised { token: self, key: None }
    }
}

/// Waits for the first of two futures, the first one asked first.
pub(crate) async fn first(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if a.as_mut().poll(cx).is_ready() || b.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

pub(crate) struct Raised<'a> {
    token: &'a Token,
    key: Option<u64>,
}

impl Future for Raised<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.token.0.lock();
        if state.raised {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or(state.next);
        state.next = state.next.max(key + 1);
        let stale = state.wakers.insert(key, cx.waker().clone());
        drop(state);
        // Outside the lock: it may be the last handle of a task that waits for this very token.
        drop(stale);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut state = self.token.0.lock();
            let own = state.wakers.remove(&key);
            drop(state);
            drop(own);
        }
    }
}
