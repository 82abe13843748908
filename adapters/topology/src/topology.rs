//! The file and its supervisors.

use lictor_kernel::{
    AutoShutdown, Backoff, ChildSpec, Curve, Intensity, Jitter, Restart, Shutdown, Strategy,
};

use crate::fields::{Field, Fields, Schema};
use crate::model::{Origin, SupervisorNode, Topology};
use crate::policy::{AUTO_SHUTDOWNS, CURVES, JITTERS, RESTARTS, STRATEGIES};
use crate::reader::Reader;
use crate::suggest::nearest;
use crate::tree::{Entry, Item, Span};

const FILE: Schema = Schema {
    owner: "a topology file",
    keys: &["supervision", "supervisor", "transport", "processes", "security"],
    refused: &[("plugins", LATER), ("mcp", LATER), ("audit", LATER), ("presidium", LATER)],
};

const LATER: &str = "remove the block; nothing in it would take effect";

const SUPERVISOR: Schema = Schema {
    owner: "a supervisor",
    keys: &[
        "name",
        "strategy",
        "max_restarts",
        "restart_window",
        "backoff",
        "backoff_base",
        "backoff_max",
        "jitter",
        "stable_after",
        "auto_shutdown",
        "children",
        "restart",
        "shutdown",
        "significant",
        "start_timeout",
    ],
    refused: &[("process", "supervisors decide in the process of the tree; place their agents")],
};

/// What only a supervised node may say.
const CHILD_KEYS: [&str; 4] = ["restart", "shutdown", "significant", "start_timeout"];

/// Where a node hangs.
#[derive(Clone, Copy)]
pub(crate) enum Parent {
    /// Nowhere.
    None,
    /// Under a supervisor with this `auto_shutdown`, if that was valid.
    Supervisor(Option<AutoShutdown>),
}

impl<'a> Reader<'a> {
    /// Reads the whole file. The result is only good if nothing was reported as an error.
    pub(crate) fn topology(&mut self) -> Option<Topology> {
        let start = Span { line: 1, column: 1, end: 2 };
        self.topology_at(self.tree.root, start)
    }

    /// A topology inside another document: the mapping that a topology file holds. `at` is where it
    /// is announced. Once per document: its names are one namespace.
    pub fn topology_at(&mut self, item: Item, at: Span) -> Option<Topology> {
        let fields = self.fields(item, at, &FILE)?;
        let transport = self.transport(&fields);
        self.strangers(&fields);
        let security = self.nullable(&fields, "security", |reader, item| reader.security(item));
        let both = self.conflict(&fields, "supervision", "supervisor");
        let key = if fields.get("supervision").is_some() { "supervision" } else { "supervisor" };
        let Some(entry) = fields.get(key) else {
            self.missing(&fields, "supervision");
            return None;
        };
        let read = |reader: &mut Self| reader.supervisor(entry, Parent::None);
        let root = self.under_key(&entry.key, read).filter(|_| !both);
        self.dangling();
        let processes = self.processes(&fields);
        Some(Topology { root: root?, transport, processes, security: security.or_default() })
    }

