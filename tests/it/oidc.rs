//! Signing in with an OpenID Connect provider: with the certified `oidc-provider` over real redirects,
//! and with one of ours that lies.

mod browser;
mod liar;
mod real;
mod whole;
