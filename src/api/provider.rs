//! Signing in with an OpenID Connect provider: the way to it, the way back, and the pages for what goes
//! wrong on it. The protocol is in `oidc`.
//!
//! Who somebody is says the provider's issuer and subject; no name or address of theirs ever leads to
//! a user who is there already. What they may do is decided anew at each sign-in.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, Public, Role},
    accounts::{Change, Identity, Rights, UserRow, UserSecret},
    answer::{Answer, Content, Json},
    door::{self, Opened, SESSION_SECONDS, actor},
    people::sole,
    records::{AuditEntry, Scope},
    request::{Call, Query},
    session::cookie_header,
};
use crate::{
    config::{Oidc, OidcRole},
    oidc::{self, OidcError, Person, Refusal, TICKET_SECONDS},
};

/// The cookie of a sign-in that has begun. It comes back on a navigation that the provider causes.
const TICKET: &str = "__Host-sluice-oidc";
/// Bytes of a place to return to.
const MAX_RETURN: usize = 512;
/// Where a sign-in ends that names no place.
const HOME: &str = "/lanes";
/// The pages hold text and the console's style sheet, nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whom people may sign in with besides by password.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Offered {
    /// What people call the provider; none: there is none.
    name: Option<String>,
}

/// Where somebody was.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Where {
    /// A place of the console, such as `/events`: the sign-in ends there.
    #[serde(default)]
    return_to: String,
}

/// What the provider sends a browser back with (RFC 6749 §4.1.2, RFC 9207).
#[derive(Debug, Clone, Deserialize, IntoParams)]
pub(super) struct Back {
    /// To be exchanged for the ID token.
    code: Option<String>,
    /// Of the sign-in that began.
    state: Option<String>,
    /// Who answers.
    iss: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

pub(super) async fn offered(api: Arc<Api>, _: Allowed<Public>, _: Call<()>) -> Result<Json<Offered>, ApiError> {
    let config = api.config.load();
    Ok(Json(Offered { name: config.admin.oidc.as_ref().map(|oidc| oidc.label.clone()) }))
}

pub(super) async fn begin(api: Arc<Api>, _: Allowed<Public>, call: Call<Query<Where>>) -> Result<Answer, ApiError> {
    let oidc = provider(&api)?;
    match api.provider.begin(&oidc, place(&call.input.0.return_to)).await {
        Ok(begun) => {
            let cookie = ticket(&begun.ticket, TICKET_SECONDS)?;
            Ok(see(begun.url.as_str())?.with(header::SET_COOKIE, cookie))
        }
        Err(error) => {
            tracing::warn!(client = %call.request.client, %error, "sign-in with the provider cannot begin");
            Ok(Trouble::from(error).page(&oidc))
        }
    }
}

pub(super) async fn finish(api: Arc<Api>, _: Allowed<Public>, call: Call<Query<Back>>) -> Result<Answer, ApiError> {
    let oidc = provider(&api)?;
    let answer = match arrive(&api, &oidc, &call).await {
        Ok((opened, place)) => {
            let cookie = cookie_header(door::COOKIE, &opened.cookie, "Strict", SESSION_SECONDS)?;
            see(&format!("/#{place}"))?.with(header::SET_COOKIE, cookie)
        }
        Err(trouble) => trouble.page(&oidc),
    };
    Ok(answer.with(header::SET_COOKIE, ticket("", 0)?))
}

fn provider(api: &Api) -> Result<Arc<Oidc>, ApiError> {
    let config = api.config.load();
    config.admin.oidc.clone().ok_or_else(|| ApiError::NotFound("there is no provider to sign in with".to_owned()))
}

/// Why somebody stands before a page instead of the console.
enum Trouble {
    Oidc(OidcError),
    /// They are who they say, but may not sign in.
    NotAllowed,
    Api(ApiError),
}

impl From<OidcError> for Trouble {
    fn from(error: OidcError) -> Self {
        Self::Oidc(error)
    }
}

impl<E: Into<ApiError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Api(error.into())
    }
}

