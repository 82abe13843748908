//! Streams of chunks from a foreign agent.
//!
//! Chunks carry a number from 0 on, and the end carries their count, so a gap, a repetition or a
//! lost tail ends the stream with an error instead of passing for the whole. The buffer is bounded:
//! a broker gives no way to slow the producer down, so a consumer that falls behind loses the
//! stream, and the producer is told to stop.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use lictor_runtime::{Executor, Value};

use crate::hub::Hub;

/// Chunks that wait for the consumer (civitas: 256).
pub const STREAM_CHUNKS_MAX: usize = 256;

/// How long a stream may take. civitas' defaults: 30 s to the first chunk, 5 min from one to the
/// next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamLimits {
    /// To the first chunk.
    pub first: Duration,
    /// From one chunk to the next.
    pub idle: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { first: Duration::from_secs(30), idle: Duration::from_secs(300) }
    }
}

/// Why a stream ended before its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The question could not be sent.
    Unsent(String),
    /// The producer says so, or is gone.
    Failed(String),
    /// A chunk is missing or came twice.
    OutOfOrder,
    /// The end came before all chunks had.
    Truncated,
    /// More than [`STREAM_CHUNKS_MAX`] chunks waited.
    SlowConsumer,
    /// Nothing came for too long.
    Timeout,
}

impl Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(why) => write!(f, "the stream could not be asked for: {why}"),
            Self::Failed(why) => write!(f, "the producer failed: {why}"),
            Self::OutOfOrder => f.write_str("a chunk is missing or came twice"),
            Self::Truncated => f.write_str("the end came before all chunks had"),
            Self::SlowConsumer => {
                write!(f, "more than {STREAM_CHUNKS_MAX} chunks waited for the consumer")
            }
            Self::Timeout => f.write_str("nothing came for too long"),
        }
    }
}

impl Error for StreamError {}

#[derive(Default)]
struct State {
    chunks: VecDeque<Value>,
    next: u64,
    end: Option<Result<(), StreamError>>,
    waker: Option<Waker>,
    dropped: bool,
}

/// Where the frames of one stream are put.
#[derive(Default)]
pub(crate) struct Sink(Mutex<State>);

impl Sink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        !state.dropped && state.end.is_none()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A chunk; its number is checked if it has one.
    pub(crate) fn push(&self, number: Option<u64>, chunk: Value) {
        self.change(|state| {
            if number.is_some_and(|number| number != state.next) {
                state.end = Some(Err(StreamError::OutOfOrder));
            } else if state.chunks.len() >= STREAM_CHUNKS_MAX {
                state.end = Some(Err(StreamError::SlowConsumer));
            } else {
                state.next += 1;
                state.chunks.push_back(chunk);
            }
        });
    }

    /// The end, after so many chunks.
    pub(crate) fn finish(&self, count: Option<u64>) {
        self.change(|state| {
            let is_whole = count.is_none_or(|count| count == state.next);
            state.end = Some(if is_whole { Ok(()) } else { Err(StreamError::Truncated) });
        });
    }

    pub(crate) fn fail(&self, why: &str) {
        self.change(|state| state.end = Some(Err(StreamError::Failed(why.to_owned()))));
    }
}

/// A stream of chunks. Dropped before its end, the producer is told to stop.
pub struct Chunks {
    pub(crate) hub: Arc<Hub>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) key: String,
    pub(crate) correlation: String,
    pub(crate) producer: Arc<str>,
    pub(crate) limits: StreamLimits,
    pub(crate) begun: bool,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("producer", &self.producer).finish_non_exhaustive()
    }
}

impl Chunks {
    /// The next chunk, or `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// [`StreamError`]; the stream is over then.
    pub async fn next(&mut self) -> Option<Result<Value, StreamError>> {
        let limit = if self.begun { self.limits.idle } else { self.limits.first };
        let mut sleep = self.executor.sleep_until(self.executor.now().saturating_add(limit));
        let sink = &self.sink;
        let next = poll_fn(|cx| {
            let mut state = sink.state();
            if let Some(chunk) = state.chunks.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            if let Some(end) = &state.end {
                return Poll::Ready(end.clone().err().map(Err));
            }
            state.waker = Some(cx.waker().clone());
            drop(state);
            sleep.as_mut().poll(cx).map(|()| Some(Err(StreamError::Timeout)))
        })
        .await;
        self.begun = true;
        if let Some(Err(error)) = &next {
            let error = error.clone();
            self.sink.change(|state| state.end = Some(Err(error)));
        }
        next
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let ended_well = {
            let mut state = self.sink.state();
            state.dropped = true;
            matches!(state.end, Some(Ok(())))
        };
        self.hub
            .end_stream(&self.key, (!ended_well).then_some((&self.producer, &self.correlation)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn end_of(sink: &Sink) -> Option<Result<(), StreamError>> {
        sink.state().end.clone()
    }

    #[test]
    fn gaps_repetitions_and_lost_tails_are_seen() {
        let sink = Sink::default();
        sink.push(Some(0), json!({ "a": 1 }));
        sink.push(Some(2), json!({}));
        assert_eq!(end_of(&sink), Some(Err(StreamError::OutOfOrder)));
        let sink = Sink::default();
        sink.push(Some(0), json!({}));
        sink.push(Some(0), json!({}));
        assert_eq!(end_of(&sink), Some(Err(StreamError::OutOfOrder)));
        let sink = Sink::default();
        sink.push(Some(0), json!({}));
        sink.finish(Some(2));
        assert_eq!(end_of(&sink), Some(Err(StreamError::Truncated)));
        let sink = Sink::default();
        sink.push(None, json!({}));
        sink.finish(Some(0));
        assert_eq!(end_of(&sink), Some(Err(StreamError::Truncated)), "more came than there are");
        let sink = Sink::default();
        sink.push(Some(0), json!({}));
        sink.finish(Some(1));
        sink.fail("too late");
        assert_eq!(end_of(&sink), Some(Ok(())));
    }

    #[test]
    fn a_consumer_that_falls_behind_loses_the_stream() {
        let sink = Sink::default();
        for number in 0..=STREAM_CHUNKS_MAX {
            sink.push(u64::try_from(number).ok(), json!({}));
        }
        assert_eq!(end_of(&sink), Some(Err(StreamError::SlowConsumer)));
        assert_eq!(sink.state().chunks.len(), STREAM_CHUNKS_MAX);
    }
}
