//! Messages and bytes that nobody chose, against other libraries and against the limits.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use lictor_wire::{
    Float, Limits, Map, Message, Opener, Policy, Refusal, Sealer, Spacing, Value, Verifier, Window,
    fuzz,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{NOW, fresh, keyring, keys, lax, never};

fn float() -> impl Strategy<Value = Float> {
    any::<f64>().prop_filter_map("finite", Float::new)
}

/// Numbers that `serde_json` reads exactly; of others it may be off by the last bit.
fn short_float() -> impl Strategy<Value = Float> {
    (-1_000_000..1_000_000_i32).prop_map(|n| Float::new(f64::from(n) / 16.0).unwrap())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Any,
    WithoutBytes,
    /// Without bytes, and only with short floats.
    Plain,
}

fn float_of(kind: Kind) -> BoxedStrategy<Float> {
    if kind == Kind::Plain { short_float().boxed() } else { float().boxed() }
}

fn value(kind: Kind) -> BoxedStrategy<Value> {
    let mut leaves = vec![
        Just(Value::Null).boxed(),
        any::<bool>().prop_map(Value::from).boxed(),
        any::<i64>().prop_map(Value::from).boxed(),
        any::<u64>().prop_map(Value::from).boxed(),
        (-40_i64..300).prop_map(Value::from).boxed(),
        float_of(kind).prop_map(Value::from).boxed(),
        ".{0,40}".prop_map(Value::from).boxed(),
    ];
    if kind == Kind::Any {
        leaves.push(vec(any::<u8>(), 0..300).prop_map(Value::Bytes).boxed());
    }
    let leaf = proptest::strategy::Union::new(leaves);
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            map_of(inner).prop_map(Value::from),
        ]
    })
    .boxed()
}

fn map_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    btree_map(".{0,9}", value, 0..20).prop_map(|entries| {
        let mut map = Map::new();
        // Not in the order of the keys.
        for (key, value) in entries.into_iter().rev() {
            map.insert(key, value);
        }
        map
    })
}

fn message(kind: Kind) -> impl Strategy<Value = Message> {
    let texts = vec(".{0,40}", 6);
    let optional = vec(proptest::option::of(".{0,20}"), 3);
    let numbers = (any::<i64>(), any::<i64>(), any::<i64>(), proptest::option::of(any::<i64>()));
    let floats = (float_of(kind), proptest::option::of(float_of(kind)));
    (texts, optional, numbers, floats, map_of(value(kind))).prop_map(
        |(texts, optional, numbers, floats, payload)| {
            let mut message = Message::new(fresh(), texts[0].clone(), payload);
            (message.schema_version, message.attempt, message.priority, message.seq) = numbers;
            (message.timestamp, message.ttl) = floats;
            for (field, text) in [
                (&mut message.id, &texts[1]),
                (&mut message.sender, &texts[2]),
                (&mut message.recipient, &texts[3]),
                (&mut message.trace_id, &texts[4]),
                (&mut message.span_id, &texts[5]),
            ] {
                field.clone_from(text);
            }
            for (field, text) in [
                (&mut message.correlation_id, &optional[0]),
                (&mut message.reply_to, &optional[1]),
                (&mut message.parent_span_id, &optional[2]),
            ] {
                field.clone_from(text);
            }
            message
        },
    )
}

/// The message as `rmp-serde` sees it.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Oracle {
    schema_version: i64,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    sender: String,
    recipient: String,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    payload: BTreeMap<String, serde_json::Value>,
    timestamp: f64,
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    attempt: i64,
    priority: i64,
    ttl: Option<f64>,
    seq: Option<i64>,
}

impl Oracle {
    fn of(message: &Message) -> Self {
        let message = message.clone();
        Self {
            schema_version: message.schema_version,
            id: message.id,
            kind: message.kind,
            sender: message.sender,
            recipient: message.recipient,
            correlation_id: message.correlation_id,
            reply_to: message.reply_to,
            payload: message
                .payload
                .into_entries()
                .into_iter()
                .map(|(key, value)| (key, value.try_into().unwrap()))
                .collect(),
            timestamp: message.timestamp.get(),
            trace_id: message.trace_id,
            span_id: message.span_id,
            parent_span_id: message.parent_span_id,
            attempt: message.attempt,
            priority: message.priority,
            ttl: message.ttl.map(Float::get),
            seq: message.seq,
        }
    }
}

