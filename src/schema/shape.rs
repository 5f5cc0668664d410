//! The types of fields: anything serde can read, with words for people.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// How much a schema wants a field, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Without it the event is quarantined.
    Required,
    /// Always there by the vendor's documentation; its absence is drift.
    Usual,
    /// There or not, or null.
    Optional,
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// What it should be, in words: "a string".
    pub expected: &'static str,
    reads: fn(&Value) -> bool,
}

impl Field {
    /// Whether `value` is of the field's type. What redaction put there fits any type, so that a
    /// stored payload can be normalised anew.
    pub fn fits(&self, value: &Value) -> bool {
        (self.reads)(value)
            || value.as_str().is_some_and(|text| text.starts_with("[redacted") || text.starts_with("[hash:"))
    }
}

/// A type that serde reads, with its name for people.
pub(super) trait Shape {
    const EXPECTED: &'static str;
    fn reads(value: &Value) -> bool;
}

impl Field {
    pub(super) const fn required<T: Shape>(name: &'static str) -> Self {
        Self { name, need: Need::Required, expected: T::EXPECTED, reads: T::reads }
    }

    pub(super) const fn usual<T: Shape>(name: &'static str) -> Self {
        Self { name, need: Need::Usual, expected: T::EXPECTED, reads: T::reads }
    }

    pub(super) const fn optional<T: Shape>(name: &'static str) -> Self {
        Self { name, need: Need::Optional, expected: T::EXPECTED, reads: T::reads }
    }
}

/// Fields by need and type: `fields![required Text ["id"], optional Integer ["amount", "tax"]]`.
macro_rules! fields {
    ($($need:ident $shape:ident [$($name:literal),* $(,)?]),* $(,)?) => {
        const { &[$($($crate::schema::shape::Field::$need::<$shape>($name),)*)*] }
    };
}
pub(super) use fields;

/// Gives a name to a type that serde reads.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident = $($ty:ty)|+, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl $crate::schema::shape::Shape for $name {
            const EXPECTED: &'static str = $expected;

            fn reads(value: &serde_json::Value) -> bool {
                $(<$ty as serde::Deserialize>::deserialize(value).is_ok())||+
            }
        }
    };
}

shape!(Text = &str, "a string");
// 128 bits, so that ids above i64::MAX are integers as well.
shape!(Integer = i128, "an integer");
shape!(Number = f64, "a number");
shape!(Flag = bool, "true or false");
shape!(List = Vec<IgnoredAny>, "an array");
shape!(Map = std::collections::BTreeMap<&str, IgnoredAny>, "an object");
shape!(
    /// An id, which vendors write as text or as a number.
    Id = &str | i128,
    "a string or an integer"
);
shape!(
    /// A reference to an object of Stripe's kind: its id, or the object itself.
    Reference = &str | Named,
    "an id or an object"
);
shape!(
    /// Anything at all.
    Any = IgnoredAny,
    "a value"
);

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Named {
    id: String,
}

/// The kind of a value, for error texts.
pub(super) const fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}
