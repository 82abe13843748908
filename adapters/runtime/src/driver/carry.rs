//! What is done after the lock is gone: the effects, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Effect;
use crate::cell::{AnyCell, Launch};
use crate::executor::Role as TaskRole;
use crate::reply::ReplyFailure;
use crate::runtime::Shared;

/// Carries out effects in order; true when the tree has ended.
pub(crate) fn carry_out(shared: &Arc<Shared>, effects: impl IntoIterator<Item = Effect>) -> bool {
    let mut ended = false;
    for effect in effects {
        ended |= matches!(effect, Effect::Ended(..));
        guarded(|| carry_out_one(shared, effect));
    }
    ended
}

fn carry_out_one(shared: &Arc<Shared>, effect: Effect) {
    match effect {
        Effect::Launch(name, task) => shared.executor.spawn_as(TaskRole::Agent(&name), task),
        Effect::Kill(life) => life.kill(),
        Effect::Control(cell, control) => cell.control(control),
        Effect::Close(cell, failure) => close(shared, &*cell, failure),
        Effect::GiveBack(launch) => give_back(shared, launch),
        Effect::GiveBackAll(launches) => {
            for launch in launches {
                // One that panics must not keep the others.
                guarded(|| give_back(shared, launch));
            }
        }
        Effect::Reopen(cell) => {
            cell.reopen();
            shared.begin_service(&cell.core().name);
        }
        Effect::Drain(cell) => {
            shared.end_service(&cell.core().name);
            cell.close_intake();
        }
        Effect::Discard(launch) => drop(launch),
        Effect::Forget(agent) => drop(agent),
        Effect::TooLate(inputs) => drop(inputs),
        Effect::Event(kind) => shared.emit(kind),
        // Whoever asked may have given up waiting.
        Effect::Answer(answer, result) => drop(answer.send(result)),
        Effect::Started(answer, result) => drop(answer.send(result)),
        Effect::Stopped(answer) => drop(answer.send(())),
        Effect::Say(node, body) => {
            if let Some(peers) = &shared.peers {
                peers.say(node, &body);
            }
        }
        Effect::CallEnded(call) => {
            let asker = shared.peers.as_ref().and_then(|peers| peers.take_ask(call));
            if let Some(asker) = asker {
                // An asker that has given up need not be told.
                let _ = asker.fail(ReplyFailure::NoConnection);
            }
        }
        Effect::Unplug(over) => over.raise(),
        Effect::Ended(terminated, phase) => shared.ended(terminated, phase),
    }
}

fn give_back(shared: &Shared, launch: Arc<dyn Launch>) {
    close(shared, &*launch.cell(), ReplyFailure::Down);
    drop(launch);
}

/// Foreign code that panics (what a factory holds, a host that cannot spawn) must not keep the
/// others from their answers, nor end the driver.
fn guarded(act: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(act)).is_err() {
        tracing::error!(target: "lictor", "foreign code has panicked in the driver");
    }
}

fn close(shared: &Shared, cell: &dyn AnyCell, failure: ReplyFailure) {
    // Nothing more is taken off the stream before what is queued goes back to it.
    shared.end_service(&cell.core().name);
    cell.close(failure);
}
