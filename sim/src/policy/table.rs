//! Figures as text for terminals.

use core::fmt::Write as _;

use super::figures::{Comparison, Figures};

/// Longer names are cut in tables.
const NAME: usize = 15;

/// Heads of the columns after the name, and how wide they are.
const COLUMNS: [(&str, usize); 9] = [
    ("up", 8),
    ("up worst", 8),
    ("back p50", 8),
    ("back p99", 8),
    ("starts/h", 8),
    ("storm", 5),
    ("along/h", 7),
    ("gave up", 7),
    ("after", 8),
];

impl Comparison {
    /// A table for each crash model, at most 100 columns wide; a line for each policy, in the order
    /// of the input.
    ///
    /// `up`: share of the time that children were up, in all runs and in the worst run. `back`:
    /// time from a crash to up again. `starts/h`: starts of children an hour. `storm`: the most of
    /// them within 100 ms. `along/h`: healthy children stopped because of others, an hour. `gave
    /// up`: share of the supervisors that used up their budget, and after what time on average.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        let name = self.policies.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let name = name.clamp(6, NAME);
        for (index, crashes) in self.crashes.iter().enumerate() {
            let figures = self.of_crashes(index);
            let line = self.crash_lines.get(index).map_or("", String::as_str);
            let _ = writeln!(text, "{crashes}: {line}");
            if let Some(mean) = figures.iter().filter_map(|row| row.outage_seconds).reduce(f64::max)
                && let Some(least) =
                    figures.iter().filter_map(|row| row.outage_seconds).reduce(f64::min)
                && mean > least * 1.001
            {
                let (least, most) = (human(least), human(mean));
                let _ = writeln!(text, "the outage lasted from {least} to {most} on average");
            }
            let _ = write!(text, "{:<name$}", "policy");
            for (head, width) in COLUMNS {
                let _ = write!(text, "  {head:>width$}");
            }
            text.push('\n');
            for row in figures {
                let _ = write!(text, "{:<name$}", cut(&row.policy, name));
                for (cell, (_, width)) in row.cells().iter().zip(COLUMNS) {
                    let _ = write!(text, "  {cell:>width$}");
                }
                text.push('\n');
            }
            notes(figures, &mut text);
            text.push('\n');
        }
        let runs = human(self.run_seconds);
        let _ = writeln!(text, "{} runs of {runs} for each line", self.seeds);
        text
    }
}

/// What a reader of the figures must know.
fn notes(figures: &[Figures], text: &mut String) {
    let cut: u64 = figures.iter().map(|row| row.cut_runs).sum();
    if cut > 0 {
        let most = super::MAX_STEPS;
        let _ = writeln!(text, "note: {cut} runs took more than {most} steps and ended early");
    }
    if figures.iter().all(|row| row.crash_count == 0) {
        text.push_str("note: no child crashed; is the run too short for this model?\n");
    }
    let missed: u64 = figures.iter().map(|row| row.missed_crashes).sum();
    if missed > 0 {
        let _ = writeln!(text, "note: {missed} recorded crashes hit a child that was down");
    }
}

impl Figures {
    /// The cells of a table after the name.
    pub(super) fn cells(&self) -> [String; 9] {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), human);
        [
            percent(self.availability),
            percent(self.availability_worst),
            time(self.recover_p50_seconds),
            time(self.recover_p99_seconds),
            number(self.restarts_per_hour),
            self.storm_largest.to_string(),
            number(self.collateral_per_hour),
            share(self.gave_up_share),
            time(self.gave_up_first_seconds),
        ]
    }
}

/// A name of at most `most` characters.
pub(super) fn cut(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// An availability: three places, and never 100 when something was down.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 99.9995 && share < 1.0 {
        return ">99.999%".to_owned();
    }
    format!("{percent:.3}%")
}

/// A share of runs: whole per cents, but never 0 or 100 when it is neither.
pub(super) fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1%".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// A count an hour, to three digits.
pub(super) fn number(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value < 0.01 => "<0.01".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ if value < 100_000.0 => format!("{value:.0}"),
        _ => format!("{:.0}k", value / 1000.0),
    }
}

/// A time, to three digits.
pub(super) fn human(seconds: f64) -> String {
    let (value, unit) = match seconds {
        _ if seconds < 0.001 => (seconds * 1e6, "us"),
        _ if seconds < 0.9995 => (seconds * 1e3, "ms"),
        _ if seconds < 119.95 => (seconds, "s"),
        _ if seconds < 7_200.0 => (seconds / 60.0, "min"),
        _ if seconds < 172_800.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    let places = match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    format!("{} {unit}", text.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_fit_their_columns_and_do_not_lie() {
        assert_eq!(percent(0.999_999_9), ">99.999%");
        assert_eq!(percent(1.0), "100.000%");
        assert_eq!(percent(0.5), "50.000%");
        assert_eq!(share(0.001), "<1%");
        assert_eq!(share(0.999), ">99%");
        assert_eq!(share(0.0), "0%");
        assert_eq!(human(0.05), "50 ms");
        assert_eq!(human(1.05), "1.05 s");
        assert_eq!(human(61.0), "61 s");
        assert_eq!(human(300.0), "5 min");
        assert_eq!(human(3600.0), "60 min");
        assert_eq!(human(100.0), "100 s");
        assert_eq!(human(12.34), "12.3 s");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
