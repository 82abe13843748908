//! What the tests share.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::fmt;

use lictor_wire::{
    Float, Fresh, Keyring, Map, Message, Policy, SecretKey, SigningKeys, UnixTime, Unsigned, Uuid,
    Value,
};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

/// The seed of all vectors: the bytes 0 to 31. The key is that of the agent `a`.
pub(crate) const A_SEED: [u8; 32] = {
    let mut seed = [0; 32];
    let mut at = 0;
    while at < 32 {
        seed[at] = at.to_le_bytes()[0];
        at += 1;
    }
    seed
};

/// A second after the timestamp of the vectors.
pub(crate) const NOW: UnixTime = UnixTime::from_millis(1_700_000_001_250);

pub(crate) fn vectors() -> Json {
    serde_json::from_str(include_str!("../data/civitas_vectors.json")).unwrap()
}

pub(crate) fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

pub(crate) fn bytes(json: &Json) -> Vec<u8> {
    unhex(text(json))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn fresh() -> Fresh {
    Fresh {
        id: Uuid::v7(UnixTime::from_millis(1_700_000_000_000), [7; 10]),
        timestamp: Float::new(1_700_000_000.25).unwrap(),
    }
}

/// For messages that have an id and a timestamp.
pub(crate) fn never() -> Fresh {
    panic!("the message has an id and a timestamp")
}

/// A value read by `serde_json`, and not by our own reader, with its keys in order.
struct Ordered(Value);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Float::new(value).unwrap().into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Ordered(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Ordered(value))) = map.next_entry::<String, _>()? {
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

#[derive(Deserialize)]
struct Sections {
    messages: Vec<Vector>,
    signed: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    input: BTreeMap<String, Ordered>,
}

/// The payload of a message of the vectors; `serde_json`'s own values do not keep the order.
fn payload(section: &str, name: &str) -> Map {
    let text = include_str!("../data/civitas_vectors.json");
    let sections: Sections = serde_json::from_str(text).unwrap();
    let list = if section == "messages" { sections.messages } else { sections.signed };
    let mut vector = list.into_iter().find(|vector| vector.name == name).unwrap();
    match vector.input.remove("payload") {
        Some(Ordered(Value::Map(map))) => map,
        _ => panic!("{name} has no payload"),
    }
}

/// The message of a vector, read field by field and not by our own reader.
pub(crate) fn message(section: &str, vector: &Json) -> Message {
    let json = &vector["input"];
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    let optional = |key: &str| json[key].as_str().map(str::to_owned);
    let int = |key: &str| json[key].as_i64().unwrap();
    let float = |json: &Json| Float::new(json.as_f64().unwrap()).unwrap();
    let payload = payload(section, vector["name"].as_str().unwrap());
    let mut message = Message::new(fresh(), text("type"), payload);
    message.schema_version = int("schema_version");
    message.id = text("id");
    message.sender = text("sender");
    message.recipient = text("recipient");
    message.correlation_id = optional("correlation_id");
    message.reply_to = optional("reply_to");
    message.timestamp = float(&json["timestamp"]);
    message.trace_id = text("trace_id");
    message.span_id = text("span_id");
    message.parent_span_id = optional("parent_span_id");
    message.attempt = int("attempt");
    message.priority = int("priority");
    message.ttl = (!json["ttl"].is_null()).then(|| float(&json["ttl"]));
    message.seq = json["seq"].as_i64();
    message
}

/// The key of `a`.
pub(crate) fn a_key() -> SecretKey {
    SecretKey::from_seed(&A_SEED)
}

/// Another key.
pub(crate) fn other_key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// `a` signs.
pub(crate) fn keys() -> SigningKeys {
    let mut keys = SigningKeys::new();
    keys.set("a", a_key());
    keys
}

/// `a` is known.
pub(crate) fn keyring() -> Keyring {
    let mut keyring = Keyring::new();
    keyring.trust("a", a_key().public()).unwrap();
    keyring
}

pub(crate) fn lax() -> Policy {
    Policy { unsigned: Unsigned::FromUnknown, ..Policy::default() }
}

/// Signs bytes as they are, which the crate itself offers to nobody, with [`other_key`].
pub(crate) fn sign(number: u8, bytes: &[u8]) -> [u8; 64] {
    use ed25519_dalek::Signer as _;
    ed25519_dalek::SigningKey::from_bytes(&[number; 32]).sign(bytes).to_bytes()
}
