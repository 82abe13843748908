//! What is taken from peers, and what from nobody.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use lictor_wire::{
    ConvertError, DecodeError, EncodeError, Fault, Float, Int, Limits, Map, Message, Spacing, Value,
};
use support::{fresh, hex, never, unhex};

fn packed(bytes: &[u8]) -> Result<Message, DecodeError> {
    Message::from_msgpack(bytes, &Limits::DEFAULT, fresh)
}

fn json(text: &str) -> Result<Message, DecodeError> {
    Message::from_json(text.as_bytes(), &Limits::DEFAULT, fresh)
}

fn fault(read: Result<Message, DecodeError>) -> (usize, Fault) {
    let error = read.unwrap_err();
    (error.at, error.fault)
}

/// A map of one field.
fn field(key: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xa0 | u8::try_from(key.len()).unwrap()];
    bytes.extend(key.as_bytes());
    bytes.extend(unhex(value));
    bytes
}

fn payload(value: &str) -> Vec<u8> {
    field("payload", &format!("81a176{value}"))
}

fn sample() -> Message {
    let mut message = Message::new(fresh(), "t", [("n", 1_i64)]).between("a", "b");
    message.payload.insert("l", vec![Value::Null, true.into(), "x".into()]);
    message
}

#[test]
fn what_is_missing_has_its_default() {
    for read in [packed(&[0x80]), json("{}"), json(" {\n} \t\r")] {
        let read = read.unwrap();
        assert_eq!(read, Message::new(fresh(), "message", Map::new()));
        assert_eq!((read.schema_version, read.attempt, read.priority), (1, 0, 0));
        assert!(read.ttl.is_none() && read.seq.is_none() && read.trace_id.is_empty());
    }
}

#[test]
fn the_order_of_keys_does_not_matter_and_unknown_ones_are_passed_over() {
    let text = r#"{"seq":3,"later":{"x":[1,{"y":"z"}]},"type":"t","payload":{"n":1},"id":"i",
        "also":null,"timestamp":1,"ttl":30}"#;
    let read = Message::from_json(text.as_bytes(), &Limits::DEFAULT, never).unwrap();
    assert_eq!((read.seq, read.id.as_str(), read.kind.as_str()), (Some(3), "i", "t"));
    // Python's `ttl=30` is 30.0.
    assert_eq!((read.timestamp.get(), read.ttl), (1.0, Float::new(30.0)));
    // The same, with an unknown key of nested values, in MessagePack.
    let bytes = unhex("84a373657103a56c6174657281a178920181a179a17aa26964a169a474797065a174");
    let read = packed(&bytes).unwrap();
    assert_eq!((read.seq, read.id.as_str(), read.kind.as_str()), (Some(3), "i", "t"));
}

