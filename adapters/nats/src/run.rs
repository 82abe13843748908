//! The life of a client: to connect, to send, to listen, and to connect again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::stream::{Abortable, SelectAll, Stream, StreamExt, abortable};
use lictor_runtime::broker::{BrokerEvent, BrokerInbox, Subscription, check_address};
use lictor_runtime::executor::Task;
use lictor_runtime::transport::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::broker::{Nats, add};
use crate::link::{Link, Watch};
use crate::queue::GivenUp;

/// After a while in which little was sent, a probe follows it.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// A probe that has not come back by then is sent again: the subscription it comes by may have been
/// overrun.
const PROBE_AGAIN: Duration = Duration::from_secs(2);

/// Messages of one subscription that are taken before it is looked whether others have any.
const HEARD_AT_ONCE: usize = 256;

/// How long a channel must have been quiet before what was dropped of it can be told exactly.
const QUIET: Duration = Duration::from_millis(100);

/// And how often it is told at least, inexactly, while it is not.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(nats: Arc<Nats>, inbox: BrokerInbox) -> Task {
    let running = Running::begin(&nats);
    Box::pin(async move {
        let running = running;
        if tokio::runtime::Handle::try_current().is_err() {
            inbox.say(BrokerEvent::Lost("NATS needs tokio, and this is another host".into()));
            return;
        }
        keep_connected(&running.nats, &inbox).await;
    })
}

/// While it lives, the client runs.
struct Running {
    nats: Arc<Nats>,
    number: u64,
}

impl Running {
    fn begin(nats: &Arc<Nats>) -> Self {
        let mut queue = nats.queue();
        queue.runs += 1;
        queue.running = true;
        queue.given_up = false;
        Self { nats: Arc::clone(nats), number: queue.runs }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut queue = self.nats.queue();
        // A later run may have begun already.
        if queue.runs != self.number {
            return;
        }
        queue.running = false;
        let GivenUp { waited, unconfirmed } = queue.give_up();
        let ended = std::mem::take(&mut queue.in_force);
        drop(queue);
        add(&self.nats.counts.given_up, waited);
        add(&self.nats.counts.unconfirmed, unconfirmed);
        ended.into_values().for_each(|subscription| subscription.abort());
        self.nats.settled.notify_waiters();
    }
}

/// For ever: a client that is over is followed by another.
async fn keep_connected(nats: &Arc<Nats>, inbox: &BrokerInbox) {
    let mut absence = Absence::new(nats, inbox);
    let mut attempt = 0;
    loop {
        attempt += 1;
        absence.while_waiting(sleep(nats.config.wait_before(attempt))).await;
        let connected = {
            // Addresses are checked before they wait, and the prefix is in the configuration.
            let connecting = Link::connect(&nats.config, &nats.servers, true);
            absence.while_waiting(connecting).await
        };
        match connected {
            Ok(link) => {
                attempt = 0;
                serve(nats, &link, &mut absence).await;
                absence.begin("the client of NATS has given up and is made anew");
            }
            Err(reason) => absence.begin(&reason),
        }
    }
}

/// The time without a connection: it is reported once, and does not keep frames for ever.
struct Absence<'a> {
    nats: &'a Nats,
    inbox: &'a BrokerInbox,
    /// Why, as it was last said.
    said: Option<Arc<str>>,
    /// When frames are given up; `None` while connected, or once they were.
    until: Option<Instant>,
}

impl<'a> Absence<'a> {
    fn new(nats: &'a Nats, inbox: &'a BrokerInbox) -> Self {
        let until = Instant::now().checked_add(nats.config.keep_for);
        Self { nats, inbox, said: None, until }
    }

    /// There is no connection, for this reason.
    fn begin(&mut self, reason: &str) {
        self.nats.queue().connection = None;
        if self.said.as_deref() == Some(reason) {
            return;
        }
        if self.said.is_none() && self.until.is_none() && !self.nats.queue().given_up {
            self.until = Instant::now().checked_add(self.nats.config.keep_for);
        }
        let reason: Arc<str> = reason.into();
        self.said = Some(Arc::clone(&reason));
        self.inbox.say(BrokerEvent::Lost(reason));
    }

