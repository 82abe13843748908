//! Plays all cases of a suite on the stage that is given.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::store::{STORED, Store};
use crate::suite::{PLAIN, Stage};

/// Plays all cases that belong to the medium, says which were left out, and gives how many not.
pub(crate) fn plays<S: Stage>(of: &str, mut stage: impl FnMut() -> S) -> usize {
    let mut played = 0;
    for case in PLAIN {
        let mut stage = stage();
        let medium = stage.medium();
        let rules: Vec<&str> =
            case.shows.iter().filter(|(of, _)| *of == medium).map(|(_, rule)| *rule).collect();
        if rules.is_empty() {
            continue;
        }
        if !stage.can(case.needs) {
            eprintln!("{of}: left out, for it needs {:?}: {}", case.needs, case.name);
            continue;
        }
        eprintln!("{of}: {}: {}", rules.join(", "), case.name);
        case_of(of, case.name, || (case.run)(&mut stage));
        played += 1;
    }
    played
}

pub(crate) fn stores<S: Store>(of: &str, mut store: impl FnMut() -> S) {
    for case in STORED {
        let mut store = store();
        eprintln!("{of}: {}: {}", case.shows.join(", "), case.name);
        case_of(of, case.name, || (case.run)(&mut store));
    }
}

/// Says which case it is that has failed.
fn case_of(of: &str, name: &str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("{of} breaks: {name}");
        resume_unwind(panic);
    }
}
