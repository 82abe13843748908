//! A scenario as it is written in the first line of a trace file.

use core::time::Duration;
use std::rc::Rc;

use lictor_kernel::{AutoShutdown, Restart, Shutdown, Strategy};
use serde_json::{Map, Value, json};

/// What is to be done to which tree.
#[derive(Debug)]
pub struct Scenario {
    /// Its name; for printing only.
    pub name: String,
    /// Nominal milliseconds at its beginning.
    pub t0: u64,
    /// Plans set before the tree starts.
    pub pre: Vec<Planned>,
    /// The root.
    pub tree: Rc<Child>,
    /// What happens to it.
    pub steps: Vec<(Value, Step)>,
}

/// The next `count` starts of `id` have this outcome.
#[derive(Debug)]
pub struct Planned {
    /// Whose starts.
    pub id: String,
    /// What they come to.
    pub outcome: Outcome,
    /// How many of them.
    pub count: u64,
}

/// What a start comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A process.
    Started,
    /// Nothing, contentedly.
    Ignored,
    /// `{error, fail}`.
    Failed,
}

/// One child, worker or supervisor.
#[derive(Debug)]
pub struct Child {
    /// Its id, unique in the whole tree.
    pub id: String,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped. A millisecond of the scenario is a nanosecond here.
    pub shutdown: Shutdown,
    /// Whether it is significant.
    pub significant: bool,
    /// What runs there.
    pub body: Body,
}

/// What runs as a child.
#[derive(Debug)]
pub enum Body {
    /// A worker and how it answers to `shutdown`.
    Worker(Answer),
    /// A supervisor.
    Sup(Sup),
}

/// How a worker answers when it is told to shut down.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Exits at once, with this reason.
    Exit(Value),
    /// Not at all.
    Never,
    /// Exits with `shutdown` after so many milliseconds.
    After(u64),
}

/// A supervisor.
#[derive(Debug)]
pub struct Sup {
    /// Which sort.
    pub kind: Kind,
    /// Restarts allowed.
    pub intensity: i64,
    /// Within so many seconds.
    pub period: i64,
    /// Whether significant children end it.
    pub auto_shutdown: AutoShutdown,
}

/// The sorts of supervisors.
#[derive(Debug)]
pub enum Kind {
    /// With an ordered list of children.
    Static(Strategy, Vec<Rc<Child>>),
    /// `simple_one_for_one` with its template.
    Simple(Rc<Child>),
    /// Elixir's `DynamicSupervisor` and its `max_children`.
    Dynamic(Option<u32>),
}

/// One step.
#[derive(Debug)]
pub enum Step {
    /// Sets a plan.
    Plan(Planned),
    /// Lets milliseconds pass.
    Sleep(u64),
    /// A worker ends by itself.
    Exit(String, Value),
    /// A request to a supervisor.
    Call(String, Call),
    /// All in one supervisor's mailbox before it handles the first.
    Burst(String, Vec<Self>),
    /// The root is told to stop.
    StopRoot(String),
}

/// A request to a supervisor.
#[derive(Clone, Debug)]
pub enum Call {
    /// `start_child`.
    Start(Rc<Child>),
    /// `terminate_child`.
    Terminate(String),
    /// `delete_child`.
    Delete(String),
    /// `restart_child`.
    Restart(String),
    /// `which_children`.
    Which,
    /// `count_children`.
    Count,
}

impl Scenario {
    /// Reads the scenario line.
    ///
    /// # Errors
    /// Says which part is not as it should be.
    pub fn read(line: &Value) -> Result<Self, String> {
        let fields = object(line, "the scenario")?;
        if text(fields, "ev", "the scenario")? != "scenario" {
            return Err("the first line must be the scenario".to_owned());
        }
        let steps = list(required(fields, "steps", "the scenario")?, "steps")?;
        let pre = fields.get("pre").map_or(Ok(&[][..]), |pre| list(pre, "pre"))?;
        let tree = Child::read(required(fields, "tree", "the scenario")?, "tree")?;
        if !matches!(tree.body, Body::Sup(_)) {
            return Err("tree: the root must be a supervisor".to_owned());
        }
        Ok(Self {
            name: text(fields, "name", "the scenario")?.to_owned(),
            t0: natural(required(fields, "t0", "the scenario")?, "t0")?,
            pre: each(pre, "pre", |step, at| {
                let Step::Plan(plan) = Step::read(step, at)? else {
                    return Err(format!("{at}: only plans can be set before the start"));
                };
                Ok(plan)
            })?,
            tree: Rc::new(tree),
            steps: each(steps, "steps", |step, at| Ok((step.clone(), Step::read(step, at)?)))?,
        })
    }
}

