//! The fleet at small scope, and over random histories.

use proptest::prelude::*;

use super::*;

const CONFIG: FleetConfig = FleetConfig {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    threshold: 3,
    processes: 4,
    agents: 4,
    forget_after: Duration::from_secs(600),
};

fn at(seconds: u64) -> Instant {
    Instant::ZERO.saturating_add(Duration::from_secs(seconds))
}

/// The channel of a process that was started at this time.
fn channel(started: u8) -> Arc<str> {
    format!("_agency.worker.018bcfe5-68{started:02x}-7000-8000-000000000001.health").into()
}

fn announce(name: &str, started: u8) -> Announcement {
    Announcement {
        name: name.into(),
        channel: Some(channel(started)),
        epoch: 0,
        capabilities: Vec::new(),
    }
}

struct Play {
    fleet: Fleet,
    told: Vec<Told>,
}

impl Play {
    fn new() -> Self {
        Self { fleet: Fleet::new(CONFIG).unwrap(), told: Vec::new() }
    }

    fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn announce(&mut self, seconds: u64, name: &str, started: u8) -> Result<(), Refused> {
        self.fleet.announced(at(seconds), announce(name, started), &mut self.told)
    }

    /// The last question to a process.
    fn answer(&mut self, seconds: u64, started: u8, pulses: &[(&str, Pulse)]) {
        let number = self.fleet.processes.get(&channel(started)).map_or(0, |it| it.asked);
        self.answer_to(seconds, started, number, pulses);
    }

    fn answer_to(&mut self, seconds: u64, started: u8, number: u64, pulses: &[(&str, Pulse)]) {
        let pulses = pulses.iter().map(|(name, pulse)| (Arc::from(*name), *pulse)).collect();
        let address = channel(started);
        self.fleet.answered(at(seconds), &address, number, &pulses, &mut self.told);
    }

    /// Lets time pass; nobody answers.
    fn silence(&mut self, until: u64) {
        while let Some(due) = self.fleet.poll_timeout().filter(|due| *due <= at(until)) {
            self.fleet.handle_timeout(due, &mut self.told);
        }
    }

    fn restart(&mut self, name: &str) -> bool {
        let may = self.fleet.restart(name, &mut self.told);
        self.fleet.ordered(name, &mut self.told);
        may
    }

    fn lives(&mut self) -> Vec<Told> {
        let mut told = self.told();
        told.retain(|told| !matches!(told, Told::Probe { .. }));
        told
    }
}

fn alive(name: &str, life: u64) -> Told {
    Told::Alive { name: name.into(), life }
}

fn ended(name: &str, life: u64, end: End) -> Told {
    Told::Ended { name: name.into(), life, end }
}

#[test]
fn an_announced_agent_is_there_and_its_process_is_asked() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    let asked = Told::Probe { address: channel(1), is_agent: false, number: 1 };
    assert_eq!(play.told(), [asked, alive("w", 1)]);
    play.announce(1, "w", 1).unwrap();
    assert_eq!(play.told(), [], "announced again");
    assert_eq!(play.fleet.life("w"), Some(1));
}

// Defect: Z15
#[test]
fn one_crash_is_told_once_and_the_next_life_begins_with_a_later_answer() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.answer(0, 1, &[("w", Pulse::Lives)]);
    assert_eq!(play.lives(), [alive("w", 1)]);
    for second in 1..5 {
        play.silence(5 * second);
        play.answer(5 * second, 1, &[("w", Pulse::Dead)]);
    }
    assert_eq!(play.lives(), [ended("w", 1, End::Crashed)]);
    let before = play.fleet.processes[&channel(1)].asked;
    assert!(play.restart("w"));
    play.answer_to(21, 1, before, &[("w", Pulse::Lives)]);
    assert_eq!(play.lives(), [], "it was asked before the order");
    play.answer(22, 1, &[("w", Pulse::Lives)]);
    assert_eq!(play.lives(), [alive("w", 2)]);
    play.answer_to(23, 1, before, &[("w", Pulse::Dead)]);
    assert_eq!(play.lives(), [], "an answer that comes late");
}

// Defect: Z34
#[test]
fn a_rolling_restart_needs_no_epoch() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.fleet.withdrawn(at(0), "w", 0, &mut play.told);
    play.silence(1);
    assert_eq!(play.lives(), [alive("w", 1)], "its process may yet say that it lives");
    play.silence(2);
    assert_eq!(play.lives(), [ended("w", 1, End::Withdrawn)]);
    assert_eq!(play.fleet.poll_timeout(), None, "nobody is asked");
    play.announce(3, "w", 2).unwrap();
    assert_eq!(play.lives(), [alive("w", 2)]);
    play.fleet.withdrawn(at(3), "w", 0, &mut play.told);
    play.answer(4, 2, &[("w", Pulse::Dead)]);
    assert_eq!(play.lives(), [ended("w", 2, End::Withdrawn)]);
}

// Defect: Z34
#[test]
fn the_goodbye_of_a_predecessor_does_not_take_the_name_from_its_replacement() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.announce(1, "w", 2).unwrap();
    play.lives();
    play.fleet.withdrawn(at(1), "w", 0, &mut play.told);
    play.answer(2, 2, &[("w", Pulse::Lives)]);
    play.silence(4);
    assert_eq!(play.lives(), []);
    assert_eq!(play.fleet.life("w"), Some(2));
}

