//! The agent of ours that stands for a foreign one.
//!
//! It is supervised like any other: what becomes of the foreign agent becomes of it, once. It
//! crashes when the foreign one has crashed or is lost with its process; its start has it started
//! anew and waits until it is; strategies, budgets and backoff are those of our supervisor. So the
//! kernel's machines need to know nothing of civitas.
//!
//! What it has in hand it has forwarded: it never waits for an answer, so the questions to one
//! foreign agent do not queue behind each other here.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lictor_runtime::{
    Agent, AgentError, AgentSpec, Context, DecodeError, InHand, InHandPolicy, Message, Protocol,
    agent,
};

use crate::fleet::End;
use crate::hub::Hub;

/// How long a foreign agent may take to be there, by default; within it its process may still be
/// started.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Stands for a foreign agent.
#[derive(Debug)]
pub(crate) struct Remote {
    hub: Arc<Hub>,
    life: u64,
}

/// What it understands: everything, and that the foreign agent is no more.
#[derive(Debug)]
pub(crate) enum RemoteMessage {
    Foreign(Message),
    Ended(u64, End),
}

impl Protocol for RemoteMessage {
    fn decode(message: Message) -> Result<Self, DecodeError> {
        Ok(Self::Foreign(message))
    }

    fn encode(self) -> Result<Message, DecodeError> {
        match self {
            Self::Foreign(message) => Ok(message),
            Self::Ended(..) => Err(DecodeError("it does not leave its runtime".to_owned())),
        }
    }

    fn in_hand(&self) -> Option<InHand> {
        match self {
            Self::Foreign(message) => message.in_hand(),
            Self::Ended(..) => None,
        }
    }

    fn duplicate(&self) -> Option<Self> {
        match self {
            Self::Foreign(message) => message.duplicate().map(Self::Foreign),
            Self::Ended(life, end) => Some(Self::Ended(*life, *end)),
        }
    }

    fn reserved(&self) -> Option<&str> {
        match self {
            Self::Foreign(message) => message.reserved(),
            Self::Ended(..) => None,
        }
    }
}

/// A foreign agent, to be put under a supervisor.
pub(crate) fn remote(hub: &Arc<Hub>, name: &str) -> AgentSpec {
    hub.state().remotes.entry(Arc::from(name)).or_default();
    let hub = Arc::clone(hub);
    agent(name, move || Remote { hub: Arc::clone(&hub), life: 0 })
        .permanent()
        .in_hand(InHandPolicy::Redeliver)
        .start_timeout(START_TIMEOUT)
}

impl Agent for Remote {
    type Message = RemoteMessage;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        let name: Arc<str> = cx.name().into();
        self.life = self.hub.acquire(&name).await;
        let mut state = self.hub.state();
        if let Some(proxy) = state.remotes.get_mut(&name) {
            proxy.user = Some(cx.this());
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        message: RemoteMessage,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let name: Arc<str> = cx.name().into();
        match message {
            RemoteMessage::Ended(life, end) if life == self.life => Err(error_of(end)),
            // Of a life before this one.
            RemoteMessage::Ended(..) => Ok(()),
            RemoteMessage::Foreign(message) => {
                let has_ended = self.hub.state().fleet.life(&name) != Some(self.life);
                if has_ended {
                    return Err(error_of(End::Crashed));
                }
                self.hub.forward(&name, message);
                Ok(())
            }
        }
    }

    async fn stop(&mut self, cx: &mut Context<Self>) {
        let mut state = self.hub.state();
        if let Some(proxy) = state.remotes.get_mut(cx.name()) {
            proxy.user = None;
        }
    }
}

fn error_of(end: End) -> AgentError {
    AgentError::new(match end {
        End::Crashed => "the foreign agent has crashed",
        End::Lost => "the process of the foreign agent does not answer",
        End::Withdrawn => "the foreign agent was withdrawn by its process",
        End::Replaced => "another process has the name of the foreign agent now",
        End::Restarted => "the foreign agent was started anew",
    })
}

impl Hub {
    /// Waits for a life of a foreign agent that nobody has used. One that is used up, or over, is
    /// followed by an order to its process to start the agent anew: one for each wait, since each
    /// counts there against a budget of its own (Z16).
    async fn acquire(&self, name: &Arc<str>) -> u64 {
        let mut ordered = false;
        poll_fn(|cx| {
            let order = self.tell(|state, told| {
                let life = state.fleet.life(name);
                let proxy = state.remotes.entry(Arc::clone(name)).or_default();
                if let Some(life) = life.filter(|life| *life > proxy.used) {
                    proxy.used = life;
                    proxy.waker = None;
                    return Err(life);
                }
                proxy.waker = Some(cx.waker().clone());
                Ok(!ordered && state.fleet.restart(name, told))
            });
            match order {
                Err(life) => return Poll::Ready(life),
                Ok(false) => {}
                Ok(true) => {
                    ordered = true;
                    self.order_restart(name);
                }
            }
            Poll::Pending
        })
        .await
    }

    fn order_restart(&self, name: &Arc<str>) {
        self.send(crate::hub::RESTART, |wire| {
            wire.kind = "_agency.restart".to_owned();
            wire.payload.insert("agent_name", &**name);
        });
        // After the order, so that what answers it has seen the order.
        self.tell(|state, told| state.fleet.ordered(name, told));
    }
}
