//! Clients of [`Broker`] on the stage, whatever they are: ours on sockets or in turmoil, or libzmq's.
//!
//! Readiness is shown by messages: who subscribes is sent marks by every publisher until one of each
//! has come, so no case begins before its subscription is where it must be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lictor_runtime::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor_runtime::transport::{Frame, SendError};
use lictor_sim::broker::Medium;

use crate::suite::{Going, Needs, PATIENCE, Said, Stage, Who};

const SUBJECT: &str = "promise.subject";

/// The number of a mark.
const MARK: u32 = u32::MAX;

/// Between two looks, and two marks.
const STEP: Duration = Duration::from_millis(2);

/// Long enough for what should not come to have come.
const QUIET: Duration = Duration::from_millis(400);

/// Where clients and their broker are.
pub(crate) trait World {
    fn medium(&self) -> Medium;
    fn can_stall(&self) -> bool;
    /// A client that begins to connect.
    fn starts(&mut self, who: Who, inbox: BrokerInbox) -> Arc<dyn Broker>;
    fn stops(&mut self, who: Who, how: Going);
    fn stalls(&mut self, who: Who, does: bool);
    fn passes(&mut self, time: Duration);
    fn restarts(&mut self);
    fn largest(&self) -> usize;
    fn flood(&self) -> (u32, usize);
}

#[derive(Default)]
struct Heard {
    numbers: VecDeque<u32>,
    /// Whose marks have come.
    marks: BTreeSet<u8>,
    is_ready: bool,
    is_lost: bool,
}

struct End {
    broker: Arc<dyn Broker>,
    heard: Arc<Mutex<Heard>>,
}

impl End {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

/// A world on the stage.
pub(crate) struct Clients<W> {
    world: W,
    ends: BTreeMap<Who, End>,
}

fn frame(number: u32, from: Who, size: usize) -> Frame {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.push(from as u8);
    bytes.resize(size.max(5), b'.');
    Frame::new(bytes)
}

impl<W: World> Clients<W> {
    pub(crate) const fn new(world: W) -> Self {
        Self { world, ends: BTreeMap::new() }
    }

    /// Lets time pass until it is so; whether it was in time.
    fn until(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
        let steps = PATIENCE.as_millis() / STEP.as_millis();
        for _ in 0..steps {
            if is_so(self) {
                return true;
            }
            self.world.passes(STEP);
        }
        is_so(self)
    }

    fn says(&mut self, from: Who, number: u32, size: usize) -> Said {
        let (broker, frame) = (Arc::clone(&self.ends[&from].broker), frame(number, from, size));
        let mut said = Ok(());
        let sent = self.until(|_| {
            said = broker.publish(SUBJECT, frame.clone());
            // It may have more to do than room for it: that is not the broker's.
            said != Err(SendError::Full)
        });
        assert!(sent, "a queue that never moves");
        match said {
            Ok(()) => Said::Nothing,
            Err(SendError::TooLarge) => Said::TooLarge,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn inbox(heard: &Arc<Mutex<Heard>>) -> BrokerInbox {
    let heard = Arc::clone(heard);
    BrokerInbox::new(move |event| {
        let mut heard = heard.lock().unwrap();
        match event {
            BrokerEvent::Ready => heard.is_ready = true,
            // Before it is ready for the first time it was not connected.
            BrokerEvent::Lost(_) => heard.is_lost |= heard.is_ready,
            BrokerEvent::Message { frame, .. } => {
                let (number, rest) = frame.as_bytes().split_first_chunk().unwrap();
                match u32::from_be_bytes(*number) {
                    MARK => drop(heard.marks.insert(rest[0])),
                    number => heard.numbers.push_back(number),
                }
            }
            BrokerEvent::Dropped(_) => {}
        }
        true
    })
}

impl<W: World> Stage for Clients<W> {
    fn medium(&self) -> Medium {
        self.world.medium()
    }

    fn can(&self, what: Needs) -> bool {
        match what {
            Needs::Nothing => true,
            Needs::Stall => self.world.can_stall(),
            // Questions are matched by runtimes, and what is too large is refused before it leaves.
            Needs::Request | Needs::Oversize => false,
        }
    }

    fn connects(&mut self, who: Who) {
        if self.ends.remove(&who).is_some() {
            self.world.stops(who, Going::Leaves);
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let broker = self.world.starts(who, inbox(&heard));
        self.ends.insert(who, End { broker, heard });
        assert!(self.until(|stage| stage.ends[&who].heard().is_ready), "{who:?} connects");
    }

    fn goes(&mut self, who: Who, how: Going) {
        self.ends.remove(&who).expect("it is connected");
        self.world.stops(who, how);
        self.world.passes(QUIET);
    }

    fn subscribes(&mut self, who: Who) {
        self.ends[&who].heard().marks.clear();
        self.ends[&who].broker.subscribe(Subscription::address(SUBJECT)).unwrap();
        let others: Vec<Who> = self.ends.keys().copied().filter(|other| *other != who).collect();
        let marked = self.until(|stage| {
            let missing: Vec<Who> = {
                let heard = stage.ends[&who].heard();
                let is_missing = |other: &Who| !heard.marks.contains(&(*other as u8));
                others.iter().copied().filter(is_missing).collect()
            };
            for other in &missing {
                stage.says(*other, MARK, 20);
            }
            missing.is_empty()
        });
        assert!(marked, "{who:?} is heard by everybody");
    }

    fn publishes(&mut self, from: Who, number: u32, size: usize) -> Said {
        self.says(from, number, size)
    }

    fn asks(&mut self, _: Who, _: u32) -> Said {
        unreachable!("it cannot")
    }

    fn hears(&mut self, who: Who, least: usize) -> Vec<u32> {
        self.until(|stage| stage.ends[&who].heard().numbers.len() >= least);
        self.ends[&who].heard().numbers.drain(..).collect()
    }

    fn quiet(&mut self, who: Who) -> Vec<u32> {
        loop {
            let before = self.ends[&who].heard().numbers.len();
            self.world.passes(QUIET);
            if self.ends[&who].heard().numbers.len() == before {
                return self.ends[&who].heard().numbers.drain(..).collect();
            }
        }
    }

    fn stalls(&mut self, who: Who, does: bool) {
        self.world.stalls(who, does);
    }

    fn is_connected(&mut self, who: Who, expected: bool) -> bool {
        if !expected {
            self.until(|stage| stage.ends[&who].heard().is_lost);
        }
        !self.ends[&who].heard().is_lost
    }

    fn restarts(&mut self) {
        self.world.restarts();
    }

    fn largest(&self) -> usize {
        self.world.largest()
    }

    fn flood(&self) -> (u32, usize) {
        self.world.flood()
    }
}
