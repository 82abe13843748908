//! Our clients of brokers, without a runtime above: bytes to addresses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor::transport::{Frame, SendError};
use tokio::sync::{Notify, mpsc};

use crate::{BODY, Place, Seen, asked, cpu, input_ends, patient, spoken};

/// A client that runs and is ready; messages go to the sink.
async fn ready(
    place: &Place,
    to: &str,
    sink: impl Fn(Frame) + Send + Sync + 'static,
) -> Arc<dyn Broker> {
    let broker = place.broker();
    broker.subscribe(Subscription::address(to)).unwrap();
    let is_ready = Arc::new(Notify::new());
    let says = Arc::clone(&is_ready);
    let inbox = BrokerInbox::new(move |event| {
        match event {
            BrokerEvent::Ready => says.notify_one(),
            BrokerEvent::Message { frame, .. } => sink(frame),
            BrokerEvent::Dropped(count) => eprintln!("{count} dropped"),
            BrokerEvent::Lost(reason) => eprintln!("lost: {reason}"),
        }
        true
    });
    drop(tokio::spawn(Arc::clone(&broker).run(inbox)));
    is_ready.notified().await;
    broker
}

pub(crate) async fn hear(place: &Place, wanted: u64) {
    let (done, mut over) = mpsc::unbounded_channel();
    let seen = std::sync::Mutex::new(Seen::default());
    let _broker = ready(place, "bench.hear", move |_| {
        let mut seen = seen.lock().unwrap();
        if seen.one(wanted) {
            seen.say(Instant::now());
            let _ = done.send(());
        }
    })
    .await;
    println!("ready");
    patient(over.recv()).await.unwrap();
    input_ends().await;
}

pub(crate) async fn speak(place: &Place, count: u64) {
    let broker = ready(place, "bench.speak", |_| {}).await;
    // A publisher of ZeroMQ learns of subscriptions by and by.
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("ready");
    let (before, frame) = (cpu(), Frame::new(vec![b'.'; BODY]));
    for _ in 0..count {
        while broker.publish("bench.hear", frame.clone()) == Err(SendError::Full) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    Arc::clone(&broker).flush().await;
    spoken(before);
    input_ends().await;
}

pub(crate) async fn echo(place: &Place) {
    let slot: Arc<std::sync::OnceLock<Arc<dyn Broker>>> = Arc::default();
    let answers = Arc::clone(&slot);
    let broker = ready(place, "bench.echo", move |frame| {
        if let Some(broker) = answers.get() {
            broker.publish("bench.ask", frame).unwrap();
        }
    })
    .await;
    slot.set(broker).unwrap();
    println!("ready");
    input_ends().await;
}

pub(crate) async fn ask(place: &Place, count: u64, flight: u64) {
    let (said, mut heard) = mpsc::unbounded_channel();
    let broker = ready(place, "bench.ask", move |frame| drop(said.send(frame))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("ready");
    let mut sent = Vec::new();
    let send = |sent: &mut Vec<Instant>| {
        let mut body = u64::try_from(sent.len()).unwrap().to_be_bytes().to_vec();
        body.resize(BODY, b'.');
        sent.push(Instant::now());
        broker.publish("bench.echo", Frame::new(body)).unwrap();
    };
    let warm = 200;
    let (mut before, mut start, mut times) = (cpu(), Instant::now(), Vec::new());
    for at in 0..warm + count {
        if at == warm {
            // What is in flight now was asked before.
            (before, start) = (cpu(), Instant::now());
        }
        let wanted = if at < warm { 1 } else { flight };
        let now = u64::try_from(sent.len()).unwrap();
        (now..(at + wanted).min(warm + count)).for_each(|_| send(&mut sent));
        let frame: Frame = heard.recv().await.unwrap();
        let (number, _) = frame.as_bytes().split_first_chunk().unwrap();
        let number = usize::try_from(u64::from_be_bytes(*number)).unwrap();
        if at >= warm {
            times.push(sent[number].elapsed());
        }
    }
    asked(times, start.elapsed(), before);
    input_ends().await;
}
