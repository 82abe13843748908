//! What is kept of a failure: a folder with all that it takes to see it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_sim::campaign::{Found, REPEAT_ON, differs};
use lictor_sim::engine::Engine;
use lictor_sim::outcome::{MODEL, Options, Outcome as Ran};
use lictor_sim::plan::Plan;
use lictor_sim::report::Failure;
use lictor_sim::shrink::{Budget, Shrunk, shrink};

use super::meter::Meter;

/// The commit that this program was built from.
const COMMIT: &str = match option_env!("LICTOR_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// A failure, shrunk and kept.
pub(super) struct Kept {
    /// The smallest plan that still fails in the same way.
    pub(super) shrunk: Shrunk,
    /// How that plan fails.
    pub(super) ran: Ran,
    /// Where it is kept.
    pub(super) folder: PathBuf,
    /// How long shrinking took.
    pub(super) shrinking: Duration,
    engine: Engine,
}

impl Kept {
    /// The command that shows it again.
    pub(super) fn replay(&self) -> String {
        replay(&self.folder.join("plan.min.yaml"), self.engine, &self.ran)
    }
}

/// The command that shows again how a plan failed.
pub(super) fn replay(plan: &Path, engine: Engine, ran: &Ran) -> String {
    let plan = quoted(&plan.display().to_string());
    let how = match &ran.violation {
        Some(violation) => format!("--until {} --explain", violation.record),
        None => "--check-determinism".to_owned(),
    };
    let default = engine == Engine::default();
    let engine = if default { String::new() } else { format!(" --engine {}", engine.word()) };
    let of_model = ran.violation.as_ref().is_some_and(|found| found.invariant == MODEL);
    let model = if of_model { " --model" } else { "" };
    format!("lictor sim replay {plan}{engine}{model} {how}")
}

/// A word so that a shell takes it as one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What runs plans for [`keep`].
pub(super) type Run<'a> = &'a dyn Fn(&Plan, Options) -> Ran;

/// Shrinks the plan of a seed that was found to fail, and keeps it in a folder of its own.
pub(super) fn keep(
    engine: Engine,
    run: Run<'_>,
    plan: &Plan,
    found: &Found,
    out: &Path,
    budget: Budget<'_>,
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
        violated(run, plan, invariant)
    };
    let shrunk = shrink(plan, &mut fails, invariant, budget);
    let shrinking = meter.end();
    let options = Options { trace: true, ..Options::to_see(invariant) };
    let ran = run(&shrunk.plan, options);
    let again = if invariant == "S14" { other(run, &shrunk.plan, &ran) } else { None };
    let folder = out.join(format!("{invariant}-seed-{}", found.seed));
    let failure = Failure {
        version: env!("CARGO_PKG_VERSION"),
        commit: COMMIT,
        engine,
        seed: found.seed,
        found: &found.violation,
        original: plan,
        shrunk: &shrunk,
        ran: &ran,
        again: again.as_ref(),
    };
    fs::create_dir_all(&folder)?;
    for (name, text) in failure.files() {
        fs::write(folder.join(name), text)?;
    }
    Ok(Kept { shrunk, ran, folder, shrinking, engine })
}

