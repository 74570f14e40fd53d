//! A JSON object read field by field, so that a refusal names the field, its value and what is
//! accepted. A field that nobody asked for is refused with the nearest known one.

use crate::errors::ApiError;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use weir_config::nearest::{did_you_mean, nearest};
use weir_config::words::Word;

/// The fields of a body in their order; duplicates are kept, to be refused.
#[derive(Debug)]
pub(crate) struct Fields {
    written: Vec<(String, Value)>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Reads a body that must be one JSON object.
    ///
    /// # Errors
    /// 400 with the place of the fault.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let Pairs(written) = serde_json::from_slice(body)
            .map_err(|error| ApiError::malformed(format!("the body is not an object: {error}")))?;
        for (n, (name, _)) in written.iter().enumerate() {
            if written[..n].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::invalid(name.clone(), "written twice"));
            }
        }
        Ok(Self { written, asked: vec![] })
    }

    /// Whether the field is there, be it `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.written.iter().any(|(written, _)| written == name)
    }

    /// A text; `None` when absent or `null`.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(refusal(name, &other, "a text")),
        }
    }

    /// A word of a fixed set; `None` when absent or `null`.
    pub(crate) fn word<T: Word>(&mut self, name: &'static str) -> Result<Option<T>, ApiError> {
        self.text(name)?.map(|text| word(name, &text)).transpose()
    }

    /// A list; empty when absent or `null`.
    pub(crate) fn values(&mut self, name: &'static str) -> Result<Vec<Value>, ApiError> {
        self.list(name, "a list")
    }

    /// A list of texts; empty when absent or `null`.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, ApiError> {
        let values = self.list(name, "a list of strings")?;
        let text = |(n, value)| match value {
            Value::String(text) => Ok(text),
            other => Err(refusal(&format!("{name}[{n}]"), &other, "a text")),
        };
        values.into_iter().enumerate().map(text).collect()
    }

    /// `true` or `false`; `false` when absent or `null`.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<bool, ApiError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(refusal(name, &other, "true or false")),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, ApiError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                value.as_u64().filter(|number| bounds.contains(number)).ok_or_else(|| {
                    let (least, most) = (bounds.start(), bounds.end());
                    refusal(name, &value, &format!("a whole number from {least} to {most}"))
                })
            }
        }
    }

    /// # Errors
    /// 400 for a field that was not asked for.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.written.first() {
            None => Ok(()),
            Some((name, _)) => Err(unknown("field", name, &self.asked)),
        }
    }

    fn list(&mut self, name: &'static str, accepted: &str) -> Result<Vec<Value>, ApiError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(vec![]),
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(refusal(name, &other, accepted)),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        let at = self.written.iter().position(|(written, _)| written == name)?;
        Some(self.written.swap_remove(at).1)
    }
}

/// 400 for a name that is not known, with the nearest one that is.
pub(crate) fn unknown(what: &str, name: &str, known: &[&'static str]) -> ApiError {
    let hint = match nearest(name, known.iter().copied()) {
        Some(meant) => did_you_mean(meant),
        None => format!("known: {}", known.join(", ")),
    };
    let shown = shorten(name);
    ApiError::invalid(shown.clone(), format!("unknown {what} {shown:?}; {hint}"))
}

/// 400 for a value that a field does not take.
pub(crate) fn refusal(field: &str, value: &Value, accepted: &str) -> ApiError {
    let shown = shorten(&value.to_string());
    ApiError::invalid(field, format!("{shown} is not accepted; accepted: {accepted}"))
}

/// The word of a fixed set that `field` says.
///
/// # Errors
/// 400 for another one.
pub(crate) fn word<T: Word>(field: &str, text: &str) -> Result<T, ApiError> {
    let refused = || refusal(field, &Value::from(text), &T::instead_of(text));
    T::find(text).ok_or_else(refused)
}

/// At most 100 characters of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(std::iter::once('…')).collect()
}

/// An object as pairs: a map would keep the last of two fields of one name without a word.
struct Pairs(Vec<(String, Value)>);

/// Most fields of one body: far more than are known, few enough to look for duplicates simply.
const MOST_FIELDS: usize = 100;

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    if pairs.len() == MOST_FIELDS {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_kind() {
        let body = br#"{"a": "x", "b": ["y"], "c": true, "d": 7, "e": null}"#;
        let mut fields = Fields::parse(body).unwrap();
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.texts("b").unwrap(), ["y"]);
        assert!(fields.boolean("c").unwrap());
        assert_eq!(fields.number("d", 1, 0..=9).unwrap(), 7);
        assert_eq!(fields.text("e").unwrap(), None);
        assert_eq!(fields.number("f", 1, 0..=9).unwrap(), 1);
        fields.finish().unwrap();
    }

    #[test]
    fn a_refusal_names_field_value_and_what_is_accepted() {
        let mut fields = Fields::parse(br#"{"b": ["y", 1], "c": "yes", "d": 10}"#).unwrap();
        let refused = |field: &str, message: &str| ApiError::invalid(field, message);
        assert_eq!(
            fields.texts("b").unwrap_err(),
            refused("b[1]", "1 is not accepted; accepted: a text")
        );
        assert_eq!(
            fields.boolean("c").unwrap_err(),
            refused("c", "\"yes\" is not accepted; accepted: true or false")
        );
        assert_eq!(
            fields.number("d", 1, 0..=9).unwrap_err(),
            refused("d", "10 is not accepted; accepted: a whole number from 0 to 9")
        );
    }

    #[test]
    fn unknown_and_doubled_fields_and_other_bodies_are_refused() {
        let mut fields = Fields::parse(br#"{"pahts": ["/a"]}"#).unwrap();
        fields.texts("paths").unwrap();
        let refused = fields.finish().unwrap_err();
        let expected = ApiError::invalid("pahts", "unknown field \"pahts\"; did you mean paths?");
        assert_eq!(refused, expected);
        let twice = Fields::parse(br#"{"a": 1, "a": 2}"#).unwrap_err();
        assert_eq!(twice, ApiError::invalid("a", "written twice"));
        for body in [&b""[..], b"[]", b"1", b"{", b"{}x", b"\xff", b"{\"a\":1,}"] {
            assert!(Fields::parse(body).is_err());
        }
        let many: Vec<_> = (0..=MOST_FIELDS).map(|n| format!("\"{n}\":0")).collect();
        assert!(Fields::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }
}
