//! A trace file: its scenario, what OTP did, and the comparison with what the kernel does.

use core::fmt;

use serde_json::Value;

use super::scenario::Scenario;

/// A file that cannot be read as a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl core::error::Error for Malformed {}

/// A trace file.
#[derive(Debug)]
pub struct Trace {
    /// Its first line.
    pub scenario: Scenario,
    /// All others; the first of them is line 2.
    pub expected: Vec<Value>,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// Says which line is malformed, and how.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Malformed { line, message: "not UTF-8".to_owned() }
        })?;
        let mut lines = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let malformed = |message| Malformed { line: n + 1, message };
            let value: Value =
                serde_json::from_str(line).map_err(|error| malformed(not_json(&error)))?;
            if value.get("ev").and_then(Value::as_str).is_none() {
                return Err(malformed("expected an object with \"ev\"".to_owned()));
            }
            lines.push(value);
        }
        let mut lines = lines.into_iter();
        let Some(first) = lines.next() else {
            return Err(Malformed { line: 1, message: "the file is empty".to_owned() });
        };
        let scenario = Scenario::read(&first).map_err(|message| Malformed { line: 1, message })?;
        Ok(Self { scenario, expected: lines.collect() })
    }

    /// The first line in which `got` is not what was expected.
    #[must_use]
    pub fn difference(&self, got: &[Value]) -> Option<Difference> {
        let most = self.expected.len().max(got.len());
        let at = (0..most).find(|n| self.expected.get(*n) != got.get(*n))?;
        let from = at.saturating_sub(CONTEXT);
        Some(Difference {
            line: at + 2,
            before: self.expected.get(from..at).unwrap_or_default().to_vec(),
            expected: self.expected.get(at).cloned(),
            got: got.get(at).cloned(),
        })
    }
}

/// Lines shown before a difference.
const CONTEXT: usize = 4;

/// Where the kernel did not do what OTP did.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The line of the file, from 1.
    pub line: usize,
    /// The lines before it, which agree.
    pub before: Vec<Value>,
    /// What OTP did, if it did anything more.
    pub expected: Option<Value>,
    /// What the kernel did, if it did anything more.
    pub got: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.line - self.before.len();
        for (n, line) in self.before.iter().enumerate() {
            writeln!(f, "  {:>4}           {line}", first + n)?;
        }
        let show = |line: &Option<Value>| {
            line.as_ref().map_or_else(|| "nothing more".to_owned(), Value::to_string)
        };
        writeln!(f, "  {:>4} expected  {}", self.line, show(&self.expected))?;
        write!(f, "  {:>4} got       {}", "", show(&self.got))
    }
}

fn not_json(error: &serde_json::Error) -> String {
    // A single line was parsed: its own "line 1" would only mislead.
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("column {}: {what}", error.column())
}
