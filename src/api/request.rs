//! A route of the table, what it takes and gives, and a request that matched it.

use std::{future::Future, net::IpAddr, pin::Pin, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Required, path::ParameterIn, request_body::RequestBodyBuilder},
};

use super::{
    Api, ApiError,
    access::{Allowed, Caller, Grant, Permission},
    answer::{Answer, Output},
    openapi::Description,
};

/// Bytes of a request's body.
pub const MAX_BODY: usize = 64 * 1024;

/// A request that matched a route, before anything of it is read as what the route takes.
#[derive(Debug)]
pub struct Request {
    /// Values of the path's `{…}` segments.
    pub(super) parameters: Vec<String>,
    /// The query, still encoded.
    pub(super) query: String,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// Who sent it.
    pub(super) client: IpAddr,
    /// The body.
    pub(super) body: Bytes,
}

/// What a handler is given: the request and its input.
#[derive(Debug)]
pub struct Call<I> {
    /// The input.
    pub(super) input: I,
    /// The request.
    pub(super) request: Request,
}

impl<I> Call<I> {
    /// The `at`-th segment of the path as a name or id; not one: there is no such object.
    pub(super) fn parameter<T: FromStr>(&self, at: usize) -> Result<T, ApiError> {
        self.request
            .parameters
            .get(at)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::NotFound("no such object".to_owned()))
    }
}

/// What a route takes besides its path.
pub trait Input: Sized + Send + 'static {
    /// Reads it.
    fn read(request: &Request) -> Result<Self, ApiError>;
    /// Tells of it.
    fn describe(description: &mut Description);
}

/// Nothing; what is sent all the same is not read.
impl Input for () {
    fn read(_: &Request) -> Result<Self, ApiError> {
        Ok(())
    }

    fn describe(_: &mut Description) {}
}

/// A query.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + IntoParams + Send + 'static> Input for Query<T> {
    fn read(request: &Request) -> Result<Self, ApiError> {
        serde_urlencoded::from_str(&request.query)
            .map(Self)
            .map_err(|error| ApiError::Invalid(format!("query: {error}")))
    }

    fn describe(description: &mut Description) {
        description.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
    }
}

/// A body of JSON; none and `null` are `{}`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + ToSchema + Send + 'static> Input for Body<T> {
    fn read(request: &Request) -> Result<Self, ApiError> {
        let body = request.body.trim_ascii();
        let text = if body.is_empty() || body == b"null" { b"{}" } else { body };
        serde_json::from_slice(text).map(Self).map_err(|error| ApiError::Invalid(format!("body: {error}")))
    }

    fn describe(description: &mut Description) {
        let content = description.json::<T>();
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
        description.body = Some(body.build());
    }
}

type Handler = Arc<dyn Fn(Arc<Api>, Caller, Request) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, ApiError>> + Send>>;

/// One line of the table of routes.
#[derive(Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The name of the permission that its handler takes.
    pub permission: &'static str,
    /// Whom that is for.
    pub grant: Grant,
    pub(super) check: fn(&Caller) -> Result<(), ApiError>,
    pub(super) describe: fn(&mut Description),
    pub(super) handler: Handler,
}

/// Builds a line of the table. Permission, input and output are those of the handler.
pub(crate) fn route<P, I, O, F, A>(method: &Method, path: &'static str, summary: &'static str, handler: F) -> Route
where
    P: Permission,
    I: Input,
    O: Output,
    F: Fn(Arc<Api>, Allowed<P>, Call<I>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<O, ApiError>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |api, caller, request| {
        let handler = handler.clone();
        Box::pin(async move {
            let who = Allowed::<P>::grant(&caller)?;
            let input = I::read(&request)?;
            handler(api, who, Call { input, request }).await?.into_answer()
        })
    });
    Route {
        method: method.clone(),
        path,
        summary,
        permission: P::NAME,
        grant: P::GRANT,
        check: |caller| Allowed::<P>::grant(caller).map(drop),
        describe: |description| {
            I::describe(description);
            O::describe(description);
        },
        handler,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{access::Public, answer::Json};

    async fn nothing(_: Arc<Api>, _: Allowed<Public>, _: Call<()>) -> Result<Json<()>, ApiError> {
        Ok(Json(()))
    }

    #[test]
    fn a_template_fits_only_paths_of_its_own_shape() {
        let found = |path: &'static str, asked: &str| route(&Method::GET, path, "", nothing).parameters(asked);
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
