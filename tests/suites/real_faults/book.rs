//! What processes did, as they wrote it down themselves, and judgments of it.
//!
//! Every process has a file to which each line is one `write`, so what it has said survives a
//! `kill -9`. All run on one machine, so the times of all files are by one clock.
#![allow(dead_code, reason = "not every test does everything with it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file of one process.
pub(crate) struct Book(Mutex<File>);

pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

impl Book {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(format!("{}.book", std::process::id()));
        Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    /// `number` is what `what` says: which message, how many.
    pub(crate) fn write(&self, what: &str, name: &str, life: u64, number: u64) {
        let line = format!("{} {} {what} {name} {life} {number}\n", now(), std::process::id());
        // Nobody could be told, and the judge misses it.
        let _ = self.0.lock().unwrap().write_all(line.as_bytes());
    }
}

/// One line of a book.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: u64,
    pub(crate) pid: u32,
    pub(crate) what: String,
    pub(crate) name: String,
    pub(crate) life: u64,
    pub(crate) number: u64,
}

/// All lines of all processes, by time.
pub(crate) fn read(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "book") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        // What comes after the last end of line is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [at, pid, what, name, life, number] = fields.try_into().unwrap();
            lines.push(Line {
                at: at.parse().unwrap(),
                pid: pid.parse().unwrap(),
                what: what.to_owned(),
                name: name.to_owned(),
                life: life.parse().unwrap(),
                number: number.parse().unwrap(),
            });
        }
    }
    lines.sort_by_key(|line| line.at);
    lines
}

/// One incarnation of an agent in one process.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) pid: u32,
    pub(crate) born: u64,
    /// The last thing that it did.
    pub(crate) last: u64,
    /// When its value was dropped; not at all in a process that was killed.
    pub(crate) gone: Option<u64>,
}

/// All incarnations of an agent, by birth.
pub(crate) fn lives(lines: &[Line], name: &str) -> Vec<Life> {
    let mut lives: BTreeMap<(u32, u64), Life> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.name == name) {
        let key = (line.pid, line.life);
        match line.what.as_str() {
            "born" => {
                let (pid, born) = (line.pid, line.at);
                lives.insert(key, Life { pid, born, last: born, gone: None });
            }
            "did" => lives.get_mut(&key).unwrap().last = line.at,
            "gone" => lives.get_mut(&key).unwrap().gone = Some(line.at),
            _ => {}
        }
    }
    let mut lives: Vec<Life> = lives.into_values().collect();
    lives.sort_by_key(|life| life.born);
    lives
}

/// No incarnation of an agent did anything after the next one was born. One that could act, which
/// is one whose process was not stopped in the middle, was gone by then.
pub(crate) fn assert_one_at_a_time(lines: &[Line], names: &[&str], stopped: &[u32]) {
    for name in names {
        let lives = lives(lines, name);
        assert!(!lives.is_empty(), "{name} has never lived");
        for pair in lives.windows(2) {
            let [one, next] = pair else { unreachable!() };
            assert!(one.last < next.born, "{name} did something too late: {one:?}, {next:?}");
            let acts = !stopped.contains(&one.pid);
            let gone = one.gone.is_none_or(|gone| gone < next.born);
            assert!(gone || !acts, "{name} was there twice: {one:?}, {next:?}");
        }
    }
}

/// How often each number was handled by an agent.
pub(crate) fn handled(lines: &[Line], name: &str) -> BTreeMap<u64, u64> {
    let mut numbers = BTreeMap::new();
    for line in lines.iter().filter(|line| line.what == "did" && line.name == name) {
        *numbers.entry(line.number).or_insert(0) += 1;
    }
    numbers
}

/// What became of messages that were sent at most once to one agent.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) handled: u64,
    /// Counted by its receiver: dead letters, refusals, and what did not come.
    pub(crate) counted: u64,
}

impl Account {
    /// Of the messages whose senders were told that they are sent. What the process `except` has
    /// counted does not count: it heard what was for another one.
    pub(crate) fn of(lines: &[Line], name: &str, sent: &BTreeSet<u64>, except: u32) -> Self {
        let handled = handled(lines, name);
        for (number, times) in &handled {
            assert_eq!(*times, 1, "{number} was handled again by {name}");
            assert!(sent.contains(number), "{number} was refused, and handled by {name}");
        }
        let dead = lines.iter().filter(|line| line.what == "dead" && line.name == name);
        let mut counted: u64 = dead.map(|line| line.number).sum();
        // Of a counter only the last word counts, for each process.
        let mut last = BTreeMap::new();
        for line in lines.iter().filter(|line| line.name == "-" && line.pid != except) {
            last.insert((line.pid, &line.what), line.number);
        }
        counted += last.values().sum::<u64>();
        Self { sent: sent.len() as u64, handled: handled.len() as u64, counted }
    }

    pub(crate) fn uncounted(&self) -> i64 {
        self.sent.cast_signed() - (self.handled + self.counted).cast_signed()
    }
}
