//! From rows to the table of `docs/performance.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::aims::{Figure, LINES, Line};
use crate::cell::{PEERS, Row};

/// What stands around the table in a file into which it is written.
const BEGIN: &str = "<!-- table: written by benches/peers/run -->";
const END: &str = "<!-- end of the table -->";

pub fn main(file: &str, rest: &[&str]) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let rows: Result<Vec<Row>, _> = text.lines().map(serde_json::from_str).collect();
    let table = table(&rows.map_err(|error| format!("{file}: {error}"))?);
    match rest {
        [] => {
            print!("{table}");
            Ok(())
        }
        ["--into", target] => write_into(target, &table),
        ["--into", target, "--machine", machine] => {
            let machine = std::fs::read_to_string(machine).map_err(|error| error.to_string())?;
            let of = format!("{table}\n```text\n{machine}```\n");
            write_into(target, &of)
        }
        _ => Err(crate::USAGE.to_owned()),
    }
}

fn write_into(target: &str, table: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(target).map_err(|error| format!("{target}: {error}"))?;
    let place = text.find(BEGIN).zip(text.find(END)).filter(|(begin, end)| begin < end);
    let (begin, end) = place.ok_or_else(|| format!("{target}: no place for a table in it"))?;
    let (head, tail) = (&text[..begin + BEGIN.len()], &text[end..]);
    std::fs::write(target, format!("{head}\n\n{table}\n{tail}")).map_err(|error| error.to_string())
}

type Best<'a> = BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Row>>;

/// The best figure of a cell over its processes.
fn best(rows: &Best<'_>, line: &Line, peer: &str) -> Option<f64> {
    let rows = rows.get(&(peer, line.workload, line.host))?;
    let figures = rows.iter().filter_map(|row| line.figure.of(row));
    figures.reduce(|a, b| if line.figure.is_better(a, b) { a } else { b })
}

fn table(rows: &[Row]) -> String {
    let mut cells: Best<'_> = BTreeMap::new();
    for row in rows {
        cells.entry((&row.peer, &row.workload, &row.host)).or_default().push(row);
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "| workload | host | {} | ours / floor | ours / best peer | aim | |",
        PEERS.join(" | ")
    );
    let _ = writeln!(out, "|---|---|{}---|---|---|---|", "---|".repeat(PEERS.len()));
    for line in &LINES {
        let figures = PEERS.map(|peer| best(&cells, line, peer));
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let shown = figures
            .map(|figure| figure.map_or_else(|| "-".to_owned(), |figure| line.figure.show(figure)));
        let [ours, raw, raw64, ractor, kameo, _, coerce] = figures;
        // The floor has to carry the memory of a bounded channel, if we have to.
        let is_memory = matches!(line.figure, Figure::Peak | Figure::Own);
        let floor = if is_memory { raw64 } else { raw };
        let supervised = [ractor, kameo, coerce].into_iter().flatten();
        let peer = supervised.reduce(|a, b| if line.figure.is_better(a, b) { a } else { b });
        let ratio = |other: Option<f64>| {
            let ratio = ours.zip(other).map(|(ours, other)| format!("{:.2}", ours / other));
            ratio.unwrap_or_else(|| "-".to_owned())
        };
        let aim = line.aim.map_or_else(|| "-".to_owned(), |aim| line.figure.show(aim));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {aim} | {} |",
            line.title,
            line.host,
            shown.join(" | "),
            ratio(floor),
            ratio(peer),
            verdict(line, ours, floor),
        );
    }
    out
}

/// Whether the aim is met: as it stands, or beside the floor of the same run.
fn verdict(line: &Line, ours: Option<f64>, floor: Option<f64>) -> &'static str {
    let (Some(ours), Some(aim)) = (ours, line.aim) else { return "" };
    if !line.figure.is_better(aim, ours) {
        return "met";
    }
    let by_ratio = line
        .floor
        .zip(floor)
        .is_some_and(|(then, now)| !line.figure.is_better(aim / then, ours / now));
    if by_ratio && line.figure != Figure::Peak { "met as a ratio" } else { "**not met**" }
}
