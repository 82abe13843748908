//! The `zeromq` crate as an engine: for comparison, and for whoever trusts it more than us.
//!
//! Queue, subscriptions, probes and reconnection are ours, as far as that can be: its PUB does not
//! come back by itself, so both sockets are made anew whenever one says that it is disconnected.
//! What is behind `send` is its own: a queue counted in messages, which drops in silence and which
//! a flush cannot see. The limits are in the manual.

use futures_util::StreamExt;
use lictor_zmtp::{Event, Message, Wish};
use tokio::time::{sleep, timeout};
use zeromq::{PubSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use super::hear::Hearing;
use super::state::{FORWARDER, Shared, Way};
use crate::ZmqConfig;
use crate::backoff::Backoff;
use crate::drive::{BATCH, Owner};

type Monitor = futures_util::stream::BoxStream<'static, SocketEvent>;

struct Sockets {
    publishing: PubSocket,
    publishing_monitor: Monitor,
    hearing: SubSocket,
    hearing_monitor: Monitor,
}

/// Holds both connections, and seeks them again whenever one is gone.
pub(super) async fn hold(config: &ZmqConfig, shared: &Shared, hearing: &Hearing, seed: u64) {
    let mut backoff = Backoff::new(config.retry, seed);
    loop {
        let why = match timeout(config.retry.connect_timeout, connect(config)).await {
            Ok(Ok(sockets)) => {
                backoff.reset();
                exchange(sockets, shared, hearing).await
            }
            Ok(Err(error)) => {
                shared.count(|counters| &mut counters.refused);
                error.to_string()
            }
            Err(_) => {
                shared.count(|counters| &mut counters.refused);
                format!("no connection in {:?}", config.retry.connect_timeout)
            }
        };
        shared.lost(Way::Out, &"the engine zeromq", &why);
        sleep(backoff.next()).await;
    }
}

async fn connect(config: &ZmqConfig) -> zeromq::ZmqResult<Sockets> {
    let (mut publishing, mut hearing) = (PubSocket::new(), SubSocket::new());
    let publishing_monitor = publishing.monitor().boxed();
    let hearing_monitor = hearing.monitor().boxed();
    publishing.connect(&config.pub_addr.to_string()).await?;
    hearing.connect(&config.sub_addr.to_string()).await?;
    Ok(Sockets { publishing, publishing_monitor, hearing, hearing_monitor })
}

/// Moves messages until one of the two is gone, and says why.
async fn exchange(sockets: Sockets, shared: &Shared, hearing: &Hearing) -> String {
    let Sockets { publishing, publishing_monitor, hearing: sub, hearing_monitor } = sockets;
    {
        let mut state = shared.state();
        state.publishing_open = true;
        state.counters.opened = state.counters.opened.saturating_add(1);
        hearing.opened(&mut state);
    }
    let reason = tokio::select! {
        biased;
        reason = publish(publishing, publishing_monitor, shared) => reason,
        reason = hear(sub, hearing_monitor, shared, hearing) => reason,
    };
    let mut state = shared.state();
    state.publishing_open = false;
    Hearing::closed(&mut state);
    state.counters.ended = state.counters.ended.saturating_add(2);
    reason
}

async fn publish(mut socket: PubSocket, mut monitor: Monitor, shared: &Shared) -> String {
    loop {
        let mut messages = Vec::new();
        shared.state().outbox.take(FORWARDER, BATCH, &mut messages);
        for (at, message) in messages.iter().enumerate() {
            if let Err(error) = socket.send(theirs(message)).await {
                shared.lost_on_the_way((messages.len() - at) as u64);
                return error.to_string();
            }
            shared.sent(1);
        }
        if !messages.is_empty() {
            continue;
        }
        tokio::select! {
            biased;
            event = monitor.next() => if let Some(reason) = is_end(event) { return reason },
            () = shared.publishing.rung() => {}
        }
    }
}

async fn hear(
    mut socket: SubSocket,
    mut monitor: Monitor,
    shared: &Shared,
    hearing: &Hearing,
) -> String {
    loop {
        while let Some(wish) = hearing.next_wish() {
            let told = match &wish {
                Wish::Subscribe(prefix) => socket.subscribe(&String::from_utf8_lossy(prefix)).await,
                Wish::Cancel(prefix) => socket.unsubscribe(&String::from_utf8_lossy(prefix)).await,
            };
            if let Err(error) = told {
                return error.to_string();
            }
        }
        let received = tokio::select! {
            biased;
            event = monitor.next() => match is_end(event) {
                Some(reason) => return reason,
                None => continue,
            },
            () = shared.hearing.rung() => continue,
            received = socket.recv() => received,
        };
        match received {
            Ok(message) => {
                let mut events = vec![Event::Message(ours(&message))];
                if let Err(reason) = hearing.hear(&mut events) {
                    return reason.to_string();
                }
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Why a connection is gone, if that is what an event says.
fn is_end(event: Option<SocketEvent>) -> Option<String> {
    match event {
        Some(SocketEvent::Disconnected(_) | SocketEvent::Closed) | None => {
            Some("the forwarder has closed the connection".to_owned())
        }
        Some(_) => None,
    }
}

fn theirs(message: &Message) -> ZmqMessage {
    let bytes = |part: &[u8]| message.wire().slice_ref(part);
    let mut theirs = ZmqMessage::from(bytes(message.topic()));
    message.parts().skip(1).for_each(|part| theirs.push_back(bytes(part)));
    theirs
}

fn ours(message: &ZmqMessage) -> Message {
    let mut parts = message.iter().map(|part| &part[..]);
    let topic = parts.next().unwrap_or_default();
    let rest: Vec<&[u8]> = parts.collect();
    Message::new(topic, &rest)
}
