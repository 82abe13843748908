//! What people see: the command on a terminal.

use std::fs::File;
use std::io::Read;
use std::process::ExitStatus;

use lictor::Value;
use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::support::lictor;

/// Runs the command to its end on a terminal of its own, and gives what it has drawn.
fn on_a_terminal(args: &[&str], environment: &[(&str, &str)]) -> (ExitStatus, String) {
    let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let mut command = lictor(args);
    command.env("TERM", "xterm").envs(environment.iter().copied()).stdout(slave);
    let mut child = command.spawn().unwrap();
    // With it goes the last hold on the terminal but that of the child.
    drop(command);
    let mut drawn = Vec::new();
    // Its end is an error on some systems.
    let _ = File::from(master).read_to_end(&mut drawn);
    (child.wait().unwrap(), String::from_utf8(drawn).unwrap())
}

/// How often the cursor went up, and the most lines that it went.
fn ups(drawn: &str) -> (usize, usize) {
    let starts = drawn.split("\x1b[").skip(1);
    let lines = starts.filter_map(|rest| rest.split_once('A')?.0.parse::<usize>().ok());
    lines.fold((0, 0), |(count, most), lines| (count + 1, most.max(lines)))
}

#[test]
fn the_tree_is_drawn_over_and_over_in_place() {
    let (status, drawn) = on_a_terminal(&["run", "examples/pipeline.yaml", "--for", "3s"], &[]);
    assert_eq!(status.code(), Some(0), "{drawn}");
    for expected in [
        "[sup] shop (ONE_FOR_ONE)",
        "\x1b[32m├── [agent] till (RUNNING)",
        "crashed price: crashed at its message 25, as configured",
        "\x1b[31m",
        "examples/pipeline.yaml  ended",
        "asks answered",
    ] {
        assert!(drawn.contains(expected), "{expected:?} in {drawn}");
    }
    let (count, most) = ups(&drawn);
    assert!(count >= 3, "{drawn}");
    assert!(most < 30, "the picture is higher than the terminal: {drawn}");
    let last = drawn.trim_end().lines().last().unwrap();
    assert!(last.starts_with("ran 3.") && last.contains("ended by time"), "{last}");
}

#[test]
fn no_color_means_none() {
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        for args in [
            &["run", "examples/pipeline.yaml", "--for", "100ms"][..],
            &["check", "examples/bad/typos.yaml"],
        ] {
            let (_, drawn) = on_a_terminal(args, &[environment]);
            assert!(!drawn.contains("\x1b[0m"), "{environment:?} {args:?}: {drawn}");
        }
    }
    let (status, drawn) = on_a_terminal(&["check", "examples/bad/typos.yaml"], &[]);
    assert_eq!(status.code(), Some(2));
    assert!(drawn.contains("\x1b["), "{drawn}");
}

#[test]
fn json_is_lines_also_on_a_terminal() {
    let args = ["run", "examples/pipeline.yaml", "--for", "100ms", "--json"];
    let (status, drawn) = on_a_terminal(&args, &[]);
    assert_eq!(status.code(), Some(0), "{drawn}");
    let lines: Vec<Value> = drawn.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "running");
    assert_eq!(lines.last().unwrap()["event"], "summary");
}
