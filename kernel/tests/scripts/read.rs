//! From words to the kernel's values.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::dynamic_supervisor::Budget;
use lictor_kernel::tree::{Body, Plan, PlannedChild};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Curve, ExitReason, Instant, Intensity,
    Jitter, Restart, Shutdown, Strategy, dynamic_supervisor, supervisor,
};

pub(crate) fn wrong<T>(what: &str, word: &str) -> Result<T, String> {
    Err(format!("{what} is not understood: '{word}'"))
}

/// `3s`, `100ms`, `20us`, `1ns`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let Ok(number) = digits.parse() else { return wrong("a duration", text) };
    match text.strip_prefix(digits) {
        Some("s") => Ok(Duration::from_secs(number)),
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("us") => Ok(Duration::from_micros(number)),
        Some("ns") => Ok(Duration::from_nanos(number)),
        Some(_) | None => wrong("a duration", text),
    }
}

/// A duration since the origin, `max`, or either with `+` or `-` a duration.
pub(crate) fn instant(text: &str) -> Result<Instant, String> {
    let base = |text: &str| match text {
        "max" => Ok(Instant::MAX),
        _ => duration(text).map(|duration| Instant::ZERO.saturating_add(duration)),
    };
    if let Some((start, more)) = text.split_once('+') {
        Ok(base(start)?.saturating_add(duration(more)?))
    } else if let Some((start, less)) = text.split_once('-') {
        Ok(base(start)?.saturating_sub(duration(less)?))
    } else {
        base(text)
    }
}

pub(crate) fn reason(word: &str) -> Result<ExitReason, String> {
    Ok(match word {
        "normal" => ExitReason::Normal,
        "shutdown" => ExitReason::Shutdown,
        "because" => ExitReason::ShutdownBecause,
        "killed" => ExitReason::Killed,
        "crashed" => ExitReason::Crashed,
        "noconnection" => ExitReason::NoConnection,
        "exhausted" => ExitReason::RestartsExhausted,
        _ => return wrong("an exit reason", word),
    })
}

pub(crate) fn shutdown(word: &str) -> Result<Shutdown, String> {
    Ok(match word {
        "brutal_kill" => Shutdown::BrutalKill,
        "infinity" => Shutdown::Infinity,
        _ => Shutdown::Timeout(duration(word)?),
    })
}

