//! `lictor sim explore`: many seeds, on all cores.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lictor_sim::buggify::Point;
use lictor_sim::campaign::{self, Campaign, Progress, Summary};
use lictor_sim::engine::{Engine, EngineError};
use lictor_sim::fault::Kind;
use lictor_sim::marks::Mark;
use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::{HORIZON_MAX, Mix, OPERATIONS_MAX, Plan, Profile};
use lictor_sim::scenario::Scenario;
use lictor_sim::shrink::{Budget, Shrunk};
use lictor_sim::trace;
use serde_json::{Map, Value, json};

use super::failure::{self, Kept};
use super::interrupt::Interrupt;
use super::meter::{Meter, long, per_second, plural, short, thousands};
use super::run::size_text;
use super::{EngineArg, complain_of, nodes, threads};
use crate::source::Source;
use crate::{Outcome, duration, output};

/// How long a failure is shrunk, at most, unless `--shrink-for` says otherwise.
const SHRINK: Duration = Duration::from_secs(20);

/// Runs that shrinking may take, unless `--shrink-for` says how long it may take.
const SHRINK_RUNS: u64 = 20_000;

/// Violations that are shrunk and kept.
const KEEP: usize = 5;

/// Breaks a topology in a different way for each seed, until an invariant does not hold.
///
/// Each seed makes a plan: what is asked of the tree, which faults come, when and where. What fails
/// is shrunk to the smallest plan that still fails in the same way, and kept in a folder with a
/// timeline; the last line is the command that shows it again. The same seeds give the same result,
/// whatever the machine and the number of threads.
///
/// Agents of the built-in types behave as they are set up; all others answer each message.
///
/// Exits with 1 if an invariant was violated. Ctrl-C stops it; what was found so far is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct ExploreArgs {
    /// The topology file; `-` is standard input.
    file: PathBuf,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Over how many nodes the children of the root are dealt out.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes)]
    nodes: usize,
    /// Which faults: `swarm` (all kinds; each seed switches some off), `calm` (none), `parity`
    /// (those that all engines have, far apart), or the kinds of one group: `network`,
    /// `connection`, `process`, `supervision`, `clock`, `scheduling`, `async`, `broker`, `storage`,
    /// `resources`.
    #[arg(long, value_name = "MIX", default_value = "swarm", value_parser = mix)]
    faults: Mix,
    /// Operations of a plan, at most; 1000 by default.
    #[arg(long, value_name = "N", value_parser = operations)]
    operations: Option<u32>,
    /// How long operations and faults come, at most; 32s by default.
    #[arg(long, value_name = "TIME", value_parser = horizon)]
    horizon: Option<Duration>,
    /// What runs the plans.
    #[arg(long, value_enum, default_value = "kernel")]
    engine: EngineArg,
    /// On how many threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// Writes the result as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Where failures are kept.
    #[arg(long, value_name = "DIR", default_value = "sim-failures")]
    out: PathBuf,
    /// How long each failure is shrunk, at most. By default 20s and 20,000 runs; the output says so
    /// if that was too short for the smallest plan.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    shrink_for: Option<Duration>,
    /// Goes on after a violation, and keeps the first of each invariant.
    #[arg(long)]
    keep_going: bool,
    /// Places agents on other nodes than their supervisors, though the file does not say so: which
    /// and where is another thing with each seed. Only on the engine `kernel`.
    #[arg(long)]
    place: bool,
    /// Runs every seed again, on both kinds of queue, and compares the digests; without it one seed
    /// of 64.
    #[arg(long)]
    check_determinism: bool,
}

/// A longer one would make plans that `replay` refuses.
fn horizon(text: &str) -> Result<Duration, String> {
    let horizon = duration::parse(text)?;
    let fits = !horizon.is_zero() && horizon <= HORIZON_MAX;
    fits.then_some(horizon).ok_or_else(|| "a horizon is more than 0, and at most 366d".to_owned())
}

fn operations(text: &str) -> Result<u32, String> {
    let most = u32::try_from(OPERATIONS_MAX).unwrap_or(u32::MAX);
    let operations = text.parse().ok().filter(|operations| (0..=most).contains(operations));
    operations.ok_or_else(|| format!("a plan has at most {most} operations"))
}