/// The same message with all keys of its payload in order, as the oracle writes them.
fn sorted(value: Value) -> Value {
    match value {
        Value::List(list) => list.into_iter().map(sorted).collect::<Vec<_>>().into(),
        Value::Map(map) => {
            let mut entries = map.into_entries();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            let mut map = Map::new();
            for (key, value) in entries {
                map.insert(key, sorted(value));
            }
            map.into()
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)) => other,
    }
}

/// 80 cases, or `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let default = ProptestConfig::default();
    ProptestConfig { cases: cases.unwrap_or(80), failure_persistence: None, ..default }
}

/// A reader of bytes that must refuse, or mean the same when it reads again.
const BODIES: [fn(&[u8]); 5] = [fuzz::msgpack, fuzz::json, fuzz::signed, fuzz::sealed, fuzz::keys];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn messages_survive_both_formats(message in message(Kind::Any)) {
        let packed = message.to_msgpack(&Limits::DEFAULT).unwrap();
        prop_assert_eq!(&Message::from_msgpack(&packed, &Limits::DEFAULT, never).unwrap(), &message);
    }

    #[test]
    fn messages_without_bytes_survive_json(message in message(Kind::WithoutBytes)) {
        for spacing in [Spacing::Wide, Spacing::Compact] {
            let text = message.to_json(spacing, &Limits::DEFAULT).unwrap();
            let read = Message::from_json(&text, &Limits::DEFAULT, never).unwrap();
            prop_assert_eq!(&read, &message);
            if spacing == Spacing::Wide {
                prop_assert!(text.is_ascii());
            }
        }
    }

    #[test]
    fn serde_json_reads_the_same(message in message(Kind::Plain)) {
        for spacing in [Spacing::Wide, Spacing::Compact] {
            let text = message.to_json(spacing, &Limits::DEFAULT).unwrap();
            let oracle: Oracle = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(oracle, Oracle::of(&message));
        }
        let text = serde_json::to_string(&Oracle::of(&message)).unwrap();
        let read = Message::from_json(text.as_bytes(), &Limits::DEFAULT, never).unwrap();
        prop_assert_eq!(Oracle::of(&read), Oracle::of(&message));
    }

    #[test]
    fn rmp_serde_writes_and_reads_the_same_bytes(message in message(Kind::Plain)) {
        let Value::Map(payload) = sorted(message.payload.clone().into()) else { unreachable!() };
        let message = Message { payload, ..message };
        let packed = message.to_msgpack(&Limits::DEFAULT).unwrap();
        let oracle = Oracle::of(&message);
        prop_assert_eq!(&rmp_serde::to_vec_named(&oracle).unwrap(), &packed);
        prop_assert_eq!(rmp_serde::from_slice::<Oracle>(&packed).unwrap(), oracle);
    }

    #[test]
    fn any_bytes_are_refused_or_mean_something(bytes in vec(any::<u8>(), 0..300)) {
        for body in BODIES {
            body(&bytes);
        }
    }

    /// What a peer sends, with some of it changed, added or cut off.
    #[test]
    fn damaged_messages_are_refused_or_mean_something(
        message in message(Kind::Any),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..5),
    ) {
        let text = message.to_json(Spacing::Wide, &Limits::DEFAULT).unwrap_or_default();
        for mut bytes in [message.to_msgpack(&Limits::DEFAULT).unwrap(), text] {
            for (place, byte, kind) in &damage {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] ^= byte,
                    1 => bytes.insert(at, *byte),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at),
                }
            }
            for body in BODIES {
                body(&bytes);
            }
        }
    }

    #[test]
    fn one_changed_byte_breaks_an_envelope(
        message in message(Kind::Any),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let message = Message { sender: "a".into(), timestamp: NOW.as_seconds(), ..message };
        let envelope = keys().seal(&message, [9; 16], &Limits::DEFAULT).unwrap();
        let open = |bytes: &[u8], policy| {
            Verifier::new(keyring(), policy).open(bytes, None, NOW, fresh)
        };
        prop_assert_eq!(open(&envelope, Policy::default()).map(|opened| opened.message), Ok(message));
        let mut changed = envelope;
        let at = place.index(changed.len());
        changed[at] ^= flip;
        prop_assert!(open(&changed, Policy::default()).is_err(), "byte {}", at);
        let opened = open(&changed, lax());
        prop_assert!(!opened.is_ok_and(|opened| opened.is_verified), "byte {}", at);
    }

    #[test]
    fn one_changed_byte_breaks_a_frame(
        body in vec(any::<u8>(), 0..600),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let valid_for = std::time::Duration::from_secs(9);
        let sealer = Sealer::new("a", support::a_key(), 1, valid_for).unwrap();
        let frame = sealer.seal("b", &body, NOW, [9; 16], &Limits::DEFAULT).unwrap();
        let mut opener =
            Opener::new("b", keyring(), Window::default(), Limits::DEFAULT, NOW).unwrap();
        let mut changed = frame.clone();
        let at = place.index(changed.len());
        changed[at] ^= flip;
        prop_assert!(opener.open(&changed, NOW).is_err(), "byte {}", at);
        // And leaves no trace.
        prop_assert_eq!(opener.open(&frame, NOW).map(|sealed| sealed.body), Ok(&body[..]));
        prop_assert_eq!(opener.open(&frame, NOW), Err(Refusal::Replayed));
    }
}

