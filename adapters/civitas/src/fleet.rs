//! What is known of foreign processes and of the agents that they host: a pure machine.
//!
//! A civitas process answers one health probe for all of its agents. From announcements, answers
//! and silence this machine says, once each, that an agent is *there* (a life of it that nobody has
//! used yet), has *crashed*, or is *lost* with its process. A life has a number that only grows, so
//! that whatever is said of an earlier one is known to be stale: civitas counts one crash as five
//! because its events have none (Z15).
//!
//! Which process has a name is decided by the age of the processes, not by the order of arrival:
//! a health channel carries the UUIDv7 of its process, which begins with the time of its start. So
//! a replacement takes over whether or not its predecessor said goodbye (Z34, Z34b), and an
//! announcement of the predecessor that comes late changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Detection, DetectorConfig, DetectorError, FailureDetector, Health, Instant};

/// How foreign processes are watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FleetConfig {
    /// From one probe of a process to the next (civitas: 5 s). Not zero.
    pub interval: Duration,
    /// How long an answer may take (civitas: 2 s). Not zero.
    pub timeout: Duration,
    /// After how many misses in a row a process is lost (civitas: 3). Not zero.
    pub threshold: u32,
    /// Processes that are remembered; announcements of further ones are refused.
    pub processes: usize,
    /// Agents that are remembered; announcements of further ones are refused.
    pub agents: usize,
    /// How long a lost process is asked on before it and its agents are forgotten.
    pub forget_after: Duration,
}

impl Default for FleetConfig {
    /// civitas' defaults; 1024 processes, 65,536 agents; lost ones are forgotten after ten minutes.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            threshold: 3,
            processes: 1 << 10,
            agents: 1 << 16,
            forget_after: Duration::from_secs(600),
        }
    }
}

impl FleetConfig {
    const fn detector(&self) -> DetectorConfig {
        let Self { interval, timeout, threshold, .. } = *self;
        DetectorConfig::Heartbeat { interval, timeout, threshold }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`DetectorError`], which says what does not.
    pub fn check(&self) -> Result<(), DetectorError> {
        FailureDetector::new(self.detector(), Instant::ZERO, 0).map(|_| ())
    }
}

/// An agent says that it is there, or its process does so for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Announcement {
    /// Its name, which is its address.
    pub name: Arc<str>,
    /// Where its process answers health probes; an agent without is asked itself.
    pub channel: Option<Arc<str>>,
    /// Greater is newer, among announcements without a channel.
    pub epoch: u64,
    /// What it can do.
    pub capabilities: Vec<String>,
}

/// How an agent is doing, as its process says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pulse {
    /// It takes messages, or will when it has started, or is suspended.
    Lives,
    /// Its task has ended, or it says so itself.
    Dead,
}

/// Why an announcement was not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refused {
    /// A newer process has the name (X5).
    Older,
    /// As many processes or agents as may be are known.
    TooMany,
}

/// What must be done or told, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// Ask this process how its agents are; the number comes back with its answer.
    Probe {
        /// The health channel, or the agent itself.
        address: Arc<str>,
        /// Whether it is an agent.
        is_agent: bool,
        /// Which question.
        number: u64,
    },
    /// An agent is there with a life that nobody has used yet.
    Alive {
        /// Which.
        name: Arc<str>,
        /// Its life.
        life: u64,
    },
    /// A life has ended.
    Ended {
        /// Which.
        name: Arc<str>,
        /// Its life.
        life: u64,
        /// How.
        end: End,
    },
}

/// How a life ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// Its process says that it is dead.
    Crashed,
    /// Its process does not answer any more.
    Lost,
    /// It was withdrawn.
    Withdrawn,
    /// Another process has the name now.
    Replaced,
    /// We asked its process to start it anew.
    Restarted,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Process {
    is_agent: bool,
    detector: FailureDetector,
    /// The last question. Answers to others are stale.
    asked: u64,
    answered: u64,
    hosts: BTreeSet<Arc<str>>,
    lost_since: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Member {
    /// The health channel of its process, or its own name.
    home: Arc<str>,
    epoch: u64,
    capabilities: Vec<String>,
    /// The last life; it is over if `!lives`.
    life: u64,
    lives: bool,
    /// It was told to start anew: only answers to questions from this one on count.
    restarted_at: Option<u64>,
    /// Somebody has said goodbye for it: when it is withdrawn unless its process answers this
    /// question before.
    farewell: Option<(Instant, u64)>,
}

/// All foreign processes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fleet {
    config: FleetConfig,
    processes: BTreeMap<Arc<str>, Process>,
    members: BTreeMap<Arc<str>, Member>,
    /// The last life given to anybody: a name that comes again has a greater one.
    lives: u64,
    questions: u64,
    refused: u64,
}

