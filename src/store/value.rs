//! The parameters of statements, the same for every engine.

use std::borrow::Cow;

use sluice_actors::domain::{ArtifactId, EventId, JobId, LaneKey, Timestamp, TokenId};
use uuid::Uuid;

/// One parameter.
#[derive(Debug)]
pub(super) enum Value<'v> {
    /// Text that may hold any character.
    Text(Option<Cow<'v, str>>),
    /// Bytes.
    Bytes(Option<Cow<'v, [u8]>>),
    /// An id.
    Id(Option<Uuid>),
    /// A whole number; a time is milliseconds since the epoch.
    Int(Option<i64>),
    /// Yes or no.
    Flag(bool),
}

macro_rules! from {
    ($($type:ty, $value:ident => $made:expr;)*) => {$(
        impl<'v> From<$type> for Value<'v> {
            fn from($value: $type) -> Self {
                $made
            }
        }
    )*};
}

from! {
    &'v str, text => Self::Text(Some(text.into()));
    Option<&'v str>, text => Self::Text(text.map(Into::into));
    String, text => Self::Text(Some(text.into()));
    Option<String>, text => Self::Text(text.map(Into::into));
    Option<Cow<'v, str>>, text => Self::Text(text);
    &'v [u8], bytes => Self::Bytes(Some(bytes.into()));
    Option<&'v [u8]>, bytes => Self::Bytes(bytes.map(Into::into));
    Vec<u8>, bytes => Self::Bytes(Some(bytes.into()));
    Option<Vec<u8>>, bytes => Self::Bytes(bytes.map(Into::into));
    ArtifactId, id => Self::Id(Some(id.as_uuid()));
    EventId, id => Self::Id(Some(id.as_uuid()));
    Option<EventId>, id => Self::Id(id.map(|id| id.as_uuid()));
    Uuid, id => Self::Id(Some(id));
    TokenId, id => Self::Id(Some(id.as_uuid()));
    JobId, id => Self::Id(Some(id.as_uuid()));
    Option<JobId>, id => Self::Id(id.map(|id| id.as_uuid()));
    i64, number => Self::Int(Some(number));
    u32, number => Self::Int(Some(number.into()));
    Option<i64>, number => Self::Int(number);
    Timestamp, time => Self::Int(Some(time.as_millis()));
    Option<Timestamp>, time => Self::Int(time.map(Timestamp::as_millis));
    bool, flag => Self::Flag(flag);
}

/// Parameters in order. Of a statement for many rows: those of the first row, of the second and so
/// on, of equal kinds in every row.
#[derive(Debug, Default)]
pub(super) struct Values<'v>(Vec<Value<'v>>);

impl<'v> Values<'v> {
    /// The next parameter.
    pub(super) fn add(&mut self, value: impl Into<Value<'v>>) {
        self.0.push(value.into());
    }

    /// The next two parameters: tenant and source.
    pub(super) fn lane(&mut self, lane: &'v LaneKey) {
        self.add(lane.tenant.as_str());
        self.add(lane.source.as_str());
    }

    /// All of them.
    pub(super) fn into_inner(self) -> Vec<Value<'v>> {
        self.0
    }
}

impl<'v> FromIterator<Value<'v>> for Values<'v> {
    fn from_iter<I: IntoIterator<Item = Value<'v>>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The rows of one statement.
#[derive(Debug)]
pub(super) struct Rows<'v> {
    /// How many.
    pub(super) count: usize,
    /// Their parameters.
    pub(super) values: Values<'v>,
}

impl<'v> Rows<'v> {
    /// Binds a row for each of `items`.
    pub(super) fn of<T>(items: &'v [T], bind: impl Fn(&'v T, &mut Values<'v>)) -> Self {
        let mut values = Values::default();
        for item in items {
            bind(item, &mut values);
        }
        Self { count: items.len(), values }
    }
}

/// Parameters, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        <$crate::store::value::Values<'_> as FromIterator<_>>::from_iter([
            $($crate::store::value::Value::from($value)),*
        ])
    };
}
pub(super) use values;
