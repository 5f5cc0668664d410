//! Signing in with an OpenID Connect provider: with the certified `oidc-provider` over real redirects,
//! and with one of ours that lies.

pub(crate) mod browser;
mod liar;
pub(crate) mod real;
mod whole;
