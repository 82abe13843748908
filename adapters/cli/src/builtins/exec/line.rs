//! Lines of JSON, both ways, and how they are read within bounds.

use lictor::{AgentError, Message, Value};
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A message as the process reads it.
pub(super) fn input(message: &mut Message, id: Option<u64>) -> Result<Vec<u8>, AgentError> {
    let mut fields = serde_json::Map::new();
    fields.insert("type".to_owned(), message.kind().into());
    fields.insert("payload".to_owned(), message.take_payload());
    if let Some(from) = message.sender() {
        fields.insert("from".to_owned(), from.into());
    }
    if let Some(id) = id {
        fields.insert("id".to_owned(), id.into());
    }
    let mut line = serde_json::to_vec(&fields)?;
    line.push(b'\n');
    Ok(line)
}

/// What a process says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Answer { id: u64, payload: Value },
    Refuse { id: u64, error: String },
    Send { to: String, kind: String, payload: Value },
    Spawn { kind: String, name: String, under: String, config: Value },
    Despawn { name: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    id: Option<u64>,
    error: Option<String>,
    to: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Value>,
    spawn: Option<String>,
    name: Option<String>,
    under: Option<String>,
    config: Option<Value>,
    despawn: Option<String>,
}

/// A null that is written is a value, and not the same as nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Understands a line.
pub(super) fn parse(line: &[u8]) -> Result<Said, String> {
    let fields: Fields = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Fields { id, error, to, kind, payload, spawn, name, under, config, despawn } = fields;
    match (id, error, to, kind, payload, spawn, name, under, config, despawn) {
        (Some(id), None, None, None, payload, None, None, None, None, None) => {
            Ok(Said::Answer { id, payload: payload.unwrap_or_default() })
        }
        (Some(id), Some(error), None, None, None, None, None, None, None, None) => {
            Ok(Said::Refuse { id, error })
        }
        (None, None, Some(to), Some(kind), payload, None, None, None, None, None) => {
            Ok(Said::Send { to, kind, payload: payload.unwrap_or_default() })
        }
        (None, None, None, None, None, Some(kind), Some(name), Some(under), config, None) => {
            Ok(Said::Spawn { kind, name, under, config: config.unwrap_or_default() })
        }
        (None, None, None, None, None, None, None, None, None, Some(name)) => {
            Ok(Said::Despawn { name })
        }
        _ => Err("neither an answer (id), nor a message (to, type), nor spawn or despawn".into()),
    }
}

/// What [`read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A line, without its end, is in the buffer.
    Line,
    /// A line longer than the limit went by; its beginning is in the buffer.
    TooLong,
    /// There is no more.
    End,
}

/// Reads one line, of which at most `max` bytes are kept. Not cancel-safe.
pub(crate) async fn read<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
    max: usize,
) -> std::io::Result<Read> {
    buffer.clear();
    let mut too_long = false;
    loop {
        let chunk = reader.fill_buf().await?;
        let at_end = chunk.is_empty();
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let room = max.saturating_sub(buffer.len());
        too_long |= part.len() > room;
        buffer.extend_from_slice(part.get(..room).unwrap_or(part));
        let used = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(used);
        if at_end && buffer.is_empty() && !too_long {
            return Ok(Read::End);
        }
        if at_end || end.is_some() {
            return Ok(if too_long { Read::TooLong } else { Read::Line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_a_process_may_say() {
        let answer = |payload| Said::Answer { id: 7, payload };
        let cases = [
            (r#"{"id":7,"payload":{"a":1}}"#, answer(json(r#"{"a":1}"#))),
            (r#"{"id":7,"payload":null}"#, answer(Value::Null)),
            (r#"{"id":7}"#, answer(Value::Null)),
            (r#"{"id":7,"error":"no"}"#, Said::Refuse { id: 7, error: "no".into() }),
            (r#"{"despawn":"x"}"#, Said::Despawn { name: "x".into() }),
        ];
        for (line, said) in cases {
            assert_eq!(parse(line.as_bytes()), Ok(said), "{line}");
        }
        let garbage = [
            "",
            "hello",
            "[]",
            "7",
            "{}",
            r#"{"id":-1}"#,
            r#"{"to":"x"}"#,
            r#"{"id":1,"to":"x"}"#,
            r#"{"id":1,"extra":2}"#,
            r#"{"spawn":"t","name":"n"}"#,
            "\u{fffd}",
        ];
        for line in garbage {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(&[0xff, 0xfe]).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[tokio::test]
    async fn lines_are_read_within_their_bound() {
        let text = b"one\n\n0123456789\n01234567890\nlast".as_slice();
        for capacity in [1, 3, 64] {
            let mut reader = tokio::io::BufReader::with_capacity(capacity, text);
            let mut buffer = Vec::new();
            let mut seen = Vec::new();
            loop {
                let found = read(&mut reader, &mut buffer, 10).await.unwrap();
                seen.push((found, String::from_utf8(buffer.clone()).unwrap()));
                if seen.last().unwrap().0 == Read::End {
                    break;
                }
            }
            let expected = [
                (Read::Line, "one"),
                (Read::Line, ""),
                (Read::Line, "0123456789"),
                (Read::TooLong, "0123456789"),
                (Read::Line, "last"),
                (Read::End, ""),
            ];
            assert_eq!(seen, expected.map(|(read, text)| (read, text.to_owned())));
        }
    }
}