    /// There is one.
    fn end(&mut self, connection: u64, payload_most: usize) {
        (self.said, self.until) = (None, None);
        let unconfirmed = {
            let mut queue = self.nats.queue();
            queue.payload_most = payload_most;
            queue.connected(connection)
        };
        add(&self.nats.counts.unconfirmed, unconfirmed);
        self.nats.settled.notify_waiters();
        self.nats.stir.notify_one();
    }

    /// Frames are not kept any longer.
    fn give_up(&mut self) {
        self.until = None;
        let mut queue = self.nats.queue();
        queue.given_up = true;
        let GivenUp { waited, unconfirmed } = queue.give_up();
        drop(queue);
        self.nats.settled.notify_waiters();
        add(&self.nats.counts.unconfirmed, unconfirmed);
        if waited > 0 {
            add(&self.nats.counts.given_up, waited);
            self.inbox.say(BrokerEvent::Dropped(waited));
        }
    }

    /// Ends when it is time to give up; never if there is nothing to give up.
    async fn over(until: Option<Instant>) {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    async fn while_waiting<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = std::pin::pin!(wait);
        loop {
            let until = self.until;
            tokio::select! {
                biased;
                done = &mut wait => return done,
                () = Self::over(until) => self.give_up(),
            }
        }
    }
}

/// Sends and listens over one client, until it is over.
async fn serve(nats: &Arc<Nats>, link: &Link, absence: &mut Absence<'_>) {
    let probe: Subject = link.client.new_inbox().into();
    let Ok(probes) = link.client.subscribe(probe.clone()).await else { return };
    let (found, new) = mpsc::channel(64);
    {
        // Nothing is sent before the listener has seen this client's connection, and said so: what
        // was known of another's would make a probe that the listener then forgets.
        let mut queue = nats.queue();
        queue.connection = None;
        queue.in_force.clear();
    }
    let sender = Sender { nats, link, probe, found, connection: 0, version: None, probed: None };
    let listener = Listener::new(nats, link, probes, new, absence);
    tokio::select! {
        biased;
        () = listener.listen() => {}
        () = sender.send() => {}
    }
}

/// A subscription that has begun.
type Source = Abortable<Tagged>;

/// What goes to the server.
struct Sender<'a> {
    nats: &'a Nats,
    link: &'a Link,
    probe: Subject,
    found: mpsc::Sender<Source>,
    /// The connection that was looked at last.
    connection: u64,
    /// What was wanted then.
    version: Option<u64>,
    probed: Option<Instant>,
}

