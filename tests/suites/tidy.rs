//! House rules that a machine can check.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below a folder with this ending, build products left out.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = vec![root().join(folder)];
    while let Some(at) = rest.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                rest.push(path);
            } else if name.ends_with(ending) {
                let short = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((short, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} files below {folder}");
    found.sort();
    found
}

/// The ids after a marker, as in `// Rules: V1, V2`.
fn named(text: &str, markers: &[&str]) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let Some(marker) = markers.iter().find(|marker| line.trim().starts_with(**marker)) else {
            continue;
        };
        let list = line.trim().trim_start_matches(marker);
        let list = list.split([':', '(']).next().unwrap_or_default();
        ids.extend(list.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()));
    }
    ids
}

fn test_files() -> Vec<(String, String)> {
    let folders = ["kernel/tests", "kernel/src", "tests/suites", "adapters"];
    folders.into_iter().flat_map(|folder| files(folder, ".rs")).collect()
}

#[test]
fn every_rule_is_named_by_a_test_and_every_named_rule_exists() {
    let semantics = std::fs::read_to_string(root().join("kernel/SEMANTICS.md")).unwrap();
    let rules: BTreeSet<String> = semantics
        .lines()
        .filter_map(|line| line.strip_prefix("- **"))
        .filter_map(|line| line.split_once("**").map(|(id, _)| id.to_owned()))
        .collect();
    assert!(rules.len() > 100, "the rules are there");
    let mut shown = BTreeSet::new();
    for (_, text) in test_files() {
        shown.extend(named(&text, &["// Rule:", "// Rules:"]));
    }
    for (_, text) in files("kernel/tests/scripts", ".txt") {
        let header = text.lines().take_while(|line| line.starts_with('#'));
        for line in header {
            let looks_like_one =
                |id: &String| id.len() > 1 && id.bytes().skip(1).all(|byte| byte.is_ascii_digit());
            shown.extend(named(line, &["#"]).into_iter().filter(looks_like_one));
        }
    }
    let missing: Vec<_> = rules.difference(&shown).collect();
    assert!(missing.is_empty(), "rules that no test names: {missing:?}");
    let unknown: Vec<_> = shown.difference(&rules).collect();
    assert!(unknown.is_empty(), "tests name rules that do not exist: {unknown:?}");
}

#[test]
fn every_defect_of_civitas_that_belongs_here_is_named_by_a_test() {
    let defects = "D01 D02 D04 D05a D05b D05c D05d D06 D06b D08 D09 D10 D11 D12 D13 D22 D26 D30 \
                   D31 D33 D42 D51 D58 D61 D62 D63 D64 D65 D66 D67 D68 \
                   Z15 Z16 Z17 Z18 Z19 Z20 Z34 Z34b Z54 X1 X2 X3 X4 X5 X6 X7 \
                   Z23a Z23b Z23c Z52 \
                   N7 N2 N5 N6 JS N-pub";
    let mut shown = BTreeSet::new();
    for (_, text) in test_files() {
        shown.extend(named(&text, &["// Defect:", "// Defects:"]));
    }
    let missing: Vec<_> = defects.split(' ').filter(|id| !shown.contains(*id)).collect();
    assert!(missing.is_empty(), "defects that no test names: {missing:?}");
}

#[test]
fn every_invariant_of_one_node_is_named_by_a_test() {
    // S10 is of many nodes, S14 of the simulator.
    let invariants = "S1 S2 S3 S4 S5 S6 S7 S8 S9 S11 S12 S13";
    let mut shown = BTreeSet::new();
    for (_, text) in test_files() {
        shown.extend(named(&text, &["// Invariant:", "// Invariants:"]));
    }
    let shown: BTreeSet<_> = shown.iter().filter_map(|id| id.split(' ').next()).collect();
    let missing: Vec<_> = invariants.split(' ').filter(|id| !shown.contains(id)).collect();
    assert!(missing.is_empty(), "invariants that no test names: {missing:?}");
}

