//! NATS's protocol, as little as it takes: a client without a library between us and the server.
//!
//! A library reconnects, refuses and buffers by itself, and would be what is tested. This one does
//! what a case says, reads only when it may, and has no more than one connection.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::suite::PATIENCE;

/// What has come.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) subject: String,
    pub(crate) reply: String,
    /// As `100`, `503`; empty if there is none.
    pub(crate) status: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct State {
    came: VecDeque<Came>,
    pongs: u64,
    errors: Vec<String>,
    has_ended: bool,
    is_stalled: bool,
}

#[derive(Default)]
struct Shared(Mutex<State>, Condvar);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.1.notify_all();
    }
}

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    shared: Arc<Shared>,
    pings: u64,
    asked: u64,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let shared = Arc::new(Shared::default());
        let (reading, into) = (stream.try_clone().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            let error = read(reading, &into).unwrap_err();
            into.change(|state| {
                state.has_ended = true;
                state.errors.push(error.to_string());
            });
        });
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "test", "version": "0", "protocol": 1,
        });
        stream.write_all(format!("CONNECT {hello}\r\n").as_bytes()).unwrap();
        let mut wire = Self { stream, shared, pings: 0, asked: 0 };
        wire.put("SUB _I.> 1\r\n".replace("_I", &wire.inbox()).as_bytes());
        assert!(wire.flushes(), "it is connected: {:?}", wire.shared.lock().errors);
        wire
    }

    /// The subject below which it hears answers.
    fn inbox(&self) -> String {
        format!("_I{}", self.stream.local_addr().unwrap().port())
    }

    fn put(&mut self, bytes: &[u8]) {
        // A connection that has ended says so elsewhere.
        let _ = self.stream.write_all(bytes);
    }

    /// Whether the server has taken all of it, and has put what came of it on the connection.
    pub(crate) fn flushes(&mut self) -> bool {
        self.pings += 1;
        let pings = self.pings;
        self.put(b"PING\r\n");
        self.wait(PATIENCE, |state| (state.pongs >= pings).then_some(true)).unwrap_or(false)
    }

    /// Waits for something, or for the end of the connection.
    fn wait<T>(&self, time: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let end = std::time::Instant::now() + time;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            if state.has_ended || left.is_zero() {
                return None;
            }
            (state, _) = self.shared.1.wait_timeout(state, left).unwrap();
        }
    }

    pub(crate) fn subscribe(&mut self, subject: &str) -> bool {
        self.put(format!("SUB {subject} 2\r\n").as_bytes());
        self.flushes()
    }

    pub(crate) fn publish(&mut self, subject: &str, reply: &str, id: &str, body: &[u8]) {
        let mut bytes = if id.is_empty() {
            format!("PUB {subject} {reply} {}\r\n", body.len()).into_bytes()
        } else {
            let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
            let (head, all) = (headers.len(), headers.len() + body.len());
            format!("HPUB {subject} {reply} {head} {all}\r\n{headers}").into_bytes()
        };
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
        self.put(&bytes);
    }

    /// The first that has come and is like this, within this time.
    pub(crate) fn next(&self, time: Duration, is: impl Fn(&Came) -> bool) -> Option<Came> {
        self.wait(time, |state| {
            let at = state.came.iter().position(&is)?;
            state.came.remove(at)
        })
    }

    /// Asks, and waits for the first answer.
    pub(crate) fn ask(&mut self, subject: &str, id: &str, body: &[u8]) -> Option<Came> {
        let reply = self.reply();
        self.publish(subject, &reply, id, body);
        self.next(PATIENCE, |came| came.subject == reply)
    }

    /// A subject for an answer.
    pub(crate) fn reply(&mut self) -> String {
        self.asked += 1;
        format!("{}.{}", self.inbox(), self.asked)
    }

    /// Asks the API of `JetStream`.
    pub(crate) fn api(&mut self, what: &str, body: &Value) -> Value {
        let body = body.to_string();
        let body = if body == "null" { "" } else { &body };
        let answer = self.ask(&format!("$JS.API.{what}"), "", body.as_bytes());
        serde_json::from_slice(&answer.expect("the API answers").body).unwrap()
    }

    /// Reads no more, or again. What the operating system takes for it is not its doing.
    pub(crate) fn stalls(&self, does: bool) {
        self.shared.change(|state| state.is_stalled = does);
    }

    /// Whether it has ended, within this time.
    pub(crate) fn ends(&self, time: Duration) -> bool {
        let ended = self.wait(time, |state| state.has_ended.then_some(()));
        ended.is_some() || self.shared.lock().has_ended
    }

    /// What the server has complained of.
    pub(crate) fn complained(&self, of: &str) -> bool {
        let has = |state: &mut State| state.errors.iter().any(|error| error.contains(of));
        self.wait(PATIENCE, |state| has(state).then_some(())).is_some()
            || has(&mut self.shared.lock())
    }

    pub(crate) fn close(self) {}
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.stalls(false);
    }
}

fn read(stream: TcpStream, into: &Shared) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    // Small, so that one that has ceased to read has read little ahead.
    let mut stream = BufReader::with_capacity(4096, stream);
    loop {
        {
            let mut state = into.lock();
            while state.is_stalled {
                state = into.1.wait(state).unwrap();
            }
        }
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => answers.write_all(b"PONG\r\n")?,
            ["PONG"] => into.change(|state| state.pongs += 1),
            ["-ERR", ..] => into.change(|state| state.errors.push(line.clone())),
            ["MSG" | "HMSG", subject, _, ref rest @ ..] => {
                let came = body(&mut stream, words[0] == "HMSG", subject, rest)?;
                into.change(|state| state.came.push_back(came));
            }
            _ => {}
        }
    }
}

fn body(
    stream: &mut BufReader<TcpStream>,
    has_headers: bool,
    subject: &str,
    rest: &[&str],
) -> std::io::Result<Came> {
    let sizes = if has_headers { 2 } else { 1 };
    let (reply, sizes) = rest.split_at(rest.len() - sizes);
    let size = |at: usize| sizes[at].parse::<usize>().unwrap();
    let mut bytes = vec![0; size(sizes.len() - 1) + 2];
    stream.read_exact(&mut bytes)?;
    bytes.truncate(bytes.len() - 2);
    let headers = if has_headers { bytes.drain(..size(0)).collect() } else { Vec::new() };
    let headers = String::from_utf8(headers).unwrap();
    let status = headers.lines().next().and_then(|line| line.split_whitespace().nth(1));
    Ok(Came {
        subject: subject.to_owned(),
        reply: reply.first().copied().unwrap_or_default().to_owned(),
        status: status.unwrap_or_default().to_owned(),
        body: bytes,
    })
}