impl Sender<'_> {
    /// Until the client is over.
    async fn send(mut self) {
        let mut batch = Vec::new();
        while self.step(&mut batch).await.is_some() {}
    }

    async fn step(&mut self, batch: &mut Vec<(Subject, Bytes)>) -> Option<()> {
        let (connection, version) = {
            let queue = self.nats.queue();
            (queue.connection, queue.version)
        };
        let Some(connection) = connection else {
            self.nats.stir.notified().await;
            return Some(());
        };
        let is_news = connection != self.connection || self.version != Some(version);
        if is_news {
            self.subscribe(version).await?;
            (self.connection, self.version) = (connection, Some(version));
            return self.send_probe(Some(version)).await;
        }
        self.nats.queue().batch(batch);
        let is_idle = batch.is_empty();
        for (subject, frame) in batch.drain(..) {
            if let Err(error) = self.link.client.publish(subject, frame).await {
                self.refused(&error)?;
            }
        }
        let since = self.probed.map_or(PROBE_EVERY, |at| at.elapsed());
        let (wants, awaits, unprobed) = {
            let queue = self.nats.queue();
            let wants = queue.wants_probe(since >= PROBE_EVERY);
            (wants, queue.awaits_probe(), queue.is_unprobed())
        };
        if wants || awaits && since >= PROBE_AGAIN {
            return self.send_probe(None).await;
        }
        if is_idle {
            let wait = if awaits {
                PROBE_AGAIN.saturating_sub(since)
            } else if unprobed {
                PROBE_EVERY.saturating_sub(since)
            } else {
                Duration::from_secs(3600)
            };
            // Whether there is news or it is time, the next step sees by itself.
            let _ = timeout(wait, self.nats.stir.notified()).await;
        }
        Some(())
    }

    async fn send_probe(&mut self, ready: Option<u64>) -> Option<()> {
        let id = self.nats.queue().probe(ready);
        self.probed = Some(Instant::now());
        let label = Bytes::copy_from_slice(&id.to_be_bytes());
        self.link.client.publish(self.probe.clone(), label).await.ok()
    }

    /// `None` if the client is over.
    fn refused(&self, error: &async_nats::PublishError) -> Option<()> {
        match error.kind() {
            async_nats::PublishErrorKind::Send => None,
            // The server takes less than the one before it, or than it has said.
            async_nats::PublishErrorKind::MaxPayloadExceeded
            | async_nats::PublishErrorKind::InvalidSubject => {
                add(&self.nats.counts.given_up, 1);
                tracing::warn!(target: "lictor", "a frame cannot be published: {error}");
                Some(())
            }
        }
    }

    /// Asks for what is wanted and not in force.
    async fn subscribe(&self, version: u64) -> Option<()> {
        let missing: Vec<Subscription> = {
            let queue = self.nats.queue();
            let wanted = queue.wanted.iter();
            wanted.filter(|one| !queue.in_force.contains_key(one)).cloned().collect()
        };
        for subscription in missing {
            let subject = match &subscription {
                Subscription::Address(address) => self.nats.subject(address),
                Subscription::Below(prefix) => self.nats.subject(&format!("{prefix}>")),
            };
            let subscriber = self.link.client.subscribe(subject).await.ok()?;
            let kind = Kind::Wanted(subscription.clone());
            let (source, handle) = abortable(Tagged { subscriber, kind });
            {
                let mut queue = self.nats.queue();
                if !queue.wanted.contains(&subscription) {
                    continue;
                }
                queue.in_force.insert(subscription, handle);
            }
            self.found.send(source).await.ok()?;
        }
        tracing::debug!(target: "lictor", version, "subscribed at NATS");
        Some(())
    }
}

/// A subscription and what it is for.
struct Tagged {
    subscriber: Subscriber,
    kind: Kind,
}

enum Kind {
    Probe,
    Wanted(Subscription),
}

/// What came by a subscription.
enum Heard {
    Probe(Bytes),
    At(Arc<str>, Bytes),
    /// By the subscription below this prefix.
    Below(Arc<str>, Message),
}

impl Tagged {
    fn heard(&self, message: Message) -> Heard {
        match &self.kind {
            Kind::Probe => Heard::Probe(message.payload),
            Kind::Wanted(Subscription::Address(to)) => Heard::At(Arc::clone(to), message.payload),
            Kind::Wanted(Subscription::Below(to)) => Heard::Below(Arc::clone(to), message),
        }
    }
}

/// All that is there, up to a batch: to choose among subscriptions for each message costs more than
/// to take it.
impl Stream for Tagged {
    type Item = Vec<Heard>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<Heard>>> {
        let mut all = Vec::new();
        while all.len() < HEARD_AT_ONCE {
            match Pin::new(&mut self.subscriber).poll_next(cx) {
                Poll::Pending if all.is_empty() => return Poll::Pending,
                Poll::Ready(None) if all.is_empty() => return Poll::Ready(None),
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(message)) => {
                    let heard = self.heard(message);
                    all.push(heard);
                }
            }
        }
        Poll::Ready(Some(all))
    }
}

/// What comes from the server.
struct Listener<'a, 'b> {
    nats: &'a Nats,
    watch: &'a Watch,
    client: &'a Client,
    sources: SelectAll<Source>,
    new: mpsc::Receiver<Source>,
    absence: &'a mut Absence<'b>,
    connection: u64,
    /// What may not be subscribed to, and how often something was not to be published.
    denied: Option<Arc<str>>,
    refused: u64,
    /// Messages that came by a subscription.
    taken: u64,
    /// Of the slow ones, how many were told.
    told: u64,
    told_at: Instant,
}

impl<'a, 'b> Listener<'a, 'b> {
    fn new(
        nats: &'a Nats,
        link: &'a Link,
        probes: Subscriber,
        new: mpsc::Receiver<Source>,
        absence: &'a mut Absence<'b>,
    ) -> Self {
        let mut sources = SelectAll::new();
        // It is never aborted: its handle may go.
        sources.push(abortable(Tagged { subscriber: probes, kind: Kind::Probe }).0);
        let (watch, client) = (&*link.watch, &link.client);
        let told_at = Instant::now();
        Self {
            nats,
            watch,
            client,
            sources,
            new,
            absence,
            connection: 0,
            denied: None,
            refused: 0,
            taken: 0,
            told: 0,
            told_at,
        }
    }