async fn arrive(api: &Api, oidc: &Arc<Oidc>, call: &Call<Query<Back>>) -> Result<(Opened, String), Trouble> {
    let client = call.request.client;
    let attempt = api.door.attempt(client, "")?;
    let Back { code, state, iss: issuer, error } = call.input.0.clone();
    let answer = oidc::Answer { code, state, issuer, error };
    let ticket = door::cookie(&call.request.headers, TICKET);
    let (person, place) = match api.provider.finish(oidc, ticket, answer).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%client, %error, "sign-in with the provider refused");
            if let OidcError::Refused(refusal) = &error {
                refuse(api, client, oidc, refusal).await?;
                return Err(Trouble::NotAllowed);
            }
            return Err(error.into());
        }
    };
    let Some(opened) = admit(api, client, oidc, &person).await? else {
        let refusal =
            Refusal { subject: person.subject, name: person.names[0].clone(), why: "they are disabled".to_owned() };
        tracing::warn!(%client, error = %refusal, "sign-in with the provider refused");
        refuse(api, client, oidc, &refusal).await?;
        return Err(Trouble::NotAllowed);
    };
    attempt.succeeded();
    Ok((opened, place))
}

/// Opens a session for a person; none where they are disabled.
async fn admit(api: &Api, client: IpAddr, oidc: &Oidc, person: &Person) -> Result<Option<Opened>, ApiError> {
    let accounts = api.door.accounts();
    let identity = Identity { issuer: oidc.issuer.clone(), subject: person.subject.clone() };
    let rights = rights(person);
    let mut linked = accounts.linked(&identity).await?;
    if linked.is_none() {
        add(api, &identity, person, &rights).await?;
        linked = accounts.linked(&identity).await?;
    }
    let Some(linked) = linked.filter(|linked| !linked.is_disabled) else { return Ok(None) };
    let what = format!("{}, by what {} says", describe(&rights), identity.issuer);
    let audit = entry(&linked.user, "user.change", person.tenants.as_deref(), &linked.user, &what);
    accounts.change(Change::ChangeRights { user: linked.user.clone(), rights: rights.clone() }, audit).await?;
    // They have no password that could have changed meanwhile.
    api.door.open(client, &linked.user, UserSecret { password_hash: String::new(), rights }).await
}

/// Adds the user of an identity, unless somebody else just did.
async fn add(api: &Api, identity: &Identity, person: &Person, rights: &Rights) -> Result<(), ApiError> {
    for name in &person.names {
        let row = UserRow {
            name: name.clone(),
            role: rights.role,
            tenants: person.tenants.clone(),
            created_at: api.door.now(),
            disabled_at: None,
            used_at: None,
        };
        let what = format!("{}, by what {} says", describe(rights), identity.issuer);
        let audit = entry(name, "user.add", person.tenants.as_deref(), name, &what);
        if api.door.accounts().change(Change::AddLinkedUser { row, identity: identity.clone() }, audit).await? {
            break;
        }
    }
    Ok(())
}

/// Writes down that somebody was refused; who is a user is one no longer.
async fn refuse(api: &Api, client: IpAddr, oidc: &Oidc, refusal: &Refusal) -> Result<(), ApiError> {
    let accounts = api.door.accounts();
    let identity = Identity { issuer: oidc.issuer.clone(), subject: refusal.subject.clone() };
    let user = accounts.linked(&identity).await?.map(|linked| linked.user);
    if let Some(user) = &user {
        let audit = entry(user, "session.close", None, user, &refusal.why);
        accounts.change(Change::CloseSessions { user: user.clone() }, audit).await?;
    }
    let who = user.as_ref().map_or_else(|| "anonymous".to_owned(), |user| actor(user));
    let line = AuditEntry {
        actor: who,
        action: "session.refuse".to_owned(),
        tenant: None,
        object: client.to_string(),
        reason: refusal.to_string(),
    };
    api.records.audit(line).await?;
    Ok(())
}

fn entry(
    user: &str,
    action: &str,
    tenants: Option<&[sluice_actors::domain::TenantName]>,
    object: &str,
    reason: &str,
) -> AuditEntry {
    AuditEntry {
        actor: actor(user),
        action: action.to_owned(),
        tenant: sole(tenants).map(ToOwned::to_owned),
        object: object.to_owned(),
        reason: reason.to_owned(),
    }
}

fn rights(person: &Person) -> Rights {
    let role = match person.role {
        OidcRole::Viewer => Role::Viewer,
        OidcRole::Operator => Role::Operator,
        OidcRole::Admin => Role::Admin,
    };
    Rights { role, scope: person.tenants.clone().map_or(Scope::All, Scope::Tenants) }
}

