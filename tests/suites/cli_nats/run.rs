//! A tree over three processes of the operating system that talk over a real nats-server.

use lictor::Value;
use nix::sys::signal::Signal;

use crate::processes::{descendants, exists, is_alive, wait_until};
use crate::server::Server;
use crate::support::{Running, answered, kill_hard, of, pid_of};

fn run(server: &Server) -> Running {
    let url = server.url();
    Running::new(&[
        "run",
        "examples/cluster.yaml",
        "--json",
        "--transport",
        "nats",
        "--nats-url",
        &url,
    ])
}

/// Waits until both tickers have had more questions answered, by agents of either worker.
pub(crate) fn is_of_use(run: &mut Running) {
    let before = run.wait_for(|event| event["event"] == "stats");
    let more = |event: &Value| {
        ["orders", "sales"]
            .iter()
            .all(|ticker| answered(event, ticker) > answered(&before, ticker) + 10)
    };
    run.wait_for(|event| event["event"] == "stats" && more(event));
}

/// Ends it as SIGTERM does, and gives what it still said.
pub(crate) fn end(run: Running) -> Vec<Value> {
    let all = descendants(run.pid());
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    let lines = rest.lines();
    assert_eq!(lines.last().unwrap()["reason"], "signal");
    for process in ["stages", "vault"] {
        let ended = lines.iter().find(|event| of("process_ended", process)(event));
        assert_eq!(ended.unwrap()["detail"], Value::Null, "{process} ended as told");
    }
    for pid in all {
        wait_until(|| !is_alive(pid));
    }
    lines
}

#[test]
fn a_worker_that_is_killed_heals() {
    let server = Server::new();
    let mut run = run(&server);
    let first = pid_of(&run.wait_for(of("process_started", "stages")));
    run.wait_for(|event| event["event"] == "running");
    let crash = run.wait_for(of("crashed", "price"));
    assert_eq!(crash["detail"], "crashed at its message 40, as configured");
    assert_eq!(run.wait_for(of("started", "price"))["incarnation"], 2);
    kill_hard(first);
    assert_eq!(run.wait_for(of("process_ended", "stages"))["detail"], "killed by signal SIGKILL");
    assert_eq!(run.wait_for(of("crashed", "tax"))["reason"], "no_connection");
    let second = pid_of(&run.wait_for(of("process_started", "stages")));
    assert!(second != first && !exists(first));
    assert_eq!(run.wait_for(of("started", "tax"))["incarnation"], 2);
    run.wait_for(of("started", "price"));
    is_of_use(&mut run);
    let lines = end(run);
    assert!(lines.iter().any(of("stopped", "till")), "{lines:?}");
}

#[test]
fn a_server_that_is_killed_and_started_again_heals() {
    let mut server = Server::new();
    let mut run = run(&server);
    let workers = ["stages", "vault"].map(|it| pid_of(&run.wait_for(of("process_started", it))));
    run.wait_for(of("started", "sales"));
    is_of_use(&mut run);
    server.kill();
    // Each is out of sight, and its agents with it; nobody is started without a place to run.
    let mut lost = [0; 2];
    while lost.contains(&0) {
        let event =
            run.wait_for(|event| event["event"] == "waiting" || event["event"] == "crashed");
        if event["event"] == "waiting" {
            let at = ["tax", "till"].iter().position(|name| event["name"] == *name);
            at.into_iter().for_each(|at| lost[at] += 1);
        }
    }
    server.start();
    let mut back = [0; 2];
    while back.contains(&0) {
        let event = run.wait_for(|event| event["event"] == "started");
        if event["incarnation"].as_u64().unwrap() > 1 {
            let at = ["tax", "till"].iter().position(|name| event["name"] == *name);
            at.into_iter().for_each(|at| back[at] += 1);
        }
    }
    is_of_use(&mut run);
    assert!(workers.into_iter().all(is_alive), "no process ended for want of a server");
    end(run);
}
