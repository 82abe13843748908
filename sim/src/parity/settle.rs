//! Plans in which nothing meets.

use std::time::Duration;

use crate::engine::Engine;
use crate::plan::Plan;
use crate::world;

/// How long nothing happens before and after what a plan does. Above what the coarsest clock of an
/// engine makes of a few short waits, one after the other.
const MARGIN: Duration = Duration::from_millis(8);

/// As well, where each wait is rounded up to the next millisecond.
const COARSE: Duration = Duration::from_millis(15);

/// The plan, with what it does moved a little, so that nothing happens at nearly the same time as
/// something else.
///
/// Real connections notice a cut when they notice it, and not when a model does. For engines that
/// have some, what only delays or repeats is left out, cuts are long, and nothing is sent while one
/// end may know of a cut and the other not.
#[must_use]
pub fn settled(plan: &Plan, engines: &[Engine]) -> Plan {
    let coarse = engines.contains(&Engine::Turmoil);
    let margin = if coarse { COARSE } else { MARGIN };
    if coarse && plan.scenario.nodes() > 1 {
        world::settle(&world::for_wire(plan), margin, true)
    } else {
        world::settle(plan, margin, false)
    }
}
