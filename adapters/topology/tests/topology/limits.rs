//! Hostile files of the largest size end soon, with a fault that says why.

use std::time::{Duration, Instant};

use lictor_topology::{MAX_BYTES, MAX_REPORTED, Options, check};

/// A second is promised; an unoptimised build on a busy machine gets more.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 3 });

/// The first code of each file and the number of omitted faults.
fn first_fault(mut text: String) -> (&'static str, usize) {
    text.truncate(MAX_BYTES);
    let start = Instant::now();
    let checked = check("big.yaml", text.as_bytes(), &Options::default());
    let page = checked.diagnostics.to_string();
    assert!(start.elapsed() < PATIENCE, "{:?}: {}", start.elapsed(), &text[..40]);
    assert!(page.len() < 200_000, "{}", page.len());
    assert!(checked.diagnostics.len() <= MAX_REPORTED);
    let code = checked.diagnostics.iter().next().map_or("none", |d| d.code);
    (code, checked.diagnostics.omitted())
}

#[test]
fn nesting() {
    for text in [
        format!("supervision: {}", "[".repeat(100_000)),
        format!("supervision: {}", "{a: ".repeat(100_000)),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        (0..1400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ] {
        let (code, _) = first_fault(text);
        assert!(matches!(code, "too-deep" | "complex-key"), "{code}");
    }
    let aliased: String = (1..80).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    assert_eq!(first_fault(format!("a0: &a0 1\n{aliased}")).0, "too-deep");
}

#[test]
fn expansion() {
    let nine = |n: usize| vec![format!("*a{n}"); 9].join(",");
    let laughs: String = (1..20).map(|n| format!("a{n}: &a{n} [{}]\n", nine(n - 1))).collect();
    assert_eq!(first_fault(format!("a0: &a0 x\n{laughs}")).0, "too-much");
    let copies = format!("x: &x {}\nsupervision: [{}]", "y".repeat(900_000), "*x,".repeat(40_000));
    assert_eq!(first_fault(copies).0, "too-much");
    let keys: String = (0..5_000).map(|n| format!("k{n}: 1,")).collect();
    let merges: String = (0..50_000).map(|n| format!("  k{n}: {{<<: *b}}\n")).collect();
    assert_eq!(first_fault(format!("b: &b {{{keys}}}\nsupervision:\n{merges}")).0, "too-much");
}

#[test]
fn many_faults() {
    let near: String = (0..48_000).map(|n| format!("  max_restart{n}: 1\n")).collect();
    let (code, omitted) = first_fault(format!("supervision:\n{near}"));
    assert_eq!(code, "unknown-key");
    assert!(omitted > 40_000);
    let short: String = (0..110_000).map(|n| format!("{n:x}: 1,")).collect();
    assert_eq!(first_fault(format!("supervision: {{{short}}}")).0, "unknown-key");
    let same = format!("supervision: {{{}}}", "a,".repeat(500_000));
    assert_eq!(first_fault(same).0, "duplicate-key");
    let unset = format!("supervision: \"{}\"", "${A}".repeat(250_000));
    assert_eq!(first_fault(unset), ("unset-variable", 249_900));
    // Each of them looked for its end up to the end of the file.
    for unclosed in ["${A:-", "${A:-${", "${A:-x"] {
        let text = format!("supervision: \"{}\"", unclosed.repeat(1_000_000 / unclosed.len()));
        let start = Instant::now();
        assert_eq!(first_fault(text).0, "bad-variable");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    let texts = "1,".repeat(500_000);
    let list = format!("{{agent: {{name: a, type: t, capabilities: [{texts}]}}}}");
    assert_eq!(first_fault(format!("supervision: {{children: [{list}]}}")).0, "wrong-type");
}

// Each was rendered in full, and its line looked for from the beginning of the file.
#[test]
fn many_bad_configurations() {
    let refuse = |_: &lictor_topology::AgentNode| Err("`k` must be above 0".to_owned());
    let agent = |n| format!("{{agent: {{name: a{n}, type: t, config: {{k: 0}}}}}}");
    let agents: Vec<String> = (0..19_000).map(agent).collect();
    for separator in [",", ",\n   "] {
        let text = format!("supervision: {{children: [{}]}}", agents.join(separator));
        let start = Instant::now();
        let checked = check("big.yaml", text.as_bytes(), &Options::default().agents(&refuse));
        let page = checked.diagnostics.to_string();
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        assert_eq!(checked.diagnostics.iter().next().map(|d| d.code), Some("bad-config"));
        assert_eq!(checked.diagnostics.omitted(), 19_000 - MAX_REPORTED);
        assert!(page.len() < 200_000, "{}", page.len());
    }
}

#[test]
fn long_scalars() {
    for text in [
        format!("supervision: {}", "x".repeat(1_040_000)),
        format!("supervision: \"{}\"", "\\n".repeat(500_000)),
        format!("supervision: |\n{}", "  b\n".repeat(250_000)),
        format!("supervision: a\n{}", "  b\n".repeat(250_000)),
    ] {
        assert_eq!(first_fault(text).0, "wrong-type");
    }
    assert_eq!(first_fault("#\n".repeat(500_000)).0, "empty-file");
    assert_eq!(first_fault(" ".repeat(1_000_000)).0, "empty-file");
}

#[test]
fn large_and_valid() {
    let agents: String =
        (0..26_000).map(|n| format!("    - agent: {{name: a{n}, type: t}}\n")).collect();
    assert_eq!(first_fault(format!("supervision:\n  children:\n{agents}")).0, "none");
}

#[test]
fn too_large() {
    let text = "#".repeat(MAX_BYTES + 1);
    let checked = check("big.yaml", text.as_bytes(), &Options::default());
    assert_eq!(checked.diagnostics.iter().next().map(|d| d.code), Some("too-large"));
    let fits = check("big.yaml", &text.as_bytes()[1..], &Options::default());
    assert_eq!(fits.diagnostics.iter().next().map(|d| d.code), Some("empty-file"));
}
