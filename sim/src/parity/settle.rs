//! Plans in which nothing meets.

use super::{About, Abstract};
use crate::plan::Plan;

/// How long nothing happens before and after what a plan does. Above what the coarsest clock of an
/// engine makes of a few short waits, one after the other.
const MARGIN: std::time::Duration = std::time::Duration::from_millis(8);

/// The plan, with what it does moved a little, so that nothing happens at nearly the same time as
/// something else.
#[must_use]
pub fn settled(plan: &Plan) -> Plan {
    crate::world::settle(plan, MARGIN)
}

/// Leaves out what a wire decides.
pub(super) fn without_wire(_: &Plan, made: &mut Abstract) {
    made.without(|about, _| matches!(about, About::View(..)) && false);
}
