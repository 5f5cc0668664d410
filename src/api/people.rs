//! Users and tokens: who may do what. Nobody makes an account that may do more than they may.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::TenantName;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    Api, ApiError,
    access::{Allowed, ManageAccounts, Principal, Proof, Role, SignedIn},
    accounts::{Change, TokenRow, UserRow},
    answer::{DONE, Done, Json, Rows},
    door::{MAX_PASSWORD, TOKEN_PREFIX, digest},
    events::Reason,
    records::Scope,
    request::{Body, Call},
};
use crate::ids;

/// Characters of a new password.
const MIN_PASSWORD: usize = 12;
/// Days that a token lasts where nothing else is asked for, and at most.
const TOKEN_DAYS: u32 = 90;
const MAX_TOKEN_DAYS: u32 = 3650;

/// A user to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// 1 to 64 of letters, digits and `. _ @ -`.
    name: String,
    /// At least 12 characters.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    role: Role,
    /// The tenants they see; none: all.
    #[serde(default)]
    tenants: Option<Vec<TenantName>>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is for; as a user's name.
    name: String,
    role: Role,
    /// The tenants it sees; none: all.
    #[serde(default)]
    tenants: Option<Vec<TenantName>>,
    /// How long it lasts, 1 to 3650; default 90.
    #[serde(default)]
    days: Option<u32>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// A new token. Its secret is shown this once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What is kept of it.
    pub token: TokenRow,
    /// What is presented as `Authorization: Bearer …`.
    pub secret: String,
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits) && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// Whether who asks may make an account with these rights.
fn may_grant(
    who: &Allowed<ManageAccounts>,
    name: &str,
    role: Role,
    tenants: Option<&[TenantName]>,
) -> Result<(), ApiError> {
    if !is_name(name) {
        let rule = "a name is 1 to 64 of letters, digits and `. _ @ -`, beginning with a letter or digit";
        return Err(ApiError::Invalid(rule.to_owned()));
    }
    if tenants.is_some_and(<[TenantName]>::is_empty) {
        return Err(ApiError::Invalid("name at least one tenant, or leave `tenants` out for all".to_owned()));
    }
    if role > who.principal().role {
        return Err(ApiError::Forbidden(format!("nobody but an {role} makes an {role}")));
    }
    let covered = match (who.scope(), tenants) {
        (Scope::All, _) => true,
        (Scope::Tenants(_), None) => false,
        (scope, Some(tenants)) => tenants.iter().all(|tenant| scope.holds(tenant)),
    };
    if covered { Ok(()) } else { Err(ApiError::Forbidden("an account may see no tenant that you do not".to_owned())) }
}

/// The tenant of an account's audit line: the one it sees, if it is one.
pub(super) fn sole(tenants: Option<&[TenantName]>) -> Option<&str> {
    match tenants {
        Some([tenant]) => Some(tenant.as_str()),
        _ => None,
    }
}

pub(super) async fn users(api: Arc<Api>, who: Allowed<ManageAccounts>, _: Call<()>) -> Result<Rows<UserRow>, ApiError> {
    Ok(Rows(api.door.accounts().users(who.scope()).await?))
}

pub(super) async fn add_user(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<NewUser>>,
) -> Result<Json<UserRow>, ApiError> {
    let NewUser { name, password, role, tenants, reason } = call.input.0;
    may_grant(&who, &name, role, tenants.as_deref())?;
    if role == Role::Site {
        return Err(ApiError::Invalid("a site presents a token; it is no user".to_owned()));
    }
    check_password(&password)?;
    let password_hash = api.door.hash(password.as_bytes()).await?;
    let audit = who.acts("user.add", sole(tenants.as_deref()), &name, &reason.unwrap_or_default());
    let row = UserRow { name, role, tenants, created_at: api.door.now(), disabled_at: None, used_at: None };
    let added = api.door.accounts().change(Change::AddUser { row: row.clone(), password_hash }, audit).await?;
    if added { Ok(Json(row)) } else { Err(ApiError::Conflict("there is a user of this name".to_owned())) }
}

fn check_password(password: &str) -> Result<(), ApiError> {
    if password.chars().count() < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        let rule = format!("a password has at least {MIN_PASSWORD} characters and at most {MAX_PASSWORD} bytes");
        return Err(ApiError::Invalid(rule));
    }
    Ok(())
}

