//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use lictor::topology::{Overrides, Secret, TransportKind, is_nats_server, is_zmq_address};

use crate::duration;
use crate::keys::KeysCommand;
use crate::sim::SimCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0    the command did what it was asked; a tree was stopped, or ended because its work was done
  1    the tree failed: it did not start, or its root supervisor gave up; a simulation found a
       fault; or the output could not be written
  2    the file or the flags have faults
  130  ended at once by a second Ctrl-C";

const EXAMPLES: &str = "\
Examples:
  lictor run examples/pipeline.yaml             watch a pipeline crash and heal
  lictor run examples/office.yaml --for 10s     and stop it after ten seconds
  lictor run app.yaml --json | jq .event        what happens, a line of JSON each
  lictor check *.yaml                           all faults of all files
  lictor tree app.yaml                          what would run
  lictor sim explore app.yaml --seeds 10000     what breaks it
  lictor sim check app.yaml --depth 6           everything that can happen to it
  lictor policy compare POLICIES.yaml --crashes CRASHES.yaml    which restart policy is better
  lictor keys create orders billing             keys for two agents";

/// Supervised agents: runs, checks, shows and breaks trees described in YAML.
#[derive(Debug, Parser)]
#[command(name = "lictor", version, after_help = EXAMPLES, after_long_help =
    long_help(), disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn long_help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a topology until Ctrl-C.
    ///
    /// On a terminal, shows the tree and what happens in it. Otherwise, and with --json, writes a
    /// line of JSON for each event: first `running`, each second `stats`, at the end `summary`.
    ///
    /// Ctrl-C and SIGTERM stop the tree in reverse start order; a second one kills it at once.
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Hosts what a topology places on one of its processes, until told otherwise.
    ///
    /// The process of the tree, which `lictor run` is, supervises it. `lictor run` also starts its
    /// workers itself; this command is for those that the file calls `external`, on other machines
    /// for one.
    #[command(after_help = EXIT_CODES)]
    Worker(WorkerArgs),
    /// Finds all faults of topology files; starts nothing.
    #[command(after_help = EXIT_CODES)]
    Check(CheckArgs),
    /// Shows the tree that a topology describes; starts nothing.
    #[command(after_help = EXIT_CODES)]
    Tree(TreeArgs),
    /// Breaks a topology in virtual time, before the world does.
    #[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
    Sim {
        #[command(subcommand)]
        command: SimCommand,
    },
    /// Compares restart policies in virtual time.
    Policy(PolicyArgs),
    /// Makes, shows and replaces the keys with which agents and nodes sign.
    #[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The topology file; `-` is standard input.
    pub(crate) file: PathBuf,
    /// Stops after this time, such as 10s, 500ms or 2m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse,
        allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,
    /// Writes lines of JSON, also on a terminal.
    #[arg(long)]
    pub(crate) json: bool,
    /// Starts none of the processes that the file names: somebody else does.
    #[arg(long)]
    pub(crate) no_workers: bool,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    /// How long the tree may take to stop before what is left of it is killed.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "30s",
        allow_hyphen_values = true)]
    pub(crate) stop_timeout: Duration,
    /// Logs what is this bad or worse. By default what processes say, and warnings of the built-in
    /// agents.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<Level>,
}

/// What holds instead of what the file says of its transport.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct WireArgs {
    /// Over what processes talk, instead of the `type` of the file.
    #[arg(long, value_name = "KIND")]
    pub(crate) transport: Option<Kind>,
    /// The NATS servers, separated by commas, instead of those of the file.
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = nats_server)]
    pub(crate) nats_url: Vec<String>,
    /// Where processes publish over ZeroMQ, instead of `pub_addr` of the file.
    #[arg(long, value_name = "ADDRESS", value_parser = zmq_address)]
    pub(crate) zmq_pub: Option<String>,
    /// Where processes listen over ZeroMQ, instead of `sub_addr` of the file.
    #[arg(long, value_name = "ADDRESS", value_parser = zmq_address)]
    pub(crate) zmq_sub: Option<String>,
}

/// Over what processes talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    InProcess,
    Zmq,
    Nats,
}

