//! A program of somebody's own as a process of a tree that `lictor run` runs, and files with agent
//! types that are not ours.
//!
//! The program is this one: told by its variables, [`far`] serves a type of its own.

use std::sync::Arc;

use lictor::topology::{Options, ProcessEnvironment};
use lictor::{
    Agent, AgentError, AgentTypes, Context, Message, Network, Runtime, RuntimeConfig, RuntimeExt,
    TokioExecutor, placed_on,
};
use nix::sys::signal::Signal;

use crate::cluster::ports;
use crate::support::{File, Running, answered, of, output};

/// Answers twice what it is asked.
struct Twice;

impl Agent for Twice {
    type Message = Message;

    async fn handle(
        &mut self,
        mut message: Message,
        _: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let n = message.payload().as_u64().unwrap_or_default();
        message.reply(2 * n);
        Ok(())
    }
}

/// The program: as docs/distribution.md has it.
#[test]
fn far() {
    let (Ok(file), Ok(process)) = (std::env::var("OWN_FILE"), std::env::var("LICTOR_PROCESS"))
    else {
        return;
    };
    let text = std::fs::read(&file).unwrap();
    let topology =
        lictor::topology::parse(&file, &text, &Options::new(&ProcessEnvironment)).unwrap();
    let types = AgentTypes::new().with("my.Twice", |_| Ok(|| Twice));
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let network = Network::of(&topology, &process).unwrap();
        let broker = network.broker(&topology).unwrap();
        let executor = Arc::new(TokioExecutor::current().unwrap());
        let config = RuntimeConfig { types, ..RuntimeConfig::default() };
        let config = network.join(&topology, config, executor, broker).unwrap();
        let agents = placed_on(&file, &topology, &config.types, network.process()).unwrap();
        let runtime = Runtime::current_with(config).unwrap();
        let _tree = runtime.serve(network.process(), agents).await.unwrap();
        // Its input ends with whoever started it.
        let ended = tokio::task::spawn_blocking(|| {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        });
        let _ = ended.await.unwrap();
    });
}

fn quoted(text: &str) -> String {
    lictor::json!(text).to_string()
}

#[test]
fn a_program_with_types_of_its_own_is_a_process_of_a_run() {
    let [out, into] = ports();
    let own = std::env::current_exe().unwrap();
    let file = File::new("");
    let text = format!(
        "transport:\n  type: zmq\n  \
         zmq: {{ pub_addr: 'tcp://127.0.0.1:{out}', sub_addr: 'tcp://127.0.0.1:{into}' }}\n  \
         membership: {{ child_lease: 1s }}\n\
         processes:\n  far:\n    command: [{}, 'own::far', --exact, --nocapture]\n    \
         env: {{ OWN_FILE: {} }}\n\
         supervision:\n  max_restarts: 20\n  children:\n    \
         - {{ name: twice, type: my.Twice, process: far, config: {{ anything: [1] }} }}\n    \
         - {{ name: clock, type: lictor.ticker, \
         config: {{ to: twice, every: 50ms, ask: true, payload: 3 }} }}\n",
        quoted(own.to_str().unwrap()),
        quoted(file.path()),
    );
    std::fs::write(&file.0, text).unwrap();
    let mut run = Running::new(&["run", file.path(), "--json"]);
    run.wait_for(of("started", "twice"));
    run.wait_for(|event| event["event"] == "stats" && answered(event, "clock") > 1);
    run.signal(Signal::SIGTERM);
    assert_eq!(run.rest().status.code(), Some(0));
    // A worker of ours is not that program, and says so.
    let worker = output(&["worker", file.path(), "--process", "far"]);
    assert_eq!(worker.status.code(), Some(2));
    assert!(worker.stderr.contains("unknown agent type `my.Twice`"), "{}", worker.stderr);
}

/// A tree with these types in the process of the tree.
fn of_types(types: &[&str]) -> File {
    let agents = types.iter().enumerate();
    let agents: String =
        agents.map(|(n, it)| format!("    - agent: {{ name: a{n}, type: {it} }}\n")).collect();
    File::new(&format!("supervision:\n  children:\n{agents}"))
}

#[test]
fn types_of_other_programs_are_drawn_and_warned_of() {
    let file = of_types(&["my.Ping", "lictor.echo"]);
    let tree = output(&["tree", file.path()]);
    assert_eq!(tree.status.code(), Some(0), "{}", tree.stderr);
    assert!(tree.stdout.contains("[agent] a0: my.Ping"), "{}", tree.stdout);
    let checked = output(&["check", file.path()]);
    assert_eq!(checked.status.code(), Some(0));
    let warned = "warning[foreign-type]: the agent type `my.Ping` is not known here";
    assert!(checked.stdout.contains(warned), "{}", checked.stdout);
    assert!(checked.stdout.contains("`lictor::check`"), "{}", checked.stdout);
    let json = output(&["check", "--json", file.path()]).lines().remove(0);
    assert_eq!((&json["ok"], json["diagnostics"].as_array().unwrap().len()), (&true.into(), 1));
    // Nobody here has that type.
    let run = output(&["run", file.path()]);
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stderr.contains("unknown agent type `my.Ping`"), "{}", run.stderr);
}

#[test]
fn a_near_miss_of_a_type_of_ours_is_a_fault_everywhere() {
    let file = of_types(&["lictor.coutner", "my.Ping"]);
    let plan = std::fs::read_to_string(&file.0).unwrap().replace('\n', "\n  ");
    let plan = File::new(&format!("topology:\n  {}\nhorizon: 1s\n", plan.trim_end()));
    let ended = output(&["sim", "run", plan.path()]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `lictor.counter`?"), "{}", ended.stderr);
    for args in [&["check"][..], &["tree"], &["sim", "check"]] {
        let ended = output(&[args, &[file.path()]].concat());
        let said = ended.stdout + &ended.stderr;
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("did you mean `lictor.counter`?"), "{args:?}: {said}");
    }
}
