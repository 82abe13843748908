//! The plot of the scale runs: cost of one operation over size, both axes logarithmic.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 400.0;
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#34495e", "#16a085", "#7f8c8d"];

/// An SVG of the rows `operation,size,cpu_us,...` behind one line of heads.
pub fn svg(csv: &str) -> Result<String, String> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in csv.lines().skip(1) {
        // A name may hold commas, the figures do not.
        let mut cells = row.rsplitn(4, ',');
        let (_, cost, size, what) = (cells.next(), cells.next(), cells.next(), cells.next());
        let number = |cell: Option<&str>| cell.and_then(|cell| cell.parse::<f64>().ok());
        let point = number(size).zip(number(cost)).zip(what);
        let ((size, cost), what) = point.ok_or_else(|| format!("not a row: {row}"))?;
        lines.entry(what).or_default().push((size, cost.max(0.001)));
    }
    let all = || lines.values().flatten();
    let decade = |value: f64| value.log10();
    let low = all().map(|(_, cost)| decade(*cost).floor()).fold(f64::MAX, f64::min);
    let high = all().map(|(_, cost)| decade(*cost).ceil()).fold(f64::MIN, f64::max).max(low + 1.0);
    let x = |size: f64| LEFT + (decade(size) - 3.0) / 3.0 * (RIGHT - LEFT);
    let y = |cost: f64| BOTTOM - (decade(cost) - low) / (high - low) * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"24\">CPU microseconds for one operation, over \
         the number of children, names, calls or agents</text>\n"
    );
    for (size, text) in [(1e3, "1k"), (1e4, "10k"), (1e5, "100k"), (1e6, "1 M")] {
        let at = x(size);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{text}</text>",
            BOTTOM + 20.0
        );
    }
    let mut power = low;
    while power <= high {
        let cost = 10_f64.powf(power);
        let at = y(cost);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{cost}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        power += 1.0;
    }
    for ((at, (what, points)), colour) in lines.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let path = points.iter().map(|(size, cost)| format!("{:.1},{:.1}", x(*size), y(*cost)));
        let path: Vec<String> = path.collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{what}</text>",
            path.join(" "),
            RIGHT + 16.0,
            TOP + 20.0 * (at as f64 + 1.0)
        );
    }
    out.push_str("</svg>\n");
    Ok(out)
}
