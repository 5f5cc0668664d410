//! The warp filter of the admin listener: finds the route, checks the token, answers.

use std::{convert::Infallible, sync::Arc};

use bytes::{Buf, Bytes};
use futures_util::{Stream, TryStreamExt, pin_mut};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use warp::Filter;

use super::{
    Api, ApiError,
    request::{Access, Answer, Call, MAX_BODY, Route},
    routes,
};
use crate::secrets::Secret;

/// The route label of what no route was found for.
const NO_ROUTE: &str = "none";

/// All routes as one filter that never rejects.
pub fn serve(
    api: Arc<Api>,
) -> impl Filter<Extract = (Response<String>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let routes: Arc<[Route]> = routes().into();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, path: warp::path::FullPath, query: String, headers: HeaderMap, body| {
            let (api, routes) = (api.clone(), routes.clone());
            async move {
                let answer = dispatch(api, &routes, &method, path.as_str(), query, &headers, body).await;
                respond(answer)
            }
        })
        // None of the filters above rejects; the type does not know.
        .or_else(async |_| Ok::<_, Infallible>((respond(Err(ApiError::NotFound("no such path".to_owned()))),)))
}

async fn dispatch<B: Buf>(
    api: Arc<Api>,
    routes: &[Route],
    method: &Method,
    path: &str,
    query: String,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Answer, ApiError> {
    let begun = Instant::now();
    let found = find(&api, routes, method, path, headers);
    let template = found.as_ref().map_or(NO_ROUTE, |(route, _)| route.path);
    let answer = match found {
        Ok((route, parameters)) => match read(body).await {
            Ok(body) => (route.handler)(api.clone(), Call { parameters, query, body }).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let status = answer.as_ref().map_or_else(|error| error.status().0, |answer| answer.status);
    api.scrape.answered(template, status, begun.elapsed());
    answer
}

/// The route of a request and the values of its path, if it may be called.
fn find<'r>(
    api: &Api,
    routes: &'r [Route],
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(&'r Route, Vec<String>), ApiError> {
    let fitting: Vec<(&Route, Vec<String>)> =
        routes.iter().filter_map(|route| Some((route, route.parameters(path)?))).collect();
    // Who has no token does not learn which paths exist.
    let access = fitting.first().map_or(Access::Token, |(route, _)| route.access);
    if !may_call(api, access, headers) {
        return Err(ApiError::Unauthorized);
    }
    if fitting.is_empty() {
        return Err(ApiError::NotFound("no such path".to_owned()));
    }
    // hyper leaves the body of an answer to HEAD away.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    fitting.into_iter().find(|(route, _)| route.method == method).ok_or(ApiError::MethodNotAllowed)
}

fn may_call(api: &Api, access: Access, headers: &HeaderMap) -> bool {
    match access {
        Access::Open => true,
        Access::Token => presents(headers, &api.token),
        Access::Scrape => match &api.config.load().admin.scrape_token {
            Some(scrape) => presents(headers, scrape) || presents(headers, &api.token),
            None => true,
        },
    }
}

/// Whether the request carries this token; takes the same time for every wrong token of its length.
fn presents(headers: &HeaderMap, token: &Secret) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, presented)) = value.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(presented.ct_eq(token.expose()))
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Bytes, ApiError> {
    pin_mut!(body);
    let mut read = Vec::new();
    while let Some(mut part) =
        body.try_next().await.map_err(|error| ApiError::Invalid(format!("the body broke off: {error}")))?
    {
        if read.len() + part.remaining() > MAX_BODY {
            return Err(ApiError::TooLarge);
        }
        while part.has_remaining() {
            let chunk = part.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            part.advance(length);
        }
    }
    Ok(read.into())
}

fn respond(answer: Result<Answer, ApiError>) -> Response<String> {
    let answer = answer.unwrap_or_else(|error| {
        let (status, code) = error.status();
        let body = serde_json::json!({ "ok": false, "error": code, "message": error.to_string() });
        Answer { status, content_type: "application/json", body: body.to_string() }
    });
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
