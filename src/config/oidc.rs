//! `[admin.oidc]`: signing in with an OpenID Connect provider.

use std::sync::Arc;

use sluice_actors::domain::TenantName;
use url::Url;

use super::{
    Outbound,
    finding::Problem,
    section::Section,
    tree::Item,
    units::{self, FromItem},
};
use crate::secrets::Secret;

/// Below `admin.public_url`: where the provider sends people back to.
pub const CALLBACK_PATH: &str = "/api/v1/session/provider/callback";
/// The claim that a role is looked for in where nobody says otherwise.
const GROUPS: &str = "groups";

/// An OpenID Connect provider, and who of its people may do what here.
#[derive(Debug)]
pub struct Oidc {
    /// What people call it: the button says `Sign in with …`.
    pub label: String,
    /// Its issuer, to the letter: ID tokens must name it.
    pub issuer: String,
    /// What it calls this gateway.
    pub client_id: String,
    /// How this gateway proves to be it.
    pub client_secret: Secret,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// Domains of (verified) e-mail addresses that may sign in; empty: any.
    pub domains: Vec<String>,
    /// Claims that must be there with this value.
    pub require: Vec<(String, String)>,
    /// Who may do what, in order.
    pub roles: Vec<RoleRule>,
    /// Where the provider sends people back to.
    pub callback: Url,
}

/// Whoever has `value` in `claim` has this role.
#[derive(Debug)]
pub struct RoleRule {
    /// A claim of the ID token; dots lead into objects.
    pub claim: String,
    /// What the claim is, or holds.
    pub value: String,
    /// The role.
    pub role: OidcRole,
    /// The tenants they see; none: all.
    pub tenants: Option<Vec<TenantName>>,
}

/// A role that a person can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OidcRole {
    /// Sees all but payloads.
    Viewer,
    /// Also sees payloads and acts.
    Operator,
    /// Also decides who else may.
    Admin,
}

impl Oidc {
    /// The table `oidc` of the section `[admin]`, if it is there.
    pub(super) fn read(admin: &mut Section<'_>, public_url: Option<&Url>, outbound: &Outbound) -> Option<Arc<Self>> {
        let mut section = admin.table("oidc")?;
        let issuer = section.parsed("issuer", issuer);
        if issuer.is_none() && !section.has("issuer") {
            section.error("issuer", "is missing", "write the provider's issuer, to the letter");
        }
        if let Some((_, url)) = &issuer
            && let Err(problem) = outbound.check(url)
        {
            section.problem("issuer", problem);
        }
        let client_id: Option<String> =
            section.required("client_id", "write the id that the provider gave this client");
        let client_secret = section.required_secret("client_secret");
        let scopes = section.list("scopes").unwrap_or_else(|| vec!["profile".to_owned(), "email".to_owned()]);
        let domains: Vec<String> = section.list("domains").unwrap_or_default();
        let mut require = Vec::new();
        for (claim, spot, item) in section.named("require") {
            match String::from_item(&item) {
                Ok(value) => require.push((claim, value)),
                Err(problem) => section.ctx.error(&spot.place, &spot.key, problem),
            }
        }
        let label = section.opt("label").unwrap_or_else(|| "single sign-on".to_owned());
        let has_roles = section.has("roles");
        let given = section.tables("roles");
        let count = given.len();
        let roles: Vec<RoleRule> = given.into_iter().filter_map(RoleRule::read).collect();
        if !has_roles || count == 0 {
            section.error(
                "roles",
                "names no role: nobody could sign in",
                "write [[admin.oidc.roles]] with `value` and `role`",
            );
        }
        let callback = public_url.and_then(|url| url.join(CALLBACK_PATH).ok());
        if callback.is_none() {
            section.error(
                "issuer",
                "needs `admin.public_url`: the provider sends people back there",
                "write the URL that operators open, without a path",
            );
        }
        if public_url.is_some_and(|url| url.path() != "/") {
            section.error("issuer", "needs an `admin.public_url` without a path", "write only its scheme and host");
        }
        section.finish();
        let whole = roles.len() == count;
        let (issuer, _) = issuer?;
        let (client_id, client_secret, callback) = (client_id?, client_secret?, callback?);
        whole.then(|| {
            Arc::new(Self { label, issuer, client_id, client_secret, scopes, domains, require, roles, callback })
        })
    }
}

/// The issuer as it is written, for it is compared to the letter, and as a URL.
fn issuer(item: &Item) -> Result<(String, Url), Problem> {
    let text = String::from_item(item)?;
    let url = units::base_url(&text)?;
    Ok((text, url))
}

impl RoleRule {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let claim = section.get("claim", GROUPS.to_owned());
        let value: Option<String> =
            section.required("value", "write what the claim is, or holds, for who has the role");
        let role = section.required("role", "write \"viewer\", \"operator\" or \"admin\"");
        let given = section.has("tenants");
        let names: Option<Vec<TenantName>> = section.list("tenants");
        if given && names.as_ref().is_none_or(Vec::is_empty) {
            section.error("tenants", "names no tenant", "name at least one, or leave the key out for all");
        }
        section.finish();
        // A rule whose tenants are wrong is none: it must not turn into one for all tenants.
        let tenants = match (given, names) {
            (false, _) => None,
            (true, Some(names)) if !names.is_empty() => Some(names),
            (true, _) => return None,
        };
        Some(Self { claim, value: value?, role: role?, tenants })
    }
}

impl FromItem for OidcRole {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &[("viewer", Self::Viewer), ("operator", Self::Operator), ("admin", Self::Admin)])
    }
}

impl FromItem for TenantName {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map_err(|error: sluice_actors::domain::InvalidId| {
            Problem::new(error.to_string(), "write the name of a tenant's file")
        })
    }
}