// Defect: Z34b
#[test]
fn a_replacement_takes_over_and_the_old_process_is_not_asked_for_it() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.announce(1, "w", 2).unwrap();
    assert_eq!(play.lives(), [alive("w", 1), ended("w", 1, End::Replaced), alive("w", 2)]);
    assert_eq!(play.announce(2, "w", 1), Err(Refused::Older), "X5: what is newer has the name");
    assert_eq!(play.fleet.refused(), 1);
    play.answer(2, 2, &[("w", Pulse::Lives)]);
    play.silence(6);
    let asked: Vec<_> = play.told();
    assert!(
        asked
            .iter()
            .all(|told| matches!(told, Told::Probe { address, .. } if *address == channel(2))),
        "{asked:?}"
    );
}

#[test]
fn a_process_that_is_silent_is_lost_and_forgotten_at_last() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.announce(0, "v", 1).unwrap();
    play.answer(0, 1, &[("w", Pulse::Lives), ("v", Pulse::Lives)]);
    assert_eq!(play.lives(), [alive("w", 1), alive("v", 2)]);
    play.silence(60);
    assert_eq!(play.lives(), [ended("v", 2, End::Lost), ended("w", 1, End::Lost)]);
    // It is back: what it has is not relied on until it was started anew.
    play.answer(61, 1, &[("w", Pulse::Lives), ("v", Pulse::Lives)]);
    assert_eq!(play.lives(), []);
    assert!(play.restart("w"));
    play.answer(62, 1, &[("w", Pulse::Lives), ("v", Pulse::Lives)]);
    assert_eq!(play.lives(), [alive("w", 3)]);
    play.silence(1000);
    assert_eq!(play.lives(), [ended("w", 3, End::Lost)]);
    assert_eq!((play.fleet.names().count(), play.fleet.poll_timeout()), (0, None), "X4");
}

#[test]
fn an_agent_that_its_process_does_not_name_any_more_is_dead() {
    let mut play = Play::new();
    play.announce(0, "w", 1).unwrap();
    play.answer(0, 1, &[]);
    assert_eq!(play.lives(), [alive("w", 1), ended("w", 1, End::Crashed)]);
}

#[test]
fn the_tables_are_bounded() {
    let mut play = Play::new();
    for name in ["a", "b", "c", "d"] {
        play.announce(0, name, 1).unwrap();
    }
    assert_eq!(play.announce(0, "e", 1), Err(Refused::TooMany));
    let zero = FleetConfig { threshold: 0, ..CONFIG };
    assert_eq!(Fleet::new(zero), Err(DetectorError::Threshold));
}

#[derive(Clone, Debug)]
enum Step {
    Announce(u8, u8, bool),
    Withdraw(u8, u64),
    Restart(u8),
    Answer(u8, u64, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, 1..4_u8, any::<bool>()).prop_map(|(n, p, c)| Step::Announce(n, p, c)),
        (0..3_u8, 0..2_u64).prop_map(|(n, e)| Step::Withdraw(n, e)),
        (0..3_u8).prop_map(Step::Restart),
        (0..4_u8, 0..40_u64, any::<u8>()).prop_map(|(p, n, pulses)| Step::Answer(p, n, pulses)),
        (0..30_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever is heard: lives of a name only grow, each begins once and ends once at most, and
    /// none begins before the last one has ended.
    #[test]
    fn lives_begin_and_end_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut play = Play::new();
        let mut now = 0;
        let name = |n: u8| ["a", "b", "c"][usize::from(n)];
        for step in steps {
            match step {
                Step::Announce(n, p, has_channel) => {
                    let mut heard = announce(name(n), p);
                    if !has_channel {
                        heard.channel = None;
                    }
                    let _ = play.fleet.announced(at(now), heard, &mut play.told);
                }
                Step::Withdraw(n, epoch) => {
                    play.fleet.withdrawn(at(now), name(n), epoch, &mut play.told);
                }
                Step::Restart(n) => {
                    play.restart(name(n));
                }
                Step::Answer(p, number, pulses) => {
                    let bit = |bit: u8| pulses >> bit & 1 == 0;
                    let pulse = |n: u8| if bit(n) { Pulse::Dead } else { Pulse::Lives };
                    let named = (0..3).filter(|n| bit(n + 3));
                    let all: Vec<_> = named.map(|n| (name(n), pulse(n))).collect();
                    play.answer_to(now, p, number, &all);
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    play.silence(now);
                }
            }
        }
        let mut present: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut last = 0;
        for told in play.lives() {
            match told {
                Told::Alive { name, life } => {
                    prop_assert!(life > last, "lives grow");
                    last = life;
                    prop_assert_eq!(present.insert(name, life), None);
                }
                Told::Ended { name, life, .. } => {
                    prop_assert_eq!(present.remove(&name), Some(life));
                }
                Told::Probe { .. } => unreachable!("lives only"),
            }
        }
        for (name, lives) in play.fleet.names() {
            prop_assert_eq!(present.contains_key(name), lives);
        }
    }
}
