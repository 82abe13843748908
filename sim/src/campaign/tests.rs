use super::*;
use crate::plan::Mix;

const TREE: &[u8] = b"supervision: {children: [{agent: {name: a, type: t}}]}";

fn campaign(seeds: u64, threads: usize) -> Campaign {
    let topology = lictor_topology::parse("t.yaml", TREE, &lictor_topology::Options::default());
    let scenario = Arc::new(Scenario::new(topology.unwrap(), 1).unwrap());
    let profile = Profile { operations: 1..=5, ..Profile::new(Mix::Swarm) };
    let threads = NonZeroUsize::new(threads).unwrap();
    Campaign { threads, ..Campaign::new(scenario, profile, seeds) }
}

/// An engine that takes a different time for each plan, and fails as it is told.
fn engine(fails: impl Fn(u64) -> bool + Sync) -> impl Fn(&Plan, Options) -> Outcome + Sync {
    move |plan, _| {
        let mut digest = Digest::default();
        for word in 0..plan.seed % 97 * 50 {
            digest.word(word ^ plan.seed);
        }
        let mut marks = Marks::default();
        marks.reach(Mark::ALL[usize::try_from(plan.seed % 3).unwrap()]);
        let violation = fails(plan.seed).then(|| Violation {
            invariant: "S1",
            at: Instant::ZERO,
            node: NodeIx(0),
            text: format!("seed {}", plan.seed),
            record: 0,
        });
        Outcome {
            digest: digest.value(),
            events: 10,
            records: 20,
            faults: 1,
            violation,
            marks,
            fired: Fired::default(),
            trace: Vec::new(),
            ended: Instant::from_secs(1),
            cut_short: None,
        }
    }
}

fn on(threads: usize, fails: impl Fn(u64) -> bool + Sync) -> Summary {
    explore(&campaign(1_000, threads), &engine(fails), &mut |_| true)
}

#[test]
fn a_summary_does_not_depend_on_the_threads() {
    let one = on(1, |_| false);
    assert_eq!((one.seeds, one.events, one.faults, one.violations), (1_000, 10_000, 1_000, 0));
    assert_eq!(one.simulated, 1_000_000_000_000);
    let scenario = campaign(1, 1).scenario;
    let missing: Vec<Mark> = one.missing(&scenario).collect();
    let reachable = Mark::reachable(&scenario).filter(|mark| !one.marks.has(*mark));
    assert_eq!(missing, reachable.collect::<Vec<_>>());
    for threads in [2, 3, 8] {
        assert_eq!(on(threads, |_| false), one);
    }
}

#[test]
fn the_first_violation_by_seed_ends_it_whoever_finds_it() {
    let fails = |seed: u64| seed >= 400 && seed.is_multiple_of(7);
    let one = on(1, fails);
    assert_eq!((one.seeds, one.violations), (407, 1));
    assert_eq!(one.found[0].seed, 406);
    for threads in [2, 5] {
        assert_eq!(on(threads, fails), one);
    }
}

#[test]
fn all_violations_are_counted_and_the_first_kept() {
    let mut campaign = campaign(1_000, 4);
    campaign.stop_at_first = false;
    campaign.keep = 3;
    campaign.from = 5;
    let summary = explore(&campaign, &engine(|seed| seed % 10 == 9), &mut |_| true);
    assert_eq!((summary.seeds, summary.violations), (1_000, 100));
    let seeds: Vec<u64> = summary.found.iter().map(|found| found.seed).collect();
    assert_eq!(seeds, [9, 19, 29]);
}

#[test]
fn who_stops_it_gets_the_seeds_so_far() {
    let whole = on(1, |_| false);
    let mut calls = 0;
    let part = explore(&campaign(1_000, 3), &engine(|_| false), &mut |progress| {
        calls += 1;
        progress.seeds < 100
    });
    assert!(calls > 0 && part.seeds < whole.seeds, "{} seeds", part.seeds);
    assert!(part.violations == 0 && part.events == part.seeds * 10);
}

#[test]
fn an_engine_that_is_not_deterministic_is_found() {
    // The second run of the 65th seed, which is run again as the first one is: both runs of it that
    // follow, or only the one on the other queue.
    for wrong in [&[Queue::Heap, Queue::Calendar][..], &[Queue::Calendar]] {
        let count = AtomicU64::new(0);
        let run = |plan: &Plan, options: Options| {
            let mut outcome = engine(|_| false)(plan, options);
            let again = plan.seed == 64 && count.fetch_add(1, Ordering::Relaxed) > 0;
            outcome.digest ^= u64::from(again && wrong.contains(&options.queue));
            outcome
        };
        let summary = explore(&campaign(1_000, 1), &run, &mut |_| true);
        assert_eq!((summary.found[0].seed, summary.seeds, summary.reruns), (64, 65, 2));
        assert_eq!(summary.found[0].violation.invariant, "S14");
    }
    assert_eq!(on(2, |_| false).reruns, 16);
}

#[test]
fn the_last_seed_there_is_ends_a_campaign() {
    let mut campaign = campaign(1_000, 2);
    campaign.from = u64::MAX - 3;
    let summary = explore(&campaign, &engine(|_| false), &mut |_| true);
    assert_eq!(summary.seeds, 4);
}