    /// Reads the supervisor that is the value of `entry`.
    pub(crate) fn supervisor(
        &mut self,
        entry: &'a Entry,
        parent: Parent,
    ) -> Option<SupervisorNode> {
        let fields = self.fields(entry.value, entry.key_span, &SUPERVISOR)?;
        let name = self.field(&fields, "name", |reader, item| reader.name(item, entry.key_span));
        let name = match (name, parent) {
            (Field::Absent, Parent::Supervisor(_)) => {
                self.missing(&fields, "name");
                ""
            }
            (Field::Absent, Parent::None) => {
                self.claim("root", entry.key_span, entry.key_span, "the root has this name");
                "root"
            }
            (Field::Set(name), _) => name,
            (Field::Bad, _) => "",
        };
        let strategy = self.strategy(&fields);
        let auto_shutdown =
            self.field(&fields, "auto_shutdown", |r, item| r.word(item, AUTO_SHUTDOWNS));
        let intensity = self.intensity(&fields);
        let backoff = self.backoff(&fields);
        let spec = match parent {
            Parent::None => {
                self.unsupervised(&fields);
                ChildSpec::supervisor()
            }
            Parent::Supervisor(_) => {
                let restart = self.field(&fields, "restart", |r, item| r.word(item, RESTARTS));
                let default = ChildSpec::supervisor();
                let spec = ChildSpec { restart: restart.or(default.restart), ..default };
                self.child_spec(&fields, spec, parent)
            }
        };
        let for_children = Parent::Supervisor(auto_shutdown.valid_or(AutoShutdown::Never));
        let children = match fields.get("children") {
            Some(Entry { key, value: item, .. }) => self.under_key(key, |reader| {
                let item = *item;
                let items = if reader.is_null(item) { &[] } else { reader.items(item)? };
                if items.is_empty() {
                    reader.empty_supervisor(item.span);
                }
                Some(reader.children(items, for_children))
            }),
            None => {
                if !fields.means("children") {
                    self.empty_supervisor(entry.key_span);
                }
                None
            }
        };
        Some(SupervisorNode {
            name: name.to_owned(),
            strategy,
            intensity,
            backoff,
            auto_shutdown: auto_shutdown.or_default(),
            spec,
            children: children.unwrap_or_default(),
            origin: origin(entry.key_span),
        })
    }

    /// `strategy`, by default one for one.
    pub fn strategy(&mut self, fields: &Fields<'a>) -> Strategy {
        self.field(fields, "strategy", |r, item| r.word(item, STRATEGIES)).or_default()
    }

    fn empty_supervisor(&mut self, span: Span) {
        let message = format_args!("a supervisor without children supervises nothing");
        if let Some(d) = self.error("empty-supervisor", span, message) {
            d.help("add `children:`, or remove the supervisor");
        }
    }

    fn unsupervised(&mut self, fields: &Fields<'a>) {
        for key in CHILD_KEYS {
            let Some(entry) = fields.get(key) else { continue };
            self.under_key(key, |reader| {
                let message = format_args!("`{key}` says nothing here: nobody supervises the root");
                if let Some(d) = reader.error("misplaced-key", entry.key_span, message) {
                    d.help("remove it, or give it to a supervisor below");
                }
            });
        }
    }

    /// `max_restarts` and `restart_window`, with the defaults of topology files.
    pub fn intensity(&mut self, fields: &Fields<'a>) -> Intensity {
        let default = Intensity::default();
        let max_restarts = self.field(fields, "max_restarts", |r, item| r.whole(item, 0, u32::MAX));
        let period = self.field(fields, "restart_window", |r, item| r.duration(item, false));
        Intensity {
            max_restarts: max_restarts.or(default.max_restarts),
            period: period.or(default.period),
        }
    }