/// One word of a child's specification.
fn spec_word(spec: &mut ChildSpec, word: &str) -> Result<bool, String> {
    match word.split_once('=').unwrap_or((word, "")) {
        ("permanent", "") => spec.restart = Restart::Permanent,
        ("transient", "") => spec.restart = Restart::Transient,
        ("temporary", "") => spec.restart = Restart::Temporary,
        ("significant", "") => spec.significant = true,
        ("shutdown", how) => spec.shutdown = shutdown(how)?,
        ("start_timeout", timeout) => spec.start_timeout = Some(duration(timeout)?),
        _ => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn spec<'a>(
    mut spec: ChildSpec,
    words: impl Iterator<Item = &'a str>,
) -> Result<ChildSpec, String> {
    for word in words {
        if !spec_word(&mut spec, word)? {
            return wrong("a part of a child", word);
        }
    }
    Ok(spec)
}

/// How a supervisor of either kind works.
#[derive(Clone)]
struct Policy {
    fixed: supervisor::Config,
    dynamic: dynamic_supervisor::Config,
    intensity: Intensity,
    backoff: Backoff,
}

impl Policy {
    fn new() -> Self {
        Self {
            fixed: supervisor::Config::default(),
            dynamic: dynamic_supervisor::Config::default(),
            intensity: Intensity::default(),
            backoff: Backoff::NONE,
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "one_for_one" => self.fixed.strategy = Strategy::OneForOne,
            "one_for_all" => self.fixed.strategy = Strategy::OneForAll,
            "rest_for_one" => self.fixed.strategy = Strategy::RestForOne,
            "max_restarts" => self.intensity.max_restarts = number(value)?,
            "window" => self.intensity.period = duration(value)?,
            "backoff" => self.backoff = backoff(value)?,
            "jitter" => self.backoff.jitter = jitter(value)?,
            "stable_after" => self.backoff.stable_after = Some(duration(value)?),
            "exhausted" => {
                self.fixed.exhausted = reason(value)?;
                self.dynamic.exhausted = self.fixed.exhausted;
            }
            "auto_shutdown" => {
                self.fixed.auto_shutdown = auto_shutdown(value)?;
                self.dynamic.auto_shutdown = self.fixed.auto_shutdown;
            }
            "seed" => {
                self.fixed.seed = number(value)?;
                self.dynamic.seed = self.fixed.seed;
            }
            "max_children" => {
                self.fixed.max_children = number(value)?;
                self.dynamic.max_children = Some(self.fixed.max_children);
            }
            "max_total" => self.dynamic.max_total_spawns = Some(number(value)?),
            "max_per_spawner" => self.dynamic.max_children_per_spawner = Some(number(value)?),
            "max_total_per_spawner" => {
                self.dynamic.max_total_spawns_per_spawner = Some(number(value)?);
            }
            "shared_budget" => self.dynamic.budget = Budget::Shared,
            _ => return wrong("a part of a supervisor", word),
        }
        Ok(())
    }
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().or_else(|_| wrong("a number", text))
}

fn backoff(text: &str) -> Result<Backoff, String> {
    let mut parts = text.split(':');
    let curve = match parts.next() {
        Some("none") => return Ok(Backoff::NONE),
        Some("constant") => Curve::Constant,
        Some("linear") => Curve::Linear,
        Some("exponential") => Curve::Exponential,
        Some(_) | None => return wrong("a backoff", text),
    };
    let base = duration(parts.next().unwrap_or(""))?;
    let max = parts.next().map_or_else(|| Ok(Backoff::default().max), duration)?;
    Ok(Backoff { curve, base, max, ..Backoff::default() })
}

fn jitter(word: &str) -> Result<Jitter, String> {
    Ok(match word {
        "none" => Jitter::None,
        "quarter" => Jitter::Quarter,
        "full" => Jitter::Full,
        "decorrelated" => Jitter::Decorrelated,
        _ => return wrong("a jitter", word),
    })
}

fn auto_shutdown(word: &str) -> Result<AutoShutdown, String> {
    Ok(match word {
        "never" => AutoShutdown::Never,
        "any" => AutoShutdown::AnySignificant,
        "all" => AutoShutdown::AllSignificant,
        _ => return wrong("an auto_shutdown", word),
    })
}

/// Which name has which number. The last one of a name is the one that is meant.
#[derive(Default, Clone)]
pub(crate) struct Numbers(Vec<(ChildId, String)>);

impl Numbers {
    pub(crate) fn set(&mut self, id: ChildId, name: &str) {
        self.0.push((id, name.to_owned()));
    }

    /// The number of a name; a new name has the next number.
    pub(crate) fn number(&mut self, name: &str) -> ChildId {
        self.known(name).unwrap_or_else(|_| {
            let id = ChildId(u32::try_from(self.0.len()).expect("few names"));
            self.set(id, name);
            id
        })
    }

    pub(crate) fn known(&self, name: &str) -> Result<ChildId, String> {
        let found = self.0.iter().rev().find(|(_, other)| other == name);
        found.map_or_else(|| wrong("a name", name), |(id, _)| Ok(*id))
    }

    pub(crate) fn name(&self, id: ChildId) -> &str {
        self.0.iter().find(|(other, _)| *other == id).map_or("unknown", |(_, name)| name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (ChildId, &str)> {
        self.0.iter().map(|(id, name)| (*id, name.as_str()))
    }
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The plan of a supervisor whose first line, without its name, has these `words`; the lines that
/// are deeper than `level` are its children, and are taken from `lines`.
pub(crate) fn plan(
    kind: &str,
    words: &[&str],
    level: usize,
    lines: &mut &[String],
    numbers: &mut Numbers,
) -> Result<(Plan, ChildSpec), String> {
    let mut policy = Policy::new();
    let mut spec = ChildSpec::supervisor();
    for word in words {
        if !spec_word(&mut spec, word)? {
            policy.word(word)?;
        }
    }
    let Policy { fixed, dynamic, intensity, backoff } = policy;
    if kind == "dynamic" {
        let config = dynamic_supervisor::Config { intensity, backoff, ..dynamic };
        return Ok((Plan::Dynamic(config), spec));
    }
    let mut children = Vec::new();
    while let Some((line, rest)) = lines.split_first().filter(|(line, _)| depth(line) > level) {
        *lines = rest;
        children.push(planned_child(line, lines, numbers)?);
    }
    let config = supervisor::Config { intensity, backoff, ..fixed };
    Ok((Plan::Static { config, children }, spec))
}

fn planned_child(
    line: &str,
    lines: &mut &[String],
    numbers: &mut Numbers,
) -> Result<PlannedChild, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, name, words @ ..] = words.as_slice() else { return wrong("a child", line) };
    let id = numbers.number(name);
    if *kind == "child" {
        let mut words = words.to_vec();
        let kind = match words.iter().position(|word| *word == "supervises") {
            Some(at) => {
                words.remove(at);
                ChildKind::Supervisor
            }
            None => ChildKind::Worker,
        };
        let spec = spec(ChildSpec { kind, ..ChildSpec::worker() }, words.into_iter())?;
        return Ok(PlannedChild { id, spec, body: Body::Worker });
    }
    let (plan, spec) = plan(kind, words, depth(line), lines, numbers)?;
    Ok(PlannedChild { id, spec, body: Body::Supervisor(Arc::new(plan)) })
}
