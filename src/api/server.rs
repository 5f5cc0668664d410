//! The warp filter of the admin listener: finds the route, finds out who calls, answers.

use std::{convert::Infallible, net::IpAddr, net::Ipv4Addr, sync::Arc};

use bytes::{Buf, Bytes};
use futures_util::{Stream, TryStreamExt, pin_mut};
use http::{HeaderMap, Method};
use tokio::time::Instant;
use warp::{Filter, reply::Response};

use super::{
    Api, ApiError,
    access::{Caller, Grant},
    answer::Answer,
    door,
    request::{MAX_BODY, Request, Route},
    routes,
};
use crate::edge::accept::Arrival;

/// The route label of what no route was found for.
const NO_ROUTE: &str = "none";

/// A request before its route is found.
struct Asked {
    method: Method,
    path: warp::path::FullPath,
    query: String,
    headers: HeaderMap,
    client: IpAddr,
}

/// All routes, with those of the console, as one filter that never rejects.
pub fn serve(
    api: Arc<Api>,
    console: Vec<Route>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let routes: Arc<[Route]> = routes().into_iter().chain(console).collect();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let client = warp::ext::optional::<Arrival>()
        .map(|arrival: Option<Arrival>| arrival.map_or(Ipv4Addr::UNSPECIFIED.into(), |arrival| arrival.client));
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(client)
        .and(warp::body::stream())
        .then(move |method, path, query, headers, client, body| {
            let (api, routes) = (api.clone(), routes.clone());
            let asked = Asked { method, path, query, headers, client };
            async move { dispatch(api, &routes, asked, body).await.unwrap_or_else(Answer::from).into_response() }
        })
        // None of the filters above rejects; the type does not know.
        .or_else(async |_| {
            let nowhere = ApiError::NotFound("no such path".to_owned());
            Ok::<_, Infallible>((Answer::from(nowhere).into_response(),))
        })
}

async fn dispatch<B: Buf>(
    api: Arc<Api>,
    routes: &[Route],
    asked: Asked,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Answer, ApiError> {
    let begun = Instant::now();
    let fitting: Vec<(&Route, Vec<String>)> =
        routes.iter().filter_map(|route| Some((route, route.parameters(asked.path.as_str())?))).collect();
    let template = fitting.first().map_or(NO_ROUTE, |(route, _)| route.path);
    let _present = api.scrape.present(template);
    let method = asked.method.clone();
    let answer = answer(&api, fitting, asked, body).await;
    let status = answer.as_ref().map_or_else(|error| error.status().0, |answer| answer.status);
    api.scrape.answered(template, &method, status, begun.elapsed());
    answer
}

async fn answer<B: Buf>(
    api: &Arc<Api>,
    fitting: Vec<(&Route, Vec<String>)>,
    asked: Asked,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Answer, ApiError> {
    let Asked { method, query, headers, client, .. } = asked;
    let is_for_anyone = |(route, _): &(&Route, _)| matches!(route.grant, Grant::Anyone);
    let caller = if !fitting.is_empty() && fitting.iter().all(is_for_anyone) {
        Caller::default()
    } else {
        let config = api.config.load_full();
        api.door.caller(&headers, config.admin.scrape_token.as_ref()).await?
    };
    // Who is nobody does not learn which paths exist.
    if caller.principal.is_none() && fitting.iter().all(|(route, _)| (route.check)(&caller).is_err()) {
        return Err(ApiError::Unauthorized);
    }
    if fitting.is_empty() {
        return Err(ApiError::NotFound("no such path".to_owned()));
    }
    // hyper leaves the body of an answer to HEAD away.
    let wanted = if method == Method::HEAD { &Method::GET } else { &method };
    let (route, parameters) =
        fitting.into_iter().find(|(route, _)| route.method == wanted).ok_or(ApiError::MethodNotAllowed)?;
    (route.check)(&caller)?;
    door::guard(&caller, &method, &headers)?;
    let body = read(body).await?;
    (route.handler)(api.clone(), caller, Request { parameters, query, headers, client, body }).await
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
