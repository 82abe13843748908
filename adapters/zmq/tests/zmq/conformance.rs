//! The suite that every broker passes.

use crate::support::{config, curve, suite};

#[test]
fn a_client_passes_the_suite() {
    suite(config(), Clone::clone);
}

#[test]
fn a_client_passes_the_suite_under_curve() {
    let mut config = config();
    config.curve = Some(curve());
    suite(config, Clone::clone);
}