impl Child {
    fn read(value: &Value, at: &str) -> Result<Self, String> {
        let fields = object(value, at)?;
        let body = match fields.contains_key("strategy") {
            true => Body::Sup(Sup::read(fields, at)?),
            false => Body::Worker(answer(fields.get("stop"), at)?),
        };
        let shutdown = match fields.get("shutdown") {
            None => match &body {
                Body::Sup(_) => Shutdown::Infinity,
                Body::Worker(_) => Shutdown::Timeout(Duration::from_nanos(5000)),
            },
            Some(Value::String(s)) if s == "brutal_kill" => Shutdown::BrutalKill,
            Some(Value::String(s)) if s == "infinity" => Shutdown::Infinity,
            Some(ms) => {
                Shutdown::Timeout(Duration::from_nanos(natural(ms, &format!("{at}.shutdown"))?))
            }
        };
        let restart = match optional_text(fields, "restart", at)?.unwrap_or("permanent") {
            "permanent" => Restart::Permanent,
            "transient" => Restart::Transient,
            "temporary" => Restart::Temporary,
            other => return Err(format!("{at}.restart: unknown restart type {other:?}")),
        };
        let significant = match fields.get("significant") {
            None => false,
            Some(Value::Bool(significant)) => *significant,
            Some(_) => return Err(format!("{at}.significant: expected true or false")),
        };
        let id = text(fields, "id", at)?.to_owned();
        Ok(Self { id, restart, shutdown, significant, body })
    }
}

impl Sup {
    fn read(fields: &Map<String, Value>, at: &str) -> Result<Self, String> {
        let none = Value::Array(Vec::new());
        let path = format!("{at}.children");
        let children = list(fields.get("children").unwrap_or(&none), &path)?;
        let mut children = each(children, &path, |child, at| Child::read(child, at).map(Rc::new))?;
        let strategy = text(fields, "strategy", at)?;
        let dynamic = strategy == "dynamic";
        let kind = match strategy {
            "one_for_one" => Kind::Static(Strategy::OneForOne, children),
            "one_for_all" => Kind::Static(Strategy::OneForAll, children),
            "rest_for_one" => Kind::Static(Strategy::RestForOne, children),
            "simple_one_for_one" => match (children.pop(), children.is_empty()) {
                (Some(template), true) => Kind::Simple(template),
                _ => return Err(format!("{path}: simple_one_for_one has one template")),
            },
            "dynamic" if !children.is_empty() => {
                return Err(format!("{path}: a dynamic supervisor starts empty"));
            }
            "dynamic" => Kind::Dynamic(max_children(fields, at)?),
            other => return Err(format!("{at}.strategy: unknown strategy {other:?}")),
        };
        let (restarts, seconds) = match dynamic {
            true => (("max_restarts", 3), ("max_seconds", 5)),
            false => (("intensity", 1), ("period", 5)),
        };
        let number = |(key, default): (&str, i64)| match fields.get(key) {
            None => Ok(default),
            Some(n) => n.as_i64().ok_or_else(|| format!("{at}.{key}: expected a whole number")),
        };
        let rule = optional_text(fields, "auto_shutdown", at)?.unwrap_or("never");
        let auto_shutdown = match rule {
            "never" => AutoShutdown::Never,
            "any_significant" => AutoShutdown::AnySignificant,
            "all_significant" => AutoShutdown::AllSignificant,
            other => return Err(format!("{at}.auto_shutdown: unknown rule {other:?}")),
        };
        Ok(Self { kind, intensity: number(restarts)?, period: number(seconds)?, auto_shutdown })
    }

    /// Why OTP refuses to start this supervisor, if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<Value> {
        if self.intensity < 0 {
            return Some(json!(["supervisor_data", ["invalid_intensity", self.intensity]]));
        }
        if self.period <= 0 {
            return Some(json!(["supervisor_data", ["invalid_period", self.period]]));
        }
        let children = match &self.kind {
            Kind::Static(_, children) => children.as_slice(),
            Kind::Simple(template) => core::slice::from_ref(template),
            Kind::Dynamic(_) => &[],
        };
        let mut seen = Vec::new();
        for child in children {
            if let Some(why) = bad_combination(child, self.auto_shutdown) {
                return Some(json!(["start_spec", why]));
            }
            if seen.contains(&&child.id) {
                return Some(json!(["start_spec", ["duplicate_child_name", child.id]]));
            }
            seen.push(&child.id);
        }
        None
    }
}

/// Why OTP refuses a significant child under this rule, if it does.
#[must_use]
pub fn bad_combination(child: &Child, rule: AutoShutdown) -> Option<Value> {
    let with = match (rule, child.restart) {
        _ if !child.significant => return None,
        (AutoShutdown::Never, _) => json!(["auto_shutdown", "never"]),
        (_, Restart::Permanent) => json!(["restart", "permanent"]),
        _ => return None,
    };
    Some(json!(["bad_combination", [with, ["significant", true]]]))
}

