//! What is kept of a failure: a folder with all that it takes to see it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lictor_sim::campaign::{Found, differs};
use lictor_sim::engine::Engine;
use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::Plan;
use lictor_sim::record::What;
use lictor_sim::shrink::{Budget, Shrunk, shrink};
use lictor_sim::trace::Trace;
use serde_json::json;

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
    let folder = out.join(format!("{invariant}-seed-{}", found.seed));
    write(&folder, plan, found, &shrunk, &ran)?;
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

fn write(folder: &Path, plan: &Plan, found: &Found, shrunk: &Shrunk, ran: &Ran) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let sizes = |plan: &Plan| {
        let (faults, operations, nodes) = plan.size();
        json!({ "faults": faults, "operations": operations, "nodes": nodes })
    };
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "seed": found.seed,
        "invariant": found.violation.invariant,
        "found": found.violation,
        "violation": ran.violation,
        "original": sizes(plan),
        "shrunk": sizes(&shrunk.plan),
        "shrink_runs": shrunk.runs,
        "minimal": shrunk.minimal,
        "digest": format!("{:016x}", ran.digest),
    });
    let facts = serde_json::to_string_pretty(&facts).map_err(io::Error::other)?;
    fs::write(folder.join("failure.json"), facts + "\n")?;
    fs::write(folder.join("plan.yaml"), plan.to_yaml())?;
    fs::write(folder.join("plan.min.yaml"), shrunk.plan.to_yaml())?;
    let trace = Trace::new(&shrunk.plan);
    let timeline: String = ran.trace.iter().map(|record| trace.text(record) + "\n").collect();
    fs::write(folder.join("timeline.txt"), timeline)
}

/// What led to the violation, or to the last of the records that are shown: as yet all that
/// concerns whom it concerns.
pub(super) fn explain(plan: &Plan, ran: &Ran, shown: usize) -> String {
    let trace = Trace::new(plan);
    let records = &ran.trace[..shown];
    let Some(last) = records.last() else { return String::new() };
    let whom = who(&last.what);
    let concerns = |what: &What| whom.is_none() || who(what) == whom || who(what).is_none();
    records
        .iter()
        .filter(|record| concerns(&record.what))
        .map(|record| trace.text(record) + "\n")
        .collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others concern nobody")]
fn who(what: &What) -> Option<u16> {
    let who = match what {
        What::Start(process)
        | What::Signal(process, _)
        | What::Started(process)
        | What::StartIgnored(process)
        | What::StartFailed(process)
        | What::Exited(process, _)
        | What::ShutdownError(process, _)
        | What::Stale(process)
        | What::Delivered(_, process) => process.who,
        What::Supervisor { who, .. }
        | What::RestartScheduled { who, .. }
        | What::RestartsExhausted { child: who, .. }
        | What::Removed(who)
        | What::Status(who, _)
        | What::Sent(_, who, _)
        | What::Queued(_, who)
        | What::PutBack(_, who)
        | What::Sees(who, _) => *who,
        _ => return None,
    };
    Some(who.0)
}

/// Writes a page that shows a run.
pub(super) fn write_html(file: &Path, plan: &Plan, ran: &Ran) -> io::Result<()> {
    let _ = (plan, ran, file);
    Err(io::Error::other("the page is not part of this version"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lictor_sim::plan::{Act, Mix, Profile, Reading};
    use lictor_sim::scenario::Scenario;

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
        assert!(kept.replay().ends_with("--explain") && kept.replay().contains("plan.min.yaml"));
        fs::remove_dir_all(out).unwrap();
    }
}
