//! Looking names up: one thread and two, few names and many, beside one locked map of std's.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor_kernel::Prng;
use lictor_runtime::directory::Directory;

fn filled(names: usize) -> (Arc<Directory<u64>>, Vec<String>) {
    let directory = Arc::new(Directory::new());
    let mut all: Vec<_> = (0..names).map(|number| format!("agent.worker-{number}")).collect();
    for (number, name) in (0..).zip(&all) {
        let free = directory.insert(name.as_str().into(), Arc::new(number));
        assert!(free.is_ok(), "the names differ");
    }
    // In an order that the caches cannot guess.
    let mut prng = Prng::new(1);
    for at in (1..all.len()).rev() {
        let other = prng.below(at as u64 + 1);
        all.swap(at, usize::try_from(other).unwrap_or(0));
    }
    (directory, all)
}

/// The time in which each of `threads` threads looks up `lookups / threads` names.
fn look_up(
    get: &(impl Fn(&str) -> Option<Arc<u64>> + Sync),
    names: &[String],
    threads: u64,
    lookups: u64,
) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let skip = names.len() / 2 * usize::try_from(thread).unwrap_or(0);
            let share = usize::try_from(lookups / threads).unwrap_or(usize::MAX);
            scope.spawn(move || {
                for name in names.iter().cycle().skip(skip).take(share) {
                    black_box(get(name));
                }
            });
        }
    });
    start.elapsed()
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory_get");
    group.throughput(Throughput::Elements(1));
    for count in [1_000, 100_000] {
        let (directory, names) = filled(count);
        let pairs = directory.snapshot().into_iter();
        let bare: RwLock<HashMap<String, Arc<u64>>> =
            RwLock::new(pairs.map(|(name, value)| (name.to_string(), value)).collect());
        let ours = |name: &str| directory.get(name);
        let bare = |name: &str| bare.read().ok()?.get(name).cloned();
        for threads in [1, 2] {
            group.bench_function(format!("{count}_names/{threads}_threads/lictor"), |bencher| {
                bencher.iter_custom(|lookups| look_up(&ours, &names, threads, lookups));
            });
            group.bench_function(format!("{count}_names/{threads}_threads/std_map"), |bencher| {
                bencher.iter_custom(|lookups| look_up(&bare, &names, threads, lookups));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
