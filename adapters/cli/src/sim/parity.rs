//! `lictor sim parity`: whether engines agree.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_sim::engine::Engine;
use lictor_sim::parity::{self, Verdict};
use lictor_sim::scenario::Scenario;
use lictor_sim::trace::names;
use serde_json::{Value, json};

use super::interrupt::Interrupt;
use super::meter::{Meter, long, per_second, plural, short, thousands};
use super::{EngineArg, nodes, threads};
use crate::source::Source;
use crate::{Outcome, output};

/// How many disagreements are shown and kept.
const SHOWN: usize = 5;

/// Runs the same plans on several engines, and compares what every supervisor decided, which agent
/// got which message, how every question ended and who was seen where.
///
/// Each seed makes a plan in which nothing happens at nearly the same time as something else: which
/// of two such things comes first is nobody's rule. Engines are compared modulo time.
///
/// What follows from a plan may still meet, such as a crash of one child and a start of another. A
/// seed on which engines differ, and the kernel's world as well when all takes a trifle longer, is
/// not compared, and is counted.
///
/// Exits with 1 if two engines differ, or an invariant does not hold on one of them; the plan is
/// kept then.
#[derive(Debug, clap::Args)]
pub(crate) struct ParityArgs {
    /// The topology file; `-` is standard input.
    file: PathBuf,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 200,
        value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Over how many nodes the children of the root are dealt out.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes)]
    nodes: usize,
    /// Which engines, separated by commas; all that this program has by default.
    #[arg(long, value_enum, value_name = "ENGINES", value_delimiter = ',')]
    engines: Vec<EngineArg>,
    /// On how many threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// Where plans on which engines differ are kept.
    #[arg(long, value_name = "DIR", default_value = "sim-failures")]
    out: PathBuf,
    /// Writes the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl ParityArgs {
    /// The engines; `None` if it has said what is wrong.
    fn engines(&self) -> Option<Vec<Engine>> {
        if self.engines.is_empty() {
            let all = Engine::ALL.iter().copied();
            return Some(all.filter(|engine| engine.is_built_in().is_ok()).collect());
        }
        let mut engines: Vec<Engine> = Vec::new();
        for engine in &self.engines {
            let engine = engine.built_in()?;
            if !engines.contains(&engine) {
                engines.push(engine);
            }
        }
        if engines.len() < 2 {
            output::complain("error: one engine has nothing to be compared with\n");
            return None;
        }
        Some(engines)
    }
}

/// What a seed came to, if not to agreement.
struct Bad {
    seed: u64,
    text: String,
    plan: String,
}

/// What all seeds came to.
#[derive(Default)]
struct Summary {
    seeds: u64,
    steps: u64,
    /// Seeds that say nothing.
    meet: u64,
    bad: Vec<Bad>,
}

pub(super) fn parity(args: &ParityArgs) -> Outcome {
    let Some(engines) = args.engines() else { return Outcome::BadInput };
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
    let interrupt = Interrupt::listen();
    let (summary, took) = compare(args, &scenario, &engines, &interrupt);
    let kept = keep(args, &summary);
    let words: Vec<&str> = engines.iter().map(|engine| engine.word()).collect();
    let text = if args.json {
        json(args, &source.file, &words, &summary, took).to_string() + "\n"
    } else {
        text(args, &source.file, &words, &summary, took, &kept)
    };
    if output::print(&text).is_err() || !summary.bad.is_empty() {
        return Outcome::Failed;
    }
    Outcome::Clean
}

