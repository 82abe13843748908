//! What is kept of a failure: a folder with all that it takes to see it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lictor_sim::campaign::{Found, differs};
use lictor_sim::engine::Engine;
use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::Plan;
use lictor_sim::report::Failure;
use lictor_sim::shrink::{Budget, Shrunk, shrink};

use super::meter::Meter;

/// Runs that shrinking may take.
const RUNS: u64 = 20_000;

/// A failure, shrunk and kept.
pub(super) struct Kept {
    /// The smallest plan that still fails in the same way.
    pub(super) shrunk: Shrunk,
    /// How that plan fails.
    pub(super) ran: Ran,
    /// Where it is kept.
    pub(super) folder: PathBuf,
}

impl Kept {
    /// The command that shows it again.
    pub(super) fn replay(&self) -> String {
        let plan = self.folder.join("plan.min.yaml");
        let until = self.ran.violation.as_ref().map_or(0, |violation| violation.record);
        format!("lictor sim replay {} --until {until} --explain", plan.display())
    }
}

/// Shrinks the plan of a seed that was found to fail, and keeps it in a folder of its own.
pub(super) fn keep(
    engine: Engine,
    plan: &Plan,
    found: &Found,
    out: &Path,
    go_on: &mut dyn FnMut() -> bool,
) -> io::Result<Kept> {
    let invariant = found.violation.invariant;
    let mut meter = Meter::new();
    let mut runs = 0_u64;
    let mut fails = |plan: &Plan| {
        runs += 1;
        meter.show(|_| {
            let (faults, operations, nodes) = plan.size();
            format!(
                "shrinking: {faults} faults, {operations} operations, {nodes} nodes, run {runs}"
            )
        });
        violated(engine, plan, invariant)
    };
    let shrunk = shrink(plan, &mut fails, invariant, Budget { runs: RUNS, go_on });
    meter.end();
    let options = Options { trace: true, ..Options::default() };
    let ran = engine.run(&shrunk.plan, options).map_err(io::Error::other)?;
    // Two runs that differ are shown side by side.
    let again = match invariant {
        "S14" => engine.run(&shrunk.plan, options).ok(),
        _ => None,
    };
    let failure = Failure {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("LICTOR_COMMIT").unwrap_or("unknown"),
        engine,
        seed: found.seed,
        found: &found.violation,
        original: plan,
        shrunk: &shrunk,
        ran: &ran,
        again: again.as_ref(),
    };
    let folder = out.join(format!("{invariant}-seed-{}", found.seed));
    fs::create_dir_all(&folder)?;
    for (name, text) in failure.files() {
        fs::write(folder.join(name), text)?;
    }
    Ok(Kept { shrunk, ran, folder })
}

/// Which invariant a plan violates. Whether two runs differ takes two runs.
fn violated(engine: Engine, plan: &Plan, invariant: &str) -> Option<&'static str> {
    let run = || engine.run(plan, Options::default()).ok();
    let ran = run()?;
    if let Some(violation) = &ran.violation {
        return Some(violation.invariant);
    }
    if invariant == "S14" {
        return differs(&ran, &run()?).map(|violation| violation.invariant);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lictor_sim::plan::{Act, Mix, Profile, Reading};
    use lictor_sim::scenario::Scenario;
    use serde_json::json;

    use super::*;

    /// A plan that leaves no time to heal, so that what is down at the end of it is a violation.
    fn hasty() -> Plan {
        let text = b"supervision: {children: [{agent: {name: one, type: t, restart: permanent}}, \
                     {agent: {name: two, type: t}}]}";
        let topology = lictor::topology::parse("t", text, &lictor::topology::Options::default());
        let scenario = Arc::new(Scenario::new(topology.unwrap(), 2).unwrap());
        let mut plan = Plan::generate(&scenario, 0, &Profile::new(Mix::Calm));
        let head = plan.to_yaml().replace("faults: []\n", "");
        let at = lictor_sim::plan::duration_text(plan.horizon);
        let text = format!("{head}faults:\n  - {{ at: {at}, crash: one }}\n");
        plan = Plan::read("p", text.as_bytes(), &Reading::default()).unwrap();
        plan.operations.retain(|operation| matches!(operation.act, Act::Tell(_)));
        plan.calm = std::time::Duration::ZERO;
        plan
    }

    #[test]
    fn a_failure_is_a_folder_with_all_that_it_takes_to_see_it_again() {
        let plan = hasty();
        let ran = Engine::Kernel.run(&plan, Options::default()).unwrap();
        let found = Found { seed: 17, violation: ran.violation.unwrap() };
        assert_eq!(found.violation.invariant, "L1");
        let out = std::env::temp_dir().join(format!("lictor-failure-{}", std::process::id()));
        let kept = keep(Engine::Kernel, &plan, &found, &out, &mut || true).unwrap();
        assert_eq!(kept.folder, out.join("L1-seed-17"));
        assert_eq!(kept.shrunk.plan.size(), (1, 0, 1));
        assert!(kept.shrunk.minimal);
        let text = fs::read(kept.folder.join("plan.min.yaml")).unwrap();
        let again = Plan::read("p", &text, &Reading::default()).unwrap();
        assert_eq!(again, kept.shrunk.plan);
        let facts = fs::read(kept.folder.join("failure.json")).unwrap();
        let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
        assert_eq!((&facts["seed"], &facts["invariant"]), (&json!(17), &json!("L1")));
        assert_eq!(facts["shrunk"], json!({ "faults": 1, "operations": 0, "nodes": 1 }));
        let mut names: Vec<String> = fs::read_dir(&kept.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        let manual = include_str!("../../../../docs/simulation.md");
        for name in &names {
            assert!(manual.contains(&format!("| `{name}` |")), "the manual does not know {name}");
        }
        assert_eq!(names.len(), 7);
        assert!(kept.replay().ends_with("--explain") && kept.replay().contains("plan.min.yaml"));
        fs::remove_dir_all(out).unwrap();
    }
}