impl Step {
    fn read(value: &Value, at: &str) -> Result<Self, String> {
        let parts = list(value, at)?;
        let name = parts.first().and_then(Value::as_str);
        let Some(name) = name else { return Err(format!("{at}: a step begins with its name")) };
        let arity = |n: usize| match parts.len() == n + 1 {
            true => Ok(()),
            false => Err(format!("{at}: {name} takes {n} arguments, not {}", parts.len() - 1)),
        };
        let word = |n: usize| {
            let word = parts.get(n).and_then(Value::as_str).map(str::to_owned);
            word.ok_or_else(|| format!("{at}[{n}]: expected an id"))
        };
        let part = |n: usize| parts.get(n).ok_or_else(|| format!("{at}[{n}]: missing"));
        let call = |call: Call| Ok(Self::Call(word(1)?, call));
        match name {
            "fail_next" | "ignore_next" | "ok_next" => {
                arity(2)?;
                let outcome = match name {
                    "fail_next" => Outcome::Failed,
                    "ignore_next" => Outcome::Ignored,
                    _ => Outcome::Started,
                };
                let count = natural(part(2)?, at)?;
                Ok(Self::Plan(Planned { id: word(1)?, outcome, count }))
            }
            "sleep" => arity(1).and_then(|()| Ok(Self::Sleep(natural(part(1)?, at)?))),
            "exit" => arity(2).and_then(|()| Ok(Self::Exit(word(1)?, part(2)?.clone()))),
            "start_child" => {
                arity(2)?;
                let child = Child::read(part(2)?, &format!("{at}[2]"))?;
                call(Call::Start(Rc::new(child)))
            }
            "terminate_child" => arity(2).and_then(|()| call(Call::Terminate(word(2)?))),
            "delete_child" => arity(2).and_then(|()| call(Call::Delete(word(2)?))),
            "restart_child" => arity(2).and_then(|()| call(Call::Restart(word(2)?))),
            "which_children" => arity(1).and_then(|()| call(Call::Which)),
            "count_children" => arity(1).and_then(|()| call(Call::Count)),
            "stop_root" => arity(1).and_then(|()| Ok(Self::StopRoot(word(1)?))),
            "burst" => {
                arity(2)?;
                let path = format!("{at}[2]");
                let items = each(list(part(2)?, &path)?, &path, Self::read_queued)?;
                Ok(Self::Burst(word(1)?, items))
            }
            other => Err(format!("{at}: unknown step {other:?}")),
        }
    }

    fn read_queued(value: &Value, at: &str) -> Result<Self, String> {
        match Self::read(value, at)? {
            step @ (Self::Plan(_) | Self::Exit(..) | Self::Call(..)) => Ok(step),
            Self::Sleep(_) | Self::Burst(..) | Self::StopRoot(_) => {
                Err(format!("{at}: this step cannot be queued"))
            }
        }
    }
}

fn answer(stop: Option<&Value>, at: &str) -> Result<Answer, String> {
    let shutdown = || Answer::Exit(json!("shutdown"));
    let Some(stop) = stop else { return Ok(shutdown()) };
    let at = format!("{at}.stop");
    match (stop.as_str(), stop.as_array().map(Vec::as_slice)) {
        (Some("normal"), _) => Ok(shutdown()),
        (Some("stubborn"), _) => Ok(Answer::Never),
        (_, Some([Value::String(s), ms])) if s == "slow" => natural(ms, &at).map(Answer::After),
        (_, Some([Value::String(s), reason])) if s == "exits" => Ok(Answer::Exit(reason.clone())),
        _ => Err(format!("{at}: unknown way to stop {stop}")),
    }
}

fn max_children(fields: &Map<String, Value>, at: &str) -> Result<Option<u32>, String> {
    match fields.get("max_children") {
        None => Ok(None),
        Some(Value::String(s)) if s == "infinity" => Ok(None),
        Some(n) => {
            let at = format!("{at}.max_children");
            let n = natural(n, &at)?;
            u32::try_from(n).map(Some).map_err(|_| format!("{at}: too large"))
        }
    }
}

fn each<T>(
    values: &[Value],
    at: &str,
    read: impl Fn(&Value, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    values.iter().enumerate().map(|(n, value)| read(value, &format!("{at}[{n}]"))).collect()
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{at}: expected an object"))
}

fn list<'a>(value: &'a Value, at: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{at}: expected a list"))
}

fn natural(value: &Value, at: &str) -> Result<u64, String> {
    // Bounded, so that no sum of them overflows.
    let number = value.as_u64().filter(|n| *n <= 1 << 40);
    number.ok_or_else(|| format!("{at}: expected a whole number from 0 to 2^40"))
}

fn required<'a>(fields: &'a Map<String, Value>, key: &str, at: &str) -> Result<&'a Value, String> {
    fields.get(key).ok_or_else(|| format!("{at}: {key:?} is missing"))
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str, at: &str) -> Result<&'a str, String> {
    let text = required(fields, key, at)?.as_str();
    text.ok_or_else(|| format!("{at}.{key}: expected a text"))
}

fn optional_text<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
    at: &str,
) -> Result<Option<&'a str>, String> {
    fields.contains_key(key).then(|| text(fields, key, at)).transpose()
}
