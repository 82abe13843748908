//! `lictor.exec`: a process under supervision.

use std::time::Duration;

use lictor::{AskError, EventKind, ReplyFailure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::processes::{exists, is_alive, quoted, wait_until};
use crate::support::{Built, LONG, refusal};

/// An agent named `p` that runs a shell script, with more settings.
fn script(script: &str, more: &str) -> String {
    let config = format!("command: sh, args: [-c, {}]{more}", quoted(script));
    format!("- agent: {{ name: p, type: lictor.exec, config: {{ {config} }} }}")
}

/// Answers each question with the pid of its process and that of a stubborn grandchild.
const FAMILY: &str = "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & \
    while read -r line; do id=${line##*'\"id\":'}; \
    echo \"{\\\"id\\\":${id%%[!0-9]*},\\\"payload\\\":[$$,$!]}\"; done; \
    while :; do sleep 1000; done";

async fn family(built: &Built) -> [u32; 2] {
    serde_json::from_value(built.ask("p", "who", ()).await).unwrap()
}

/// Both are dead, and the one that is ours to reap has been reaped.
async fn assert_gone([leader, grandchild]: [u32; 2]) {
    let gone = async {
        while exists(leader) || is_alive(grandchild) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("they go on");
}

#[tokio::test]
async fn lines_go_both_ways() {
    // Sends back what it was sent, and answers what it was asked, with the line it has read.
    let relay = "while read -r line; do case $line in *'\"id\":'*) id=${line##*'\"id\":'}; \
        printf '{\"id\":%s,\"payload\":%s}\\n' \"${id%%[!0-9]*}\" \"$line\";; *) \
        echo \"{\\\"to\\\":\\\"n\\\",\\\"type\\\":\\\"Add\\\",\\\"payload\\\":5}\";; esac; done";
    let built =
        Built::start(&(script(relay, "") + "\n- agent: { name: n, type: lictor.counter }")).await;
    let answer = built.ask("p", "hello", json!({ "a": [1, "ü\n"] })).await;
    assert_eq!(answer["type"], "hello");
    assert_eq!(answer["payload"], json!({ "a": [1, "ü\n"] }));
    built.send("p", "go", ()).await;
    built.send("p", "go", ()).await;
    // The answer comes after what was written before.
    built.ask("p", "are you done?", ()).await;
    assert_eq!(built.ask("n", "Get", ()).await, 10);
    built.tree.stop().await;
}

#[tokio::test]
async fn the_exit_code_is_the_reason() {
    let mut built = Built::start(&script("read -r line; exit 3", "")).await;
    let failure = built.try_ask("p", "x", ()).await.unwrap_err();
    assert!(
        matches!(failure, AskError::Failed { failure: ReplyFailure::Crashed, .. }),
        "{failure}"
    );
    assert_eq!(built.crash_of("p").await, "exit status 3");
    built.wait_for(|kind| matches!(kind, EventKind::Started { incarnation: 2, .. })).await;
    built.tree.stop().await;

    let mut built = Built::start(&script("kill -9 $$", "")).await;
    assert_eq!(built.crash_of("p").await, "killed by signal SIGKILL");
    built.tree.stop().await;

    let mut built = Built::start(&script("read -r line; exit 0", "")).await;
    built.send("p", "x", ()).await;
    let stopped = built.wait_for(|kind| matches!(kind, EventKind::Stopped { .. })).await;
    assert_eq!(stopped, EventKind::Stopped { name: "p".into(), reason: "normal" });
    built.tree.stop().await;
}

#[tokio::test]
async fn what_was_written_before_the_end_is_sent_on() {
    let children = script("echo '{\"to\":\"n\",\"type\":\"Add\",\"payload\":7}'; exit 0", "");
    let mut built =
        Built::start(&(format!("- agent: {{ name: n, type: lictor.counter }}\n{children}"))).await;
    built.wait_for(|kind| matches!(kind, EventKind::Stopped { .. })).await;
    assert_eq!(built.ask("n", "Get", ()).await, 7);
    built.tree.stop().await;
}

#[tokio::test]
async fn queued_messages_survive_a_crash_of_the_process() {
    // Each process answers twice and fails.
    let answer = "read -r line; id=${line##*'\"id\":'}; \
        echo \"{\\\"id\\\":${id%%[!0-9]*},\\\"payload\\\":$$}\"";
    let children = format!(
        "- agent: {{ name: p, type: lictor.exec, in_hand: redeliver, config: \
        {{ command: sh, args: [-c, {}] }} }}",
        quoted(&format!("{answer}; {answer}; exit 1"))
    );
    let built = Built::start(&children).await;
    let mut pids = Vec::new();
    for _ in 0..6 {
        // A question that the dying process has read but not answered is lost with it.
        if let Ok(pid) = built.try_ask("p", "who", ()).await {
            pids.push(pid.as_u64().unwrap());
        }
    }
    pids.dedup();
    assert!(pids.len() >= 2, "{pids:?}");
    built.tree.stop().await;
}

#[tokio::test]
async fn garbage_and_endless_lines_are_counted_and_do_no_harm() {
    let noise = "echo hello; echo '{\"id\":1,\"what\":2}'; \
        head -c 3000000 /dev/zero | tr '\\0' x; echo; printf '\\377\\376\\n'; \
        echo '{\"to\":\"nobody\",\"type\":\"t\"}'; echo '{\"id\":99}'; \
        echo '{\"to\":\"n\",\"type\":\"Add\",\"payload\":1}'; exec cat >/dev/null";
    let built = Built::start(
        &(format!(
            "- agent: {{ name: n, type: lictor.counter }}\n{}",
            script(noise, ", max_line: 1000")
        )),
    )
    .await;
    built.counted("n", "none", 0).await;
    wait_for_answer(&built, 1).await;
    let counts = built.ledger.counts("p");
    assert_eq!(
        (counts.of("garbage"), counts.of("too_long"), counts.of("undelivered"), counts.of("late")),
        (3, 1, 1, 1),
        "{:?}",
        counts.all()
    );
    built.tree.stop().await;
}

async fn wait_for_answer(built: &Built, n: i64) {
    while built.ask("n", "Get", ()).await != n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_spawns_and_stops_agents() {
    let children = "echo '{\"spawn\":\"lictor.counter\",\"name\":\"c\",\"under\":\"d\",\
        \"config\":{\"start\":4}}'; read -r line; echo '{\"despawn\":\"c\"}'; exec cat >/dev/null";
    let mut built = Built::start(
        &(format!("- {{ type: dynamic_supervisor, name: d }}\n{}", script(children, ""))),
    )
    .await;
    let of_c = |kind: &EventKind| matches!(kind, EventKind::Started { name, .. } if &**name == "c");
    built.wait_for(of_c).await;
    assert_eq!(built.ask("c", "Get", ()).await, 4);
    built.send("p", "go on", ()).await;
    built.wait_for(|kind| matches!(kind, EventKind::Removed { .. })).await;
    built.tree.stop().await;
}

#[tokio::test]
async fn a_graceful_stop_ends_the_whole_group() {
    let built = Built::start(&script(FAMILY, ", stop_grace: 100ms")).await;
    let pids = family(&built).await;
    assert!(is_alive(pids[0]) && is_alive(pids[1]));
    built.tree.stop().await;
    assert!(!exists(pids[0]), "the leader was reaped before the agent had stopped");
    assert_gone(pids).await;
}

#[tokio::test]
async fn a_process_that_listens_ends_at_once() {
    // Ends when its input does, long before the grace is over.
    let built =
        Built::start(&script("trap '' TERM; while read -r l; do :; done", ", stop_grace: 1h"))
            .await;
    built.tree.stop().await;
}

#[tokio::test]
async fn a_kill_ends_the_whole_group() {
    let children = script(FAMILY, "").replace("config:", "shutdown: brutal_kill, config:");
    let built = Built::start(&children).await;
    let pids = family(&built).await;
    built.tree.stop().await;
    assert_gone(pids).await;
}

#[tokio::test]
async fn the_end_of_the_process_ends_its_group() {
    let mut built = Built::start(&script(FAMILY, "")).await;
    let pids = family(&built).await;
    kill(Pid::from_raw(i32::try_from(pids[0]).unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(built.crash_of("p").await, "killed by signal SIGKILL");
    assert_gone(pids).await;
    // The next incarnation is another family.
    assert_ne!(family(&built).await, pids);
    built.tree.stop().await;
}

#[tokio::test]
async fn a_restart_by_hand_never_overlaps() {
    let mut built = Built::start(&script(FAMILY, ", stop_grace: 50ms")).await;
    let pids = family(&built).await;
    built.tree.runtime().restart_agent("p", "the test").await.unwrap();
    built.wait_for(|kind| matches!(kind, EventKind::Started { incarnation: 2, .. })).await;
    assert!(!exists(pids[0]), "two incarnations at once");
    assert_gone(pids).await;
    built.tree.stop().await;
}

#[test]
fn nothing_survives_the_tokio_runtime() {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (built, pids) = tokio.block_on(async {
        let built = Built::start(&script(FAMILY, "")).await;
        let pids = family(&built).await;
        (built, pids)
    });
    tokio.shutdown_background();
    wait_until(|| !is_alive(pids[0]) && !is_alive(pids[1]));
    drop(built);
}

#[tokio::test]
async fn many_starts_and_stops_leave_nothing_behind() {
    for _ in 0..5 {
        let built = Built::start(&script(FAMILY, ", stop_grace: 10ms")).await;
        let pids = family(&built).await;
        built.tree.stop().await;
        assert_gone(pids).await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_the_start() {
    let text = crate::support::yaml(
        "- agent: { name: p, type: lictor.exec, config: { command: no-such-program-here } }",
    );
    let file = crate::support::File::new(&text);
    let ran = crate::support::output(&["run", file.path()]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("cannot run \"no-such-program-here\""), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_run_is_refused_before() {
    for (config, why) in [
        ("{}", "missing field `command`"),
        ("{ command: '' }", "`command` is empty"),
        ("{ command: sh, max_line: 1 }", "`max_line` must be"),
        ("{ command: sh, max_pending: 0 }", "`max_pending` must be"),
        ("{ command: sh, stop_grace: soon }", "is not a duration"),
        ("{ command: sh, env: { 'A=B': c } }", "the name of a variable"),
        ("{ command: \"a\\0b\" }", "NUL"),
    ] {
        let detail = refusal("lictor.exec", config);
        assert!(detail.contains(why), "{config}: {detail}");
    }
}