/// Compares all seeds, on several threads.
fn compare(
    args: &ParityArgs,
    scenario: &Arc<Scenario>,
    engines: &[Engine],
    interrupt: &Interrupt,
) -> (Summary, Duration) {
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let locked = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = std::thread::available_parallelism();
    let threads = args.threads.or_else(|| cores.ok()).map_or(1, NonZeroUsize::get);
    let mut meter = Meter::new();
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= args.seeds || interrupt.came() {
                    return;
                }
                let one = one(scenario, args.from.wrapping_add(n), engines);
                let mut summary = locked();
                summary.seeds += 1;
                match one {
                    Ok(Some(steps)) => summary.steps += steps as u64,
                    Ok(None) => summary.meet += 1,
                    Err(bad) => summary.bad.push(bad),
                }
            }
        };
        let others: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while others.iter().any(|other| !other.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            meter.show(|elapsed| {
                let summary = locked();
                let rate = short(per_second(summary.seeds, elapsed));
                let (done, bad) = (thousands(summary.seeds), summary.bad.len());
                let all = thousands(args.seeds);
                format!("{done} of {all} seeds, {rate} seeds/s, {bad} differ")
            });
        }
    });
    let took = meter.end();
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.bad.sort_by_key(|bad| bad.seed);
    (summary, took)
}

/// On how many steps the engines agree, on the plan of a seed; `None` where things meet.
fn one(scenario: &Arc<Scenario>, seed: u64, engines: &[Engine]) -> Result<Option<usize>, Bad> {
    let plan = parity::plan(scenario, seed, engines);
    let text = match parity::check(&plan, engines) {
        Ok(Verdict::Same(steps)) => return Ok(Some(steps)),
        Ok(Verdict::Meets) => return Ok(None),
        Ok(Verdict::Differs(first, second, difference)) => {
            difference.text(&plan, first.word(), second.word())
        }
        Ok(Verdict::Violates(engine, violation)) => {
            let text = names(scenario, &violation.to_string());
            format!("{} violates {text}", engine.word())
        }
        Ok(_) => "an engine came to something else".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Bad { seed, text, plan: plan.to_yaml() })
}

/// Keeps the plans on which engines differ; where the first of them are.
fn keep(args: &ParityArgs, summary: &Summary) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for bad in summary.bad.iter().take(SHOWN) {
        let file = args.out.join(format!("parity-seed-{}.yaml", bad.seed));
        let written =
            std::fs::create_dir_all(&args.out).and_then(|()| std::fs::write(&file, &bad.plan));
        match written {
            Ok(()) => kept.push(file),
            Err(error) => {
                let file = file.display();
                output::complain(&format!("error: cannot write {file}: {error}\n"));
            }
        }
    }
    kept
}

fn text(
    args: &ParityArgs,
    file: &str,
    engines: &[&str],
    summary: &Summary,
    took: Duration,
    kept: &[PathBuf],
) -> String {
    let (last, others) = engines.split_last().unwrap_or((&"", &[]));
    let engines = format!("{} and {last}", others.join(", "));
    let (seeds, steps) = (thousands(summary.seeds), thousands(summary.steps));
    let nodes = plural(args.nodes, "node");
    let mut text = if summary.bad.is_empty() {
        format!("{file} on {nodes}: {engines} agree\n")
    } else {
        format!("{file} on {nodes}: {engines} differ on {} seeds\n", summary.bad.len())
    };
    text += &format!(
        "  {seeds} seeds, {steps} steps of supervisors, agents, questions and views, in {} ({} \
         seeds/s)\n",
        long(took),
        short(per_second(summary.seeds, took))
    );
    if summary.meet > 0 {
        let meet = plural(usize::try_from(summary.meet).unwrap_or(usize::MAX), "seed");
        text += &format!("  {meet} not compared: what follows from their plans meets\n");
    }
    for (bad, file) in summary.bad.iter().zip(kept) {
        text += &format!("seed {}: {}\n  kept as {}\n", bad.seed, bad.text, file.display());
    }
    if summary.bad.len() > SHOWN {
        text += &format!("and {} more\n", summary.bad.len() - SHOWN);
    }
    text
}

fn json(
    args: &ParityArgs,
    file: &str,
    engines: &[&str],
    summary: &Summary,
    took: Duration,
) -> Value {
    let bad: Vec<Value> =
        summary.bad.iter().map(|bad| json!({ "seed": bad.seed, "difference": bad.text })).collect();
    json!({
        "file": file,
        "nodes": args.nodes,
        "engines": engines,
        "from": args.from,
        "seeds": summary.seeds,
        "steps": summary.steps,
        "not_compared": summary.meet,
        "differ": bad.len(),
        "found": bad,
        "seconds": took.as_secs_f64(),
    })
}