/// Where the servers stand for a worker that `lictor run` starts: they may hold a password, and
/// everybody sees the flags of a process.
const NATS_URL: &str = "LICTOR_NATS_URL";

impl WireArgs {
    /// As the reader of files takes them; `from_parent` says whether what a `lictor run` has left
    /// for its workers is looked at.
    pub(crate) fn overrides(&self, from_parent: bool) -> Overrides {
        let from_parent = from_parent.then(|| std::env::var(NATS_URL).ok()).flatten();
        let from_parent = from_parent.as_deref().filter(|_| self.nats_url.is_empty());
        let inherited = from_parent.into_iter().flat_map(|text| text.split(','));
        let servers = self.nats_url.iter().map(String::as_str).chain(inherited);
        let servers: Vec<Secret> = servers.map(Secret::new).collect();
        Overrides {
            transport: self.transport.map(|kind| match kind {
                Kind::InProcess => TransportKind::InProcess,
                Kind::Zmq => TransportKind::Zmq,
                Kind::Nats => TransportKind::Nats,
            }),
            zmq_pub: self.zmq_pub.clone(),
            zmq_sub: self.zmq_sub.clone(),
            nats_servers: (!servers.is_empty()).then_some(servers),
        }
    }

    /// The same for the workers of this process: as flags, and as variables.
    pub(crate) fn for_workers(&self) -> (Vec<String>, Vec<(&'static str, String)>) {
        let kind = self.transport.and_then(|kind| kind.to_possible_value());
        let flags = [
            ("--transport", kind.map(|kind| kind.get_name().to_owned())),
            ("--zmq-pub", self.zmq_pub.clone()),
            ("--zmq-sub", self.zmq_sub.clone()),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
        let servers = (!self.nats_url.is_empty()).then(|| (NATS_URL, self.nats_url.join(",")));
        (given.flatten().collect(), servers.into_iter().collect())
    }
}

fn zmq_address(text: &str) -> Result<String, String> {
    if is_zmq_address(text) {
        return Ok(text.to_owned());
    }
    Err("give tcp://HOST:PORT or ipc://PATH".to_owned())
}

fn nats_server(text: &str) -> Result<String, String> {
    if is_nats_server(text) {
        return Ok(text.to_owned());
    }
    Err("give nats://HOST:PORT or tls://HOST:PORT".to_owned())
}

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The topology file, the same that `lictor run` is given.
    pub(crate) file: PathBuf,
    /// Which of its processes this is.
    #[arg(long, value_name = "NAME")]
    pub(crate) process: String,
    /// Stops after this time, such as 10s, 500ms or 2m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse,
        allow_hyphen_values = true)]
    pub(crate) time: Option<Duration>,
    /// Writes lines of JSON, also on a terminal.
    #[arg(long)]
    pub(crate) json: bool,
    /// Stops when standard input ends: that is how a worker learns that who started it is gone.
    #[arg(long)]
    pub(crate) with_parent: bool,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    /// How long the agents may take to stop before what is left of them is killed.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "30s",
        allow_hyphen_values = true)]
    pub(crate) stop_timeout: Duration,
    /// Logs what is this bad or worse.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<Level>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The topology files; `-` is standard input.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Writes a line of JSON for each file.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TreeArgs {
    /// The topology file; `-` is standard input.
    pub(crate) file: PathBuf,
    /// Writes the tree as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Lives through crash models under each policy, and says what each costs and brings.
    ///
    /// Every policy meets the same crashes, many times with different seeds. The figures depend on
    /// the files and the flags alone. What they mean is in docs/policies.md.
    #[command(after_help = EXIT_CODES)]
    Compare(CompareArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The file of policies.
    pub(crate) policies: PathBuf,
    /// The file of crash models.
    #[arg(long, value_name = "FILE")]
    pub(crate) crashes: PathBuf,
    /// Also writes a report with plots: one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Runs for each policy and each crash model; by default what the file of crash models says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) seeds: Option<u32>,
    /// Length of a run in virtual time, such as 1h; by default what the file of crash models says.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) time: Option<Duration>,
    /// Writes the figures as one object of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