/// Which invariant a plan violates. Whether two runs differ takes more than one run.
fn violated(run: Run<'_>, plan: &Plan, invariant: &str) -> Option<&'static str> {
    let ran = run(plan, Options::to_see(invariant));
    if let Some(violation) = &ran.violation {
        return Some(violation.invariant);
    }
    let differs = |queue| differs(&ran, &run(plan, Options { queue, ..Options::default() }));
    let found = (invariant == "S14").then(|| REPEAT_ON.into_iter().find_map(differs))?;
    found.map(|violation| violation.invariant)
}

/// Another run of a plan, if it differs from the one that there is. Both have their traces.
pub(super) fn other(run: Run<'_>, plan: &Plan, ran: &Ran) -> Option<Ran> {
    let again = |queue| run(plan, Options { trace: true, queue, ..Options::default() });
    REPEAT_ON.into_iter().map(again).find(|again| differs(ran, again).is_some())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use lictor_sim::outcome::Queue;
    use lictor_sim::plan::{Act, Mix, Profile, Reading};
    use lictor_sim::scenario::Scenario;
    use serde_json::json;

    use super::super::explore::cut_short;
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
        plan.calm = Duration::ZERO;
        plan
    }

    fn endless(go_on: &mut dyn FnMut() -> bool) -> Budget<'_> {
        Budget { runs: 20_000, go_on }
    }

    fn run(plan: &Plan, options: Options) -> Ran {
        Engine::Kernel.run(plan, options).unwrap()
    }

    #[test]
    fn a_failure_is_a_folder_with_all_that_it_takes_to_see_it_again() {
        let plan = hasty();
        let ran = Engine::Kernel.run(&plan, Options::default()).unwrap();
        let found = Found { seed: 17, violation: ran.violation.unwrap() };
        assert_eq!(found.violation.invariant, "L1");
        let out = std::env::temp_dir().join(format!("lictor-failure-{}", std::process::id()));
        let kept = keep(Engine::Kernel, &run, &plan, &found, &out, endless(&mut || true)).unwrap();
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

    #[test]
    fn a_plan_that_may_not_be_the_smallest_one_is_said_to_be_so() {
        let plan = hasty();
        let found = Found { seed: 3, violation: run(&plan, Options::default()).violation.unwrap() };
        let out = std::env::temp_dir().join(format!("lictor-cut-{}", std::process::id()));
        let kept_with = |runs| {
            let budget = Budget { runs, go_on: &mut || true };
            keep(Engine::Kernel, &run, &plan, &found, &out, budget).unwrap().shrunk
        };
        let cut = kept_with(2);
        assert_eq!((cut.reproduced, cut.minimal), (true, false));
        assert!(cut_short(&cut).contains("`--shrink-for 5m`"), "{}", cut_short(&cut));
        assert_eq!(cut_short(&kept_with(0)), cut_short(&cut));
        assert_eq!(cut_short(&kept_with(20_000)), "");
        fs::remove_dir_all(out).unwrap();
    }

    /// An engine that is not deterministic: the other queue loses the last record but ten.
    fn forgetful(plan: &Plan, options: Options) -> Ran {
        let mut ran = run(plan, options);
        if options.queue == Queue::Calendar {
            ran.digest ^= 1;
            let at = ran.trace.len().saturating_sub(10);
            ran.trace.truncate(at);
        }
        ran.violation = None;
        ran
    }

    #[test]
    fn of_runs_that_differ_the_first_difference_is_kept() {
        let plan = hasty();
        let violation = differs(
            &forgetful(&plan, Options::default()),
            &forgetful(&plan, Options { queue: Queue::Calendar, ..Options::default() }),
        );
        let found = Found { seed: 5, violation: violation.unwrap() };
        let out = std::env::temp_dir().join(format!("lictor-differs-{}", std::process::id()));
        let kept =
            keep(Engine::Kernel, &forgetful, &plan, &found, &out, endless(&mut || true)).unwrap();
        assert_eq!(kept.shrunk.plan.size(), (0, 0, 1));
        let text = fs::read_to_string(kept.folder.join("first_divergence.txt")).unwrap();
        let at = kept.ran.trace.len() - 10;
        assert!(text.starts_with(&format!("two runs of one plan part at record {at}\n")), "{text}");
        assert!(text.contains("has nothing more") && text.contains("the run is over"), "{text}");
        assert!(kept.replay().ends_with(" --check-determinism"), "{}", kept.replay());
        fs::remove_dir_all(out).unwrap();
    }

    #[test]
    fn shrinking_runs_a_plan_again_only_to_compare_digests() {
        let runs = Cell::new(0);
        let counted = |plan: &Plan, options| {
            runs.set(runs.get() + 1);
            forgetful(plan, options)
        };
        assert_eq!(violated(&counted, &hasty(), "L1"), None);
        assert_eq!(runs.replace(0), 1);
        assert_eq!(violated(&counted, &hasty(), "S14"), Some("S14"));
        assert_eq!(runs.get(), 3);
    }

    #[test]
    fn a_shell_takes_the_command_as_it_is() {
        assert_eq!(
            quoted("sim-failures/S1-seed-3/plan.min.yaml"),
            "sim-failures/S1-seed-3/plan.min.yaml"
        );
        assert_eq!(quoted("my plans/it's.yaml"), r"'my plans/it'\''s.yaml'");
        assert_eq!(quoted(""), "''");
    }
}
