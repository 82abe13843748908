//! What we aim at, row by row, beside the floor that was measured when the aim was set.
//!
//! The aims are absolute figures of one quiet machine. On another, or a busy one, the ratio to the
//! floor of the same run says more; so both are judged.

use crate::cell::Row;

/// Which figure of a row is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Nanoseconds of the processor for each operation: less is better.
    Cpu,
    /// Operations a second: more is better.
    Rate,
    /// Microseconds, the median: less is better.
    P50,
    /// Bytes for each agent: less is better.
    Bytes,
    /// Bytes at the peak: less is better.
    Peak,
    /// As well, without what is of a file.
    Own,
}

impl Figure {
    pub fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Cpu => row.cpu_ns,
            Self::Rate => row.rate,
            Self::P50 => row.p50_us,
            Self::Bytes => row.bytes,
            Self::Peak => Some(row.peak as f64),
            Self::Own => row.own.map(|own| own as f64),
        }
    }

    /// Whether `a` is the better figure.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self == Self::Rate { a > b } else { a < b }
    }

    pub fn show(self, value: f64) -> String {
        match self {
            Self::Cpu => format!("{value:.0} ns"),
            Self::Rate if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Self::Rate => format!("{:.0} k/s", value / 1e3),
            Self::P50 if value >= 1e3 => format!("{:.2} ms", value / 1e3),
            Self::P50 => format!("{value:.1} us"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Peak => format!("{:.1} MB", value / 1e6),
            Self::Own => format!("{:.2} MB", value / 1e6),
        }
    }
}

/// A row of the table.
pub struct Line {
    pub title: &'static str,
    pub workload: &'static str,
    pub host: &'static str,
    pub figure: Figure,
    pub aim: Option<f64>,
    /// What the floor was when the aim was set.
    pub floor: Option<f64>,
}

const fn line(
    title: &'static str,
    (workload, host): (&'static str, &'static str),
    figure: Figure,
    aim: f64,
    floor: f64,
) -> Line {
    let (aim, floor) = (some(aim), some(floor));
    Line { title, workload, host, figure, aim, floor }
}

const fn some(figure: f64) -> Option<f64> {
    if figure > 0.0 { Some(figure) } else { None }
}

/// The table, from top to bottom. A zero says that there is none.
pub const LINES: [Line; 32] = [
    line("tell 1 -> 1, CPU", ("tell", "ct"), Figure::Cpu, 60.0, 35.0),
    line("tell 1 -> 1, CPU", ("tell", "mt"), Figure::Cpu, 80.0, 50.0),
    line("tell 1 -> 1", ("tell", "ct"), Figure::Rate, 16e6, 25.3e6),
    line("tell 1 -> 1", ("tell", "mt"), Figure::Rate, 12e6, 19.4e6),
    line("peak memory of 2 M tells", ("tell", "ct"), Figure::Peak, 6e6, 55e6),
    line("peak memory of 2 M tells", ("tell", "mt"), Figure::Peak, 6e6, 55e6),
    line("of it not the program's", ("tell", "ct"), Figure::Own, 0.0, 0.0),
    line("of it not the program's", ("tell", "mt"), Figure::Own, 0.0, 0.0),
    line("2 producers -> 8 agents, CPU", ("many", "mt"), Figure::Cpu, 0.0, 0.0),
    line("2 producers -> 8 agents", ("many", "mt"), Figure::Rate, 10e6, 12.9e6),
    line("ask, one after the other, CPU", ("ask", "ct"), Figure::Cpu, 0.0, 0.0),
    line("ask, one after the other, CPU", ("ask", "mt"), Figure::Cpu, 0.0, 0.0),
    line("ask, one after the other", ("ask", "ct"), Figure::Rate, 4.5e6, 8.0e6),
    line("ask, one after the other", ("ask", "mt"), Figure::Rate, 3e6, 3.4e6),
    line("ask, 64 in flight, CPU", ("ask64", "ct"), Figure::Cpu, 0.0, 0.0),
    line("ask, 64 in flight, CPU", ("ask64", "mt"), Figure::Cpu, 0.0, 0.0),
    line("ask, 64 in flight", ("ask64", "ct"), Figure::Rate, 7e6, 12.4e6),
    line("ask, 64 in flight", ("ask64", "mt"), Figure::Rate, 5e6, 6.6e6),
    line("send by name, 100k names", ("named", "ct"), Figure::Rate, 0.0, 0.0),
    line("send by name, 100k names", ("named", "mt"), Figure::Rate, 5e6, 2.2e6),
    line("start supervised agents", ("start", "mt"), Figure::Rate, 500e3, 628e3),
    line("stop supervised agents", ("stop", "mt"), Figure::Rate, 1.5e6, 5.7e6),
    line("stop, 100k names registered", ("stopnamed", "mt"), Figure::Rate, 1e6, 1.57e6),
    line("memory of an idle agent", ("idle", "ct"), Figure::Bytes, 1000.0, 1800.0),
    line("memory of an idle agent", ("idle", "mt"), Figure::Bytes, 1000.0, 1800.0),
    line("restart after a panic", ("panic", "ct"), Figure::P50, 4.6, 4.6),
    line("restart after a panic", ("panic", "mt"), Figure::P50, 13.0, 13.1),
    line("restart after an error", ("error", "ct"), Figure::P50, 3.0, 0.0),
    line("restart after an error", ("error", "mt"), Figure::P50, 12.0, 0.0),
    line("restart, 50 x 10 ms queued", ("busy", "mt"), Figure::P50, 1000.0, 0.0),
    line("broadcast to 10k", ("broadcast", "ct"), Figure::Rate, 0.0, 0.0),
    line("broadcast to 10k", ("broadcast", "mt"), Figure::Rate, 8e6, 13e6),
];
