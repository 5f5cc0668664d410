//! Signing in with a password, and out.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sluice_actors::domain::{TenantName, Timestamp};
use utoipa::ToSchema;
use zeroize::Zeroizing;

pub(super) use super::door::COOKIE;
use super::{
    Api, ApiError,
    access::{Allowed, Principal, Proof, Public, Role, SignedIn},
    accounts::Change,
    answer::{Done, Json, Special},
    door::{MAX_PASSWORD, SESSION_SECONDS, is_foreign},
    records::Scope,
    request::{Body, Call},
};

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    name: String,
    #[schema(value_type = String)]
    password: Zeroizing<String>,
}

/// Who is signed in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Who {
    /// As the audit names them.
    pub actor: String,
    /// What they are.
    pub role: Role,
    /// The tenants they see; none: all.
    pub tenants: Option<Vec<TenantName>>,
    /// What a change by this session must carry as `x-sluice-csrf`; none for a token.
    pub csrf: Option<String>,
    /// When the session ends.
    pub expires_at: Option<Timestamp>,
}

fn who(principal: &Principal) -> Who {
    let (csrf, expires_at) = match &principal.proof {
        Proof::Session { csrf, expires_at, .. } => (Some(csrf.clone()), Some(*expires_at)),
        Proof::DataFolder | Proof::Token => (None, None),
    };
    let tenants = match &principal.scope {
        Scope::All => None,
        Scope::Tenants(tenants) => Some(tenants.clone()),
    };
    Who { actor: principal.actor.clone(), role: principal.role, tenants, csrf, expires_at }
}

pub(super) async fn open(
    api: Arc<Api>,
    _: Allowed<Public>,
    call: Call<Body<SignIn>>,
) -> Result<Special<Who>, ApiError> {
    let headers = &call.request.headers;
    // Another site's form can send no JSON, and its script may not without our leave: nobody is signed
    // in as somebody else without knowing.
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_json || is_foreign(headers) {
        return Err(ApiError::Forbidden("sign in with JSON, from a page of this gateway".to_owned()));
    }
    let SignIn { name, password } = &call.input.0;
    if name.len() > 64 || password.len() > MAX_PASSWORD {
        return Err(ApiError::WrongPassword);
    }
    let opened = api.door.sign_in(call.request.client, name, password.as_bytes()).await?;
    let mut answer = Special::json(StatusCode::OK, &who(&opened.principal))?;
    answer.answer = answer.answer.with(header::SET_COOKIE, set_cookie(&opened.cookie, SESSION_SECONDS)?);
    Ok(answer)
}

pub(super) async fn show(_: Arc<Api>, allowed: Allowed<SignedIn>, _: Call<()>) -> Result<Json<Who>, ApiError> {
    Ok(Json(who(allowed.principal())))
}

pub(super) async fn close(api: Arc<Api>, allowed: Allowed<SignedIn>, _: Call<()>) -> Result<Special<Done>, ApiError> {
    if let Proof::Session { digest, .. } = allowed.principal().proof {
        let audit = allowed.acts("session.close", None, "session", "");
        api.door.accounts().change(Change::CloseSession { digest }, audit).await?;
    }
    let mut answer = Special::json(StatusCode::OK, &Done { ok: true })?;
    answer.answer = answer.answer.with(header::SET_COOKIE, set_cookie("", 0)?);
    Ok(answer)
}

fn set_cookie(value: &str, seconds: u64) -> Result<HeaderValue, ApiError> {
    cookie_header(COOKIE, value, "Strict", seconds)
}

/// Sets a cookie that only this origin can set and read. `same_site`: whether navigations from elsewhere
/// carry it.
pub(super) fn cookie_header(name: &str, value: &str, same_site: &str, seconds: u64) -> Result<HeaderValue, ApiError> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age={seconds}");
    let mut value = HeaderValue::try_from(text).map_err(|error| ApiError::Unavailable(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}
