//! Free-form values: the same that the wire carries, so nothing that JSON cannot say.

use serde_json::{Map, Number, Value};

use crate::diagnostic::Quoted;
use crate::model::Credentials;
use crate::reader::Reader;
use crate::scalar::Resolved;
use crate::tree::{Entry, Form, Item, Kind, Scalar};

impl<'a> Reader<'a> {
    /// A free-form mapping.
    pub fn json_map(&mut self, item: Item) -> Option<Map<String, Value>> {
        let entries = self.entries(item)?;
        let mut map = Map::new();
        for entry in entries {
            self.text_key(entry);
            let value = self.under_key(&entry.key, |reader| reader.json(entry.value));
            map.insert(entry.key.clone(), value.unwrap_or(Value::Null));
        }
        Some(map)
    }

    /// A mapping of strings, whose values are secret.
    pub(crate) fn text_map(&mut self, item: Item) -> Option<Credentials> {
        let entries = self.entries(item)?;
        let mut map = Vec::new();
        for entry in entries {
            self.text_key(entry);
            let value = self.under_key(&entry.key, |reader| reader.text(entry.value));
            map.extend(value.map(|value| (entry.key.clone(), value.to_owned())));
        }
        Some(map.into_iter().collect())
    }

    fn text_key(&mut self, entry: &'a Entry) {
        if entry.key_is_text {
            return;
        }
        self.under_key(&entry.key, |reader| {
            let message = format_args!("the key {} is not a string", Quoted(&entry.key));
            if let Some(d) = reader.error("wrong-type", entry.key_span, message) {
                d.help("put it in quotes");
            }
        });
    }

    fn json(&mut self, item: Item) -> Option<Value> {
        let tree = self.tree;
        match &tree.node(item).kind {
            Kind::Scalar(scalar) => self.json_scalar(item, scalar),
            Kind::Mapping(_) => self.json_map(item).map(Value::Object),
            Kind::Sequence(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.extend(self.at_index(index, |reader| reader.json(*item)));
                }
                Some(Value::Array(values))
            }
            Kind::Invalid => None,
        }
    }

    fn json_scalar(&mut self, item: Item, scalar: &'a Scalar) -> Option<Value> {
        let number = match scalar.resolved() {
            Some(Resolved::Null) => return Some(Value::Null),
            Some(Resolved::Bool(value)) => return Some(Value::Bool(value)),
            Some(Resolved::Text) => {
                if scalar.form == Form::Plain && is_old_boolean(&scalar.text) {
                    let message = format_args!("{} is a string here", Quoted(&scalar.text));
                    if let Some(d) = self.warning("old-boolean", item.span, message) {
                        d.help("write `true` or `false` for a boolean, or put it in quotes");
                    }
                }
                return Some(Value::String(scalar.text.clone()));
            }
            Some(Resolved::LeadingZero) => {
                let message = format_args!("{} begins with a zero", Quoted(&scalar.text));
                if let Some(d) = self.error("ambiguous-number", item.span, message) {
                    d.help("put it in quotes, or drop the zero; an octal number is `0o17`");
                }
                return None;
            }
            None => {
                self.wrong("wrong-type", item, format_args!("what its tag says"));
                return None;
            }
            Some(Resolved::Int(number)) => number.and_then(|number| {
                let signed = i64::try_from(number).map(Number::from);
                signed.or_else(|_| u64::try_from(number).map(Number::from)).ok()
            }),
            Some(Resolved::Float(number)) => Number::from_f64(number),
        };
        if number.is_none() {
            let range = format_args!("finite, and whole numbers must fit 64 bits");
            if let Some(d) = self.wrong("out-of-range", item, range) {
                d.help("put it in quotes");
            }
        }
        number.map(Value::Number)
    }
}

/// What YAML 1.1 took for a boolean and 1.2 does not.
fn is_old_boolean(text: &str) -> bool {
    ["yes", "no", "on", "off"].iter().any(|word| word.eq_ignore_ascii_case(text))
}
