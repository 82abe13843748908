//! The file format from outside: what is read, what is refused and where, and how long it may take.

mod documents;
mod faults;
mod hints;
mod limits;
mod network;
mod properties;
mod rendering;
mod spread;
mod valid;

use lictor_topology::{Diagnostics, Options, Topology, parse};

/// Reads a text with the variables `N=7`, `WORD=hello` and `EMPTY=`.
fn read(text: &str) -> Result<Topology, Diagnostics> {
    parse("t.yaml", text.as_bytes(), &Options::new(&variables))
}

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "N" => "7",
        "ZERO" => "007",
        "WORD" => "hello",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}
