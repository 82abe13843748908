//! Runs the transcripts under `scripts/`: what is put into a machine and what comes out, in order.
//!
//! A script is one story. Its head names the rules that it shows (`# V8, V6: one line`). Then one
//! or
//! more worlds, each a header and lines:
//!
//! ```text
//! supervisor one_for_all max_restarts=1 window=5s backoff=none
//!   child a permanent shutdown=100ms
//! 0s    start                   -> start a#1
//! 1s    crash a#1               -> report terminated a#1 crashed; start a#2
//! ?     children                -> a starting a#2
//! ```
//!
//! Headers: `supervisor` and `dynamic` are machines alone; `tree supervisor ..` and `node
//! supervisor ..` are whole trees, nested by two spaces, where a process is written
//! `supervisor@number/child#incarnation`. What a header leaves out is the kernel's default, but
//! `backoff=none`. A line is an instant (`1s`, `5s-1ns`, `max`) and what is called at it; `?` asks
//! and changes nothing. A long output goes on in lines that begin with `->`.
//!
//! Each call is made on two equal machines, which must stay equal (rule A4), and each `timeout` is
//! repeated, which must do nothing (rule A3). `UPDATE=1` writes what came out as what is expected.

#[path = "scripts/calls.rs"]
mod calls;
#[path = "scripts/read.rs"]
mod read;
#[path = "scripts/world.rs"]
mod world;
#[path = "scripts/write.rs"]
mod write;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::world::World;

/// The column at which the output begins.
const OUTPUT_AT: usize = 28;
const COLUMNS: usize = 100;

/// One call: where it is, what it says, what is expected of it.
struct Call {
    number: usize,
    input: String,
    expected: Vec<String>,
}

enum Line {
    /// A comment, an empty line, a header: kept as it is.
    Kept(String),
    Call(Call),
}

fn outputs(text: &str) -> impl Iterator<Item = String> {
    text.trim_end()
        .trim_end_matches(';')
        .split("; ")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
}

/// A call begins with an instant or `?`; all else is comment or header.
fn is_call(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_digit() || c == '?') || line.starts_with("max")
}

fn lines_of(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(more) = line.trim_start().strip_prefix("->") {
            let Some(Line::Call(call)) = lines.last_mut() else {
                panic!("line {}: an output without a call", at + 1)
            };
            call.expected.extend(outputs(more));
        } else if is_call(line) {
            let (input, output) = line.split_once("->").unwrap_or((line, ""));
            let input = input.split_whitespace().collect::<Vec<_>>().join(" ");
            let expected = outputs(output).collect();
            lines.push(Line::Call(Call { number: at + 1, input, expected }));
        } else {
            lines.push(Line::Kept(line.to_owned()));
        }
    }
    lines
}

/// Lays a call out: the instant, the call, the output, broken before column 100.
fn lay_out(input: &str, output: &[String]) -> String {
    let (time, call) = input.split_once(' ').unwrap_or((input, ""));
    let mut line = format!("{time:<5} {call}");
    let mut text = String::new();
    for (at, part) in output.iter().enumerate() {
        let last = at + 1 == output.len();
        let width = part.len() + if last { 0 } else { 1 };
        let begins = at == 0;
        if begins || line.len() + 1 + width > COLUMNS {
            if !begins {
                text.push_str(&line);
                text.push('\n');
                line = String::new();
            }
            let _ =
                write!(line, "{:<pad$} -> {part}", "", pad = OUTPUT_AT.saturating_sub(line.len()));
        } else {
            let _ = write!(line, " {part}");
        }
        if !last {
            line.push(';');
        }
    }
    text.push_str(&line);
    text
}

/// Runs one script. Gives the text as it should be, and what is wrong with the one that is there.
fn run(text: &str) -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    let mut new_text = String::new();
    let mut header: Vec<String> = Vec::new();
    let mut world: Option<World> = None;
    for line in lines_of(text) {
        match line {
            Line::Kept(line) => {
                let words = line.split('#').next().unwrap_or("").trim_end();
                if !words.is_empty() {
                    if !words.starts_with(' ') {
                        header.clear();
                        world = None;
                    }
                    header.push(words.to_owned());
                }
                new_text.push_str(&line);
            }
            Line::Call(call) => {
                let got = match &mut world {
                    Some(world) => Ok(world),
                    None => World::new(&header).map(|made| world.insert(made)),
                }
                .and_then(|world| world.call(&call.input));
                let got = got.unwrap_or_else(|error| {
                    wrong.push(format!("line {}: {}\n  {error}", call.number, call.input));
                    call.expected.clone()
                });
                if got != call.expected {
                    wrong.push(format!(
                        "line {}: {}\n  expected: {}\n  got:      {}",
                        call.number,
                        call.input,
                        call.expected.join("; "),
                        got.join("; "),
                    ));
                }
                new_text.push_str(&lay_out(&call.input, &got));
            }
        }
        new_text.push('\n');
    }
    (new_text, wrong)
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of the scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

// Rules: A3, A4
#[test]
fn every_script_comes_out_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    assert!(!(update && std::env::var_os("CI").is_some()), "expectations are written by hand");
    let files = scripts();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a script");
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (new_text, errors) = run(&text);
        if update && new_text != text {
            fs::write(&file, new_text).expect("the script is writable");
        } else {
            wrong.extend(errors.into_iter().map(|error| format!("{name}: {error}")));
        }
    }
    assert!(update || wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_wrong_expectation_is_told_with_its_line() {
    let text = "supervisor\n  child a\n0s start -> start a#2\n?  phase -> starting\n";
    let (new_text, wrong) = run(text);
    let told = "line 3: 0s start\n  expected: start a#2\n  got:      start a#1";
    assert_eq!(wrong, [told]);
    let laid_out = "0s    start                  -> start a#1";
    assert_eq!(new_text.lines().nth(2), Some(laid_out));
    assert_eq!(run(&new_text).1, Vec::<String>::new());
}

#[test]
fn a_call_that_is_not_understood_is_told() {
    for line in ["0s jump", "0s exit a#1 tired", "0s started b#1", "1m start", "0s", "? mood"] {
        let text = format!("supervisor\n  child a\n{line} -> x\n");
        let (_, wrong) = run(&text);
        assert_eq!(wrong.len(), 1, "{line}: {wrong:?}");
    }
}
