//! The bodies of the fuzz targets: each takes any bytes and panics if something is wrong.
//!
//! They live here and not beside the fuzzer, so that an ordinary test on a stable compiler replays
//! every input that was ever worth keeping. Bytes decode to some history whatever they are, so that
//! a fuzzer's mutations stay histories.

mod registry;

use lictor_topology::{NoEnvironment, Options, Style};

pub use self::registry::registry_router;
use crate::operation::{
    Bytes, Dynamic, Operation, Session, Static, Subject, dynamic_setup, operation, supervisor_setup,
};
use crate::plan::{Plan, Reading};

/// Operations of one input: the models are quadratic in them.
const OPERATIONS_MAX: usize = 120;

/// Calls of one operation that obeys.
const OBEY_MAX: u32 = 12;

/// A static supervisor against its model and the rules S1 to S9.
///
/// # Panics
/// If they differ, a rule is broken, or a stop does not end.
pub fn supervisor(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (config, specs, begin) = supervisor_setup(&mut bytes);
    let Ok(subject) = Static::new(&config, &specs) else { return };
    play(Session::new(subject, begin), bytes);
}

/// A dynamic supervisor against its model and the rules S1 to S9.
///
/// # Panics
/// If they differ, a rule is broken, or a stop does not end.
pub fn dynamic(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (config, begin) = dynamic_setup(&mut bytes);
    let Ok(subject) = Dynamic::new(&config) else { return };
    play(Session::new(subject, begin), bytes);
}

fn play<S: Subject>(mut session: Session<S>, mut bytes: Bytes<'_>) {
    let mut log = Vec::new();
    // Most inputs are about what comes after a start; 255 in front leaves it out.
    let first = (bytes.byte() != 255).then_some(Operation::Begin);
    let rest = core::iter::from_fn(|| operation(&mut bytes));
    for operation in first.into_iter().chain(rest).take(OPERATIONS_MAX) {
        log.push(operation);
        let obey = operation == Operation::Obey;
        let played = if obey { session.obey(OBEY_MAX) } else { session.play(operation) };
        if let Err(fault) = played {
            panic!("{fault}\nafter {log:#?}");
        }
    }
    if let Err(fault) = session.ends() {
        panic!("{fault}\nafter {log:#?} and a shutdown that everyone obeys");
    }
}

/// The text of a topology: never a panic, and what is accepted means the same when it is written.
///
/// # Panics
/// If writing a topology and reading it again gives another one.
pub fn topology(data: &[u8]) {
    let options = Options::new(&NoEnvironment);
    let checked = lictor_topology::check("fuzz.yaml", data, &options);
    let _ = checked.diagnostics.render(Style::Ansi);
    let Some(topology) = checked.topology else { return };
    let text = topology.to_yaml();
    let again = lictor_topology::check("again.yaml", text.as_bytes(), &options).topology;
    let again = again.map(|again| again.to_yaml());
    assert_eq!(again.as_deref(), Some(&*text), "written and read again");
}

/// The text of a simulation plan: as for a topology.
///
/// # Panics
/// If writing a plan and reading it again gives another one.
pub fn plan(data: &[u8]) {
    let Ok(plan) = Plan::read("fuzz.yaml", data, &Reading::default()) else { return };
    let text = plan.to_yaml();
    let again = Plan::read("again.yaml", text.as_bytes(), &Reading::default());
    let again = again.map(|again| again.to_yaml()).ok();
    assert_eq!(again.as_deref(), Some(&*text), "written and read again");
}
