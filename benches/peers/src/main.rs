//! Lictor beside raw tokio, ractor, kameo, actix and coerce: the same loops over the same counter.
//!
//! `peers run` starts one fresh process (`peers cell`) for each cell of the table, several times,
//! and keeps the best; `peers table` writes the table from what was kept; `peers scale` measures
//! how our own costs grow. One JSON line per process, so that a table can always be made again.
//!
//! **Why a process per cell**: allocators, registries and schedulers keep what they have seen, and
//! a peak of memory is a process's.

mod aims;
mod cell;
mod measure;
mod peer;
mod peers;
mod plot;
mod run;
mod scale;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["cell", peer, workload, host, count] => cell::main(peer, workload, host, count),
        ["scale-point", what, count] => scale::point(what, count),
        ["scale", rest @ ..] => scale::all(rest),
        ["run", rest @ ..] => run::all(rest),
        ["table", file, rest @ ..] => table::main(file, rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage:
  peers run OUT.jsonl [--quick] [--best N] [--peer NAME]... [--workload NAME]...
  peers table IN.jsonl [--into FILE.md]
  peers scale OUT_FOLDER [--quick]
  peers cell PEER WORKLOAD ct|mt COUNT";
