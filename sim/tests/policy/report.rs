use lictor_kernel::Backoff;
use lictor_sim::policy::{CrashModel, Policy};

use crate::{compared, crashes, ms, secs};

fn comparison() -> lictor_sim::policy::Comparison {
    let odd = Policy { name: "<odd> & \"named\"".to_owned(), ..Policy::new("", 2) };
    let hasty =
        Policy { backoff: Backoff::NONE, ..Policy::new("a-name-that-is-longer-than-tables", 2) };
    let steady = CrashModel::Mtbf { mean: secs(100), children: Vec::new() };
    let outage = CrashModel::Outage {
        at: secs(60),
        lasts: secs(30),
        notice: ms(100),
        capacity: Some(1),
        prolongs: secs(1),
    };
    let calm = CrashModel::Mtbf { mean: secs(3_000_000_000), children: Vec::new() };
    let models = [crashes("steady", steady), crashes("outage", outage), crashes("calm", calm)];
    compared(&[odd, hasty], &models, 3, 1)
}

#[test]
fn a_table_fits_a_terminal() {
    let table = comparison().to_table();
    for line in table.lines().filter(|line| !line.contains(": ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("policy ")).count(), 3);
    assert!(table.contains("a-name-that-is…"), "{table}");
    assert!(table.contains("3 runs of 60 min"), "{table}");
}

#[test]
fn the_report_needs_nothing_else_and_escapes_names() {
    let page = comparison().to_html();
    for word in
        ["http:", "https:", "//", "<script", "@import", "url(", "<link", "<img", "NaN", "inf"]
    {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("&lt;odd&gt; &amp; &quot;named&quot;"));
    assert!(!page.contains("<odd>"));
    for tag in ["svg", "figure", "table", "section", "text", "div"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    // A pair of plots for each model that crashes anybody, and two of storms.
    assert!(page.matches("<svg ").count() >= 7);
}

#[test]
fn the_summary_is_json() {
    let comparison = comparison();
    let text = serde_json::to_string(&comparison).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["figures"].as_array().unwrap().len(), 6);
    assert_eq!(value["figures"][0]["crashes"], "steady");
    assert!(value["figures"][0]["recover_p50_seconds"].as_f64().unwrap() > 0.0);
    assert!(value["figures"][4]["recover_p50_seconds"].is_null());
}