/// `operator of acme, bravo`.
fn describe(rights: &Rights) -> String {
    match &rights.scope {
        Scope::All => format!("{} of all tenants", rights.role),
        Scope::Tenants(tenants) => {
            let names: Vec<&str> = tenants.iter().map(sluice_actors::domain::TenantName::as_str).collect();
            format!("{} of {}", rights.role, names.join(", "))
        }
    }
}

/// A place of the console: what follows its `#`, so that no other site can be meant.
fn place(asked: &str) -> &str {
    let is_place = asked.starts_with('/') && asked.len() <= MAX_RETURN && asked.bytes().all(|b| b.is_ascii_graphic());
    if is_place { asked } else { HOME }
}

fn see(url: &str) -> Result<Answer, ApiError> {
    let location = HeaderValue::try_from(url).map_err(|error| ApiError::Unavailable(error.to_string()))?;
    let mut answer = Answer::new("text/plain; charset=utf-8", Content::Text(String::new()));
    answer.status = StatusCode::SEE_OTHER;
    Ok(answer.with(header::LOCATION, location))
}

/// A browser sends it with the navigation that comes from the provider, which another site is.
fn ticket(value: &str, seconds: u64) -> Result<HeaderValue, ApiError> {
    cookie_header(TICKET, value, "Lax", seconds)
}

impl Trouble {
    fn page(&self, oidc: &Oidc) -> Answer {
        let (status, title, text) = match self {
            Self::Oidc(OidcError::Down(_)) => (
                StatusCode::BAD_GATEWAY,
                "The sign-in provider cannot be used now",
                "Try again in a moment. Who has a password here can sign in with it as ever.",
            ),
            Self::Oidc(OidcError::Stale(_)) => (
                StatusCode::BAD_REQUEST,
                "This sign-in is over",
                "It took too long, was begun in another browser or another tab, or was used already. Begin again.",
            ),
            Self::Oidc(OidcError::Denied(_)) => (
                StatusCode::FORBIDDEN,
                "The provider did not sign you in",
                "It refused, or you called it off. The log of the gateway has its reason.",
            ),
            Self::Oidc(OidcError::Untrusted(_)) => (
                StatusCode::FORBIDDEN,
                "The provider's answer cannot be believed",
                "Nobody was signed in. The log of the gateway has the reason.",
            ),
            Self::NotAllowed | Self::Oidc(OidcError::Refused(_)) => (
                StatusCode::FORBIDDEN,
                "You may not sign in here",
                "The provider knows you, but you have no role at this gateway, or are locked out. Ask one of its admins; the audit has the reason.",
            ),
            Self::Api(error @ ApiError::TooManyAttempts { .. }) => {
                (error.status().0, "Too many attempts", "Wait a moment, then begin again.")
            }
            Self::Api(error) => (error.status().0, "The gateway cannot sign you in now", "Try again in a moment."),
        };
        let label = escaped(&oidc.label);
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} – Sluice</title>\n\
             <link rel=\"stylesheet\" href=\"/console/style.css\">\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             <p>{text}</p>\n<p><a href=\"/api/v1/session/provider/begin\">Sign in with {label}</a> or \
             <a href=\"/\">with a password</a>.</p>\n</main>\n</body>\n</html>\n"
        );
        let mut answer = Answer::new("text/html; charset=utf-8", Content::Text(html));
        answer.status = status;
        if let Self::Api(ApiError::TooManyAttempts { retry_after }) = self {
            answer = answer.with(header::RETRY_AFTER, (*retry_after).into());
        }
        answer.with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_return_to_is_always_one_of_the_console() {
        assert_eq!(place("/events?tenant=acme"), "/events?tenant=acme");
        for odd in ["", "https://evil.example", "javascript:alert(1)", "/a b", "/a\r\nset-cookie: x", &"/".repeat(600)]
        {
            assert_eq!(place(odd), HOME, "{odd}");
        }
        // Behind the `#`, this too is a place of the console, one that is not there.
        let location = see(&format!("/#{}", place("//evil.example"))).unwrap();
        assert_eq!(location.headers[0].1, "/#//evil.example");
    }

    #[test]
    fn what_the_page_calls_the_provider_is_text() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
