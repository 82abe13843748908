//! The bytes that civitas 0.12.0 itself has written, in both directions.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use lictor_wire::{
    Float, Limits, Map, Message, SigningKeys, Spacing, UnixTime, Uuid, Value, Verifier,
};
use serde_json::Value as Json;
use support::{A_SEED, bytes, fresh, hex, keyring, message, never, text, vectors};

#[test]
fn every_message_is_written_as_civitas_writes_it_and_read_back() {
    let vectors = vectors();
    let list = vectors["messages"].as_array().unwrap();
    assert_eq!(list.len(), 34);
    for vector in list {
        let name = text(&vector["name"]);
        let message = message("messages", vector);
        let packed = bytes(&vector["msgpack_hex"]);
        let written = message.to_msgpack(&Limits::DEFAULT).unwrap();
        assert_eq!(hex(&written), hex(&packed), "{name} in MessagePack");
        let json = text(&vector["json_text"]);
        let written = message.to_json(Spacing::Wide, &Limits::DEFAULT).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), json, "{name} in JSON");
        assert_eq!(bytes(&vector["json_hex"]), json.as_bytes(), "{name}: the vector itself");
        let read = Message::from_msgpack(&packed, &Limits::DEFAULT, never).unwrap();
        assert_eq!(read, message, "{name} from MessagePack");
        let read = Message::from_json(json.as_bytes(), &Limits::DEFAULT, never).unwrap();
        assert_eq!(read, message, "{name} from JSON");
    }
}

#[test]
fn json_is_written_as_orjson_writes_it_too() {
    let vectors = vectors();
    let of = |name: &str| {
        let list = vectors["messages"].as_array().unwrap();
        message("messages", list.iter().find(|vector| vector["name"] == name).unwrap())
    };
    let examples = vectors["orjson_examples"].as_array().unwrap();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let name = text(&example["name"]);
        let written = of(name).to_json(Spacing::Compact, &Limits::DEFAULT).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text(&example["json_text"]), "{name}");
        let read = bytes(&example["json_hex"]);
        assert_eq!(Message::from_json(&read, &Limits::DEFAULT, never).unwrap(), of(name), "{name}");
    }
}

/// Python's `repr` and `orjson` agree but for small numbers. Both columns were written by them.
#[test]
fn floats_are_written_as_python_writes_them() {
    for (number, wide, compact) in [
        (1e15, "1000000000000000.0", "1000000000000000.0"),
        (1e16, "1e+16", "1e+16"),
        // Exactly between two texts: the even one.
        (1_404_267_880_762_112.0 + 0.25, "1404267880762112.2", "1404267880762112.2"),
        (100.0, "100.0", "100.0"),
        (-123.456, "-123.456", "-123.456"),
        (0.5, "0.5", "0.5"),
        (-1.5e-7, "-1.5e-07", "-1.5e-7"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17", "1.2345678901234568e+17"),
        (0.0001, "0.0001", "0.0001"),
        (0.000_123_45, "0.00012345", "0.00012345"),
        (1e-5, "1e-05", "0.00001"),
        (1.5e-7, "1.5e-07", "1.5e-7"),
        (1e100, "1e+100", "1e+100"),
        (5e-324, "5e-324", "5e-324"),
        (-0.0, "-0.0", "-0.0"),
    ] {
        let payload = Map::from([("f", Float::new(number).unwrap())]);
        let message = Message::new(fresh(), "t", payload);
        for (spacing, expected) in [
            (Spacing::Wide, format!(r#""f": {wide}}}"#)),
            (Spacing::Compact, format!(r#""f":{compact}}}"#)),
        ] {
            let json = message.to_json(spacing, &Limits::DEFAULT).unwrap();
            let json = String::from_utf8(json).unwrap();
            assert!(json.contains(&expected), "{expected} in {json}");
            let read = Message::from_json(json.as_bytes(), &Limits::DEFAULT, never).unwrap();
            let Some(Value::Float(read)) = read.payload.get("f") else { panic!("{read:?}") };
            assert_eq!(read.get().to_bits(), number.to_bits());
        }
    }
}

#[test]
fn texts_are_escaped_as_python_escapes_them() {
    let odd = "\0\u{1f}\u{7f}\u{2028}\u{1f600}/\\\"\u{8}\u{c}\n\r\té";
    let message = Message::new(fresh(), odd, Map::new());
    let json =
        |spacing| String::from_utf8(message.to_json(spacing, &Limits::DEFAULT).unwrap()).unwrap();
    let wide = r#""type": "\u0000\u001f\u007f\u2028\ud83d\ude00/\\\"\b\f\n\r\t\u00e9","#;
    assert!(json(Spacing::Wide).contains(wide), "{}", json(Spacing::Wide));
    let compact = "\"type\":\"\\u0000\\u001f\u{7f}\u{2028}\u{1f600}/\\\\\\\"\\b\\f\\n\\r\\té\",";
    assert!(json(Spacing::Compact).contains(compact), "{}", json(Spacing::Compact));
    for spacing in [Spacing::Wide, Spacing::Compact] {
        let read = Message::from_json(json(spacing).as_bytes(), &Limits::DEFAULT, never).unwrap();
        assert_eq!(read.kind, odd);
    }
}

#[test]
fn uuids_are_those_of_civitas() {
    let vectors = vectors();
    let vector = &vectors["uuid7"];
    let random: [u8; 10] = bytes(&vector["urandom10_hex"]).try_into().unwrap();
    let time = UnixTime::from_millis(1_700_000_000_123);
    assert_eq!(vector["unix_time"], time.as_seconds().get());
    assert_eq!(Uuid::v7(time, random).to_string(), text(&vector["result"]));
}

#[test]
fn envelopes_are_sealed_and_opened_as_civitas_does_it() {
    let vectors = vectors();
    let list = vectors["signed"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    let mut signed = 0;
    for vector in list {
        let name = text(&vector["name"]);
        assert_eq!(bytes(&vector["seed_hex"]), A_SEED);
        let message = message("signed", vector);
        let nonce: [u8; 16] = bytes(&vector["nonce_hex"]).try_into().unwrap();
        let envelope = bytes(&vector["envelope_hex"]);
        let keys = support::keys();
        let is_signed = vector["signature_hex"] != "";
        let written = if is_signed {
            signed += 1;
            keys.seal(&message, nonce, &Limits::DEFAULT).unwrap()
        } else {
            SigningKeys::wrap_unsigned(&message, nonce, &Limits::DEFAULT).unwrap()
        };
        assert_eq!(hex(&written), hex(&envelope), "{name}");
        let mut verifier = Verifier::new(keyring(), support::lax());
        let opened = verifier.open(&envelope, None, support::NOW, never).unwrap();
        assert_eq!(opened.message, message, "{name}");
        assert_eq!(opened.is_verified, is_signed, "{name}");
    }
    assert_eq!(signed, 3);
}

#[test]
fn the_vectors_hold_nothing_that_no_test_reads() {
    let known = [
        "civitas_version",
        "note",
        "messages",
        "orjson_examples",
        "signed",
        "uuid7",
        // Of other crates: topics, subjects, state at rest.
        "zmq_frames",
        "nats_subjects",
        "encrypted_state",
    ];
    let Json::Object(vectors) = vectors() else { panic!("an object") };
    let found: Vec<_> = vectors.keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(found.is_empty(), "{found:?}");
}
