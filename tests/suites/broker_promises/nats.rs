//! A real nats-server on the stage, without a library before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lictor_sim::broker::Medium;
use serde_json::json;

use crate::server::Server;
use crate::store::{
    ACK_WAIT, DELIVERIES, Delivery, REMEMBERED, Restart, Store, UNACKNOWLEDGED, Word,
};
use crate::suite::{Going, Needs, PATIENCE, Said, Stage, Who};
use crate::wire::{Came, Wire};

const SUBJECT: &str = "promise.subject";
const PAYLOAD: usize = 128 << 10;

/// Long enough for what should not come to have come: the server has flushed before.
const QUIET: Duration = Duration::from_millis(300);

/// A server, and its clients.
pub(crate) struct Nats {
    server: Server,
    clients: BTreeMap<Who, Wire>,
}

impl Nats {
    pub(crate) fn new() -> Self {
        let server = Server::with(|_| {
            format!("max_payload: {PAYLOAD}\nmax_pending: 1MB\nwrite_deadline: \"60s\"\n")
        });
        Self { server, clients: BTreeMap::new() }
    }

    fn client(&mut self, who: Who) -> &mut Wire {
        self.clients.get_mut(&who).expect("it is connected")
    }
}

fn number_of(came: &Came) -> u32 {
    u32::from_be_bytes(came.body[..4].try_into().unwrap())
}

fn body(number: u32, size: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size, b'.');
    body
}

impl Stage for Nats {
    fn medium(&self) -> Medium {
        Medium::NatsCore
    }

    fn can(&self, _: Needs) -> bool {
        true
    }

    fn connects(&mut self, who: Who) {
        self.clients.insert(who, Wire::connect(self.server.port));
    }

    fn goes(&mut self, who: Who, _: Going) {
        self.clients.remove(&who).expect("it is connected").close();
        // Whoever asks now is answered after the server has seen the end of it, or at least it has
        // had the time: it reads both connections side by side.
        std::thread::sleep(QUIET);
    }

    fn subscribes(&mut self, who: Who) {
        assert!(self.client(who).subscribe(SUBJECT));
    }

    fn publishes(&mut self, from: Who, number: u32, size: usize) -> Said {
        let client = self.client(from);
        client.publish(SUBJECT, "", "", &body(number, size));
        if size > PAYLOAD && client.complained("Maximum Payload Violation") {
            return Said::TooLarge;
        }
        // It is at the server when this is over, so that what comes later comes later.
        assert!(client.flushes());
        Said::Nothing
    }

    fn asks(&mut self, from: Who, number: u32) -> Said {
        let client = self.client(from);
        let reply = client.reply();
        client.publish(SUBJECT, &reply, "", &body(number, 20));
        assert!(client.flushes());
        match client.next(Duration::ZERO, |came| came.subject == reply) {
            Some(Came { status, .. }) if status == "503" => Said::NoResponders,
            Some(came) => panic!("{came:?}"),
            None => Said::Answered,
        }
    }

    fn hears(&mut self, who: Who, least: usize) -> Vec<u32> {
        let is = |came: &Came| came.subject == SUBJECT;
        let heard = (0..least).map_while(|_| self.client(who).next(PATIENCE, is));
        heard.map(|came| number_of(&came)).collect()
    }

    fn quiet(&mut self, who: Who) -> Vec<u32> {
        let client = self.client(who);
        client.flushes();
        std::iter::from_fn(|| client.next(QUIET, |came| came.subject == SUBJECT))
            .map(|came| number_of(&came))
            .collect()
    }

    fn stalls(&mut self, who: Who, does: bool) {
        self.client(who).stalls(does);
    }

    fn is_connected(&mut self, who: Who, expected: bool) -> bool {
        !self.client(who).ends(if expected { QUIET } else { PATIENCE })
    }

    fn restarts(&mut self) {
        self.server.kill();
        self.server.start();
    }

    fn largest(&self) -> usize {
        PAYLOAD
    }

    /// 32 MiB: more than a server holds back, and more than operating systems take for who is
    /// silent.
    fn flood(&self) -> (u32, usize) {
        (256, PAYLOAD)
    }
}

/// A server with a stream, and a consumer that pulls, as ours do.
pub(crate) struct JetStream {
    server: Server,
    start: Instant,
    publisher: Wire,
    consumer: Option<Wire>,
    inbox: String,
    /// What a word for a number is said to.
    given: BTreeMap<u32, String>,
    numbers: BTreeMap<u64, u32>,
    dead: BTreeSet<u32>,
}

