//! Plots as inline SVG: no script, no font, no network. Colours come from the page's style sheet.

use core::fmt::Write as _;

use super::figures::{Figures, Point};
use super::html::escape;
use super::table::{cut, human, number, percent, share};

/// Width of a plot, in pixels of the page.
const WIDTH: f64 = 570.0;
/// Room for names at the left of rows, and for values at their right.
const NAMES: f64 = 140.0;
const VALUES: f64 = 76.0;
const ROW: f64 = 26.0;
const TOP: f64 = 10.0;

/// Dashes tell lines apart where colours do not.
const DASHES: [&str; 6] = ["none", "7 3", "2 3", "10 3 2 3", "5 2 1 2 1 2", "12 4"];

/// The class of a policy's colour; there are eight.
pub(super) fn colour(index: usize) -> String {
    format!("c{}", index % 8)
}

/// A linear map from values to pixels.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    left: f64,
    right: f64,
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        let part = (value - self.from) / (self.to - self.from).max(f64::MIN_POSITIVE);
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }
}

struct Plot {
    text: String,
}

impl Plot {
    fn new(height: f64, title: &str) -> Self {
        let title = escape(title);
        let text = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\">\n"
        );
        Self { text }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.text,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    fn label(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        let _ =
            writeln!(self.text, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }

    fn area(&mut self, class: &str, from: (f64, f64), to: (f64, f64), title: &str) {
        let (x, y) = (from.0.min(to.0), from.1.min(to.1));
        let (width, height) = ((to.0 - from.0).abs(), (to.1 - from.1).abs());
        let title = escape(title);
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" \
             height=\"{height:.2}\"><title>{title}</title></rect>"
        );
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Nines on an axis: 0 is 0 %, 1 is 90 %, 2 is 99 %, ...
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-6).log10()
}

/// A row for each policy: the mean availability, and a line to that of the worst run.
pub(super) fn availability(rows: &[Figures]) -> String {
    let bottom = TOP + ROW * count(rows.len());
    let mut plot = Plot::new(bottom + 42.0, "Availability of each policy");
    let least = rows.iter().map(|row| nines(row.availability_worst)).fold(6.0, f64::min).floor();
    let most = rows.iter().map(|row| nines(row.availability)).fold(1.0, f64::max).ceil();
    let least = least.min(most - 1.0);
    let scale = Scale { from: least, to: most, left: NAMES, right: WIDTH - VALUES };
    for (value, text) in [
        (0.0, "0%"),
        (0.5_f64.log10().abs(), "50%"),
        (1.0, "90%"),
        (2.0, "99%"),
        (3.0, "99.9%"),
        (4.0, "99.99%"),
        (5.0, "99.999%"),
        (6.0, "100%"),
    ] {
        let half = value > 0.0 && value < 1.0;
        if value < least || value > most || (half && most > 3.0) {
            continue;
        }
        let x = scale.at(value);
        plot.line("grid", (x, TOP), (x, bottom));
        plot.label("tick middle", x, bottom + 16.0, text);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (count(index) + 0.5);
        let (mean, worst) =
            (scale.at(nines(row.availability)), scale.at(nines(row.availability_worst)));
        plot.label("name end", NAMES - 10.0, y + 4.0, &cut(&row.policy, 18));
        let colour = colour(index);
        plot.line(&format!("reach s{colour}"), (worst, y), (mean, y));
        let (percent, worst_percent) = (percent(row.availability), percent(row.availability_worst));
        let title = format!("{}: {percent}, worst run {worst_percent}", row.policy);
        plot.line(&format!("reach s{colour}"), (worst, y - 5.0), (worst, y + 5.0));
        let title = escape(&title);
        let _ = writeln!(
            plot.text,
            "<circle class=\"f{colour}\" cx=\"{mean:.1}\" cy=\"{y:.1}\" r=\"5.5\">\
             <title>{title}</title></circle>"
        );
        plot.label("value end", WIDTH - 4.0, y + 4.0, &percent);
    }
    let middle = f64::midpoint(NAMES, WIDTH - VALUES);
    plot.label(
        "axis middle",
        middle,
        bottom + 35.0,
        "share of the time that children were up (each step right: a tenth of the downtime)",
    );
    plot.finish()
}

