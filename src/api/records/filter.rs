//! What a query of records is narrowed by, and the pages in which it answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{TenantName, Timestamp};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema},
};

/// Which tenants the caller may see. A foreign object is not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Only these.
    Tenants(Vec<TenantName>),
}

impl Scope {
    /// Whether the tenant is in it.
    pub fn holds(&self, tenant: &TenantName) -> bool {
        match self {
            Self::All => true,
            Self::Tenants(tenants) => tenants.contains(tenant),
        }
    }
}

/// A page of rows and where the next one begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Hand it back for the next page; none at the end.
    pub next: Option<String>,
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let rows = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        ObjectBuilder::new()
            .property("items", rows)
            .required("items")
            .property("next", Option::<String>::schema())
            .description(Some("A page of rows; `next` is the cursor of the next one."))
            .build()
            .into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("PageOf{}", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// A filter for events and jobs. All given conditions hold together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct RecordFilter {
    /// One tenant.
    pub tenant: Option<String>,
    /// One source.
    pub source: Option<String>,
    /// An event type, or a prefix ending in `*`.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Event status or job state.
    pub state: Option<String>,
    /// One subject.
    pub subject: Option<String>,
    /// The vendor's id.
    pub external_id: Option<String>,
    /// A trace.
    pub trace_id: Option<String>,
    /// Received (events) or created (jobs) at or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Rows a page, 1 to 500; default 50.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl RecordFilter {
    /// Rows a page and where it begins.
    pub fn page(&self) -> (Option<usize>, Option<&str>) {
        (self.limit, self.cursor.as_deref())
    }
}

/// A filter for refused deliveries. All given conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct RefusalFilter {
    /// One tenant.
    pub tenant: Option<String>,
    /// One source.
    pub source: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Older than the one with this id.
    pub before: Option<i64>,
}

impl RefusalFilter {
    /// Of one source.
    pub fn of(tenant: &str, source: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), source: Some(source.to_owned()), ..Self::default() }
    }
}

/// A filter for the audit. All given conditions hold together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct AuditFilter {
    /// One tenant.
    pub tenant: Option<String>,
    /// One actor, such as `user:ada`.
    pub actor: Option<String>,
    /// One action, such as `lane.pause`.
    pub action: Option<String>,
    /// One object, such as a job's id.
    pub object: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Rows a page, 1 to 500; default 50.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}