impl JetStream {
    pub(crate) fn new() -> Self {
        let server = Server::new();
        let publisher = Wire::connect(server.port);
        let mut stream = Self {
            server,
            start: Instant::now(),
            publisher,
            consumer: None,
            inbox: String::new(),
            given: BTreeMap::new(),
            numbers: BTreeMap::new(),
            dead: BTreeSet::new(),
        };
        stream.sets_up();
        stream
    }

    /// The stream and the consumer as `lictor-nats` makes them.
    fn sets_up(&mut self) {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
        let stream = json!({
            "name": "S", "subjects": [SUBJECT], "retention": "workqueue", "storage": "file",
            "discard": "new", "duplicate_window": ns(REMEMBERED), "num_replicas": 1,
        });
        let made = self.publisher.api("STREAM.CREATE.S", &stream);
        assert!(made["error"].is_null(), "{made}");
        let consumer = json!({ "stream_name": "S", "config": {
            "durable_name": "C", "ack_policy": "explicit", "ack_wait": ns(ACK_WAIT),
            "max_deliver": DELIVERIES, "max_ack_pending": UNACKNOWLEDGED,
            "deliver_policy": "all", "replay_policy": "instant",
        }});
        let made = self.publisher.api("CONSUMER.DURABLE.CREATE.S.C", &consumer);
        assert!(made["error"].is_null(), "{made}");
        self.listens();
    }

    /// The publisher also hears what is dead.
    fn listens(&mut self) {
        let advisory = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.C";
        assert!(self.publisher.subscribe(advisory));
    }
}

impl Store for JetStream {
    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn passes(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn stores(&mut self, number: u32) -> bool {
        let answer = self.publisher.ask(SUBJECT, &format!("id{number}"), &body(number, 20));
        let word: serde_json::Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        assert_eq!(word["stream"], "S", "{word}");
        self.numbers.insert(word["seq"].as_u64().unwrap(), number);
        word["duplicate"] == true
    }

    fn attaches(&mut self) {
        let mut consumer = Wire::connect(self.server.port);
        self.inbox = consumer.reply();
        let wants = json!({ "batch": 1000, "expires": 600_000_000_000_u64 }).to_string();
        let inbox = self.inbox.clone();
        consumer.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", &inbox, "", wants.as_bytes());
        assert!(consumer.flushes());
        self.consumer = Some(consumer);
    }

    fn detaches(&mut self, _: Going) {
        self.consumer.take().expect("it is attached").close();
        std::thread::sleep(QUIET);
    }

    fn next(&mut self, within: Duration) -> Option<Delivery> {
        let consumer = self.consumer.as_ref().expect("it is attached");
        let came = consumer.next(within, |came| came.reply.starts_with("$JS.ACK."))?;
        let number = number_of(&came);
        let times: u32 = came.reply.split('.').nth(4).unwrap().parse().unwrap();
        self.given.insert(number, came.reply);
        Some(Delivery { number, again: times > 1 })
    }

    fn says(&mut self, number: u32, word: Word) {
        let consumer = self.consumer.as_mut().expect("it is attached");
        let word: &[u8] = match word {
            Word::Handled => b"+ACK",
            Word::Refused => b"-NAK",
            Word::Ended => b"+TERM",
        };
        // With a reply, the server says when it has it.
        assert!(consumer.ask(&self.given[&number], "", word).is_some());
    }

    fn dead(&mut self) -> BTreeSet<u32> {
        self.publisher.flushes();
        let is = |came: &Came| came.subject.starts_with("$JS.EVENT");
        while let Some(came) = self.publisher.next(Duration::ZERO, is) {
            let event: serde_json::Value = serde_json::from_slice(&came.body).unwrap();
            assert_eq!(event["deliveries"], DELIVERIES, "{event}");
            self.dead.insert(self.numbers[&event["stream_seq"].as_u64().unwrap()]);
        }
        self.dead.clone()
    }

    fn restarts(&mut self, how: Restart) {
        match how {
            Restart::Stopped => self.server.stop(),
            Restart::Killed => self.server.kill(),
            Restart::WithoutState => {
                self.server.kill();
                self.server.forget();
            }
        }
        self.server.start();
        self.consumer = None;
        self.publisher = Wire::connect(self.server.port);
        if how == Restart::WithoutState {
            self.sets_up();
        } else {
            self.listens();
        }
    }
}
