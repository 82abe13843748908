//! A message on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::SendError;

/// A message on its way: most are where they should be at once.
pub(crate) enum Sending<'a> {
    Done(Result<(), SendError>),
    Waits(Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>),
}

impl Future for Sending<'_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done(sent) => Poll::Ready(std::mem::replace(sent, Ok(()))),
            Self::Waits(waits) => waits.as_mut().poll(cx),
        }
    }
}
