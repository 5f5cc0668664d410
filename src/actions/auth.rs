//! How calls to APIs authenticate: bearer, basic, a header of their own, OAuth2 client credentials.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::{CalleeId, TenantName, Timestamp};
use tokio::time::Instant;
use url::form_urlencoded;

use super::{
    callees,
    classify::{self, Fate, Health, Judged},
    run::{Run, Step, not_configured},
};
use crate::{
    config::{Auth, OAuth2},
    http_client::{Answer, Call, CallError},
    redact::MASK,
};

/// A token is asked for anew this long before it ends.
const EARLY: Duration = Duration::from_mins(1);
/// The life of a token whose server does not say (RFC 6749 §5.1 leaves it open).
const UNSAID: Duration = Duration::from_mins(5);
/// Bytes of a credential from which on it is looked for in replies: shorter ones are in any text.
const SHORTEST: usize = 6;
/// No token is kept longer, whatever its server says.
const LONGEST: Duration = Duration::from_hours(24);

/// The header that authenticates, and whether its token came from the cache.
#[derive(Default)]
pub(crate) struct Authorization {
    header: Option<(HeaderName, HeaderValue)>,
    pub(crate) cached: Option<TokenKey>,
}

impl Authorization {
    pub(crate) fn apply(&self, call: &mut Call) {
        if let Some((name, value)) = self.header.clone() {
            call.headers.insert(name, value);
        }
    }
}

impl Authorization {
    /// A reply without the credential that its call carried: some callees repeat what they were sent.
    pub(crate) fn hidden_in(&self, mut reply: Value) -> Value {
        let Some((_, value)) = &self.header else { return reply };
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut credentials = vec![text.clone().into_owned()];
        if let Some((scheme @ ("Bearer" | "Basic"), credential)) = text.split_once(' ') {
            credentials.push(credential.to_owned());
            let decoded = STANDARD.decode(credential).ok().filter(|_| scheme == "Basic");
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            credentials.extend(decoded.and_then(|pair| Some(pair.split_once(':')?.1.to_owned())));
        }
        credentials.retain(|credential| credential.len() >= SHORTEST);
        hide(&mut reply, &credentials);
        reply
    }
}

fn hide(reply: &mut Value, credentials: &[String]) {
    let hidden = |text: &mut String| {
        for credential in credentials {
            if text.contains(credential.as_str()) {
                *text = text.replace(credential.as_str(), MASK);
            }
        }
    };
    match reply {
        Value::String(text) => hidden(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, credentials)),
        Value::Object(fields) => {
            let named = std::mem::take(fields).into_iter().map(|(mut name, mut value)| {
                hidden(&mut name);
                hide(&mut value, credentials);
                (name, value)
            });
            *fields = named.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the call of `auth` must carry. Asks the token endpoint where a token is needed.
pub(crate) async fn authorize(run: &Run<'_>, auth: &Auth) -> Step<Authorization> {
    let (name, value) = match auth {
        Auth::None => return Ok(Authorization::default()),
        Auth::Bearer(token) => (header::AUTHORIZATION, sensitive(&[b"Bearer ", token.expose()].concat())),
        Auth::Basic { user, password } => (header::AUTHORIZATION, basic(user.as_bytes(), password.expose())),
        Auth::Header { name, value } => (name.clone(), sensitive(value.expose())),
        Auth::OAuth2(oauth2) => return token(run, oauth2).await,
    };
    let Some(value) = value else {
        return Err(not_configured(format!("a credential of route {} that fits into a header", run.route.name)));
    };
    Ok(Authorization { header: Some((name, value)), cached: None })
}

fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    sensitive(format!("Basic {}", STANDARD.encode([user, b":", password].concat())).as_bytes())
}

/// One credential of one tenant: tokens are never shared between tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    tenant: TenantName,
    credential: [u8; 32],
}

struct Token {
    value: HeaderValue,
    until: Instant,
}

/// Tokens in use. Each has a lock of its own, so that one attempt asks and the others wait for it.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<TokenKey, Arc<tokio::sync::Mutex<Option<Token>>>>>);

