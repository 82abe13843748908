//! One client of async-nats: how it is made, and what its connection says.
//!
//! The client reconnects by itself and subscribes anew, in order; what it cannot do is end at once
//! while there is no server. So it may try only so often in a row, after which we make another; and
//! one that is not wanted any more uses these attempts up without waiting between them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, ClientError, Event, ServerAddr};
use tokio::sync::Notify;

use crate::config::NatsConfig;

/// Attempts in a row, for each server, after which a client is given up for another.
const ATTEMPTS_MAX: usize = 8;

/// What the connection of one client has said, as far as nobody has looked at it yet.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    pub(crate) stir: Notify,
    unwanted: AtomicBool,
    slow: AtomicU64,
    refused: AtomicU64,
}

/// The state of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How many connections there were.
    pub(crate) connections: u64,
    /// Whether there is one.
    pub(crate) is_up: bool,
    /// Why not.
    pub(crate) reason: Option<Arc<str>>,
    /// What may not be subscribed to, as the server has said last.
    pub(crate) denied: Option<Arc<str>>,
    /// The client does not try any more.
    pub(crate) is_over: bool,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// How often a message was dropped because its subscription's channel was full, as far as the
    /// client has said so: it says less than happens.
    pub(crate) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// How often the server has said that something may not be published.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn hear(&self, event: &Event) {
        match event {
            Event::SlowConsumer(_) => {
                // One for each message: counted, and nothing else.
                self.slow.fetch_add(1, Ordering::Relaxed);
            }
            Event::Connected => {
                let mut seen = self.lock();
                seen.connections += 1;
                seen.is_up = true;
                (seen.reason, seen.denied) = (None, None);
            }
            Event::Disconnected => self.lock().is_up = false,
            Event::Closed | Event::Draining | Event::ClientError(ClientError::MaxReconnects) => {
                let mut seen = self.lock();
                seen.is_up = false;
                seen.is_over = true;
            }
            Event::ClientError(error) => self.lock().reason = Some(error.to_string().into()),
            Event::ServerError(error) => {
                // Also what may not be published or subscribed to: nobody else is told of it.
                let text = error.to_string();
                let is_of = |what: &str| text.to_ascii_lowercase().contains(what);
                if is_of("permissions violation for publish") {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(target: "lictor", "the NATS server says: {text}");
                } else {
                    tracing::warn!(target: "lictor", "the NATS server says: {text}");
                    let mut seen = self.lock();
                    if is_of("permissions violation for subscription") {
                        seen.denied = Some(text.into());
                    } else {
                        seen.reason = Some(text.into());
                    }
                }
            }
            Event::LameDuckMode => {
                tracing::info!(target: "lictor", "the NATS server is about to go");
            }
        }
        self.stir.notify_one();
    }
}

/// Ends what a client does in the background, when it is dropped.
#[derive(Debug)]
pub(crate) struct Wanted(Arc<Watch>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.unwanted.store(true, Ordering::Relaxed);
    }
}

/// A client, what its connection says, and what ends it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) watch: Arc<Watch>,
    _wanted: Wanted,
}

impl Link {
    /// Connects to one of the servers. Whoever has checked all that it publishes to can spare the
    /// client that.
    ///
    /// # Errors
    /// What is wrong with all of them, or with the last.
    pub(crate) async fn connect(
        config: &Arc<NatsConfig>,
        servers: &[ServerAddr],
        is_checked: bool,
    ) -> Result<Self, Arc<str>> {
        let text = |error: &dyn std::error::Error| Arc::from(whole(error));
        let watch = Arc::new(Watch::default());
        let wanted = Wanted(Arc::clone(&watch));
        let (heard, waits, pace) = (Arc::clone(&watch), Arc::clone(&watch), Arc::clone(config));
        let options = config
            .options()
            .map_err(|error| text(&error))?
            .skip_subject_validation(is_checked)
            .max_reconnects(ATTEMPTS_MAX * servers.len())
            .reconnect_delay_callback(move |attempt| {
                if waits.unwanted.load(Ordering::Relaxed) {
                    return Duration::ZERO;
                }
                pace.wait_before(attempt)
            })
            .event_callback(move |event| {
                heard.hear(&event);
                std::future::ready(())
            });
        let client = options.connect(servers.to_vec()).await.map_err(|error| text(&error))?;
        Ok(Self { client, watch, _wanted: wanted })
    }
}

/// An error with its causes.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
