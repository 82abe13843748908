//! Messages: what agents understand, and the raw form that any of them can take.
//!
//! An agent understands a closed set of messages, its [`Protocol`]: usually an enum that
//! [`messages!`](crate::messages) writes. Inside the process a message is moved into the mailbox as
//! it is. A sender that only knows a name sends a raw [`Message`], a type and a JSON payload, and
//! the receiving end decodes it before it is queued, so that one that does not fit is refused at
//! the sender.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reply::{self, InHand, ReplyFailure};

/// The payload of a raw message: JSON, hence without NaN, without keys that are not strings.
pub type Value = serde_json::Value;

/// A message in its raw form: a type, a payload, who sent it, and where an answer goes.
#[derive(Debug)]
pub struct Message {
    kind: String,
    payload: Value,
    sender: Option<Arc<str>>,
    reply_to: Option<ReplyTo<Value>>,
}

impl Message {
    /// A message of this type.
    #[must_use]
    pub fn new(kind: impl Into<String>, payload: impl Into<Value>) -> Self {
        Self { kind: kind.into(), payload: payload.into(), sender: None, reply_to: None }
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &Value {
        &self.payload
    }

    /// The payload, taken out.
    #[must_use]
    pub fn take_payload(&mut self) -> Value {
        self.payload.take()
    }

    /// Which agent sent it; `None` from outside the tree.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        self.sender.as_deref()
    }

    /// Whether the sender waits for an answer.
    #[must_use]
    pub const fn wants_reply(&self) -> bool {
        self.reply_to.is_some()
    }

    /// Answers a question. The type of an answer is never taken from its payload.
    ///
    /// Answering a message that wants no answer, or twice, does nothing.
    pub fn reply(&mut self, payload: impl Into<Value>) {
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.send(payload.into());
        }
    }

    /// Takes the answer's address out, to answer later or elsewhere.
    #[must_use]
    pub const fn take_reply_to(&mut self) -> Option<ReplyTo<Value>> {
        self.reply_to.take()
    }

    pub(crate) fn into_parts(self) -> (String, Value, Option<Arc<str>>, Option<ReplyTo<Value>>) {
        (self.kind, self.payload, self.sender, self.reply_to)
    }

    /// The same message, sent by this agent. The runtime says so by itself of what agents send;
    /// this is for who brings messages from elsewhere.
    #[must_use]
    pub fn sent_by(mut self, sender: impl Into<Arc<str>>) -> Self {
        self.sender = Some(sender.into());
        self
    }

    /// The same message, wanting an answer. For implementors of [`Protocol::encode`].
    #[must_use]
    pub fn with_reply_to(mut self, reply_to: ReplyTo<Value>) -> Self {
        self.reply_to = Some(reply_to);
        self
    }
}

/// Types that start with these belong to the system; nobody may send them.
const RESERVED: [&str; 5] =
    ["_agency.", "civitas.dynamic.", "civitas.eval.", "civitas.stream.", "civitas.supervision."];

/// Whether a message type belongs to the system.
#[must_use]
pub fn is_reserved(kind: &str) -> bool {
    RESERVED.iter().any(|prefix| kind.starts_with(prefix))
}

/// A message does not fit the receiver's protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// The closed set of messages that an agent understands.
///
/// [`messages!`](crate::messages) implements it; a raw agent's protocol is [`Message`] itself.
pub trait Protocol: Sized + Send + 'static {
    /// From the raw form.
    ///
    /// # Errors
    /// The type is unknown, or the payload does not fit it; the text says which.
    fn decode(message: Message) -> Result<Self, DecodeError>;

    /// To the raw form.
    ///
    /// # Errors
    /// The payload cannot be JSON (a NaN, a map whose keys are not strings).
    fn encode(self) -> Result<Message, DecodeError>;

    /// The hold on the question that this message carries, if it does.
    fn in_hand(&self) -> Option<InHand> {
        None
    }

    /// A copy for redelivery; `None` if there can be none.
    fn duplicate(&self) -> Option<Self> {
        None
    }

    /// The message's type, if it is one that belongs to the system: it is not sent then. Only a
    /// protocol that lets senders choose the type has such messages.
    fn reserved(&self) -> Option<&str> {
        None
    }
}

impl Protocol for Message {
    fn decode(message: Message) -> Result<Self, DecodeError> {
        Ok(message)
    }

    fn encode(self) -> Result<Message, DecodeError> {
        Ok(self)
    }

    fn in_hand(&self) -> Option<InHand> {
        self.reply_to.as_ref().map(ReplyTo::in_hand)
    }

    fn duplicate(&self) -> Option<Self> {
        Some(Self {
            kind: self.kind.clone(),
            payload: self.payload.clone(),
            sender: self.sender.clone(),
            reply_to: self.reply_to.as_ref().map(ReplyTo::duplicate),
        })
    }

    fn reserved(&self) -> Option<&str> {
        is_reserved(&self.kind).then_some(&self.kind)
    }
}

