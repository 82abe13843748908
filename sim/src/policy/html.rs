//! The report as one HTML file that needs nothing else.

use core::fmt::Write as _;

use super::figures::{Comparison, Figures};
use super::svg;
use super::table::{human, number, percent};

/// The only style sheet. Colours are Okabe and Ito's, darkened on white and lightened on black, and
/// can be told apart by colour-blind people.
const STYLE: &str = include_str!("report.css");

/// Heads of the table, with what they mean for who points at them.
const HEADS: [(&str, &str); 9] = [
    ("available", "share of the time of all children in which they were up"),
    ("worst run", "the same of the worst run"),
    ("back: median", "half of the crashed children were up again within this time"),
    ("back: p99", "99 of 100 crashed children were up again within this time"),
    ("starts/h", "starts of children an hour, all supervisors together"),
    ("storm", "the most starts within 100 ms, in any run"),
    ("along/h", "healthy children stopped because of others, an hour"),
    ("gave up", "share of the supervisors that used up their budget at least once"),
    ("after", "mean time until a supervisor gave up first"),
];

impl Comparison {
    /// The whole report: for each crash model a table, and plots of availability, time to recover,
    /// supervisors that gave up, and storms of restarts.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
        page.push_str("<meta charset=\"utf-8\">\n<title>Restart policies compared</title>\n");
        let view = "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
        page.push_str(view);
        let _ = write!(page, "<style>\n{STYLE}</style>\n</head>\n<body>\n");
        page.push_str("<h1>Restart policies compared</h1>\n");
        let (policies, crashes) = (self.policies.len(), self.crashes.len());
        let run = human(self.run_seconds);
        let _ = writeln!(
            page,
            "<p class=\"lead\">{policies} policies, {crashes} crash models, {} runs of {run} of \
             virtual time for each pair. Every policy meets the same crashes.</p>",
            self.seeds
        );
        self.contents(&mut page);
        for index in 0..crashes {
            self.section(index, &mut page);
        }
        page.push_str("</body>\n</html>\n");
        page
    }

    /// What each policy is, and how available it was under each model.
    fn contents(&self, page: &mut String) {
        page.push_str("<h2>Availability at a glance</h2>\n<table>\n<tr><th>policy</th>");
        for (index, name) in self.crashes.iter().enumerate() {
            let _ = write!(page, "<th class=\"n\"><a href=\"#m{index}\">{}</a></th>", escape(name));
        }
        page.push_str("<th>what it does</th></tr>\n");
        let best: Vec<f64> = (0..self.crashes.len())
            .map(|model| {
                self.of_crashes(model).iter().map(|row| row.availability).fold(0.0, f64::max)
            })
            .collect();
        for (index, name) in self.policies.iter().enumerate() {
            let _ = write!(page, "<tr>{}", head_of(index, name));
            for (model, best) in best.iter().enumerate() {
                let Some(row) = self.of_crashes(model).get(index) else { continue };
                let class = if row.availability >= *best { "n best" } else { "n" };
                let _ = write!(page, "<td class=\"{class}\">{}</td>", percent(row.availability));
            }
            let line = self.policy_lines.get(index).map_or("", String::as_str);
            let _ = writeln!(page, "<td class=\"what\">{}</td></tr>", escape(line));
        }
        page.push_str("</table>\n<p class=\"note\">The best of each column is bold.</p>\n");
    }

    fn section(&self, index: usize, page: &mut String) {
        let rows = self.of_crashes(index);
        let (Some(name), Some(line)) = (self.crashes.get(index), self.crash_lines.get(index))
        else {
            return;
        };
        let (name, line) = (escape(name), escape(line));
        let _ = writeln!(page, "<section id=\"m{index}\">\n<h2>{name}</h2>\n<p>{line}</p>");
        table(rows, page);
        page.push_str("<div class=\"plots\">\n<div>\n");
        figure("Availability", "dot: all runs; line: down to the worst run", page);
        page.push_str(&svg::availability(rows));
        page.push_str("</figure>\n");
        if rows.iter().any(|row| row.gave_up_share > 0.0) {
            figure("Gave up", "a supervisor whose budget is used up stops all its children", page);
            page.push_str(&svg::gave_up(rows));
            page.push_str("</figure>\n");
        } else {
            page.push_str("<p class=\"note\">No supervisor gave up.</p>\n");
        }
        page.push_str("</div>\n");
        if let Some(plot) = svg::recovery(rows) {
            figure("Time to recover", "share of the crashed children that are up again", page);
            page.push_str(&plot);
            page.push_str("</figure>\n");
        }
        page.push_str("</div>\n");
        storms(rows, page);
        page.push_str("</section>\n");
    }
}

fn table(rows: &[Figures], page: &mut String) {
    page.push_str("<table>\n<tr><th>policy</th>");
    for (head, title) in HEADS {
        let _ = write!(page, "<th class=\"n\" title=\"{title}\">{head}</th>");
    }
    page.push_str("</tr>\n");
    for (index, row) in rows.iter().enumerate() {
        let _ = write!(page, "<tr>{}", head_of(index, &row.policy));
        for cell in row.cells() {
            let _ = write!(page, "<td class=\"n\">{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    let cut: u64 = rows.iter().map(|row| row.cut_runs).sum();
    if cut > 0 {
        let most = super::MAX_STEPS;
        let _ = writeln!(page, "<p>{cut} runs took more than {most} steps and ended early.</p>");
    }
    let missed: u64 = rows.iter().map(|row| row.missed_crashes).sum();
    if missed > 0 {
        let _ = writeln!(page, "<p>{missed} recorded crashes hit a child that was down.</p>");
    }
}

/// A small plot for each policy, with one scale for all.
fn storms(rows: &[Figures], page: &mut String) {
    let points = rows.iter().flat_map(|row| &row.storm_curve);
    let Some(most) = points.map(|point| point.value).reduce(f64::max) else { return };
    page.push_str(
        "<h3>Storms of restarts</h3>\n<p>Starts a second around the outage (grey), in the ",
    );
    page.push_str("mean of all runs; one scale for all policies.</p>\n<div class=\"plots\">\n");
    for (index, row) in rows.iter().enumerate() {
        let peak = row.storm_curve.iter().map(|point| point.value).fold(0.0, f64::max);
        let outage = row.outage_seconds.map_or_else(String::new, human);
        let facts = format!(
            "peak {} starts/s; at most {} in 100 ms; down for {outage}",
            number(peak),
            row.storm_largest
        );
        figure(&row.policy, &facts, page);
        page.push_str(&svg::storm(index, row, most));
        page.push_str("</figure>\n");
    }
    page.push_str("</div>\n");
}

fn figure(title: &str, what: &str, page: &mut String) {
    let (title, what) = (escape(title), escape(what));
    let _ = writeln!(page, "<figure><figcaption><b>{title}</b> <span>{what}</span></figcaption>");
}

/// The cell with a policy's name and colour.
fn head_of(index: usize, name: &str) -> String {
    let colour = svg::colour(index);
    format!("<th class=\"p\"><i class=\"b{colour}\"></i>{}</th>", escape(name))
}

/// Text that is no markup.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
