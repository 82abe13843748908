//! A record as a short sentence with names in it, for people.

use std::time::Duration;

use lictor_kernel::{Instant, Signal};

use crate::plan::{Plan, duration_text};
use crate::record::{Ending, Fate, Here, NodeIx, Placed, Process, Record, Stage, What, Who};
use crate::trace::{message_text, reason_word, status_word};

/// What happened, without when and where.
pub(super) fn sentence(plan: &Plan, record: &Record) -> String {
    let name = |who: Who| plan.scenario.entity(who).name.as_str();
    let process = |process: Process| process_text(plan, process);
    match record.what {
        What::Start(it) => match plan.host_of(it.who) {
            Some(host) => format!("start {} on n{}", process(it), host.0),
            None => format!("start {}", process(it)),
        },
        What::Signal(it, Signal::Shutdown) => format!("tell {} to stop", process(it)),
        What::Signal(it, Signal::Kill) => format!("kill {}", process(it)),
        What::Started(it) => format!("{} is up", process(it)),
        What::StartIgnored(it) => format!("{} finds nothing to start", process(it)),
        What::StartFailed(it) => format!("{} fails to start", process(it)),
        What::Exited(it, reason) => format!("{} ends: {}", process(it), reason_word(reason)),
        What::Supervisor { who, id, stage, .. } => match stage {
            Stage::Initializing => format!("supervisor {}#{id} starts its children", name(who)),
            Stage::Ready => format!("supervisor {}#{id} is ready", name(who)),
            Stage::Exited(reason) => {
                format!("supervisor {}#{id} ends: {}", name(who), reason_word(reason))
            }
        },
        What::RestartScheduled { who, delay, .. } => {
            let delay = duration_text(Duration::from_nanos(delay));
            format!("{} will be restarted in {delay}", name(who))
        }
        What::RestartsExhausted { supervisor, child } => {
            format!("supervisor #{supervisor} gives up: {} failed too often", name(child))
        }
        What::ShutdownError(it, reason) => {
            format!("{} did not stop as it was told to: {}", process(it), reason_word(reason))
        }
        What::Stale(it) => format!("old news of {}, ignored", process(it)),
        What::Restored(it, Some(found)) => {
            format!("{} finds a checkpoint of {found} messages", process(it))
        }
        What::Restored(it, None) => format!("{} finds no checkpoint", process(it)),
        What::Removed(who) => format!("{} is forgotten", name(who)),
        What::Status(who, status) => format!("{} now shows as {}", name(who), status_word(status)),
        _ => of_messages(plan, record),
    }
}

fn of_messages(plan: &Plan, record: &Record) -> String {
    let name = |who: Who| plan.scenario.entity(who).name.as_str();
    let text = |id| message_text(id, &plan.scenario);
    match record.what {
        What::Sent(id, to, true) => format!("{}: a question to {}", text(id), name(to)),
        What::Sent(id, to, false) => format!("{}: a message to {}", text(id), name(to)),
        What::Queued(id, who) => format!("{} is queued at {}", text(id), name(who)),
        What::Delivered(id, it) => format!("{} is given to {}", text(id), process_text(plan, it)),
        What::PutBack(id, who) => format!("{} is put back at {}", text(id), name(who)),
        What::Ended(id, fate) => format!("{} {}", text(id), fate_text(fate)),
        What::Answered(id, ending) => format!("{}: {}", text(id), ending_text(ending)),
        What::Suppressed(id) => format!("{} came again, and is dropped", text(id)),
        What::LateAnswer(id) => format!("{}: an answer comes late, and is dropped", text(id)),
        _ => of_world(plan, record),
    }
}