impl Tokens {
    fn slot(&self, key: &TokenKey) -> Arc<tokio::sync::Mutex<Option<Token>>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// Forgets a token that its API refused.
    pub(crate) fn forget(&self, key: &TokenKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

async fn token(run: &Run<'_>, oauth2: &OAuth2) -> Step<Authorization> {
    let key = TokenKey { tenant: run.tenant.name.clone(), credential: digest(oauth2) };
    let slot = run.world.tokens.slot(&key);
    let mut slot = slot.lock().await;
    if let Some(token) = slot.as_ref().filter(|token| token.until > Instant::now()) {
        return Ok(Authorization { header: Some((header::AUTHORIZATION, token.value.clone())), cached: Some(key) });
    }
    let callee = callees::host(&oauth2.token_url);
    let call = token_call(oauth2);
    let (value, life) = run.call(&callee, call, |answer, now| judge_token(answer, now, &callee)).await?;
    *slot = Some(Token { value: value.clone(), until: Instant::now() + life.saturating_sub(EARLY) });
    Ok(Authorization { header: Some((header::AUTHORIZATION, value)), cached: None })
}

fn digest(oauth2: &OAuth2) -> [u8; 32] {
    let mut digest = Sha256::new();
    let scope = oauth2.scope.as_deref().unwrap_or_default();
    for part in [
        oauth2.token_url.as_str().as_bytes(),
        oauth2.client_id.as_bytes(),
        oauth2.client_secret.expose(),
        scope.as_bytes(),
    ] {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// RFC 6749 §4.4.2, with the client in `Authorization: Basic` as §2.3.1 has every server support.
fn token_call(oauth2: &OAuth2) -> Call {
    let encoded = |bytes: &[u8]| form_urlencoded::byte_serialize(bytes).collect::<String>();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &oauth2.scope {
        form.append_pair("scope", scope);
    }
    let mut call = Call::new(Method::POST, oauth2.token_url.clone());
    call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let client = encoded(oauth2.client_id.as_bytes());
    let secret = encoded(oauth2.client_secret.expose());
    let value = basic(client.as_bytes(), secret.as_bytes()).expect("base64 is a header value");
    call.headers.insert(header::AUTHORIZATION, value);
    call.body = Some(form.finish().into());
    call
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// A refused client is the operator's to mend: the jobs wait.
fn of_token_status(status: StatusCode) -> (Fate, Health) {
    match status.as_u16() {
        400 | 401 | 403 => (Fate::Unauthorized, Health::Unknown),
        _ => classify::of_status(status),
    }
}

fn judge_token(
    answer: Result<Answer, CallError>,
    now: Timestamp,
    callee: &CalleeId,
) -> Judged<(HeaderValue, Duration)> {
    let Judged { report, step } = classify::by_status(answer, now, callee, of_token_status);
    let answer = match step {
        Ok(answer) => answer,
        Err(end) => return Judged { report, step: Err(end) },
    };
    let token = answer.whole().ok().and_then(|body| serde_json::from_slice::<TokenAnswer>(body).ok());
    let token = token.filter(|token| token.token_type.eq_ignore_ascii_case("bearer"));
    let read = token.and_then(|token| {
        Some((sensitive(format!("Bearer {}", token.access_token).as_bytes())?, life(token.expires_in)))
    });
    match read {
        Some(token) => Judged::done(token),
        None => Judged::ends(Fate::Retry, Health::Ill, callee, "answered without a bearer token", None),
    }
}

/// How long a token is good that its server gives so many seconds.
fn life(seconds: Option<u64>) -> Duration {
    seconds.map_or(UNSAID, Duration::from_secs).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_that_repeats_its_calls_credential_is_kept_without_it() {
        let carried = |value: HeaderValue| Authorization { header: Some((header::AUTHORIZATION, value)), cached: None };
        let bearer = carried(sensitive(b"Bearer hunter2hunter2").unwrap());
        let reply =
            json!({ "seen": ["Authorization: Bearer hunter2hunter2", 7], "hunter2hunter2": { "ok": "hunter" } });
        let kept = json!({ "seen": ["Authorization: [redacted]", 7], "[redacted]": { "ok": "hunter" } });
        assert_eq!(bearer.hidden_in(reply.clone()), kept);
        let basic = carried(basic(b"sluice", b"hunter2hunter2").unwrap());
        let encoded = STANDARD.encode("sluice:hunter2hunter2");
        let reply_of_basic = json!([encoded, "sluice:hunter2hunter2 is wrong"]);
        assert_eq!(basic.hidden_in(reply_of_basic), json!(["[redacted]", "sluice:[redacted] is wrong"]));
        assert_eq!(Authorization::default().hidden_in(reply.clone()), reply);
        assert_eq!(carried(sensitive(b"Bearer a").unwrap()).hidden_in(json!("a cat")), json!("a cat"));
    }

    #[test]
    fn a_token_without_end_is_kept_a_day() {
        for (said, kept) in [(None, UNSAID), (Some(3600), Duration::from_hours(1)), (Some(u64::MAX), LONGEST)] {
            assert_eq!(life(said), kept);
        }
    }
}
