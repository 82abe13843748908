//! The sender's half: into the stream, or a typed refusal.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{ConsumerInfoErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ErrorCode};
use bytes::Bytes;
use lictor_runtime::durable::{MessageId, StoreFailure};
use lictor_runtime::transport::Frame;
use tokio::time::{Instant, sleep};

use super::{JetStream, NoStream, code_of, count};
use crate::link::whole;

/// How long it is believed that a name is served somewhere, once it has been seen.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// Names of which that is remembered.
const KNOWN_MAX: usize = 1 << 16;

/// A name that has only just come up may be a moment ahead of its consumer.
const LOOKS: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl JetStream {
    pub(super) async fn put(
        &self,
        to: Arc<str>,
        id: MessageId,
        frame: Frame,
    ) -> Result<(), StoreFailure> {
        // It stays counted as not stored unless it ends as stored, also when it is dropped.
        let mut told = Told { stream: self, stored: false };
        let result = self.put_once(&to, id, frame).await;
        told.stored = result.is_ok();
        result
    }

    async fn put_once(
        &self,
        to: &Arc<str>,
        id: MessageId,
        frame: Frame,
    ) -> Result<(), StoreFailure> {
        if super::names::durable_name(to).is_none() {
            let why = "its name is too long for a durable consumer (255 bytes, '.' and '_' twice)";
            return Err(StoreFailure::Refused(why.to_owned()));
        }
        let mut attempt = 1;
        let context = loop {
            match self.context().await {
                Ok(context) => break context,
                Err(NoStream(why)) if attempt >= self.config.store_attempts => {
                    return Err(StoreFailure::Refused(why.to_string()));
                }
                Err(_) => {
                    attempt += 1;
                    sleep(self.nats.wait_before(usize::try_from(attempt).unwrap_or(2))).await;
                }
            }
        };
        self.look_for(&context, to).await?;
        let subject = format!("{}{to}", self.config.prefix);
        // The object's own part first: boots need not be counted, and two may have one number.
        let MessageId { node, epoch, number } = id;
        let label = format!("{}-{:x}-{epoch:x}-{number}", self.own, node.0);
        let frame = frame.into_bytes();
        let mut attempt = 1;
        loop {
            match self.publish(&context, &subject, &label, frame.clone()).await {
                Ok(was_there) => {
                    count(&self.counts.stored);
                    if was_there {
                        count(&self.counts.stored_again);
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.may_try(&error, attempt).await?;
                    if error.kind() == PublishErrorKind::StreamNotFound {
                        // A server that has lost its store: what was in it is gone, and who comes
                        // after must not suffer. If this fails, the next attempt says why.
                        let _ = self.see_to_streams(&context).await;
                    }
                }
            }
            attempt += 1;
        }
    }

    async fn publish(
        &self,
        context: &Context,
        subject: &str,
        label: &str,
        frame: Bytes,
    ) -> Result<bool, PublishError> {
        let message = PublishMessage::build().payload(frame).message_id(label);
        let acknowledged = context.send_publish(subject.to_owned(), message).await?.await?;
        Ok(acknowledged.duplicate)
    }

    /// Whether it may be sent again, under its id, after this.
    async fn may_try(&self, error: &PublishError, attempt: u32) -> Result<(), StoreFailure> {
        let text = || whole(error);
        let is_last = attempt >= self.config.store_attempts;
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Err(StoreFailure::TooLarge),
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe if is_last => {
                Err(StoreFailure::Unconfirmed(text()))
            }
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
                // A broken pipe comes at once.
                sleep(self.nats.wait_before(usize::try_from(attempt).unwrap_or(2))).await;
                Ok(())
            }
            // Nobody answers there: a server that has only just come up, or no stream at all.
            PublishErrorKind::StreamNotFound if !is_last => {
                sleep(LOOK_EVERY).await;
                Ok(())
            }
            PublishErrorKind::Other
            | PublishErrorKind::StreamNotFound
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxAckPending => Err(match code_of(error) {
                Some(
                    ErrorCode::STREAM_STORE_FAILED
                    | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED
                    | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                    | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
                ) => StoreFailure::Full,
                Some(
                    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
                    | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
                ) => StoreFailure::TooLarge,
                Some(_) | None => StoreFailure::Refused(text()),
            }),
        }
    }

    /// Whether some node has ever had the name: what is stored for a mistyped one would wait for
    /// nobody, and its sender would never know.
    async fn look_for(&self, context: &Context, to: &Arc<str>) -> Result<(), StoreFailure> {
        if self.served().contains_key(to) {
            return Ok(());
        }
        let now = Instant::now();
        if self.known().get(to).is_some_and(|until| *until > now) {
            return Ok(());
        }
        let Some(durable) = super::names::durable_name(to) else { return Ok(()) };
        let stream = context.get_stream_no_info(&self.config.name).await;
        let stream = stream.map_err(|error| StoreFailure::Refused(whole(&error)))?;
        let mut looks = 1;
        loop {
            match stream.consumer_info(&durable).await {
                Ok(_) => break,
                Err(error) => match error.kind() {
                    ConsumerInfoErrorKind::NotFound if looks >= LOOKS => {
                        return Err(StoreFailure::Unknown);
                    }
                    ConsumerInfoErrorKind::NotFound
                    | ConsumerInfoErrorKind::TimedOut
                    | ConsumerInfoErrorKind::NoResponders
                    | ConsumerInfoErrorKind::Offline
                        if looks < LOOKS =>
                    {
                        looks += 1;
                        sleep(LOOK_EVERY).await;
                    }
                    ConsumerInfoErrorKind::NotFound
                    | ConsumerInfoErrorKind::TimedOut
                    | ConsumerInfoErrorKind::NoResponders
                    | ConsumerInfoErrorKind::Offline
                    | ConsumerInfoErrorKind::InvalidName
                    | ConsumerInfoErrorKind::StreamNotFound
                    | ConsumerInfoErrorKind::Request
                    | ConsumerInfoErrorKind::JetStream(_) => {
                        return Err(StoreFailure::Refused(whole(&error)));
                    }
                },
            }
        }
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(Arc::clone(to), now + BELIEVED_FOR);
        Ok(())
    }
}

/// Counts what was not stored.
struct Told<'a> {
    stream: &'a JetStream,
    stored: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.stored {
            count(&self.stream.counts.not_stored);
        }
    }
}