/// A user's other password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// The one they sign in with now.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    /// At least 12 characters.
    #[schema(value_type = String)]
    new_password: Zeroizing<String>,
}

pub(super) async fn set_password(
    api: Arc<Api>,
    who: Allowed<SignedIn>,
    call: Call<Body<NewPassword>>,
) -> Result<Json<Done>, ApiError> {
    let Principal { actor, proof: Proof::Session { digest, .. }, .. } = who.principal() else {
        return Err(ApiError::Conflict("only who is signed in with a password has one".to_owned()));
    };
    let NewPassword { password, new_password } = &call.input.0;
    check_password(new_password)?;
    let user = actor.strip_prefix("user:").unwrap_or_default();
    let known = api.door.knows_password(call.request.client, user, password.as_bytes()).await?;
    let new_hash = api.door.hash(new_password.as_bytes()).await?;
    let audit = who.acts("user.password", None, user, "");
    let change = Change::SetPassword { user: user.to_owned(), old_hash: known.password_hash, new_hash, keep: *digest };
    if !api.door.accounts().change(change, audit).await? {
        return Err(ApiError::WrongPassword);
    }
    Ok(DONE)
}

pub(super) async fn remove_user(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let name: String = call.parameter(0)?;
    let audit = who.acts("user.remove", None, &name, call.input.0.text());
    let removed = api.door.accounts().change(Change::RemoveUser { scope: who.scope().clone(), name }, audit).await?;
    if removed { Ok(DONE) } else { Err(ApiError::NotFound("no such user".to_owned())) }
}

pub(super) async fn disable_user(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch_user(api, who, call, false).await
}

pub(super) async fn enable_user(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch_user(api, who, call, true).await
}

async fn switch_user(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<Reason>>,
    may_sign_in: bool,
) -> Result<Json<Done>, ApiError> {
    let name: String = call.parameter(0)?;
    let (verb, state) = if may_sign_in { ("user.enable", "disabled") } else { ("user.disable", "enabled") };
    let audit = who.acts(verb, None, &name, call.input.0.text());
    let scope = who.scope().clone();
    let done = api.door.accounts().change(Change::SwitchUser { scope, name, may_sign_in }, audit).await?;
    if done { Ok(DONE) } else { Err(ApiError::NotFound(format!("no such user that is {state}"))) }
}

pub(super) async fn tokens(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    _: Call<()>,
) -> Result<Rows<TokenRow>, ApiError> {
    Ok(Rows(api.door.accounts().tokens(who.scope()).await?))
}

pub(super) async fn add_token(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<NewToken>>,
) -> Result<Json<MadeToken>, ApiError> {
    let NewToken { name, role, tenants, days, reason } = call.input.0;
    may_grant(&who, &name, role, tenants.as_deref())?;
    let days = days.unwrap_or(TOKEN_DAYS);
    if !(1..=MAX_TOKEN_DAYS).contains(&days) {
        return Err(ApiError::Invalid(format!("days must be 1 to {MAX_TOKEN_DAYS}")));
    }
    let secret = format!("{TOKEN_PREFIX}{}", hex::encode(ids::secret_bytes()));
    let now = api.door.now();
    let audit = who.acts("token.add", sole(tenants.as_deref()), &name, &reason.unwrap_or_default());
    let token = TokenRow {
        id: ids::token_id(now),
        name,
        role,
        tenants,
        created_at: now,
        expires_at: Some(now.plus(Duration::from_hours(24 * u64::from(days)))),
        revoked_at: None,
        used_at: None,
    };
    let change = Change::AddToken { row: token.clone(), digest: digest(secret.as_bytes()) };
    api.door.accounts().change(change, audit).await?;
    Ok(Json(MadeToken { token, secret }))
}

pub(super) async fn revoke_token(
    api: Arc<Api>,
    who: Allowed<ManageAccounts>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let id = call.parameter(0)?;
    let audit = who.acts("token.revoke", None, id, call.input.0.text());
    let revoked = api.door.accounts().change(Change::RevokeToken { scope: who.scope().clone(), id }, audit).await?;
    if revoked { Ok(DONE) } else { Err(ApiError::NotFound("no such token".to_owned())) }
}
