//! What `tracing` gets to see, by a subscriber that writes down the spans it is told of.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lictor::prelude::*;
use lictor::{EventKind, Overflow};
use support::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down every span, `name field=value ...`, and every event with the span that it is in.
#[derive(Clone)]
struct Notes {
    most: LevelFilter,
    log: Log,
    ids: Arc<AtomicU64>,
    names: Arc<Mutex<Vec<String>>>,
    inside: Arc<Mutex<Vec<u64>>>,
}

impl Notes {
    fn new(most: LevelFilter) -> Self {
        let (log, ids) = (Log::default(), Arc::default());
        Self { most, log, ids, names: Arc::default(), inside: Arc::default() }
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lictor" && *metadata.level() <= self.most
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        self.log.say(fields.0.clone());
        self.names.lock().unwrap().push(fields.0);
        Id::from_u64(self.ids.fetch_add(1, Ordering::SeqCst) + 1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let at = self.inside.lock().unwrap().last().copied();
        let names = self.names.lock().unwrap();
        let span = at.map_or("-", |id| &names[usize::try_from(id).unwrap() - 1]);
        self.log.say(format!("event in {span}:{}", fields.0));
    }
    fn enter(&self, id: &Id) {
        self.inside.lock().unwrap().push(id.into_u64());
    }
    fn exit(&self, id: &Id) {
        assert_eq!(self.inside.lock().unwrap().pop(), Some(id.into_u64()), "nested");
    }
}

/// Says something of its own wherever it is.
struct Talker;

impl Agent for Talker {
    type Message = Order;
    async fn start(&mut self, _: &mut Context<Self>) -> Handled {
        tokio::task::yield_now().await;
        tracing::info!(target: "lictor", "up");
        Ok(())
    }
    async fn handle(&mut self, message: Order, _: &mut Context<Self>) -> Handled {
        tokio::task::yield_now().await;
        tracing::info!(target: "lictor", "at work");
        match message {
            Order::Seen(Seen, reply) => drop(reply.send(vec![])),
            Order::Panic(Panic) => panic!("as asked"),
            _ => {}
        }
        Ok(())
    }
    async fn stop(&mut self, _: &mut Context<Self>) {
        tokio::task::yield_now().await;
        tracing::info!(target: "lictor", "going");
    }
}

async fn a_life() {
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = agent("a", || Talker).mailbox_size(1);
    let brisk = agent("b", || Talker).overflow(Overflow::Reject);
    let tree = root().agent(spec).agent(brisk).start(&runtime).await.unwrap();
    let a = tree.agent::<Talker>("a").unwrap();
    a.send(Add(1)).await.unwrap();
    a.ask(Seen, secs(1)).await.unwrap();
    tree.agent::<Talker>("b").unwrap().send(Add(1)).await.unwrap();
    a.send(Panic).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Started { incarnation: 2, .. })).await;
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_thing_that_happens_has_its_span() {
    let notes = Notes::new(LevelFilter::TRACE);
    let guard = tracing::subscriber::set_default(notes.clone());
    a_life().await;
    drop(guard);
    let spans = |name: &str| notes.log.of(name);
    assert_eq!(
        spans("start"),
        [r#"start agent="a" incarnation=1"#, r#"start agent="b" incarnation=1"#]
    );
    assert_eq!(spans("restart"), [r#"restart agent="a" incarnation=2"#]);
    assert_eq!(spans("crash"), [r#"crash agent="a" reason="crashed""#]);
    let (a, b) = (r#"send agent="a""#, r#"send agent="b""#);
    assert_eq!(spans("send"), [a, a, b, a]);
    assert_eq!(spans("handle").len(), 4);
    // Not for the incarnation that panicked: its state is not to be trusted.
    assert_eq!(
        spans("stop"),
        [r#"stop agent="b" incarnation=1"#, r#"stop agent="a" incarnation=2"#]
    );
    for inside in [
        r#"event in start agent="a" incarnation=1: message=up"#,
        r#"event in restart agent="a" incarnation=2: message=up"#,
        r#"event in handle agent="a" incarnation=1: message=at work"#,
        r#"event in stop agent="a" incarnation=2: message=going"#,
    ] {
        assert!(notes.log.count(inside) > 0, "{inside} in {:#?}", notes.log.lines());
    }
    let crash = |line: &String| line.starts_with("event in crash") && line.contains("as asked");
    assert!(notes.log.lines().iter().any(crash));
    let told: Vec<_> = notes
        .log
        .of("event")
        .into_iter()
        .filter(|line| line.contains("message=started ") || line.contains("message=restarted "))
        .collect();
    assert_eq!(told.len(), 3, "every start is an event as well: {told:?}");
    assert!(notes.inside.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_level_that_nobody_wants_makes_no_span() {
    let notes = Notes::new(LevelFilter::WARN);
    let guard = tracing::subscriber::set_default(notes.clone());
    a_life().await;
    drop(guard);
    assert_eq!(notes.names.lock().unwrap().as_slice(), [r#"crash agent="a" reason="crashed""#]);
}