#[test]
fn files_and_lines_are_short() {
    let mut long = Vec::new();
    for folder in ["kernel", "adapters", "sim", "fuzz", "tests", "benches"] {
        for (name, text) in files(folder, ".rs") {
            let lines = text.lines().count();
            // Tests carry tables and transcripts: a little more room.
            let (most, width) = if name.contains("/src/") && !name.starts_with("tests") {
                (600, 100)
            } else {
                (640, 135)
            };
            if lines > most {
                long.push(format!("{name} has {lines} lines"));
            }
            let wide = text.lines().enumerate().filter(|(_, line)| line.chars().count() > width);
            long.extend(wide.map(|(at, _)| format!("{name}:{} is too long", at + 1)));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_kernel_is_pure_and_the_runtime_names_no_executor() {
    let impure = [
        "std::",
        "HashMap",
        "SystemTime",
        "Instant::now",
        "thread::",
        "println",
        "tracing::",
        "log::",
    ];
    for (name, text) in files("kernel/src", ".rs") {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(!impure.iter().any(|word| line.contains(word)), "{name}: {line}");
        }
    }
    for (name, text) in files("adapters/runtime/src", ".rs") {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(!line.contains("tokio"), "{name} names an executor: {line}");
            let interprets = line.contains("tree::Action::");
            assert!(!interprets || name.contains("/driver"), "{name} interprets actions");
        }
    }
}

#[test]
fn the_wire_is_told_the_time_and_given_its_randomness() {
    let outside = ["SystemTime", "Instant::now", "getrandom", "std::fs", "HashMap"];
    for (name, text) in files("adapters/wire/src", ".rs") {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|_| !name.contains("/system")) {
            assert!(!outside.iter().any(|word| line.contains(word)), "{name}: {line}");
        }
    }
}

#[test]
fn nothing_unfinished_is_left() {
    let unfinished = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[ig", "nore"),
        concat!("#[should", "_panic"),
    ];
    for folder in ["kernel", "adapters", "sim", "fuzz", "tests", "benches"] {
        for (name, text) in files(folder, ".rs") {
            for word in unfinished {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }
}

/// What each crate may depend on, tests apart; one that is not here may depend on anything.
const ARROWS: [(&str, &str); 11] = [
    ("lictor-kernel", ""),
    (
        "lictor-runtime",
        "lictor-kernel bytes pin-project-lite rmp-serde serde serde_json tracing loom",
    ),
    ("lictor-tokio", "lictor-kernel lictor-runtime tokio"),
    ("lictor-turmoil", "lictor-kernel lictor-runtime lictor-tokio tokio turmoil"),
    ("lictor-wire", "lictor-kernel lictor-runtime ed25519-dalek getrandom serde_json zeroize"),
    ("lictor-civitas", "lictor-kernel lictor-runtime lictor-wire serde_json tracing"),
    (
        "lictor-nats",
        "lictor-kernel lictor-runtime async-nats bytes futures-util nkeys nuid tracing tokio",
    ),
    ("lictor-zmtp", "lictor-kernel bytes poly1305 salsa20 subtle x25519-dalek zeroize"),
    (
        "lictor-zmq",
        "lictor-kernel lictor-runtime lictor-zmtp futures-util getrandom tokio zeroize zeromq",
    ),
    ("lictor-store", "lictor-runtime rusqlite serde_json"),
    (
        "lictor-sim",
        "lictor-kernel lictor-runtime lictor-topology lictor-turmoil \
         serde serde_json proptest tokio turmoil",
    ),
];

#[test]
fn dependencies_point_one_way() {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = |from: &str| ARROWS.iter().find(|(name, _)| *name == from).map(|(_, to)| *to);
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, reasons) = map.split_once("## Dependencies").unwrap();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let from = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            if !dependency["kind"].is_null() {
                continue;
            }
            seen += 1;
            let to = dependency["name"].as_str().unwrap();
            let reason = to.starts_with("lictor") || reasons.contains(to);
            assert!(reason, "ARCHITECTURE.md does not say why {from} depends on {to}");
            let is_allowed =
                allowed(from).is_none_or(|list| list.split_whitespace().any(|it| it == to));
            assert!(is_allowed, "{from} must not depend on {to}");
            let ours = to.starts_with("lictor-") && from == "lictor-topology";
            assert!(!ours || to == "lictor-kernel", "{from} must not depend on {to}");
            assert!(to != "lictor-cli" && to != "lictor-tests", "{from} depends on {to}");
            let names_it = ["lictor-cli", "lictor-benches"].contains(&from);
            assert!(to != "lictor" || names_it, "{from} must not depend on {to}");
            assert!(to != "lictor-sim" || from == "lictor-cli", "{from} must not depend on {to}");
            let ours = to.starts_with("lictor-") && to != "lictor-sim";
            assert!(from != "lictor-cli" || !ours, "{from} must not depend on {to}");
        }
    }
    assert!(seen > 20, "the arrows were looked at");
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "DETERMINISM.md",
        "kernel/SEMANTICS.md",
        "docs/civitas.md",
        "docs/cli.md",
        "docs/distribution.md",
        "docs/simulation.md",
        "docs/topology.md",
        "docs/tracing.md",
        "docs/nats.md",
        "docs/policies.md",
        "docs/zeromq.md",
        "docs/wire.md",
        "docs/security.md",
    ];
    for document in documents {
        let path = root().join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") && !link.starts_with('#') {
                let target = path.parent().unwrap().join(link.split('#').next().unwrap());
                assert!(target.exists(), "{document} links to {link}");
            }
        }
    }
}

