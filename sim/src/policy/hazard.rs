//! A crash model at work in one run.

use std::collections::VecDeque;

use core::time::Duration;

use lictor_kernel::Instant;

use super::STORM_BUCKET;
use super::draw::exponential;
use super::models::{CrashModel, Crashes, Fails};
use super::plan::Policy;
use crate::stream::{Purpose, Streams, mix};

/// Poison messages that wait for one child; more are dropped.
const MAX_WAITING: usize = 1_000;

/// Something that comes from outside at an instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Blow {
    /// The child crashes if it is up.
    Crash { child: usize },
    /// The recorded crash with this index.
    Recorded { index: usize },
    /// The dependency has gone, and the child has noticed.
    Notice { child: usize },
    /// A poison message for this child, the `n`-th.
    Poison { child: usize, n: u64 },
}

/// What a blow does to its child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hit {
    Nothing,
    /// It crashes now if it is up.
    Now(usize),
    /// It crashes then, if it is still the same incarnation.
    At(usize, Instant),
}

pub(super) struct Hazard<'m> {
    model: &'m CrashModel,
    streams: Streams,
    salt: u64,
    /// The children of the first supervisor, then those of the second, ...
    children: Vec<Victim>,
    /// How many children each supervisor has.
    each: usize,
    /// When the faults began; `None` before all children are up.
    origin: Option<Instant>,
    /// Until when the dependency is down.
    down_until: Instant,
    /// The current bucket of requests to it, and how many there were.
    requests: (u64, u32),
}

/// What the model knows of a child.
#[derive(Clone, Default)]
struct Victim {
    targeted: bool,
    up: bool,
    /// How many times it came up.
    ups: u64,
    /// Poison that waits: when it came and how many times it was delivered.
    poison: VecDeque<(Instant, u32)>,
    /// Whether it is working on poison.
    doomed: bool,
}

impl<'m> Hazard<'m> {
    pub(super) fn new(crashes: &'m Crashes, streams: Streams, policy: &Policy) -> Self {
        let model = &crashes.model;
        let salt = crashes.name.bytes().fold(1, |salt, byte| mix(salt ^ u64::from(byte)));
        let each = policy.children.len();
        let mut victims = vec![Victim::default(); policy.total_children()];
        let all = model.children().next().is_none();
        victims.iter_mut().for_each(|victim| victim.targeted = all);
        for child in model.children() {
            let same = victims.iter_mut().skip(child).step_by(each.max(1));
            same.for_each(|victim| victim.targeted = true);
        }
        let (origin, down_until, requests) = (None, Instant::ZERO, (0, 0));
        Self { model, streams, salt, children: victims, each, origin, down_until, requests }
    }

    /// The faults begin, with all children up. What comes from outside is pushed to `blows`.
    pub(super) fn begin(&mut self, now: Instant, blows: &mut Vec<(Instant, Blow)>) {
        self.origin = Some(now);
        let targets = (0..).zip(&self.children).filter(|(_, victim)| victim.targeted);
        let targets = targets.map(|(child, _)| child);
        match self.model {
            CrashModel::Mtbf { .. } => {}
            CrashModel::CrashLoop { at, .. } => {
                let at = now.saturating_add(*at);
                blows.extend(targets.map(|child| (at, Blow::Crash { child })));
            }
            CrashModel::Poison { every, .. } => {
                blows.extend(targets.map(|child| {
                    let wait = self.wait(*every, child, 0);
                    (now.saturating_add(wait), Blow::Poison { child, n: 0 })
                }));
            }
            CrashModel::Outage { at, lasts, notice, .. } => {
                let at = now.saturating_add(*at);
                self.down_until = at.saturating_add(*lasts);
                let notice = u64::try_from(notice.as_nanos()).unwrap_or(u64::MAX);
                blows.extend(targets.map(|child| {
                    let late = self.streams.between(Purpose::Policy, self.key(child), 0, 0, notice);
                    let at = at.saturating_add(Duration::from_nanos(late));
                    (at, Blow::Notice { child })
                }));
            }
            CrashModel::Recorded { crashes } => {
                let all = crashes.iter().enumerate();
                blows.extend(all.map(|(index, crash)| {
                    (now.saturating_add(crash.at), Blow::Recorded { index })
                }));
            }
        }
    }

    /// Something comes from outside; what comes after it is pushed to `blows`.
    pub(super) fn blow(
        &mut self,
        now: Instant,
        blow: Blow,
        blows: &mut Vec<(Instant, Blow)>,
    ) -> Hit {
        match (blow, self.model) {
            (Blow::Crash { child }, _) => Hit::Now(child),
            (Blow::Notice { child }, _) if self.is_down(now) => Hit::Now(child),
            (Blow::Notice { .. }, _) => Hit::Nothing,
            (Blow::Recorded { index }, CrashModel::Recorded { crashes }) => {
                // The draw is over all children; a child that is known leaves the supervisor to it.
                let n = u64::try_from(index).unwrap_or(u64::MAX);
                let count = u64::try_from(self.children.len()).unwrap_or(u64::MAX);
                let drawn = self.streams.below(Purpose::Policy, self.salt >> 8, n, count);
                let drawn = usize::try_from(drawn).unwrap_or(0);
                let child = crashes.get(index).and_then(|crash| crash.child);
                Hit::Now(child.map_or(drawn, |child| drawn - drawn % self.each + child))
            }
            (Blow::Poison { child, n }, CrashModel::Poison { every, .. }) => {
                let n = n.saturating_add(1);
                let at = now.saturating_add(self.wait(*every, child, n));
                blows.push((at, Blow::Poison { child, n }));
                let Some(victim) = self.children.get_mut(child) else { return Hit::Nothing };
                if victim.poison.len() < MAX_WAITING {
                    victim.poison.push_back((now, 0));
                }
                self.deliver(now, child).map_or(Hit::Nothing, |at| Hit::At(child, at))
            }
            (Blow::Recorded { .. } | Blow::Poison { .. }, _) => Hit::Nothing,
        }
    }

