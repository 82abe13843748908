//! A message to bytes and back, beside `rmp-serde` with a struct of the same shape.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lictor_wire::{
    Float, Fresh, Keyring, Limits, Message, Opener, Policy, Sealer, SecretKey, SigningKeys,
    Spacing, UnixTime, Uuid, Verifier, Window,
};
use serde::{Deserialize, Serialize};

/// The message with its payload known in advance, which is the least that can be read.
#[derive(Serialize, Deserialize)]
struct Typed<P> {
    schema_version: i64,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    sender: String,
    recipient: String,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    payload: P,
    timestamp: f64,
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    attempt: i64,
    priority: i64,
    ttl: Option<f64>,
    seq: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    n: i64,
}

const LIMITS: Limits = Limits::DEFAULT;
const NOW: UnixTime = UnixTime::from_millis(1_700_000_000_250);

fn fresh() -> Fresh {
    Fresh { id: Uuid::v7(NOW, [7; 10]), timestamp: Float::new(1_700_000_000.25).unwrap() }
}

/// `default_send` of the golden vectors: 264 bytes.
fn sample() -> Message {
    let mut message = Message::new(fresh(), "message", [("n", 1_i64)]).between("a", "b");
    message.trace_id = "0af7651916cd43dd8448eb211c80319c".into();
    message.span_id = "b7ad6b7169203331".into();
    message
}

fn messages(c: &mut Criterion) {
    let message = sample();
    let packed = message.to_msgpack(&LIMITS).unwrap();
    assert_eq!(packed.len(), 264);
    let typed: Typed<Payload> = rmp_serde::from_slice(&packed).unwrap();
    let open: Typed<serde_json::Value> = rmp_serde::from_slice(&packed).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&typed).unwrap(), packed);

    let mut group = c.benchmark_group("message");
    group.bench_function("lictor: encode and decode", |b| {
        b.iter(|| {
            let bytes = black_box(&message).to_msgpack(&LIMITS).unwrap();
            Message::from_msgpack(black_box(&bytes), &LIMITS, fresh).unwrap()
        });
    });
    group.bench_function("rmp-serde, typed payload: encode and decode", |b| {
        b.iter(|| {
            let bytes = rmp_serde::to_vec_named(black_box(&typed)).unwrap();
            rmp_serde::from_slice::<Typed<Payload>>(black_box(&bytes)).unwrap()
        });
    });
    group.bench_function("rmp-serde, any payload: encode and decode", |b| {
        b.iter(|| {
            let bytes = rmp_serde::to_vec_named(black_box(&open)).unwrap();
            rmp_serde::from_slice::<Typed<serde_json::Value>>(black_box(&bytes)).unwrap()
        });
    });
    group.bench_function("lictor: encode", |b| {
        b.iter(|| black_box(&message).to_msgpack(&LIMITS).unwrap());
    });
    group.bench_function("lictor: decode", |b| {
        b.iter(|| Message::from_msgpack(black_box(&packed), &LIMITS, fresh).unwrap());
    });
    let text = message.to_json(Spacing::Wide, &LIMITS).unwrap();
    group.bench_function("lictor: encode and decode JSON", |b| {
        b.iter(|| {
            let bytes = black_box(&message).to_json(Spacing::Wide, &LIMITS).unwrap();
            Message::from_json(black_box(&bytes), &LIMITS, fresh).unwrap()
        });
    });
    let typed: Typed<Payload> = serde_json::from_slice(&text).unwrap();
    group.bench_function("serde_json, typed payload: encode and decode", |b| {
        b.iter(|| {
            let bytes = serde_json::to_vec(black_box(&typed)).unwrap();
            serde_json::from_slice::<Typed<Payload>>(black_box(&bytes)).unwrap()
        });
    });
    group.finish();
}

fn signatures(c: &mut Criterion) {
    let key = SecretKey::from_seed(&[1; 32]);
    let message = sample();
    let mut keys = SigningKeys::new();
    keys.set("a", key.clone());
    let mut keyring = Keyring::new();
    keyring.trust("a", key.public()).unwrap();
    let mut group = c.benchmark_group("signed");
    group.bench_function("v2: seal and open", |b| {
        let mut verifier = Verifier::new(keyring.clone(), Policy::default());
        let mut nonce = 0_u128;
        b.iter(|| {
            nonce += 1;
            let bytes = keys.seal(black_box(&message), nonce.to_be_bytes(), &LIMITS).unwrap();
            verifier.open(&bytes, None, NOW, fresh)
        });
    });
    group.bench_function("v3: seal and open 264 bytes", |b| {
        let sealer = Sealer::new("a", key.clone(), 1, Duration::from_secs(30)).unwrap();
        let window = Window::default();
        let mut opener = Opener::new("b", keyring.clone(), window, LIMITS, NOW).unwrap();
        let body = [7; 264];
        b.iter(|| {
            let bytes = sealer.seal("b", black_box(&body), NOW, [1; 16], &LIMITS).unwrap();
            opener.open(&bytes, NOW).map(|sealed| sealed.counter)
        });
    });
    group.finish();
}

criterion_group!(benches, messages, signatures);
criterion_main!(benches);
