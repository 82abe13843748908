//! The spans of what the runtime does, for `tracing`; `docs/tracing.md` lists them.
//!
//! A span that nobody listens to costs the look at one static level and is nothing else. On the way
//! of every message even the future around it is left out.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tracing::{Level, Span};

/// Whether anybody listens to single messages being handled.
pub(crate) fn handles_wanted() -> bool {
    tracing::enabled!(target: "lictor", Level::DEBUG)
}

/// Whether anybody listens to single messages being sent.
pub(crate) fn sends_wanted() -> bool {
    tracing::enabled!(target: "lictor", Level::TRACE)
}

/// An incarnation comes up: its factory, and its `start`.
pub(crate) fn start(agent: &str, incarnation: u64) -> Span {
    if incarnation == 1 {
        tracing::debug_span!(target: "lictor", "start", agent, incarnation)
    } else {
        tracing::debug_span!(target: "lictor", "restart", agent, incarnation)
    }
}

/// One delivery of a message.
pub(crate) fn handle(agent: &str, incarnation: u64) -> Span {
    tracing::debug_span!(target: "lictor", "handle", agent, incarnation)
}

/// The `stop` of an incarnation.
pub(crate) fn stop(agent: &str, incarnation: u64) -> Span {
    tracing::debug_span!(target: "lictor", "stop", agent, incarnation)
}

/// A message on its way into a mailbox, the wait for room included.
pub(crate) fn send(agent: &str) -> Span {
    tracing::trace_span!(target: "lictor", "send", agent)
}

/// What is told of a crash.
pub(crate) fn crash(agent: &str, reason: &str) -> Span {
    tracing::warn_span!(target: "lictor", "crash", agent, reason)
}

/// Runs a future inside of a span, and only the future: between its polls others run.
pub(crate) async fn within<F: Future>(span: Span, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| span.in_scope(|| future.as_mut().poll(cx))).await
}
