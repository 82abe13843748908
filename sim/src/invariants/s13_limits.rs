//! S13: a dynamic supervisor has no more children than its limits allow, at one time and over its
//! life, and refuses none that they allow. (That mailboxes have bounds is judged with S11.)
//!
//! Source: civitas, design.md section 5; kernel rules Y1, Y6, K2. Judged only in the kernel world:
//! there a plan's spawns are those of one spawner, and are carried out or refused at once.

use lictor_kernel::dynamic_supervisor::Config;

use super::Verdict;
use super::books::{Books, Life};
use crate::plan::{Act, Plan};
use crate::record::{Record, Stage, What, Who};
use crate::scenario::Role;

/// What a dynamic supervisor may have, and has.
#[derive(Clone, Debug)]
struct Room {
    at_once: u64,
    in_all: u64,
    live: u64,
    total: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// By number of the name.
    rooms: Vec<Option<Room>>,
    /// Spawned, and not removed since.
    present: Vec<bool>,
    acts: Vec<Act>,
    /// Who is to be spawned by the operation at hand, and by whom.
    wanted: Option<(Who, Option<u64>)>,
}

impl Limits {
    pub(super) fn new(plan: &Plan) -> Self {
        let room = |role: &Role| match role {
            Role::Dynamic(config, _) => Some(Room::of(config)),
            Role::Supervisor(..) | Role::Agent(_) => None,
        };
        Self {
            rooms: plan.scenario.all().map(|(_, entity)| room(&entity.role)).collect(),
            present: vec![false; plan.scenario.len()],
            acts: plan.operations.iter().map(|operation| operation.act).collect(),
            wanted: None,
        }
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record) -> Verdict {
        match record.what {
            What::Operation(number) => {
                self.wanted = match self.acts.get(number as usize) {
                    Some(Act::Spawn(who)) => {
                        Some((*who, books.boss(*who).and_then(|boss| boss.id)))
                    }
                    Some(_) | None => None,
                };
                Ok(())
            }
            What::Start(process) if self.wanted.is_some_and(|(who, _)| who == process.who) => {
                self.wanted = None;
                self.spawned(books, process.who)
            }
            What::Refused(_) => match self.wanted.take() {
                // What is due comes before an operation: it may have begun its supervisor anew.
                Some((who, by)) if books.boss(who).and_then(|boss| boss.id) == by => {
                    self.refused(books, who)
                }
                Some(_) | None => Ok(()),
            },
            What::Removed(who) => {
                self.removed(books, who);
                Ok(())
            }
            What::Supervisor { who, stage: Stage::Initializing | Stage::Exited(_), .. } => {
                self.begins_anew(books, who);
                Ok(())
            }
            What::Halted => {
                for number in 0..self.rooms.len() {
                    let who = Who(u16::try_from(number).unwrap_or(u16::MAX));
                    if books.of(who).node == record.node {
                        self.begins_anew(books, who);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn room(&mut self, books: &Books, child: Who) -> Option<&mut Room> {
        let parent = books.of(child).parent?;
        self.rooms[usize::from(parent.0)].as_mut()
    }

    fn spawned(&mut self, books: &Books, who: Who) -> Verdict {
        self.present[usize::from(who.0)] = true;
        let Some(room) = self.room(books, who) else { return Ok(()) };
        (room.live, room.total) = (room.live + 1, room.total + 1);
        let Room { at_once, in_all, live, total } = *room;
        if live <= at_once && total <= in_all {
            return Ok(());
        }
        Err(format!(
            "{who:?} is spawned: that makes {live} at once and {total} in all, and {at_once} and \
             {in_all} are allowed"
        ))
    }

    fn refused(&mut self, books: &Books, who: Who) -> Verdict {
        let (book, present) = (books.of(who), self.present[usize::from(who.0)]);
        let boss = books.boss(who);
        // That a supervisor stops shows in its children only: they are told to.
        let stops = |child: &Who| {
            let child = books.of(*child);
            child.life != Life::None && child.told.is_some()
        };
        let runs = boss.is_some_and(|boss| {
            boss.id.is_some() && boss.ready && !boss.exhausted && !boss.children.iter().any(stops)
        }) && !books.stopped[usize::from(book.node.0)];
        let Some(room) = self.room(books, who) else { return Ok(()) };
        let Room { at_once, in_all, live, total } = *room;
        if !runs || present || book.life != Life::None || live >= at_once || total >= in_all {
            return Ok(());
        }
        Err(format!(
            "{who:?} is refused: there are {live} at once and {total} in all, and {at_once} and \
             {in_all} are allowed"
        ))
    }

    fn removed(&mut self, books: &Books, who: Who) {
        if std::mem::take(&mut self.present[usize::from(who.0)])
            && let Some(room) = self.room(books, who)
        {
            room.live = room.live.saturating_sub(1);
        }
    }

    fn begins_anew(&mut self, books: &Books, who: Who) {
        if let Some(room) = &mut self.rooms[usize::from(who.0)] {
            (room.live, room.total) = (0, 0);
            for child in &books.supervisor[usize::from(who.0)].children {
                self.present[usize::from(child.0)] = false;
            }
        }
    }
}

impl Room {
    fn of(config: &Config) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| {
            one.unwrap_or(u64::MAX).min(other.unwrap_or(u64::MAX))
        };
        let children = (config.max_children, config.max_children_per_spawner);
        Self {
            at_once: least(children.0.map(u64::from), children.1.map(u64::from)),
            in_all: least(config.max_total_spawns, config.max_total_spawns_per_spawner),
            live: 0,
            total: 0,
        }
    }
}