    /// `backoff`, `backoff_base`, `backoff_max`, `jitter` and `stable_after`, with the defaults and
    /// the checks of topology files.
    pub fn backoff(&mut self, fields: &Fields<'a>) -> Backoff {
        let default = Backoff::default();
        let curve = self.field(fields, "backoff", |r, item| r.word(item, CURVES)).or_default();
        let base = self.field(fields, "backoff_base", |r, item| r.duration(item, true));
        let max = self.field(fields, "backoff_max", |r, item| r.duration(item, true));
        let jitter = self.field(fields, "jitter", |r, item| r.word(item, JITTERS));
        let stable = self.nullable(fields, "stable_after", |r, item| r.duration(item, false));
        if let (Some(base), Some(max)) = (base.valid_or(default.base), max.valid_or(default.max))
            && base > max
        {
            let key =
                if fields.get("backoff_base").is_some() { "backoff_base" } else { "backoff_max" };
            let message =
                format_args!("`backoff_base` ({base:?}) is above `backoff_max` ({max:?})");
            let span = fields.span(key);
            self.under_key(key, |r| {
                if let Some(d) = r.error("bad-combination", span, message) {
                    d.help("lower the base or raise the maximum");
                }
            });
        }
        if curve == Curve::None {
            let spreads = !matches!(jitter, Field::Set(Jitter::None));
            for key in ["backoff_base", "backoff_max", "jitter", "stable_after"] {
                if key != "jitter" || spreads {
                    self.no_effect(fields, key, "`backoff` is NONE");
                }
            }
            return Backoff::NONE;
        }
        let spread = if curve == Curve::Exponential { Jitter::Quarter } else { Jitter::None };
        Backoff {
            curve,
            base: base.or(default.base),
            max: max.or(default.max),
            jitter: jitter.or(spread),
            stable_after: stable.set(),
        }
    }

    pub(crate) fn no_effect(&mut self, fields: &Fields<'a>, key: &'static str, why: &str) {
        let Some(entry) = fields.get(key).filter(|entry| !self.is_null(entry.value)) else {
            return;
        };
        self.under_key(key, |reader| {
            let message = format_args!("`{key}` has no effect: {why}");
            reader.warning("no-effect", entry.key_span, message);
        });
    }

    /// The keys that every child takes, except `restart`, which `spec` already has.
    pub(crate) fn child_spec(
        &mut self,
        fields: &Fields<'a>,
        spec: ChildSpec,
        parent: Parent,
    ) -> ChildSpec {
        let shutdown = self.field(fields, "shutdown", |reader, item| reader.shutdown(item));
        let significant = self.field(fields, "significant", |reader, item| reader.bool(item));
        let start = self.nullable(fields, "start_timeout", |r, item| r.duration(item, false));
        let spec = ChildSpec {
            shutdown: shutdown.or(spec.shutdown),
            significant: significant.or(false),
            start_timeout: start.set(),
            ..spec
        };
        if spec.significant {
            let why = match (spec.restart, parent) {
                (Restart::Permanent, _) => Some("a permanent child never ends by itself"),
                (_, Parent::Supervisor(Some(AutoShutdown::Never))) => {
                    Some("its supervisor's `auto_shutdown` is `never`")
                }
                (Restart::Transient | Restart::Temporary, _) => None,
            };
            if let Some(why) = why {
                self.insignificant(fields, why);
            }
        }
        spec
    }

    fn insignificant(&mut self, fields: &Fields<'a>, why: &str) {
        let span = fields.span("significant");
        self.under_key("significant", |reader| {
            let message = format_args!("this child cannot be significant: {why}");
            if let Some(d) = reader.error("bad-combination", span, message) {
                d.help(
                    "a significant child is transient or temporary, and its supervisor has \
                     `auto_shutdown: any_significant` or `all_significant`",
                );
            }
        });
    }

    fn shutdown(&mut self, item: Item) -> Option<Shutdown> {
        let word = self.scalar(item).map(|scalar| scalar.text.to_ascii_lowercase());
        match word.as_deref() {
            Some("brutal_kill") => Some(Shutdown::BrutalKill),
            Some("infinity") => Some(Shutdown::Infinity),
            Some(word) if word.starts_with(char::is_alphabetic) => {
                let meant = nearest(word, ["brutal_kill", "infinity"]);
                let must_be = format_args!("a duration, `brutal_kill` or `infinity`");
                if let Some(d) = self.wrong("unknown-value", item, must_be)
                    && let Some(meant) = meant
                {
                    d.help(format!("did you mean `{meant}`?"));
                }
                None
            }
            Some(_) | None => self.duration(item, true).map(Shutdown::Timeout),
        }
    }
}

pub(crate) fn origin(span: Span) -> Origin {
    Origin { line: span.line, column: span.column }
}
