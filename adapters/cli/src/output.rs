//! Standard output that may go away.

use std::io::{self, IsTerminal, Write};

use lictor::Value;
use lictor::topology::Style;

/// Writes a text; a reader that has gone is no fault of ours.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    excused(written).inspect_err(unwritten)
}

/// What became of writing, where a reader that has gone is no fault of ours.
pub(crate) fn excused(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says that standard output is not complete.
pub(crate) fn unwritten(error: &io::Error) {
    complain(&format!("error: cannot write standard output: {error}\n"));
}

/// Writes a text for people to standard error.
pub(crate) fn complain(text: &str) {
    // There is nowhere left to say that this failed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Colour on terminals, unless `NO_COLOR` is set or the terminal is dumb.
pub(crate) fn style(stream: &impl IsTerminal) -> Style {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if stream.is_terminal() && !set("NO_COLOR") && !dumb { Style::Ansi } else { Style::Plain }
}

/// What comes first in a line of JSON, for who reads it; the rest is in the order of letters.
const FIRST: [&str; 4] = ["event", "at", "name", "process"];

/// An object as a line, its keys in the order that all lines of `run` and `worker` have.
pub(crate) fn json_line(value: &Value) -> String {
    let Value::Object(fields) = value else { return format!("{value}\n") };
    let first = FIRST.iter().filter_map(|key| fields.get_key_value(*key));
    let rest = fields.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
    let fields = first.chain(rest).map(|(key, value)| format!("{}:{value}", Value::from(&**key)));
    format!("{{{}}}\n", fields.collect::<Vec<String>>().join(","))
}