fn of_world(plan: &Plan, record: &Record) -> String {
    let name = |who: Who| plan.scenario.entity(who).name.as_str();
    match record.what {
        What::FrameSent(to) => format!("frame to node {}", to.0),
        What::FrameLost(to) => format!("frame to node {} is lost", to.0),
        What::PeerUp(peer) => format!("hears from node {}", peer.0),
        What::PeerDown(peer) => format!("gives node {} up", peer.0),
        What::Shows(who, shown) => {
            let shown = format!("{shown:?}").to_lowercase();
            format!("{}, asked of its supervisor, is {shown}", name(who))
        }
        What::Sees(who, Some(owner)) => format!("sees {} at node {}", name(who), owner.0),
        What::Sees(who, None) => format!("sees {} nowhere", name(who)),
        What::Booted(boot) => format!("node {} boots, boot {boot}", record.node.0),
        What::Halted => format!("node {} is gone", record.node.0),
        What::Operation(number) => match plan.operations.get(number as usize) {
            Some(operation) => format!("operation {number}: {}", operation.text(&plan.scenario)),
            None => format!("operation {number}"),
        },
        What::Refused(number) => format!("operation {number} is refused"),
        What::Fault(number, begins) => {
            let word = if begins { "begins" } else { "ends" };
            match plan.faults.get(number as usize) {
                Some(fault) => format!("fault {number} {word}: {}", fault.text(&plan.scenario)),
                None => format!("fault {number} {word}"),
            }
        }
        What::Healed => "all faults are over".to_owned(),
        What::Calm => "the time to heal is over; the last stop begins".to_owned(),
        What::Over => "the run is over".to_owned(),
        _ => of_hosts(plan, record),
    }
}

/// What runs on one node for another.
fn of_hosts(plan: &Plan, record: &Record) -> String {
    let name = |who: Who| plan.scenario.entity(who).name.as_str();
    let process = |process: Process| process_text(plan, process);
    let on = on_node(plan, record.node);
    match record.what {
        What::Here(it, Here::Begins(_)) => format!("start {} {on}", process(it)),
        What::Here(it, Here::Up) => format!("{} is up {on}", process(it)),
        What::Here(it, Here::Ignored) => format!("{} finds nothing to start {on}", process(it)),
        What::Here(it, Here::Failed) => format!("{} fails to start {on}", process(it)),
        What::Here(it, Here::Told(Signal::Shutdown)) => {
            format!("tell {} {on} to stop", process(it))
        }
        What::Here(it, Here::Told(Signal::Kill)) => format!("kill {} {on}", process(it)),
        What::Here(it, Here::Leased(until)) => {
            format!("{} may go on {on} until {}", process(it), instant(until))
        }
        What::Here(it, Here::Ended(reason)) => {
            format!("{} ends {on}: {}", process(it), reason_word(reason))
        }
        What::Has(who, true) => format!("{} has its name {on}", name(who)),
        What::Has(who, false) => format!("{} gives its name back {on}", name(who)),
        What::Placed(it, host, Placed::Waiting) => {
            format!("{} waits for n{}", process(it), host.0)
        }
        What::Placed(it, host, Placed::Ordered(boot)) => {
            format!("{} is ordered on n{}, boot {boot}", process(it), host.0)
        }
        What::Outlives(boot, true) => {
            format!("boot {boot} lives on, cut off, and is taken for dead: see {on}")
        }
        What::Outlives(boot, false) => format!("boot {boot} is gone at last {on}"),
        _ => String::new(),
    }
}

/// `on n1`; an older boot of it that lives on is `on n1, older boot`.
fn on_node(plan: &Plan, node: NodeIx) -> String {
    let nodes = plan.scenario.nodes();
    match usize::from(node.0).checked_sub(nodes) {
        Some(of) => format!("on n{of}, older boot"),
        None => format!("on n{}", node.0),
    }
}

/// `parse#2.7`: the seventh start of `parse` under the second incarnation of its supervisor.
fn process_text(plan: &Plan, process: Process) -> String {
    let name = &plan.scenario.entity(process.who).name;
    format!("{name}#{}.{}", process.supervisor, process.incarnation)
}

const fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Handled => "is handled",
        Fate::Full => "is refused: the mailbox is full",
        Fate::Down => "is refused: the receiver is down for good",
        Fate::Unknown => "is refused: there is no such name",
        Fate::NoRoom => "is given up: there was no room in time",
        Fate::LinkFull => "is refused: the link takes no more",
        Fate::Crashed => "is gone with the crash of who had it in hand",
        Fate::DeadLetter => "is a dead letter",
        Fate::Evicted => "is evicted by a newer one",
        Fate::Expired => "has expired",
        Fate::Skipped => "is skipped",
        Fate::Lost => "is lost between nodes",
        Fate::Gone => "is gone with its node",
    }
}

const fn ending_text(ending: Ending) -> &'static str {
    match ending {
        Ending::Answered => "its asker has the answer",
        Ending::Failed => "its asker is told that it failed",
        Ending::TimedOut => "its asker has waited long enough",
        Ending::Gone => "its asker is gone",
    }
}

/// An instant, exact and short.
pub(super) fn instant(at: Instant) -> String {
    duration_text(Duration::from_nanos(at.as_nanos()))
}
