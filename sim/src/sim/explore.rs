//! Many seeds, or the one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Failure;

/// The environment variable that names the one seed to run.
const SEED: &str = "LICTOR_SIM_SEED";

/// Runs a scenario for each seed, until one fails; how many there were. If `LICTOR_SIM_SEED` is
/// set, only that one is run. A scenario that panics says its seed on standard error first.
///
/// ```
/// # fn main() -> Result<(), lictor_sim::Failure> {
/// use lictor_sim::{Sim, explore};
///
/// explore(0..100, |seed| {
///     let sim = Sim::new(seed);
///     // Start agents, make them crash, look what becomes of it.
///     sim.finish()
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first failure.
pub fn explore(
    seeds: impl IntoIterator<Item = u64>,
    mut scenario: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let one = std::env::var(SEED).ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut count = 0;
    let mut run = |seed: u64| {
        count += 1;
        match catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            Ok(result) => result,
            Err(panic) => {
                eprintln!("replay: {}", replay_line(seed));
                resume_unwind(panic);
            }
        }
    };
    match one {
        Some(seed) => run(seed)?,
        None => seeds.into_iter().try_for_each(run)?,
    }
    Ok(count)
}

/// The command that runs the present test, or program, with one seed.
pub(super) fn replay_line(seed: u64) -> String {
    let program = std::env::args().next().unwrap_or_default();
    let thread = std::thread::current();
    match thread.name() {
        // The harness runs each test in a thread of its name.
        Some(test) if test != "main" => {
            let package = std::env::var("CARGO_PKG_NAME").map(|name| format!("-p {name} "));
            format!("{SEED}={seed} cargo test {}{test}", package.unwrap_or_default())
        }
        _ => format!("{SEED}={seed} {program}"),
    }
}