/// A bar for each policy: the share of the supervisors that gave up at least once.
pub(super) fn gave_up(rows: &[Figures]) -> String {
    let bottom = TOP + ROW * count(rows.len());
    let mut plot = Plot::new(bottom + 42.0, "Share of supervisors that gave up");
    // The time stands beside the share.
    let right = WIDTH - VALUES - 40.0;
    let scale = Scale { from: 0.0, to: 1.0, left: NAMES, right };
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let x = scale.at(tick);
        plot.line("grid", (x, TOP), (x, bottom));
        plot.label("tick middle", x, bottom + 16.0, &format!("{:.0}%", tick * 100.0));
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (count(index) + 0.5);
        plot.label("name end", NAMES - 10.0, y + 4.0, &cut(&row.policy, 18));
        let share = share(row.gave_up_share);
        let title = format!("{}: {share}", row.policy);
        let class = format!("f{}", colour(index));
        let to = scale.at(row.gave_up_share);
        plot.area(&class, (NAMES, y - 7.0), (to, y + 7.0), &title);
        let after =
            row.gave_up_first_seconds.map_or_else(String::new, |s| format!(", {}", human(s)));
        plot.label("value end", WIDTH - 4.0, y + 4.0, &format!("{share}{after}"));
    }
    plot.line("frame", (NAMES, TOP), (NAMES, bottom));
    let middle = f64::midpoint(NAMES, right);
    let text = "supervisors that gave up at least once, and after what time on average";
    plot.label("axis middle", middle, bottom + 35.0, text);
    plot.finish()
}

const LEFT: f64 = 52.0;

/// Times that a logarithmic axis names.
const TIMES: [f64; 13] = [
    0.0001,
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
    60.0,
    600.0,
    3600.0,
    36_000.0,
    86_400.0,
    864_000.0,
    8_640_000.0,
];

/// Times that it names where it would name fewer than three of these.
const MORE_TIMES: [f64; 20] = [
    0.002,
    0.005,
    0.02,
    0.05,
    0.2,
    0.5,
    2.0,
    5.0,
    20.0,
    30.0,
    120.0,
    300.0,
    1200.0,
    1800.0,
    7200.0,
    18_000.0,
    43_200.0,
    172_800.0,
    432_000.0,
    1_728_000.0,
];

/// A line for each policy: how many of the crashed children were up again by when.
pub(super) fn recovery(rows: &[Figures]) -> Option<String> {
    let all =
        || rows.iter().flat_map(|row| &row.recover_curve).map(|point| point.seconds.max(1e-4));
    let least = all().reduce(f64::min)?;
    let most = all().reduce(f64::max)?.max(least * 10.0);
    let bottom = 250.0;
    let legend = bottom + 58.0;
    let lines = rows.len().div_ceil(3);
    let mut plot = Plot::new(legend + 20.0 * count(lines), "Time from crash to up again");
    let (from, to) = ((least / 2.0).log10(), (most * 1.5).log10());
    let x = Scale { from, to, left: LEFT, right: WIDTH - 14.0 };
    let y = Scale { from: 0.0, to: 1.0, left: bottom, right: TOP };
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        plot.line("grid", (x.left, y.at(tick)), (x.right, y.at(tick)));
        plot.label("tick end", x.left - 6.0, y.at(tick) + 4.0, &format!("{:.0}%", tick * 100.0));
    }
    let inside = |time: &f64| (from..=to).contains(&time.log10());
    let few = TIMES.into_iter().filter(inside).count() < 3;
    let more = MORE_TIMES.into_iter().filter(|_| few);
    for time in TIMES.into_iter().chain(more).filter(inside) {
        let at = x.at(time.log10());
        plot.line("grid", (at, TOP), (at, bottom));
        plot.label("tick middle", at, bottom + 16.0, &human(time));
    }
    plot.line("frame", (x.left, bottom), (x.right, bottom));
    for (index, row) in rows.iter().enumerate() {
        let Some(first) = row.recover_curve.first() else { continue };
        let place = |point: &Point| x.at(point.seconds.max(1e-4).log10());
        let mut path = format!("M{:.1} {:.1}", place(first), bottom);
        for point in &row.recover_curve {
            let _ = write!(path, "H{:.1}V{:.1}", place(point), y.at(point.value));
        }
        let _ = write!(path, "H{:.1}", x.right);
        let (colour, dash, name) = (colour(index), dash(index), escape(&row.policy));
        let _ = writeln!(
            plot.text,
            "<path class=\"curve s{colour}\" stroke-dasharray=\"{dash}\" d=\"{path}\">\
             <title>{name}</title></path>"
        );
        let (at, line) = (LEFT + 172.0 * count(index % 3), legend + 20.0 * count(index / 3));
        let _ = writeln!(
            plot.text,
            "<path class=\"curve s{colour}\" stroke-dasharray=\"{dash}\" d=\"M{at} {line}h30\"/>"
        );
        plot.label("name", at + 36.0, line + 4.0, &cut(&row.policy, 18));
    }
    let middle = f64::midpoint(x.left, x.right);
    plot.label("axis middle", middle, bottom + 35.0, "time since the crash (logarithmic)");
    Some(plot.finish())
}