    /// Until the client is over.
    async fn listen(mut self) {
        loop {
            if self.look() {
                return;
            }
            let until = self.absence.until;
            let is_slow = self.watch.slow() > self.told;
            tokio::select! {
                biased;
                () = self.watch.stir.notified() => {}
                Some(source) = self.new.recv() => self.sources.push(source),
                Some(heard) = self.sources.next() => {
                    self.taken += heard.len() as u64;
                    heard.into_iter().for_each(|heard| self.hear(heard));
                    if is_slow && self.told_at.elapsed() >= TELL_EVERY {
                        self.tell(self.watch.slow());
                    }
                }
                () = sleep(QUIET), if is_slow => self.tell(self.missing()),
                () = Absence::over(until) => self.absence.give_up(),
            }
        }
    }

    /// Looks at the state of the connection; true when the client is over.
    fn look(&mut self) -> bool {
        let seen = self.watch.seen();
        if seen.is_over {
            return true;
        }
        if seen.connections != self.connection {
            if self.connection > 0 {
                // It may have come and gone unseen: whoever listens must know.
                self.absence.begin(seen.reason.as_deref().unwrap_or(GONE));
            }
            self.connection = seen.connections;
            add(&self.nats.counts.connections, 1);
            self.absence.end(seen.connections, self.client.max_payload());
        }
        if seen.denied != self.denied {
            self.denied = seen.denied;
            if let Some(reason) = &self.denied {
                // There is a connection, but what was asked for is not in force and will not be.
                self.absence.inbox.say(BrokerEvent::Lost(Arc::clone(reason)));
            }
        }
        let refused = self.watch.refused();
        if refused > self.refused {
            add(&self.nats.counts.refused, refused - self.refused);
            self.absence.inbox.say(BrokerEvent::Dropped(refused - self.refused));
            self.refused = refused;
        }
        if !seen.is_up && self.connection > 0 {
            self.absence.begin(seen.reason.as_deref().unwrap_or(GONE));
        }
        false
    }

    fn hear(&mut self, heard: Heard) {
        let (address, frame) = match heard {
            Heard::Probe(label) => return self.confirmed(&label),
            Heard::At(address, frame) => (address, frame),
            Heard::Below(prefix, message) => {
                let own = &*self.nats.config.prefix;
                let Some(address) = message.subject.strip_prefix(own) else { return };
                if check_address(address).is_err() {
                    return add(&self.nats.counts.malformed, 1);
                }
                let address: Arc<str> = address.into();
                if self.nats.queue().has_narrower(&prefix, &address) {
                    return;
                }
                (address, message.payload)
            }
        };
        add(&self.nats.counts.received, 1);
        self.absence.inbox.say(BrokerEvent::Message { address, frame: Frame::from(frame) });
    }

    fn confirmed(&self, label: &Bytes) {
        let Ok(id) = <[u8; 8]>::try_from(&**label) else { return };
        let confirmed = self.nats.queue().confirm(u64::from_be_bytes(id));
        self.nats.settled.notify_waiters();
        // There may be room in the window.
        self.nats.stir.notify_one();
        if confirmed.is_ready && self.watch.seen().denied.is_none() {
            self.absence.inbox.say(BrokerEvent::Ready);
        }
    }

    /// Messages that came to the client and by no subscription. Exact when it is quiet.
    fn missing(&self) -> u64 {
        let came = self.client.statistics().in_messages.load(Ordering::Relaxed);
        came.saturating_sub(self.taken).max(self.watch.slow())
    }

    /// So many were dropped in all.
    fn tell(&mut self, dropped: u64) {
        self.told_at = Instant::now();
        let more = dropped.saturating_sub(self.told);
        self.told += more;
        if more > 0 {
            add(&self.nats.counts.overrun, more);
            self.absence.inbox.say(BrokerEvent::Dropped(more));
        }
    }
}

/// Why there is no connection, if nothing else is known.
const GONE: &str = "the connection to the NATS server is lost";
