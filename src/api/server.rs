//! The warp filter of the admin listener: finds the route, checks the token, answers.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{Stream, TryStreamExt, pin_mut};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use subtle::ConstantTimeEq;
use warp::{Filter, filters::BoxedFilter};

use super::{
    Api, ApiError,
    request::{Access, Answer, Call, MAX_BODY, Route},
    routes,
};
use crate::secrets::Secret;

/// All routes as one filter that never rejects.
pub fn serve(api: Arc<Api>) -> BoxedFilter<(Response<String>,)> {
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
        .boxed()
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
    let fitting: Vec<(&Route, Vec<String>)> =
        routes.iter().filter_map(|route| Some((route, route.parameters(path)?))).collect();
    // Who has no token does not learn which paths exist.
    let access = fitting.first().map_or(Access::Token, |(route, _)| route.access);
    if !may_call(&api, access, headers) {
        return Err(ApiError::Unauthorized);
    }
    if fitting.is_empty() {
        return Err(ApiError::NotFound("no such path".to_owned()));
    }
    // hyper leaves the body of an answer to HEAD away.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let (route, parameters) =
        fitting.into_iter().find(|(route, _)| route.method == method).ok_or(ApiError::MethodNotAllowed)?;
    let call = Call { parameters, query, body: read(body).await? };
    (route.handler)(api, call).await
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