fn mix(text: &str) -> Result<Mix, String> {
    Mix::named(text).ok_or_else(|| {
        let words: Vec<&str> = Mix::all().map(Mix::word).collect();
        format!("known: {}", words.join(", "))
    })
}

impl ExploreArgs {
    fn profile(&self, engine: Engine) -> Profile {
        let mut profile = Profile { engine, place: self.place, ..Profile::new(self.faults) };
        if let Some(most) = self.operations {
            profile.operations = (*profile.operations.start()).min(most)..=most;
        }
        if let Some(most) = self.horizon {
            profile.horizon = (*profile.horizon.start()).min(most)..=most;
        }
        profile
    }
}

/// What is wrong with a mix that has no fault at all here: it would only look green.
fn without_faults(profile: &Profile, nodes: usize) -> Option<String> {
    let some = |nodes| Kind::ALL.iter().any(|kind| profile.allows(*kind, nodes));
    if profile.mix == Mix::Calm || some(nodes) {
        return None;
    }
    let mix = profile.mix.word();
    Some(if some(2) {
        format!("error: faults of `{mix}` are between nodes\n  = help: add `--nodes 2` or more\n")
    } else {
        let engine = profile.engine.word();
        format!(
            "error: the engine `{engine}` has no faults of `{mix}`\n  = help: docs/simulation.md \
             lists the faults of each engine\n"
        )
    })
}

/// What is wrong with `--place`, if it would place nothing.
fn places_nothing(args: &ExploreArgs, engine: Engine) -> Option<String> {
    let help = match (args.place, engine) {
        (true, Engine::Turmoil) => "`--engine kernel` and `--engine virtual` place agents",
        (true, Engine::Kernel | Engine::Virtual) if args.nodes == 1 => "add `--nodes 2` or more",
        (true | false, _) => return None,
    };
    Some(format!("error: `--place` would place nothing here\n  = help: {help}\n"))
}

pub(super) fn explore(args: &ExploreArgs) -> Outcome {
    let Some(engine) = args.engine.built_in() else { return Outcome::BadInput };
    let fault = without_faults(&args.profile(engine), args.nodes);
    if let Some(fault) = fault.or_else(|| places_nothing(args, engine)) {
        output::complain(&fault);
        return Outcome::BadInput;
    }
    if args.from.checked_add(args.seeds - 1).is_none() {
        let (from, left) = (args.from, (u64::MAX - args.from).saturating_add(1));
        output::complain(&format!(
            "error: `--seeds {}` from `--from {from}` on goes beyond the last seed, {}\n  = help: \
             `--seeds {left}` is the most\n",
            args.seeds,
            u64::MAX,
        ));
        return Outcome::BadInput;
    }
    let source = Source::read_tree(&args.file);
    let Some(topology) = source.topology.clone() else {
        output::complain(&source.render(output::style(&std::io::stderr())));
        return Outcome::BadInput;
    };
    let scenario = match Scenario::new(topology, args.nodes) {
        Ok(scenario) => Arc::new(scenario),
        Err(error) => {
            output::complain(&format!("error: {}: {error}\n", source.file));
            return Outcome::BadInput;
        }
    };
    let mut campaign = Campaign::new(scenario, args.profile(engine), args.seeds);
    campaign.from = args.from;
    campaign.stop_at_first = !args.keep_going;
    if args.check_determinism {
        campaign.repeat_every = 1;
    }
    campaign.threads = args.threads.unwrap_or(campaign.threads);
    let interrupt = Interrupt::listen();
    let trouble = Trouble::default();
    let (summary, took) = campaign_of(&campaign, engine, &interrupt, &trouble);
    if let Some(error) = trouble.place().take() {
        complain_of(&source.file, &error);
        return Outcome::BadInput;
    }
    let kept = match keep(&campaign, engine, &summary, args, &interrupt) {
        Ok(kept) => kept,
        Err(error) => {
            let out = args.out.display();
            output::complain(&format!("error: cannot keep failures in {out}: {error}\n"));
            Vec::new()
        }
    };
    let result = Report {
        args,
        file: &source.file,
        threads: campaign.threads.get(),
        interrupted: interrupt.came(),
        scenario: &campaign.scenario,
        engine,
        summary: &summary,
        took,
        kept: &kept,
    };
    let text = if args.json { result.json().to_string() + "\n" } else { result.text() };
    if output::print(&text).is_err() || summary.violations > 0 {
        return Outcome::Failed;
    }
    Outcome::Clean
}