/// The greatest heap while something is read, but for a kilobyte, for each byte that was given.
fn heap_for_each_byte(bytes: &[u8], read: impl FnOnce(&[u8])) -> u64 {
    let info = allocation_counter::measure(|| read(bytes));
    info.bytes_max.saturating_sub(1024) / u64::try_from(bytes.len()).unwrap()
}

#[test]
fn what_headers_claim_is_not_set_aside() {
    // Four thousand million elements in a few bytes, as every type that has a length; and as many
    // as a message may have.
    for (head, count) in [("dd", u32::MAX), ("df", u32::MAX), ("db", u32::MAX), ("c6", u32::MAX)]
        .into_iter()
        .chain([("dd", 60_000), ("df", 30_000), ("db", 60_000), ("c6", 60_000)])
    {
        let bytes = support::unhex(&format!("81a77061796c6f616481a178{head}{count:08x}"));
        let info = allocation_counter::measure(|| {
            assert!(Message::from_msgpack(&bytes, &Limits::DEFAULT, fresh).is_err());
        });
        assert!(info.bytes_max < 1000, "{head}: {info:?}");
    }
    // The worst that a byte can be: a nil, which is a whole value; an empty key and a nil.
    let list = |count: u16| {
        let mut bytes = support::unhex("81a77061796c6f616481a178dc");
        bytes.extend(count.to_be_bytes());
        bytes.extend(vec![0xc0; usize::from(count)]);
        bytes
    };
    let read_packed = |bytes: &[u8]| {
        Message::from_msgpack(bytes, &Limits::DEFAULT, fresh).unwrap();
    };
    let read_text = |bytes: &[u8]| {
        Message::from_json(bytes, &Limits::DEFAULT, fresh).unwrap();
    };
    for count in [100, 1000, 60_000] {
        let used = heap_for_each_byte(&list(count), read_packed);
        assert!(used <= 64, "{count} nils: {used} bytes for each");
        let zeros = "0,".repeat(usize::from(count));
        let text = format!(r#"{{"payload":{{"x":[{zeros}0]}}}}"#);
        let used = heap_for_each_byte(text.as_bytes(), read_text);
        assert!(used <= 64, "{count} zeros: {used} bytes for each");
    }
    let entries: String = (0..20_000).map(|n| format!(r#""{n:x}":0,"#)).collect();
    let text = format!(r#"{{"payload":{{{entries}"x":0}}}}"#);
    let used = heap_for_each_byte(text.as_bytes(), read_text);
    assert!(used <= 64, "entries: {used} bytes for each");
    let deep = format!(r#"{{"payload":{{"x":{}0{}}}}}"#, "[".repeat(62), "]".repeat(62));
    let used = heap_for_each_byte(deep.as_bytes(), read_text);
    assert!(used <= 64, "lists in lists: {used} bytes for each");
    let towers = "[[[[0]]]],".repeat(6000);
    let text = format!(r#"{{"payload":{{"x":[{towers}0]}}}}"#);
    let used = heap_for_each_byte(text.as_bytes(), read_text);
    assert!(used <= 64, "towers: {used} bytes for each");
}
