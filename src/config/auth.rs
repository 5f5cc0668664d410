//! How calls authenticate, and their other headers.

use std::sync::Arc;

use url::Url;

use super::{
    Outbound,
    finding::{Problem, suggest},
    section::Section,
    tree::Item,
    units::FromItem,
};
use crate::secrets::Secret;

/// How a call authenticates.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A header of its own (`X-Api-Key`).
    Header {
        /// The header.
        name: http::HeaderName,
        /// Its value.
        value: Secret,
    },
    /// OAuth2 client credentials.
    OAuth2(Arc<OAuth2>),
}

/// OAuth2 client credentials (RFC 6749 §4.4).
#[derive(Debug)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: Url,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The scope asked for.
    pub scope: Option<String>,
}

impl Auth {
    /// The auth under `auth`: [`Auth::None`] if the key is missing, none if it is wrong.
    pub(super) fn read(section: &mut Section<'_>, outbound: &Outbound) -> Option<Self> {
        let given = section.has("auth");
        let Some(mut table) = section.table("auth") else { return (!given).then_some(Self::None) };
        let mut found = Vec::new();
        if table.has("bearer") {
            found.push(table.secret("bearer").map(Self::Bearer));
        }
        if let Some(mut basic) = table.table("basic") {
            let user = basic.required("user", "write the user's name");
            let password = basic.required_secret("password");
            basic.finish();
            found.push(user.zip(password).map(|(user, password)| Self::Basic { user, password }));
        }
        if let Some(mut header) = table.table("header") {
            let name = header.required("name", "write the header's name such as \"X-Api-Key\"");
            let value = header.required_secret("value");
            header.finish();
            found.push(name.zip(value).map(|(HeaderKey(name), value)| Self::Header { name, value }));
        }
        if let Some(oauth2) = table.table("oauth2") {
            found.push(OAuth2::read(oauth2, outbound).map(|oauth2| Self::OAuth2(Arc::new(oauth2))));
        }
        let spot = table.here();
        let ctx = table.ctx;
        table.finish();
        if found.len() == 1 {
            return found.remove(0);
        }
        let problem = Problem::new(
            format!("names {} ways to authenticate", found.len()),
            "write one of { bearer = … }, { basic = … }, { header = … }, { oauth2 = … }",
        );
        ctx.error(&spot.place, &spot.key, problem);
        None
    }
}

impl OAuth2 {
    fn read(mut section: Section<'_>, outbound: &Outbound) -> Option<Self> {
        let token_url: Option<Url> = section.required("token_url", "write the token endpoint's URL");
        if let Some(url) = &token_url
            && let Err(problem) = outbound.check(url)
        {
            section.problem("token_url", problem);
        }
        let client_id = section.required("client_id", "write the client's id");
        let client_secret = section.required_secret("client_secret");
        let scope = section.opt("scope");
        section.finish();
        Some(Self { token_url: token_url?, client_id: client_id?, client_secret: client_secret?, scope })
    }
}

/// The name of a header.
struct HeaderKey(http::HeaderName);

impl FromItem for HeaderKey {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map(Self).map_err(|_| {
            Problem::new(format!("`{text}` is not the name of a header"), "write one such as \"X-Api-Key\"")
        })
    }
}

/// Headers that carry credentials: their value is a reference, under `auth`.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// The headers under `headers`; credentials have no place among them.
pub(super) fn read_headers(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, spot, item) in section.named("headers") {
        let problem = if name.parse::<http::HeaderName>().is_err() {
            Problem::new("is not the name of a header", suggest(&name, ["accept", "content-type"]))
        } else if CREDENTIAL_HEADERS.contains(&name.to_lowercase().as_str()) {
            Problem::new(
                "carries a credential",
                "write it under `auth`: { bearer = \"env:NAME\" } or { header = { name = …, value = \"env:NAME\" } }",
            )
        } else {
            match String::from_item(&item) {
                Ok(value) => {
                    headers.push((name, value));
                    continue;
                }
                Err(problem) => problem,
            }
        };
        section.ctx.error(&spot.place, &spot.key, problem);
    }
    headers
}