/// The first run that was not run to its end, of those that were run at the same time.
#[derive(Debug, Default)]
struct Trouble(Mutex<Option<EngineError>>);

impl Trouble {
    fn place(&self) -> MutexGuard<'_, Option<EngineError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a plan; one that cannot be run to its end is noted, and looks as if it had been.
    fn run(&self, engine: Engine, plan: &Plan, options: Options) -> Ran {
        engine.run(plan, options).unwrap_or_else(|error| {
            self.place().get_or_insert(error);
            Ran::default()
        })
    }
}

fn campaign_of(
    campaign: &Campaign,
    engine: Engine,
    interrupt: &Interrupt,
    trouble: &Trouble,
) -> (Summary, Duration) {
    let mut meter = Meter::new();
    let run = |plan: &Plan, options| trouble.run(engine, plan, options);
    let summary = campaign::explore(campaign, &run, &mut |progress| {
        meter.show(|elapsed| line(campaign, progress, elapsed));
        !interrupt.came() && trouble.place().is_none()
    });
    (summary, meter.end())
}

/// How far it is.
fn line(campaign: &Campaign, progress: Progress, elapsed: Duration) -> String {
    let Progress { seeds, events, violations } = progress;
    let rate = per_second(seeds, elapsed);
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people to read")]
    let left = (campaign.seeds - seeds) as f64 / rate.max(1e-3);
    format!(
        "{} of {} seeds ({}%), {} seeds/s, {} events/s, {violations} violations, {} left",
        thousands(seeds),
        thousands(campaign.seeds),
        seeds.saturating_mul(100) / campaign.seeds.max(1),
        short(rate),
        short(per_second(events, elapsed)),
        long(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)),
    )
}

/// Shrinks and keeps the first violation of each invariant.
fn keep(
    campaign: &Campaign,
    engine: Engine,
    summary: &Summary,
    args: &ExploreArgs,
    interrupt: &Interrupt,
) -> std::io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    let mut invariants = Vec::new();
    for found in &summary.found {
        if kept.len() >= KEEP || invariants.contains(&found.violation.invariant) {
            continue;
        }
        invariants.push(found.violation.invariant);
        let plan = Plan::generate(&campaign.scenario, found.seed, &campaign.profile);
        let begun = Instant::now();
        let most = args.shrink_for.unwrap_or(SHRINK);
        let mut go_on = || begun.elapsed() < most && !interrupt.came();
        let runs = if args.shrink_for.is_some() { u64::MAX } else { SHRINK_RUNS };
        let budget = Budget { runs, go_on: &mut go_on };
        let trouble = Trouble::default();
        let run = |plan: &Plan, options| trouble.run(engine, plan, options);
        kept.push(failure::keep(engine, &run, &plan, found, &args.out, budget)?);
    }
    Ok(kept)
}

/// What is to be said of a plan that may not be the smallest one.
pub(super) fn cut_short(shrunk: &Shrunk) -> &'static str {
    if shrunk.minimal {
        ""
    } else if shrunk.reproduced || shrunk.runs == 0 {
        "  shrinking was cut short, a smaller plan may do: `--shrink-for 5m` gives it more time\n"
    } else {
        "  it did not fail again, so nothing was taken out\n"
    }
}

struct Report<'a> {
    args: &'a ExploreArgs,
    file: &'a str,
    threads: usize,
    interrupted: bool,
    scenario: &'a Scenario,
    engine: Engine,
    summary: &'a Summary,
    took: Duration,
    kept: &'a [Kept],
}