#[test]
fn integers_may_be_longer_than_they_need_be() {
    for value in [
        "05",
        "cc05",
        "cd0005",
        "ce00000005",
        "cf0000000000000005",
        "d005",
        "d10005",
        "d200000005",
        "d30000000000000005",
    ] {
        let read = packed(&payload(value)).unwrap();
        assert_eq!(read.payload.get("v"), Some(&5_i64.into()), "{value}");
        // Written again, it is as short as it can be.
        let again = read.to_msgpack(&Limits::DEFAULT).unwrap();
        assert!(hex(&again).contains("a17605"), "{value}");
    }
    let read = packed(&payload("ca3fc00000")).unwrap();
    assert_eq!(read.payload.get("v"), Some(&Float::new(1.5).unwrap().into()));
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    let expected = |expected, of| Fault::Expected { expected, of };
    for (key, value, fault_) in [
        ("schema_version", "a131", expected("an integer", "schema_version")),
        ("id", "c0", expected("a text", "id")),
        ("type", "01", expected("a text", "type")),
        ("sender", "c40161", expected("a text", "sender")),
        ("recipient", "90", expected("a text", "recipient")),
        ("correlation_id", "01", expected("a text", "correlation_id")),
        ("reply_to", "c2", expected("a text", "reply_to")),
        ("payload", "90", expected("a map", "payload")),
        ("payload", "c0", expected("a map", "payload")),
        ("timestamp", "c0", expected("a number", "timestamp")),
        ("timestamp", "a0", expected("a number", "timestamp")),
        ("trace_id", "c0", expected("a text", "trace_id")),
        ("attempt", "c3", expected("an integer", "attempt")),
        ("priority", "cb3ff0000000000000", expected("an integer", "priority")),
        ("ttl", "a0", expected("a number", "ttl")),
        ("seq", "a0", expected("an integer", "seq")),
        ("seq", "cfffffffffffffffff", Fault::Number),
        ("timestamp", "cf0020000000000001", Fault::Number),
        ("timestamp", "cb7ff8000000000000", Fault::Number),
    ] {
        assert_eq!(fault(packed(&field(key, value))), (key.len() + 2, fault_), "{key} {value}");
    }
    for (text, at) in [
        (r#"{"id":null}"#, 6),
        (r#"{"seq":"3"}"#, 7),
        (r#"{"seq":1.0}"#, 7),
        (r#"{"payload":[]}"#, 11),
        (r#"{"attempt":true}"#, 11),
        (r#"{"ttl":"x"}"#, 7),
    ] {
        let (place, fault) = fault(json(text));
        assert!(matches!(fault, Fault::Expected { .. }), "{text}: {fault:?}");
        assert_eq!(place, at, "{text}");
    }
    // A list where the message should be, which `rmp-serde` takes.
    assert_eq!(fault(packed(&[0x91, 1])), (0, expected("a map", "the message")));
    assert_eq!(fault(json("[1]")), (0, expected("a map", "the message")));
}

// Defect: D64
#[test]
fn what_no_wire_can_carry_cannot_be_made_and_is_not_read() {
    assert_eq!(Float::new(f64::NAN), None);
    assert_eq!(Float::new(f64::INFINITY), None);
    for (bytes, expected) in [
        // NaN and the infinities.
        (payload("cb7ff8000000000000"), Fault::Number),
        (payload("cb7ff0000000000000"), Fault::Number),
        (payload("cafff00000"), Fault::Number),
        // A key that is an integer.
        (field("payload", "810102"), Fault::Expected { expected: "a text", of: "a key" }),
        // A text that is no UTF-8: a lone surrogate, and one byte.
        (payload("a3eda080"), Fault::NotText),
        (payload("a1ff"), Fault::NotText),
        // An extension type: a time, and others; and the byte that means nothing.
        (payload("d6ff00000000"), Fault::Expected { expected: "no extension type", of: "a value" }),
        (payload("c70005"), Fault::Expected { expected: "no extension type", of: "a value" }),
        (payload("c1"), Fault::Expected { expected: "no extension type", of: "a value" }),
    ] {
        assert_eq!(fault(packed(&bytes)).1, expected, "{}", hex(&bytes));
    }
    for (value, expected) in [
        ("18446744073709551616", Fault::Number),
        ("-9223372036854775809", Fault::Number),
        ("1e999", Fault::Number),
        (r#""\ud800""#, Fault::NotText),
        (r#""\ud800\u0041""#, Fault::NotText),
        (r#""\udc00""#, Fault::NotText),
    ] {
        let text = format!(r#"{{"payload":{{"v":{value}}}}}"#);
        assert_eq!(
            fault(json(&text)),
            (16 + usize::from(value.starts_with('"')), expected),
            "{text}"
        );
    }
    for value in ["NaN", "Infinity", "-Infinity"] {
        let text = format!(r#"{{"payload":{{"v":{value}}}}}"#);
        assert!(json(&text).is_err(), "{text}");
    }
    let json = |text: &str| Map::try_from(serde_json::from_str::<serde_json::Value>(text).unwrap());
    assert_eq!(json("[]"), Err(ConvertError::NotAMap));
    assert_eq!(json(r#"{"n":[-1,1,1.5,null]}"#).unwrap().len(), 1);
}

#[test]
fn integers_from_end_to_end_of_the_range_are_kept_exactly() {
    for (text, int) in [
        ("-9223372036854775808", Int::from(i64::MIN)),
        ("18446744073709551615", Int::from(u64::MAX)),
        ("9223372036854775808", Int::from(1_u64 << 63)),
        ("-0", Int::from(0_i64)),
    ] {
        let read = json(&format!(r#"{{"payload":{{"v":{text}}}}}"#)).unwrap();
        assert_eq!(read.payload.get("v"), Some(&Value::Int(int)), "{text}");
        let again = packed(&read.to_msgpack(&Limits::DEFAULT).unwrap()).unwrap();
        assert_eq!(again, read, "{text}");
    }
    assert_eq!(Int::from(5_i64), Int::from(5_u64));
    assert!(Int::from(-1_i64) < Int::from(0_u64) && Int::from(i64::MAX) < Int::from(u64::MAX));
    assert_eq!((Int::from(u64::MAX).as_i64(), Int::from(-1_i64).as_u64()), (None, None));
}

#[test]
fn keys_that_appear_twice_are_refused_wherever_they_are() {
    let many: String = (0..20).map(|n| format!(r#""k{n}":0,"#)).collect();
    for text in [
        r#"{"id":"a","id":"b"}"#.to_owned(),
        r#"{"x":1,"y":2,"x":3}"#.to_owned(),
        r#"{"payload":{"k":1,"k":2}}"#.to_owned(),
        r#"{"payload":{"k":1,"\u006b":2}}"#.to_owned(),
        format!(r#"{{"payload":{{{many}"k7":1}}}}"#),
        r#"{"unknown":{"k":1,"k":2}}"#.to_owned(),
    ] {
        assert_eq!(fault(json(&text)).1, Fault::DuplicateKey, "{text}");
    }
    assert_eq!(fault(packed(&unhex("82a26964a161a26964a162"))), (6, Fault::DuplicateKey));
    assert_eq!(fault(packed(&field("payload", "82a16101a16102"))), (9, Fault::DuplicateKey));
}

#[test]
fn nothing_may_follow_a_message() {
    let message = sample();
    let mut bytes = message.to_msgpack(&Limits::DEFAULT).unwrap();
    let end = bytes.len();
    bytes.push(0xc0);
    assert_eq!(fault(packed(&bytes)), (end, Fault::Trailing));
    let mut text = message.to_json(Spacing::Wide, &Limits::DEFAULT).unwrap();
    let end = text.len() + 1;
    text.extend(b" {}");
    assert_eq!(fault(Message::from_json(&text, &Limits::DEFAULT, never)), (end, Fault::Trailing));
}

#[test]
fn bytes_that_end_anywhere_are_refused() {
    let message = sample();
    let bytes = message.to_msgpack(&Limits::DEFAULT).unwrap();
    let text = message.to_json(Spacing::Compact, &Limits::DEFAULT).unwrap();
    for len in 0..bytes.len() {
        assert_eq!(fault(packed(&bytes[..len])).1, Fault::Ends, "{len} bytes");
    }
    for len in 0..text.len() {
        let read = Message::from_json(&text[..len], &Limits::DEFAULT, never);
        assert!(read.is_err(), "{len} bytes");
    }
}

#[test]
fn json_is_json_and_nothing_more() {
    for text in [
        r#"{"a":1,}"#,
        r#"{,}"#,
        r#"{"payload":{"v":[1,]}}"#,
        r#"{"payload":{"v":01}}"#,
        r#"{"payload":{"v":+1}}"#,
        r#"{"payload":{"v":.5}}"#,
        r#"{"payload":{"v":1.}}"#,
        r#"{"payload":{"v":1e}}"#,
        r#"{"payload":{"v":-}}"#,
        r#"{"payload":{"v":nul}}"#,
        r#"{"payload":{"v":'x'}}"#,
        r#"{"payload":{"v":"\x"}}"#,
        r#"{"payload":{"v":"\u12g4"}}"#,
        r#"{"payload":{"v":"\u+123"}}"#,
        "{\"payload\":{\"v\":\"a\nb\"}}",
        "\u{feff}{}",
        "{} x",
        r#"{a:1}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        "",
        "nul",
    ] {
        assert!(json(text).is_err(), "{text}");
    }
    let read = json(r#"{"payload":{"v":[1E2,1e+2,-1.5e-1,"\/\ud83d\ude00"]}}"#).unwrap();
    let float = |number| Value::Float(Float::new(number).unwrap());
    let list = vec![float(100.0), float(100.0), float(-0.15), "/\u{1f600}".into()];
    assert_eq!(read.payload.get("v"), Some(&list.into()));
}

#[test]
fn limits_hold_in_both_directions_and_in_both_formats() {
    let nested = |depth: usize| {
        let mut value = Value::Null;
        for _ in 1..depth {
            value = vec![value].into();
        }
        Message::new(fresh(), "t", [("v", value)])
    };
    let limits = Limits { depth: 5, items: 30, text: 40, bytes: 400 };
    let check = |message: &Message, limits: &Limits, error: EncodeError, fault: Fault| {
        let wide = Limits::DEFAULT;
        let compact = Spacing::Compact;
        assert_eq!(message.to_msgpack(limits), Err(error));
        assert_eq!(message.to_json(compact, limits), Err(error));
        let bytes = message.to_msgpack(&wide).unwrap();
        assert_eq!(Message::from_msgpack(&bytes, limits, never).unwrap_err().fault, fault);
        let bytes = message.to_json(compact, &wide).unwrap();
        assert_eq!(Message::from_json(&bytes, limits, never).unwrap_err().fault, fault);
    };
    let fits = nested(5);
    let bytes = fits.to_msgpack(&limits).unwrap();
    assert_eq!(Message::from_msgpack(&bytes, &limits, never), Ok(fits.clone()));
    let roomy = Limits { bytes: 1000, ..limits };
    let bytes = fits.to_json(Spacing::Wide, &roomy).unwrap();
    assert_eq!(Message::from_json(&bytes, &roomy, never), Ok(fits));
    let (error, fault) = (EncodeError::TooDeep { limit: 5 }, Fault::TooDeep { limit: 5 });
    check(&nested(6), &roomy, error, fault);
    let wide = Message::new(fresh(), "t", [("v", vec![Value::Null; 30])]);
    let (error, fault) =
        (EncodeError::TooManyItems { limit: 30 }, Fault::TooManyItems { limit: 30 });
    check(&wide, &roomy, error, fault);
    let long = Message::new(fresh(), "t", [("v", "x".repeat(41))]);
    let (error, fault) = (EncodeError::TextTooLong { limit: 40 }, Fault::TextTooLong { limit: 40 });
    check(&long, &roomy, error, fault);
    let large = Message::new(fresh(), "t", [("v", vec![Value::from("x".repeat(40)); 10])]);
    let (error, fault) = (EncodeError::TooLarge { limit: 400 }, Fault::TooLarge { limit: 400 });
    check(&large, &limits, error, fault);
}

#[test]
fn what_fails_to_be_written_leaves_nothing() {
    let mut out = b"before".to_vec();
    let limits = Limits { bytes: 100, ..Limits::DEFAULT };
    assert!(sample().write_msgpack(&limits, &mut out).is_err());
    assert!(sample().write_json(Spacing::Wide, &limits, &mut out).is_err());
    assert_eq!(out, b"before");
    let bytes = Message::new(fresh(), "t", [("b", Value::Bytes(vec![0, 255]))]);
    let written = bytes.to_json(Spacing::Wide, &Limits::DEFAULT);
    assert_eq!(written, Err(EncodeError::BytesInJson));
    let packed_ = bytes.to_msgpack(&Limits::DEFAULT).unwrap();
    assert_eq!(packed(&packed_), Ok(bytes));
}

#[test]
fn a_million_open_brackets_are_refused_at_the_limit() {
    let mut bytes = field("payload", "81a176");
    bytes.extend(vec![0x91; 1 << 19]);
    assert_eq!(fault(packed(&bytes)).1, Fault::TooDeep { limit: 64 });
    let text = format!(r#"{{"payload":{{"v":{}"#, "[".repeat(1 << 19));
    assert_eq!(fault(json(&text)).1, Fault::TooDeep { limit: 64 });
    // The same in a key that is passed over.
    let text = format!(r#"{{"x":{}"#, "[".repeat(1 << 19));
    assert_eq!(fault(json(&text)).1, Fault::TooDeep { limit: 64 });
}

#[test]
fn errors_say_what_and_where() {
    let error = packed(&field("seq", "a0")).unwrap_err();
    assert_eq!(error.to_string(), "byte 5: expected an integer as seq");
    let error = json(r#"{"id":"#).unwrap_err();
    assert_eq!(error.to_string(), "byte 6: the message ends too early");
}