    /// A child is being started, which is a request to what it depends on.
    pub(super) fn starting(&mut self, now: Instant) {
        let CrashModel::Outage { capacity: Some(capacity), prolongs, .. } = self.model else {
            return;
        };
        let bucket = bucket_of(now.saturating_since(self.origin.unwrap_or(now)));
        if self.requests.0 != bucket {
            self.requests = (bucket, 0);
        }
        self.requests.1 = self.requests.1.saturating_add(1);
        if self.requests.1 > *capacity && self.is_down(now) {
            self.down_until = self.down_until.max(now.saturating_add(*prolongs));
        }
    }

    /// Whether a start that ends now succeeds.
    pub(super) fn can_start(&self, now: Instant, child: usize) -> bool {
        match self.model {
            CrashModel::CrashLoop { fails: Fails::AtStart, .. } => !self.is_bad(now, child),
            CrashModel::Outage { .. } => !self.is_down(now),
            CrashModel::CrashLoop { fails: Fails::After(_), .. }
            | CrashModel::Mtbf { .. }
            | CrashModel::Poison { .. }
            | CrashModel::Recorded { .. } => true,
        }
    }

    /// A child is up. When it will crash by itself, if ever.
    pub(super) fn up(&mut self, now: Instant, child: usize) -> Option<Instant> {
        let victim = self.children.get_mut(child)?;
        victim.up = true;
        victim.doomed = false;
        self.origin?;
        let n = victim.ups;
        victim.ups = n.saturating_add(1);
        let targeted = victim.targeted;
        match self.model {
            CrashModel::Mtbf { mean, .. } => {
                targeted.then(|| now.saturating_add(self.wait(*mean, child, n)))
            }
            CrashModel::CrashLoop { fails: Fails::After(after), .. } => {
                self.is_bad(now, child).then(|| now.saturating_add(*after))
            }
            CrashModel::Poison { .. } => self.deliver(now, child),
            CrashModel::CrashLoop { fails: Fails::AtStart, .. }
            | CrashModel::Outage { .. }
            | CrashModel::Recorded { .. } => None,
        }
    }

    /// A child is no longer up.
    pub(super) fn down(&mut self, child: usize) {
        if let Some(victim) = self.children.get_mut(child) {
            victim.up = false;
        }
    }

    /// How long the dependency was down, for a run that ends now.
    pub(super) fn outage(&self, now: Instant) -> Option<Duration> {
        let CrashModel::Outage { at, .. } = self.model else { return None };
        let began = self.origin?.saturating_add(*at);
        Some(self.down_until.min(now).saturating_since(began))
    }

    /// Hands a child its next poison message, if it is free for it and one is still good.
    fn deliver(&mut self, now: Instant, child: usize) -> Option<Instant> {
        let CrashModel::Poison { crash_after, deliveries, expires, .. } = self.model else {
            return None;
        };
        let victim = self.children.get_mut(child)?;
        if !victim.up || victim.doomed {
            return None;
        }
        while let Some((came, delivered)) = victim.poison.front_mut() {
            let skipped = deliveries.is_some_and(|most| *delivered >= most);
            let expired = expires.is_some_and(|age| now.saturating_since(*came) >= age);
            if skipped || expired {
                victim.poison.pop_front();
                continue;
            }
            *delivered = delivered.saturating_add(1);
            victim.doomed = true;
            return Some(now.saturating_add(*crash_after));
        }
        None
    }

    /// Whether what is started now is the broken version.
    fn is_bad(&self, now: Instant, child: usize) -> bool {
        let CrashModel::CrashLoop { at, fixed_after, .. } = self.model else { return false };
        let Some(origin) = self.origin else { return false };
        let from = origin.saturating_add(*at);
        let targeted = self.children.get(child).is_some_and(|victim| victim.targeted);
        targeted && now >= from && now < from.saturating_add(*fixed_after)
    }

    fn is_down(&self, now: Instant) -> bool {
        let CrashModel::Outage { at, .. } = self.model else { return false };
        let began = self.origin.map(|origin| origin.saturating_add(*at));
        began.is_some_and(|began| now >= began && now < self.down_until)
    }

    fn wait(&self, mean: Duration, child: usize, n: u64) -> Duration {
        exponential(mean, self.streams.draw(Purpose::Policy, self.key(child), n))
    }

    fn key(&self, child: usize) -> u64 {
        // The purpose has the upper eight bits.
        mix(self.salt ^ u64::try_from(child).unwrap_or(u64::MAX)) >> 8
    }
}

/// The number of the storm bucket that a time after the origin falls into.
pub(super) fn bucket_of(since: Duration) -> u64 {
    u64::try_from(since.as_nanos() / STORM_BUCKET.as_nanos()).unwrap_or(u64::MAX)
}
