//! Tells the program which commit it is built from, if that is known.

use std::path::Path;
use std::process::Command;

/// What git says; nothing if there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Inside the repository of somebody else, its commit says nothing about this program.
    if git(&["rev-parse", "--show-prefix"]).is_none_or(|place| place != "adapters/cli/") {
        return;
    }
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in std::iter::once("HEAD".to_owned()).chain(branch) {
        let path = git(&["rev-parse", "--git-path", &name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=LICTOR_COMMIT={commit}");
    }
}
