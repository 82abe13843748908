//! What can happen in a state.

use core::time::Duration;

use lictor_kernel::ExitReason;

use crate::operation::{Advance, Answer, Command, Operation, Session, Subject, World};

/// Which moves a search makes.
#[derive(Clone, Debug)]
pub struct Moves {
    /// How a process that is up may end by itself.
    pub deaths: Vec<ExitReason>,
    /// Times within which a shutdown may have to be over, `None` without a bound. Empty: no
    /// shutdown comes.
    pub shutdowns: Vec<Option<Duration>>,
    /// Whether the parent may kill.
    pub kill: bool,
    /// Whether time may go to the edge of a restart window.
    pub window_edge: bool,
    /// Commands that may be given, to the supervisor of this number.
    pub commands: Vec<(u16, Command)>,
}

impl Default for Moves {
    /// Crashes and normal ends; shutdowns without a bound and within half a second.
    fn default() -> Self {
        Self {
            deaths: vec![ExitReason::Crashed, ExitReason::Normal],
            shutdowns: vec![None, Some(Duration::from_millis(500))],
            kill: false,
            window_edge: true,
            commands: Vec::new(),
        }
    }
}

/// The number of a process among others.
fn number(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

impl Moves {
    /// All moves from here, always in the same order.
    #[must_use]
    pub fn of<S: Subject>(&self, session: &Session<S>) -> Vec<Operation> {
        let world = &session.world;
        let mut moves = Vec::new();
        if world.has_ended() {
            return moves;
        }
        answers(world, &mut moves);
        self.deaths(world, &mut moves);
        self.time(world, &mut moves);
        if !world.is_told_to_end() {
            let shutdowns = self.shutdowns.iter();
            moves.extend(shutdowns.map(|within| Operation::Shutdown { within: *within }));
        }
        if self.kill {
            moves.push(Operation::Kill);
        }
        if world.has_dead() {
            // The last that died says it again.
            let (which, reason) = (0, ExitReason::Crashed);
            moves.push(Operation::Nonsense { what: 7, which, reason });
        }
        let commands = self.commands.iter();
        moves.extend(
            commands.map(|(at, command)| Operation::Command { at: *at, command: *command }),
        );
        moves
    }

    fn deaths(&self, world: &World, moves: &mut Vec<Operation>) {
        for (which, process) in world.ups().enumerate() {
            // One that was told to end does so by an answer.
            let told = world.live.iter().any(|live| live.process == process && live.told.is_some());
            if !told {
                let which = number(which);
                let deaths = self.deaths.iter();
                moves.extend(deaths.map(|reason| Operation::Die { which, reason: *reason }));
            }
        }
    }

    fn time(&self, world: &World, moves: &mut Vec<Operation>) {
        if let Some(timeout) = world.timeout {
            moves.push(Operation::Advance(Advance::ToDeadline));
            if timeout >= world.now {
                let just = Duration::from_nanos(1);
                moves.push(Operation::Advance(Advance::PastDeadline(just)));
            }
        }
        if self.window_edge && world.window_edge().is_some() {
            moves.push(Operation::Advance(Advance::ToWindowEdge(0)));
        }
    }
}

fn answers(world: &World, moves: &mut Vec<Operation>) {
    for (which, process) in world.asked().enumerate() {
        let Some(live) = world.live.iter().find(|live| live.process == process) else { continue };
        let ways: &[Answer] = match (live.up, live.told) {
            (true, _) => &[Answer::Well, Answer::Failed],
            (false, None) => &[Answer::Well, Answer::Failed, Answer::Ignored],
            (false, Some(_)) => &[Answer::Well, Answer::Late, Answer::Failed],
        };
        let which = number(which);
        moves.extend(ways.iter().map(|how| Operation::Answer { which, how: *how }));
    }
}