/// A question and the type of its answer.
pub trait Request {
    /// The answer.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// Where the answer to a question goes. Answer once; dropped unanswered, the asker is told at once.
#[must_use = "dropping it fails the question"]
pub struct ReplyTo<R>(Inner<R>);

enum Inner<R> {
    Slot(reply::ReplyTo<R>),
    Converted(Box<dyn Convert<R>>),
}

/// An address for an answer of another type.
trait Convert<R>: Send {
    fn send(self: Box<Self>, answer: R) -> bool;
    fn fail(self: Box<Self>, failure: ReplyFailure) -> bool;
    fn is_open(&self) -> bool;
    fn in_hand(&self) -> InHand;
    fn duplicate(&self) -> Box<dyn Convert<R>>;
}

struct Converted<R, S> {
    to: ReplyTo<S>,
    convert: fn(R) -> Result<S, DecodeError>,
}

impl<R: Send + 'static, S: Send + 'static> Convert<R> for Converted<R, S> {
    fn send(self: Box<Self>, answer: R) -> bool {
        match (self.convert)(answer) {
            Ok(answer) => self.to.send(answer),
            Err(_) => self.to.fail(ReplyFailure::Unencodable),
        }
    }

    fn fail(self: Box<Self>, failure: ReplyFailure) -> bool {
        self.to.fail(failure)
    }

    fn is_open(&self) -> bool {
        self.to.is_open()
    }

    fn in_hand(&self) -> InHand {
        self.to.in_hand()
    }

    fn duplicate(&self) -> Box<dyn Convert<R>> {
        Box::new(Self { to: self.to.duplicate(), convert: self.convert })
    }
}

impl<R: Send + 'static> ReplyTo<R> {
    /// The address of a slot of [`reply_slot`](crate::reply::reply_slot).
    pub fn new(slot: reply::ReplyTo<R>) -> Self {
        Self(Inner::Slot(slot))
    }

    /// Answers. `false` if the asker has given up: the answer is dropped.
    pub fn send(self, answer: R) -> bool {
        match self.0 {
            Inner::Slot(slot) => slot.send(answer).is_ok(),
            Inner::Converted(to) => to.send(answer),
        }
    }

    /// Tells the asker that there will be no answer. `false` if it has given up.
    pub fn fail(self, failure: ReplyFailure) -> bool {
        match self.0 {
            Inner::Slot(slot) => slot.fail(failure),
            Inner::Converted(to) => to.fail(failure),
        }
    }

    /// Whether an answer would still reach the asker. `false` is final.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.0 {
            Inner::Slot(slot) => slot.is_open(),
            Inner::Converted(to) => to.is_open(),
        }
    }

    /// The hold on the question; see [`InHand`].
    pub fn in_hand(&self) -> InHand {
        match &self.0 {
            Inner::Slot(slot) => slot.in_hand(),
            Inner::Converted(to) => to.in_hand(),
        }
    }

    /// A spare for a redelivery of the question. It counts for nothing until
    /// [`ReplyTo::in_hand`] is called on it.
    pub fn duplicate(&self) -> Self {
        Self(match &self.0 {
            Inner::Slot(slot) => Inner::Slot(slot.duplicate()),
            Inner::Converted(to) => Inner::Converted(to.duplicate()),
        })
    }

    fn converted<S: Send + 'static>(self, convert: fn(S) -> Result<R, DecodeError>) -> ReplyTo<S> {
        ReplyTo(Inner::Converted(Box::new(Converted { to: self, convert })))
    }
}

impl<R: Serialize + DeserializeOwned + Send + 'static> ReplyTo<R> {
    /// The address for a raw answer of this address for a typed one.
    pub fn raw(self) -> ReplyTo<Value> {
        self.converted(from_value)
    }

    /// The address for a typed answer of this address for a raw one.
    pub fn typed(raw: ReplyTo<Value>) -> Self {
        raw.converted(|answer| to_value(&answer))
    }
}

impl<R> Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyTo")
    }
}

/// To a payload.
///
/// # Errors
/// The value cannot be JSON: a number that is not finite, a map whose keys are no text.
pub fn to_value<T: Serialize>(value: &T) -> Result<Value, DecodeError> {
    crate::finite::check(value)?;
    serde_json::to_value(value).map_err(|error| DecodeError(error.to_string()))
}

/// From a payload.
///
/// # Errors
/// The payload does not fit the type.
#[inline]
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    serde_json::from_value(value).map_err(|error| DecodeError(error.to_string()))
}

/// Checks that a question that is expected to have an address for its answer has one.
///
/// # Errors
/// The message was sent, not asked.
pub fn reply_to<R>(message: &mut Message) -> Result<ReplyTo<R>, DecodeError>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let raw = message.reply_to.take().ok_or_else(|| {
        DecodeError(format!("{:?} is a question: ask it instead of sending it", message.kind))
    })?;
    Ok(ReplyTo::typed(raw))
}
