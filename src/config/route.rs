//! `[[sources.*.routes]]`: which events cause which action.

use sluice_actors::domain::RouteName;

use super::{
    action::{ActionConfig, Fetch, Kind},
    finding::Problem,
    section::Section,
    source::Around,
    tree::Item,
    units::FromItem,
};
use crate::vendors::Vendor;

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name, unique within the source.
    pub name: RouteName,
    /// Event types it wants; empty = all.
    pub event_types: Vec<TypePattern>,
    /// Conditions on the event; all must hold.
    pub filter: Vec<Filter>,
    /// What it does.
    pub action: ActionConfig,
    /// Which resource is loaded first.
    pub fetch: Option<Fetch>,
    /// JSON pointers into `{event_type, subject_id, data}`: where the event names uploads of its source.
    pub attachments: Vec<String>,
}

/// An exact event type, or a prefix that ended in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// Exactly this.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

impl TypePattern {
    /// Parses `invoice.paid` or `invoice.*`; a `*` anywhere but at the end is refused.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_suffix('*') {
            _ if text.is_empty() => Err("an event type pattern cannot be empty"),
            Some(prefix) if prefix.contains('*') => Err("`*` may stand only at the end"),
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None if text.contains('*') => Err("`*` may stand only at the end"),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    /// Whether some event type fits both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(exact), pattern) | (pattern, Self::Exact(exact)) => pattern.matches(exact),
            (Self::Prefix(a), Self::Prefix(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
        }
    }

    /// Whether `event_type` is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(exact) => event_type == exact,
            Self::Prefix(prefix) => event_type.starts_with(prefix.as_str()),
        }
    }
}

/// A condition on the event: a JSON pointer into `{event_type, subject_id, data}` and the values
/// that satisfy it.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The pointer.
    pub pointer: String,
    /// Any of these values.
    pub any_of: Vec<serde_json::Value>,
}

impl Route {
    pub(super) fn read(mut section: Section<'_>, around: &Around<'_>, vendor: Option<&dyn Vendor>) -> Option<Self> {
        let name = section.required("name", "give the route a name: jobs and tables show it");
        let event_types: Option<Vec<TypePattern>> = section.list("event_types");
        if event_types.as_ref().is_some_and(Vec::is_empty) {
            section.error("event_types", "is an empty list, which matches nothing", "leave it out for all types");
        }
        let event_types = event_types.unwrap_or_default();
        let filter = section.tables("filter").into_iter().filter_map(Filter::read).collect();
        let outbound = around.node.outbound;
        let fetch = section.table("fetch").and_then(|table| Fetch::read(table, outbound));
        let has_fetch = section.has("fetch");
        let attachments: Vec<String> = section.list("attachments").unwrap_or_default();
        if attachments.iter().any(|pointer| !pointer.starts_with('/')) {
            section.error(
                "attachments",
                "holds something that is not a JSON pointer",
                "begin each with `/`, such as \"/data/file\"",
            );
        }
        let kind =
            section.required("action", &format!("write one of {}", Kind::NAMES.map(|(name, _)| name).join(", ")));
        let id_only = vendor
            .filter(|_| !has_fetch)
            .and_then(|vendor| overlap(&event_types, vendor.profile().id_only).map(|types| (vendor.name(), types)));
        let action = kind.and_then(|kind| ActionConfig::read(kind, &mut section, around, id_only));
        let known = kind.is_some();
        let route =
            action.zip(name).map(|(action, name)| Self { name, event_types, filter, action, fetch, attachments });
        for problem in route.iter().flat_map(crate::actions::check::route) {
            let cure = "mend it; values of the event stand in double braces, such as `{{ data.id }}`";
            section.error(problem.key, problem.reason, cure);
        }
        // Which keys a route knows depends on its action; without one they cannot be judged.
        if known {
            section.finish();
        }
        route
    }
}

impl FromItem for RouteName {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map_err(|error: sluice_actors::domain::InvalidId| Problem::new(error.to_string(), "rename it"))
    }
}

impl FromItem for TypePattern {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        Self::parse(&text).map_err(|rule| {
            Problem::new(
                format!("`{text}` is not an event type: {rule}"),
                "write an exact type, or a prefix such as \"invoice.*\"",
            )
        })
    }
}

/// The first of the vendor's patterns that a route with `wanted` can meet.
fn overlap<'v>(wanted: &[TypePattern], of_vendor: &[&'v str]) -> Option<&'v str> {
    of_vendor.iter().copied().find(|pattern| {
        let Ok(pattern) = TypePattern::parse(pattern) else { return false };
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.overlaps(&pattern))
    })
}

impl Filter {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let pointer: Option<String> = section.required("pointer", "write a JSON pointer such as \"/data/amount\"");
        if pointer.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
            section.error("pointer", "is not a JSON pointer", "begin it with `/`, such as \"/data/amount\"");
        }
        let any_of = section.items("any_of");
        if any_of.as_ref().is_none_or(Vec::is_empty) {
            section.error("any_of", "names no value", "write a list of values such as [\"paid\", \"open\"]");
        }
        section.finish();
        let any_of = any_of?.into_iter().filter_map(|(_, item)| serde_json::to_value(item.value.to_toml()).ok());
        Some(Self { pointer: pointer?, any_of: any_of.collect() })
    }
}
