//! Replays recorded traces of OTP supervisors against the kernel.
//!
//! `otp_conformance FILE...` prints `ok NAME` for each file, or the first line in which the kernel
//! does otherwise. Exits with 0 if all are alike, 1 if not, 2 if a file cannot be read as a trace.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use lictor_tests::otp;

fn main() -> ExitCode {
    let files: Vec<OsString> = env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: otp_conformance FILE...");
        return ExitCode::from(2);
    }
    let (mut passed, mut failed, mut unreadable) = (0_u32, 0_u32, 0_u32);
    for file in &files {
        let shown = file.display();
        let verdict = match fs::read(file) {
            Ok(bytes) => otp::replay(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match verdict {
            Ok(otp::Verdict { name, difference: None }) => {
                println!("ok {name}");
                passed += 1;
            }
            Ok(otp::Verdict { name, difference: Some(difference) }) => {
                println!("FAILED {name}: {shown}, line {}", difference.line);
                println!("{difference}");
                failed += 1;
            }
            Err(error) => {
                eprintln!("{shown}: {error}");
                unreadable += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    match (unreadable, failed) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}