/// A page that quotes a program says what is compiled.
#[test]
fn what_is_quoted_of_an_example_stands_in_it() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (page, example) =
        (read("docs/distribution.md"), read("adapters/lictor/examples/worker.rs"));
    let known: BTreeSet<&str> = example.lines().map(str::trim).collect();
    let (_, own) = page.split_once("**Agent types of your own**").unwrap();
    let (own, _) = own.split_once("The process of the tree uses").unwrap();
    let quoted = own.split("```").skip(1).step_by(2).flat_map(|block| block.lines().skip(1));
    let quoted: Vec<&str> = quoted.map(str::trim).collect();
    assert!(quoted.len() > 10, "{quoted:?}");
    for line in quoted {
        assert!(known.contains(line), "{line:?} is not in the example");
    }
}

#[test]
fn every_invariant_is_in_the_manual() {
    let manual = std::fs::read_to_string(root().join("docs/simulation.md")).unwrap();
    let mut seen = BTreeSet::new();
    for (_, text) in files("sim/src", "rs") {
        for word in text.split('"').skip(1).step_by(2) {
            let number = word.strip_prefix(['S', 'L']).unwrap_or_default();
            if word == "MODEL" || (!number.is_empty() && number.parse::<u8>().is_ok()) {
                seen.insert(word.to_owned());
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    for name in seen {
        assert!(manual.contains(&format!("\n| `{name}` | ")), "the manual lacks {name}");
    }
}

/// What a hunk wants to find, and how many lines stay behind its last change.
struct Hunk<'a> {
    title: &'a str,
    wanted: Vec<&'a str>,
    changes: usize,
    trailing: usize,
}

impl<'a> Hunk<'a> {
    /// Reads the hunk that begins with `title`; takes as many lines as the title says.
    fn read(title: &'a str, lines: &mut dyn Iterator<Item = &'a str>) -> Result<Self, String> {
        let numbers = |sign: char| {
            let range = title.split(' ').find_map(|word| word.strip_prefix(sign))?;
            range.split_once(',').map_or("1", |(_, count)| count).parse::<usize>().ok()
        };
        let (mut old, mut new) =
            numbers('-').zip(numbers('+')).ok_or_else(|| format!("{title:?} says no lines"))?;
        let mut hunk = Self { title, wanted: Vec::new(), changes: 0, trailing: 0 };
        while old > 0 || new > 0 {
            let line = lines.next().ok_or_else(|| format!("{title:?} ends too soon"))?;
            // What strips blanks at the end of lines makes of an empty one in between just this.
            let (kind, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            let (before, after) = match kind {
                " " => (1, 1),
                "-" => (1, 0),
                "+" => (0, 1),
                _ => return Err(format!("{title:?} has {line:?}")),
            };
            let miscounted = || format!("{title:?} has more lines than it says");
            old = old.checked_sub(before).ok_or_else(miscounted)?;
            new = new.checked_sub(after).ok_or_else(miscounted)?;
            hunk.wanted.extend((before > 0).then_some(rest));
            hunk.changes += usize::from(before != after);
            hunk.trailing = if before == after { hunk.trailing + 1 } else { 0 };
        }
        Ok(hunk)
    }

    /// Where it ends in the file, from this line on: in one place, whatever number the title has.
    fn end_in(&self, file: &[&str], from: usize) -> Result<usize, String> {
        let Self { title, wanted, changes, trailing } = self;
        let ends = (from + wanted.len()..=file.len())
            .filter(|end| file[end - wanted.len()..*end] == wanted[..])
            // Without a line behind the change it is the end of the file.
            .filter(|end| *trailing > 0 || *end == file.len());
        match ends.collect::<Vec<_>>()[..] {
            _ if *changes == 0 => Err(format!("{title:?} changes nothing")),
            [] => Err(format!("{title:?} stands nowhere")),
            [end] => Ok(end),
            _ => Err(format!("{title:?} stands in several places: give it more lines around")),
        }
    }
}

/// How many hunks of a unified diff fit the files as they are, or why one does not.
fn fit(patch: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<usize, String> {
    let mut lines = patch.lines().skip_while(|line| line.starts_with("# ")).peekable();
    let mut fitted = 0;
    while let Some(line) = lines.next() {
        let named = line.strip_prefix("--- a/").ok_or_else(|| format!("{line:?} names no file"))?;
        if lines.next().and_then(|line| line.strip_prefix("+++ b/")) != Some(named) {
            return Err(format!("{named} is not changed in place"));
        }
        let text = read(named).ok_or_else(|| format!("there is no {named}"))?;
        let (file, mut from) = (text.lines().collect::<Vec<_>>(), 0);
        while let Some(title) = lines.next_if(|line| line.starts_with("@@ ")) {
            let hunk = Hunk::read(title, &mut lines)?;
            from = hunk.end_in(&file, from).map_err(|why| format!("{named}: {why}"))?;
            fitted += 1;
        }
    }
    Ok(fitted)
}

/// A planted bug whose lines have moved away plants nothing, and nobody would hear of it before the
/// next campaign.
#[test]
fn every_planted_bug_still_applies() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    let bugs = files("sim/mutants", ".patch");
    let mut misfits = Vec::new();
    for (name, patch) in &bugs {
        assert!(patch.starts_with("# "), "{name} does not say what it breaks");
        match fit(patch, &read) {
            Ok(0) => misfits.push(format!("{name} plants nothing")),
            Ok(_) => {}
            Err(why) => misfits.push(format!("{name}: {why}")),
        }
    }
    let misfits = misfits.join("\n");
    assert!(misfits.is_empty(), "plant these anew in the code as it is:\n{misfits}");
}

#[test]
fn a_bug_that_does_not_apply_is_noticed() {
    let text = "one\ntwo\n\nthree\none\ntwo\nend\n";
    let read = |path: &str| (path == "a").then(|| text.to_owned());
    let fits = |hunks: &str| fit(&format!("# it\n--- a/a\n+++ b/a\n{hunks}"), &read);
    assert_eq!(fits("@@ -9,4 +9,4 @@ wherever\n two\n\n-three\n+four\n one\n"), Ok(1));
    assert_eq!(fits("@@ -1 +1,2 @@\n end\n+more\n"), Ok(1));
    assert_eq!(fits("@@ -3,2 +3,1 @@\n-three\n one\n@@ -6,2 +5,1 @@\n-two\n end\n"), Ok(2));
    for (hunks, why) in [
        ("@@ -3,2 +3,2 @@\n-tree\n+four\n one\n", "stands nowhere"),
        ("@@ -4,2 +4,2 @@\n-three\n+four\n two\n", "stands nowhere"),
        ("@@ -5,2 +5,3 @@\n one\n two\n+more\n", "stands nowhere"),
        ("@@ -5,2 +5,2 @@\n-one\n+four\n two\n", "several places"),
        ("@@ -6,2 +6,1 @@\n-two\n end\n@@ -4,2 +4,1 @@\n-three\n one\n", "stands nowhere"),
        ("@@ -4,2 +4,2 @@\n three\n one\n", "changes nothing"),
        ("@@ -4,2 +4,3 @@\n-three\n+four\n one\n", "ends too soon"),
        ("@@ -4,1 +4,2 @@\n-three\n one\n", "more lines than it says"),
        ("@@ -4,x +4 @@\n-three\n", "says no lines"),
        ("@@ -4 +4 @@\n*three\n", "has \"*three\""),
        ("--- a/b\n+++ b/b\n", "there is no b"),
        ("--- a/b\n+++ b/c\n", "not changed in place"),
        ("three\n", "names no file"),
    ] {
        let said = fits(hunks).unwrap_err();
        assert!(said.contains(why), "{hunks:?}: {said}");
    }
}
