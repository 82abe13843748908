//! A tree over three nodes under partitions, pauses, kills and new boots.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sim_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lictor::prelude::*;
use lictor::{AgentSpec, Message, RuntimeConfig, agent, messages, remote_agent};
use lictor_kernel::NodeId;
use lictor_sim::executor::{Config, Schedule};
use lictor_sim::sim::Wire;
use lictor_sim::{Failure, Sim, explore};
use serde_json::json;
use sim_support::Dice;

messages! {
    pub enum BeatMessage {
        Beat,
        Ping -> u64,
    }
}

/// By name, the newest incarnation that was made anywhere; and what was wrong.
#[derive(Default)]
struct Book {
    newest: BTreeMap<&'static str, u64>,
    broken: Option<String>,
    beats: u64,
    made: u64,
}

type Shared = Arc<Mutex<Book>>;

/// An agent that works all the time, whoever can be reached.
struct Beater {
    name: &'static str,
    number: u64,
    book: Shared,
}

impl Beater {
    /// Invariants: S9 (a name is one agent's), S10 (who is not the newest handles nothing)
    fn works(&self) {
        let mut book = self.book.lock().unwrap();
        book.beats += 1;
        let newest = book.newest[self.name];
        if newest != self.number {
            let name = self.name;
            let what = format!("{name}: {} works, and {newest} has been made", self.number);
            book.broken.get_or_insert(what);
        }
    }
}

impl Agent for Beater {
    type Message = BeatMessage;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        self.works();
        cx.send_after(ms(50), Beat);
        Ok(())
    }

    async fn handle(
        &mut self,
        message: BeatMessage,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        self.works();
        match message {
            BeatMessage::Beat(Beat) => drop(cx.send_after(ms(50), Beat)),
            BeatMessage::Ping(Ping, reply) => drop(reply.send(self.number)),
        }
        Ok(())
    }
}

fn beater(name: &'static str, book: &Shared) -> AgentSpec {
    let book = Arc::clone(book);
    agent(name, move || {
        let mut all = book.lock().unwrap();
        all.made += 1;
        let number = all.made;
        all.newest.insert(name, number);
        Beater { name, number, book: Arc::clone(&book) }
    })
}

const NODES: [&str; 3] = ["s", "w1", "w2"];

struct World {
    sim: Sim,
    book: Shared,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Result<Self, Failure> {
        let config = Config { seed, ..Config::of(Schedule::of_seed(seed)) };
        let mut sim = Sim::empty(seed, config);
        for node in NODES {
            sim = sim.with_peer(node, runtime(seed, false));
        }
        let book = Shared::default();
        let judge = Arc::clone(&book);
        sim.always("S9, S10: a placed agent works in one place", move |_| {
            judge.lock().unwrap().broken.clone().map_or(Ok(()), Err)
        });
        let mut world = Self { sim, book, seed };
        NODES.iter().for_each(|node| world.start(node));
        world.sim.advance(secs(5))?;
        Ok(world)
    }

    fn start(&mut self, node: &'static str) {
        let runtime = self.sim.runtime_of(node).clone();
        let book = Arc::clone(&self.book);
        let seed = self.seed;
        self.sim.spawn("starter", async move {
            // It may be killed while it starts.
            match node {
                "s" => {
                    let root = match seed % 3 {
                        0 => Supervisor::one_for_one("root"),
                        1 => Supervisor::rest_for_one("root"),
                        _ => Supervisor::one_for_all("root"),
                    };
                    let root = root
                        .max_restarts(u32::MAX, secs(1))
                        .backoff(Backoff::constant(ms(20)))
                        .agent(remote_agent("b", "").placed_on(NodeId(2), "w1"))
                        .agent(beater("a", &book))
                        .agent(remote_agent("c", "").placed_on(NodeId(3), "w2"));
                    drop(runtime.start(root).await);
                }
                "w1" => drop(runtime.serve("w1", [beater("b", &book)]).await),
                _ => drop(runtime.serve("w2", [beater("c", &book)]).await),
            }
        });
    }

    fn boot(&mut self, node: &'static str) {
        self.sim.boot(node, runtime(self.seed, true));
        self.start(node);
    }

    /// A node has one live boot that owns: an older one of `s` is killed, never paused.
    fn strike(&mut self, dice: &mut Dice) -> Result<(), Failure> {
        let (a, b) = (dice.of(&NODES), dice.of(&NODES));
        match dice.below(13) {
            0 | 1 if a != b => self.sim.partition(a, b),
            2 if a != b => self.sim.partition_one_way(a, b),
            3 => self.sim.isolate(a),
            4 => self.sim.heal(),
            5 => self.sim.wire(Wire {
                loss: dice.of(&[0, 50_000, 300_000]),
                repeat: dice.of(&[0, 200_000]),
                delay_min: ms(1),
                delay_max: ms(dice.of(&[1, 20, 400])),
            }),
            6 => drop(self.sim.crash(dice.of(&["s/a", "w1/b", "w2/c"]))),
            7 => {
                self.sim.kill(a);
                self.boot(a);
            }
            8 if a != "s" => {
                // It sleeps, and another one takes its place.
                self.sim.pause(a);
                self.boot(a);
            }
            9 if a != "s" => self.sim.pause(a),
            10 => self.sim.resume(a),
            11 if a != "s" => {
                // It sleeps for most of its lease, wakes up to an old answer, can say nothing, and
                // loses its address to another one.
                self.sim.pause(a);
                self.sim.advance(ms(2500 + dice.below(2000)))?;
                self.sim.partition_one_way(a, "s");
                self.sim.resume(a);
                self.sim.advance(ms(20))?;
                self.sim.heal();
                self.boot(a);
            }
            _ => {}
        }
        self.sim.advance(ms(dice.of(&[20, 300, 1500, 4000])))
    }

    /// Invariants: L1 (what should run does), L3 (names are found everywhere), L5 (reconnect)
    fn ends_well(mut self) -> Result<u64, Failure> {
        self.sim.heal();
        self.sim.wire(Wire::default());
        NODES.iter().for_each(|node| self.sim.resume(node));
        self.sim.advance(secs(40))?;
        for from in NODES {
            let runtime = self.sim.runtime_of(from).clone();
            for to in ["a", "b", "c"] {
                let runtime = runtime.clone();
                let ping = Message::new("Ping", json!(null));
                let answer =
                    self.sim.block_on(async move { runtime.ask(to, ping, secs(1)).await })?;
                self.sim.check(&format!("{from} reaches {to}"), answer.is_ok())?;
            }
        }
        let beats = self.book.lock().unwrap().beats;
        self.sim.finish()?;
        Ok(beats)
    }
}

fn runtime(seed: u64, anew: bool) -> RuntimeConfig {
    let mut config = RuntimeConfig { seed, ..RuntimeConfig::default() };
    config.remote.inherits = anew;
    config
}

fn history(seed: u64) -> Result<u64, Failure> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed)?;
    for _ in 0..16 {
        world.strike(&mut dice)?;
    }
    world.ends_well()
}

// Invariants: S9, S10, L1, L3, L5
#[test]
fn a_placed_agent_works_in_one_place_whatever_happens() -> Result<(), Failure> {
    let mut beats = 0;
    explore(0..80, |seed| history(seed).map(|more| beats += more))?;
    assert!(beats > 10_000, "they work: {beats}");
    Ok(())
}