impl Report<'_> {
    /// What no seed has reached, of what it could have, by name.
    fn missing(&self) -> Vec<&'static str> {
        let Self { summary, scenario, .. } = self;
        let engine = self.engine;
        let points = summary.never_fired(engine, scenario.nodes()).map(Point::name);
        // Plans of some mixes have no points at all.
        let has_points = self.args.faults != Mix::Parity;
        let points = points.filter(|_| has_points);
        summary.missing(scenario).map(Mark::name).chain(points).collect()
    }

    /// Where what is simulated has misbehaved, and how often.
    fn fired(&self) -> String {
        let fired = Point::ALL.iter().map(|point| (point, self.summary.fired.of(*point)));
        let fired: Vec<String> = fired
            .filter(|(_, times)| *times > 0)
            .map(|(point, times)| format!("{} {}", point.name(), thousands(times)))
            .collect();
        if fired.is_empty() {
            String::new()
        } else {
            format!("  buggified: {}\n", fired.join(", "))
        }
    }

    fn text(&self) -> String {
        let Self { file, threads, summary, took, .. } = self;
        let violations = usize::try_from(summary.violations).unwrap_or(usize::MAX);
        let verdict = match violations {
            0 => "every invariant held".to_owned(),
            _ => plural(violations, "violation"),
        };
        let stopped = if self.interrupted { ", interrupted" } else { "" };
        let missing = self.missing();
        let missing = if missing.is_empty() { "nothing".to_owned() } else { missing.join(", ") };
        let fired = self.fired();
        let seeds = usize::try_from(summary.seeds).unwrap_or(usize::MAX);
        let mut text = format!(
            "{file}: {}{stopped}: {verdict}\n  {} events, {} operations, {} faults injected; {} \
             simulated\n  {} on {}: {} seeds/s, {} events/s\n  digest {:016x}\n  never reached: \
             {missing}\n{fired}",
            plural(seeds, "seed"),
            thousands(summary.events),
            thousands(summary.operations),
            thousands(summary.faults),
            long(Duration::from_nanos(summary.simulated)),
            long(*took),
            plural(*threads, "thread"),
            short(per_second(summary.seeds, *took)),
            short(per_second(summary.events, *took)),
            summary.digest,
        );
        for found in &summary.found {
            let violation = trace::names(self.scenario, &found.violation.to_string());
            text += &format!("seed {}: {violation}\n", found.seed);
        }
        for kept in self.kept {
            let shrunk = &kept.shrunk;
            text += &format!(
                "{0}: shrunk to {1} in {2} runs and {3:.1}s\n{4}  to look at: {0}/timeline.html\n",
                kept.folder.display(),
                size_text(&shrunk.plan),
                thousands(shrunk.runs),
                kept.shrinking.as_secs_f64(),
                cut_short(shrunk),
            );
        }
        for kept in self.kept {
            text += &format!("{}\n", kept.replay());
        }
        text
    }

    fn json(&self) -> Value {
        let Self { args, file, threads, summary, took, .. } = self;
        let buggified: Map<String, Value> = Point::ALL
            .iter()
            .map(|point| (point.name().to_owned(), summary.fired.of(*point).into()))
            .collect();
        let found: Vec<Value> = summary
            .found
            .iter()
            .map(|found| {
                let violation = found.violation.named(self.scenario);
                json!({ "seed": found.seed, "violation": violation })
            })
            .collect();
        let failures: Vec<Value> = self
            .kept
            .iter()
            .map(|kept| {
                let (faults, operations, nodes) = kept.shrunk.plan.size();
                let scenario = &kept.shrunk.plan.scenario;
                let violation = kept.ran.violation.as_ref().map(|seen| seen.named(scenario));
                json!({
                    "folder": kept.folder.display().to_string(),
                    "violation": violation,
                    "minimal": kept.shrunk.minimal,
                    "faults": faults,
                    "operations": operations,
                    "nodes": nodes,
                    "shrink_runs": kept.shrunk.runs,
                    "shrink_seconds": kept.shrinking.as_secs_f64(),
                    "replay": kept.replay(),
                })
            })
            .collect();
        json!({
            "file": file,
            "from": args.from,
            "seeds": summary.seeds,
            "nodes": args.nodes,
            "mix": args.faults.word(),
            "threads": threads,
            "interrupted": self.interrupted,
            "events": summary.events,
            "records": summary.records,
            "operations": summary.operations,
            "faults_injected": summary.faults,
            "simulated_seconds": Duration::from_nanos(summary.simulated).as_secs_f64(),
            "seconds": took.as_secs_f64(),
            "events_per_second": per_second(summary.events, *took).round(),
            "seeds_per_second": per_second(summary.seeds, *took),
            "reruns": summary.reruns,
            "digest": format!("{:016x}", summary.digest),
            "violations": summary.violations,
            "found": found,
            "failures": failures,
            "sometimes_reached": summary.marks.reached().map(Mark::name).collect::<Vec<_>>(),
            "sometimes_missing": self.missing(),
            "buggified": buggified,
        })
    }
}