impl Fleet {
    /// Nobody is known.
    ///
    /// # Errors
    /// [`DetectorError`] if the configuration makes no sense.
    pub fn new(config: FleetConfig) -> Result<Self, DetectorError> {
        config.check()?;
        Ok(Self {
            config,
            processes: BTreeMap::new(),
            members: BTreeMap::new(),
            lives: 0,
            questions: 0,
            refused: 0,
        })
    }

    /// The names that are known, and whether each is alive.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, bool)> {
        self.members.iter().map(|(name, member)| (name, member.lives))
    }

    /// What an agent can do.
    #[must_use]
    pub fn capabilities(&self, name: &str) -> &[String] {
        self.members.get(name).map_or(&[], |member| &member.capabilities)
    }

    /// The life that an agent has at present.
    #[must_use]
    pub fn life(&self, name: &str) -> Option<u64> {
        self.members.get(name).filter(|member| member.lives).map(|member| member.life)
    }

    /// Whether an agent's process can be told to start it anew: it has a health channel.
    #[must_use]
    pub fn can_restart(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| {
            self.processes.get(&member.home).is_some_and(|process| !process.is_agent)
        })
    }

    /// Announcements that were refused, since the start.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// An agent has been announced. Repeated announcements of a living one change nothing but its
    /// capabilities.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn announced(
        &mut self,
        now: Instant,
        heard: Announcement,
        told: &mut Vec<Told>,
    ) -> Result<(), Refused> {
        let taken = self.take(now, heard, told);
        if taken.is_err() {
            self.refused = self.refused.saturating_add(1);
        }
        taken
    }

    fn take(
        &mut self,
        now: Instant,
        heard: Announcement,
        told: &mut Vec<Told>,
    ) -> Result<(), Refused> {
        let Announcement { name, channel, epoch, capabilities } = heard;
        let is_agent = channel.is_none();
        let home = channel.unwrap_or_else(|| Arc::clone(&name));
        if let Some(member) = self.members.get_mut(&name) {
            let is_same = member.home == home;
            let is_older = match (is_agent, is_same) {
                // By the age of the process.
                (false, false) => !is_newer_home(&home, &member.home) && member.lives,
                (true, _) => epoch < member.epoch,
                (false, true) => false,
            };
            if is_older {
                return Err(Refused::Older);
            }
            if is_same && epoch == member.epoch && member.lives {
                member.capabilities = capabilities;
                return Ok(());
            }
        } else if self.members.len() >= self.config.agents {
            return Err(Refused::TooMany);
        }
        if !self.processes.contains_key(&home) && self.processes.len() >= self.config.processes {
            return Err(Refused::TooMany);
        }
        self.end(&name, End::Replaced, told);
        if let Some(old) = self.members.remove(&name) {
            self.leave(&name, &old.home);
        }
        self.watch(now, &home, is_agent, told);
        if let Some(process) = self.processes.get_mut(&home) {
            process.hosts.insert(Arc::clone(&name));
        }
        self.lives += 1;
        let life = self.lives;
        self.members.insert(
            Arc::clone(&name),
            Member {
                home,
                epoch,
                capabilities,
                life,
                lives: true,
                restarted_at: None,
                farewell: None,
            },
        );
        told.push(Told::Alive { name, life });
        Ok(())
    }

    /// Somebody has said goodbye for an agent. A worker's goodbye does not say of which process it
    /// is, and that of a predecessor comes after the announcement of its replacement: so whoever
    /// has the name is asked, and the name stays if the answer in time is that the agent lives.
    pub fn withdrawn(&mut self, now: Instant, name: &str, epoch: u64, told: &mut Vec<Told>) {
        let Some(member) = self.members.get(name).filter(|member| epoch >= member.epoch) else {
            return;
        };
        let home = Arc::clone(&member.home);
        if self.processes.get(&home).is_none_or(|process| process.is_agent) {
            return self.withdraw(name, told);
        }
        let until = now.saturating_add(self.config.timeout);
        let next = self.questions + 1;
        if let Some(member) = self.members.get_mut(name) {
            member.farewell.get_or_insert((until, next));
        }
        self.ask(&home, told);
    }

    fn withdraw(&mut self, name: &str, told: &mut Vec<Told>) {
        self.end(name, End::Withdrawn, told);
        if let Some(member) = self.members.remove(name) {
            self.leave(name, &member.home);
        }
    }

    /// An agent is to be started anew by its process; says whether that can be asked of it. The
    /// present life is over with it. [`Fleet::ordered`] follows when the order is on its way.
    pub fn restart(&mut self, name: &str, told: &mut Vec<Told>) -> bool {
        if !self.can_restart(name) {
            return false;
        }
        self.end(name, End::Restarted, told);
        if let Some(member) = self.members.get_mut(name) {
            member.restarted_at = Some(u64::MAX);
        }
        true
    }

    /// The order to start an agent anew is on its way: its next life begins with the first answer
    /// to a question asked from now on that says that it lives.
    pub fn ordered(&mut self, name: &str, told: &mut Vec<Told>) {
        let next = self.questions + 1;
        let Some(member) = self.members.get_mut(name) else { return };
        if member.restarted_at.is_some() {
            member.restarted_at = Some(next);
            let home = Arc::clone(&member.home);
            self.ask(&home, told);
        }
    }

    /// A process has answered a question. Each agent of it that is not named is dead.
    pub fn answered(
        &mut self,
        now: Instant,
        address: &str,
        number: u64,
        pulses: &BTreeMap<Arc<str>, Pulse>,
        told: &mut Vec<Told>,
    ) {
        let Some(process) = self.processes.get_mut(address) else { return };
        if number > process.asked || number <= process.answered {
            return;
        }
        process.answered = number;
        if process.detector.health() == Health::Down {
            // It was lost, and is back: its agents have what they had, but nobody relies on it.
            process.detector.reset(now, 0);
        }
        process.detector.heartbeat(now, 0);
        process.lost_since = None;
        let here: Vec<Arc<str>> = self.at(address);
        for name in here {
            let pulse = pulses.get(&name).copied().unwrap_or(Pulse::Dead);
            self.pulse(&name, number, pulse, told);
        }
    }

    fn pulse(&mut self, name: &Arc<str>, number: u64, pulse: Pulse, told: &mut Vec<Told>) {
        let Some(member) = self.members.get_mut(name) else { return };
        if let Some((_, first)) = member.farewell
            && number >= first
        {
            member.farewell = None;
            if pulse == Pulse::Dead {
                return self.withdraw(name, told);
            }
        }
        if member.restarted_at.is_some_and(|first| number < first) {
            return;
        }
        match (pulse, member.lives) {
            (Pulse::Dead, true) => self.end(name, End::Crashed, told),
            // A crash is followed by our order to start anew, or by nothing.
            (Pulse::Lives, false) if member.restarted_at.is_some() => self.begin(name, told),
            (Pulse::Dead, false) | (Pulse::Lives, _) => {}
        }
    }

    fn begin(&mut self, name: &Arc<str>, told: &mut Vec<Told>) {
        self.lives += 1;
        let life = self.lives;
        let Some(member) = self.members.get_mut(name) else { return };
        member.life = life;
        member.lives = true;
        member.restarted_at = None;
        told.push(Told::Alive { name: Arc::clone(name), life });
    }

    /// When to call [`Fleet::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probes = self.processes.values().filter_map(|process| process.detector.poll_timeout());
        let farewells = self.members.values().filter_map(|member| Some(member.farewell?.0));
        probes.chain(farewells).min()
    }

    /// Asks whom it is time to ask, and gives up who has not answered. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant, told: &mut Vec<Told>) {
        let due: Vec<Arc<str>> = self
            .processes
            .iter()
            .filter(|(_, process)| process.detector.poll_timeout().is_some_and(|at| at <= now))
            .map(|(home, _)| Arc::clone(home))
            .collect();
        let gone = self
            .members
            .iter()
            .filter(|(_, member)| member.farewell.is_some_and(|(until, _)| until <= now));
        for name in gone.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>() {
            self.withdraw(&name, told);
        }
        let mut found = Vec::new();
        for home in due {
            let Some(process) = self.processes.get_mut(&home) else { continue };
            process.detector.handle_timeout(now, &mut found);
            for detection in found.drain(..) {
                match detection {
                    Detection::Probe => self.ask(&home, told),
                    Detection::Suspect => {}
                    Detection::Down => self.lost(now, &home, told),
                }
            }
        }
    }

    /// The way to all of them is gone and back: who does not answer soon is lost as ever, but what
    /// was asked meanwhile is asked anew.
    pub fn reconnected(&mut self, told: &mut Vec<Told>) {
        for home in self.processes.keys().cloned().collect::<Vec<_>>() {
            self.ask(&home, told);
        }
    }

    fn lost(&mut self, now: Instant, home: &Arc<str>, told: &mut Vec<Told>) {
        for name in self.at(home) {
            self.end(&name, End::Lost, told);
        }
        // It is asked on: if it comes back, its agents are started anew before anybody uses them.
        let Some(process) = self.processes.get_mut(home) else { return };
        let since = *process.lost_since.get_or_insert(now);
        process.detector.reset(now, 0);
        if now.saturating_since(since) >= self.config.forget_after {
            for name in self.at(home) {
                self.members.remove(&name);
            }
            self.processes.remove(home);
        }
    }

    fn at(&self, home: &str) -> Vec<Arc<str>> {
        self.processes
            .get(home)
            .map_or_else(Vec::new, |process| process.hosts.iter().map(Arc::clone).collect())
    }

    fn ask(&mut self, home: &Arc<str>, told: &mut Vec<Told>) {
        let Some(process) = self.processes.get_mut(home) else { return };
        self.questions += 1;
        process.asked = self.questions;
        told.push(Told::Probe {
            address: Arc::clone(home),
            is_agent: process.is_agent,
            number: self.questions,
        });
    }

    fn watch(&mut self, now: Instant, home: &Arc<str>, is_agent: bool, told: &mut Vec<Told>) {
        if self.processes.contains_key(home) {
            return;
        }
        // It was checked when the fleet was made.
        let Ok(detector) = FailureDetector::new(self.config.detector(), now, 0) else { return };
        let (hosts, lost_since) = (BTreeSet::new(), None);
        let process = Process { is_agent, detector, asked: 0, answered: 0, hosts, lost_since };
        self.processes.insert(Arc::clone(home), process);
        self.ask(home, told);
    }

    /// A process that hosts nobody any more is forgotten.
    fn leave(&mut self, name: &str, home: &Arc<str>) {
        let Some(process) = self.processes.get_mut(home) else { return };
        process.hosts.remove(name);
        if process.hosts.is_empty() {
            self.processes.remove(home);
        }
    }

    fn end(&mut self, name: &str, end: End, told: &mut Vec<Told>) {
        let Some((name, member)) = self.members.get_key_value(name) else { return };
        if !member.lives {
            return;
        }
        let (name, life) = (Arc::clone(name), member.life);
        if let Some(member) = self.members.get_mut(&name) {
            member.lives = false;
        }
        told.push(Told::Ended { name, life, end });
    }
}

/// Whether a process is newer than another, by the times in their channels; one that has none is
/// taken as it comes.
fn is_newer_home(new: &str, old: &str) -> bool {
    match (process_id(new), process_id(old)) {
        (Some(new), Some(old)) => new > old,
        (_, None) | (None, _) => true,
    }
}

/// The UUID in `_agency.worker.<uuid>.health`.
fn process_id(channel: &str) -> Option<&str> {
    let id = channel.strip_prefix("_agency.worker.")?.strip_suffix(".health")?;
    (id.len() == 36 && id.is_ascii()).then_some(id)
}

#[cfg(test)]
#[path = "fleet/tests.rs"]
mod tests;