fn dash(index: usize) -> &'static str {
    DASHES[index % DASHES.len()]
}

/// Starts a second around an outage, of the policy with this index; `most` is common to all.
pub(super) fn storm(index: usize, row: &Figures, most: f64) -> String {
    let bottom = 138.0;
    let mut plot = Plot::new(bottom + 40.0, "Starts a second around the outage");
    let (first, last) = (row.storm_curve.first(), row.storm_curve.last());
    let (Some(first), Some(last)) = (first, last) else { return plot.finish() };
    let width = row.storm_curve.get(1).map_or(1.0, |second| second.seconds - first.seconds);
    let to = last.seconds + width;
    let x = Scale { from: first.seconds, to, left: LEFT, right: WIDTH - 14.0 };
    let y = Scale { from: 0.0, to: most.max(f64::MIN_POSITIVE), left: bottom, right: TOP + 20.0 };
    let outage = row.outage_seconds.unwrap_or(0.0);
    let title = format!("the dependency is down for {} on average", human(outage));
    plot.area("outage", (x.at(0.0), TOP), (x.at(outage), bottom), &title);
    let step = nice(to / 6.0);
    let ticks = std::iter::successors(Some(0.0), |at| Some(at + step));
    for tick in ticks.take_while(|tick| *tick <= to) {
        plot.line("frame", (x.at(tick), bottom), (x.at(tick), bottom + 4.0));
        plot.label("tick middle", x.at(tick), bottom + 16.0, &format!("{tick} s"));
    }
    let step = nice(most / 3.0);
    let ticks = std::iter::successors(Some(0.0), |at| Some(at + step));
    for tick in ticks.take_while(|tick| *tick <= most) {
        plot.line("grid", (x.left, y.at(tick)), (x.right, y.at(tick)));
        plot.label("tick end", x.left - 6.0, y.at(tick) + 4.0, &format!("{tick}"));
    }
    let class = format!("f{}", colour(index));
    for point in row.storm_curve.iter().filter(|point| point.value > 0.0) {
        let title = format!("{} s: {} starts a second", point.seconds.round(), number(point.value));
        let right = (x.at(point.seconds + width) - 0.3).max(x.at(point.seconds) + 0.8);
        plot.area(&class, (x.at(point.seconds), bottom), (right, y.at(point.value)), &title);
    }
    plot.line("frame", (x.left, bottom), (x.right, bottom));
    let middle = f64::midpoint(x.left, x.right);
    plot.label("axis middle", middle, bottom + 34.0, "time since the outage began");
    plot.label("axis end", x.left - 6.0, TOP + 2.0, "starts/s");
    plot.finish()
}

/// A step of 1, 2 or 5 times a power of ten that is near.
fn nice(step: f64) -> f64 {
    let step = step.max(1e-9);
    let power = 10_f64.powf(step.log10().floor());
    match step / power {
        part if part < 1.5 => power,
        part if part < 3.5 => power * 2.0,
        part if part < 7.5 => power * 5.0,
        _ => power * 10.0,
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
