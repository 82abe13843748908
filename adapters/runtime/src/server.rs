//! Generic servers: agents in the shape of OTP's gen_server.

use std::future::Future;

use crate::agent::Agent;
use crate::context::Context;
use crate::error::AgentError;
use crate::message::{DecodeError, Message, Protocol, ReplyTo, Value};
use crate::reply::InHand;
use crate::spec::{AgentSpec, agent};
use crate::view::AgentKind;

/// The marker of a cast in a payload, as civitas writes it.
const CAST: &str = "__cast__";

/// A generic server: calls are answered, casts are not, everything else is information.
///
/// A message that wants an answer is a call; one whose payload is a map with `"__cast__": true` is
/// a cast, and the marker is taken out; anything else, such as a message of
/// [`Context::send_after`], is information.
pub trait Server: Sized + Send + 'static {
    /// Before the first message.
    ///
    /// # Errors
    /// The start has failed.
    fn init(
        &mut self,
        _cx: &mut ServerContext<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Answers a call.
    ///
    /// # Errors
    /// The server crashes, and the caller is told at once.
    fn handle_call(
        &mut self,
        request: Value,
        cx: &mut ServerContext<Self>,
    ) -> impl Future<Output = Result<Value, AgentError>> + Send;

    /// Takes a cast.
    ///
    /// # Errors
    /// The server crashes.
    fn handle_cast(
        &mut self,
        _request: Value,
        _cx: &mut ServerContext<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Takes anything else.
    ///
    /// # Errors
    /// The server crashes.
    fn handle_info(
        &mut self,
        _info: Value,
        _cx: &mut ServerContext<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send {
        std::future::ready(Ok(()))
    }

    /// After the last message.
    fn terminate(&mut self, _cx: &mut ServerContext<Self>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// A child specification of this server.
    fn spec(
        name: impl Into<String>,
        factory: impl Fn() -> Self + Send + Sync + 'static,
    ) -> AgentSpec {
        agent(name, move || ServerAgent(factory())).of_kind(AgentKind::Server)
    }
}

/// What a server can do from inside its handlers.
pub type ServerContext<S> = Context<ServerAgent<S>>;

/// The agent that a server runs as.
#[derive(Debug)]
pub struct ServerAgent<S>(S);

/// What a generic server gets.
#[derive(Debug)]
pub enum ServerMessage {
    /// To be answered.
    Call(Value, ReplyTo<Value>),
    /// Not to be answered.
    Cast(Value),
    /// Anything else.
    Info(Value),
}

impl ServerMessage {
    /// The raw message of a cast. A payload that is not a map travels under the key `value`.
    #[must_use]
    pub fn raw_cast(payload: Value) -> Message {
        let mut map = serde_json::Map::new();
        if let Value::Object(fields) = payload {
            map = fields;
        } else {
            map.insert("value".to_owned(), payload);
        }
        map.insert(CAST.to_owned(), Value::Bool(true));
        Message::new("message", Value::Object(map))
    }
}

impl Protocol for ServerMessage {
    fn decode(mut message: Message) -> Result<Self, DecodeError> {
        let mut payload = message.take_payload();
        if let Some(reply_to) = message.take_reply_to() {
            return Ok(Self::Call(payload, reply_to));
        }
        let marker = payload.as_object_mut().and_then(|map| map.remove(CAST));
        Ok(match marker {
            Some(Value::Bool(true)) => Self::Cast(payload),
            Some(other) => {
                if let Some(map) = payload.as_object_mut() {
                    map.insert(CAST.to_owned(), other);
                }
                Self::Info(payload)
            }
            None => Self::Info(payload),
        })
    }

    fn encode(self) -> Result<Message, DecodeError> {
        Ok(match self {
            Self::Call(payload, reply_to) => {
                Message::new("message", payload).with_reply_to(reply_to)
            }
            Self::Cast(payload) => Self::raw_cast(payload),
            Self::Info(payload) => Message::new("genserver.info", payload),
        })
    }

    fn in_hand(&self) -> Option<InHand> {
        match self {
            Self::Call(_, reply_to) => Some(reply_to.in_hand()),
            Self::Cast(_) | Self::Info(_) => None,
        }
    }

    fn duplicate(&self) -> Option<Self> {
        Some(match self {
            Self::Call(payload, reply_to) => Self::Call(payload.clone(), reply_to.duplicate()),
            Self::Cast(payload) => Self::Cast(payload.clone()),
            Self::Info(payload) => Self::Info(payload.clone()),
        })
    }
}

impl<S: Server> Agent for ServerAgent<S> {
    type Message = ServerMessage;

    fn start(
        &mut self,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send {
        self.0.init(cx)
    }

    async fn handle(
        &mut self,
        message: ServerMessage,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        match message {
            ServerMessage::Call(request, reply_to) => {
                reply_to.send(self.0.handle_call(request, cx).await?);
                Ok(())
            }
            ServerMessage::Cast(request) => self.0.handle_cast(request, cx).await,
            ServerMessage::Info(info) => self.0.handle_info(info, cx).await,
        }
    }

    fn stop(&mut self, cx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        self.0.terminate(cx)
    }
}
