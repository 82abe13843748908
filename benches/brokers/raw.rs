//! async-nats and nothing else: what our client is measured by.

use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::{BODY, Place, Seen, cpu, input_ends, keep_asking, patient, spoken};

async fn client(place: &Place) -> async_nats::Client {
    // As many as ours has, so that neither drops.
    let options = async_nats::ConnectOptions::new().subscription_capacity(1 << 18);
    options.connect(place.url()).await.unwrap()
}

pub(crate) async fn hear(place: &Place, wanted: u64) {
    let client = client(place).await;
    let mut heard = client.subscribe("bench.hear").await.unwrap();
    client.flush().await.unwrap();
    println!("ready");
    let mut seen = Seen::default();
    patient(async { while heard.next().await.is_some() && !seen.one(wanted) {} }).await;
    seen.say(Instant::now());
    input_ends().await;
}

pub(crate) async fn speak(place: &Place, count: u64) {
    let client = client(place).await;
    println!("ready");
    let (before, body) = (cpu(), Bytes::from(vec![b'.'; BODY]));
    for _ in 0..count {
        client.publish("bench.hear", body.clone()).await.unwrap();
    }
    client.flush().await.unwrap();
    spoken(before);
    input_ends().await;
}

pub(crate) async fn echo(place: &Place) {
    let client = client(place).await;
    let mut heard = client.subscribe("bench.echo").await.unwrap();
    client.flush().await.unwrap();
    println!("ready");
    let echoing = async {
        while let Some(message) = heard.next().await {
            client.publish(message.reply.unwrap(), message.payload).await.unwrap();
        }
    };
    tokio::select! { () = echoing => {} () = input_ends() => {} }
}

pub(crate) async fn ask(place: &Place, count: u64, flight: u64) {
    let client = client(place).await;
    println!("ready");
    let body = Bytes::from(vec![b'.'; BODY]);
    let one = || async {
        let start = Instant::now();
        client.request("bench.echo", body.clone()).await.unwrap();
        start.elapsed()
    };
    keep_asking(count, flight, one).await;
}
