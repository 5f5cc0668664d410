//! A route of the table, and a request that matched it.

use std::{future::Future, pin::Pin, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::{Api, ApiError};

/// Bytes of a request's body.
pub const MAX_BODY: usize = 64 * 1024;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone who reaches the listener.
    Open,
    /// As `Open`, unless the configuration names a scrape token.
    Scrape,
    /// Who presents the token.
    Token,
}

type Handler = Arc<dyn Fn(Arc<Api>, Call) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, ApiError>> + Send>>;

/// One line of the table of routes.
#[derive(Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    pub(super) handler: Handler,
}

/// Builds a line of the table.
pub(super) fn route<F, A>(method: &Method, path: &'static str, access: Access, handler: F) -> Route
where
    F: Fn(Arc<Api>, Call) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Answer, ApiError>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |api, call| Box::pin(handler(api, call)));
    Route { method: method.clone(), path, access, handler }
}

impl Route {
    /// The values of the template's `{…}` segments, if `path` fits.
    pub(super) fn parameters(&self, path: &str) -> Option<Vec<String>> {
        let mut values = Vec::new();
        let (mut template, mut actual) = (self.path.split('/'), path.split('/'));
        loop {
            match (template.next(), actual.next()) {
                (None, None) => return Some(values),
                (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {
                    values.push(found.to_owned());
                }
                (Some(wanted), Some(found)) if wanted == found => {}
                _ => return None,
            }
        }
    }
}

/// A request that matched a route.
#[derive(Debug)]
pub struct Call {
    /// Values of the path's `{…}` segments.
    pub(super) parameters: Vec<String>,
    /// The query, still encoded.
    pub(super) query: String,
    /// The body.
    pub(super) body: Bytes,
}

impl Call {
    /// The `at`-th segment of the path as a name or id; not one: there is no such object.
    pub(super) fn parameter<T: FromStr>(&self, at: usize) -> Result<T, ApiError> {
        self.parameters
            .get(at)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::NotFound("no such object".to_owned()))
    }

    /// The query as `T`.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_urlencoded::from_str(&self.query).map_err(|error| ApiError::Invalid(format!("query: {error}")))
    }

    /// The body as `T`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| ApiError::Invalid(format!("body: {error}")))
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// The media type.
    pub(super) content_type: &'static str,
    /// The body.
    pub(super) body: String,
}

impl Answer {
    /// 200 with `value` as JSON.
    pub(super) fn json<T: Serialize>(value: &T) -> Result<Self, ApiError> {
        Self::json_as(StatusCode::OK, value)
    }

    /// `status` with `value` as JSON.
    pub(super) fn json_as<T: Serialize>(status: StatusCode, value: &T) -> Result<Self, ApiError> {
        let body = serde_json::to_string(value)
            .map_err(|error| ApiError::Unavailable(format!("an answer cannot be written as JSON: {error}")))?;
        Ok(Self { status, content_type: "application/json", body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_only_paths_of_its_own_shape() {
        let found = |path: &'static str, asked: &str| {
            route(&Method::GET, path, Access::Open, |_, _| async { Answer::json(&()) }).parameters(asked)
        };
        let lane = "/api/v1/lanes/{tenant}/{source}/pause";
        assert_eq!(found(lane, "/api/v1/lanes/acme/pay/pause"), Some(vec!["acme".to_owned(), "pay".to_owned()]));
        for other in [
            "/api/v1/lanes/acme//pause",
            "/api/v1/lanes/acme/pay/pause/",
            "/api/v1/lanes/acme/pay",
            "/api/v1/lanes/acme/pay/x/pause",
            "//api/v1/lanes/acme/pay/pause",
        ] {
            assert_eq!(found(lane, other), None, "{other}");
        }
    }
}
