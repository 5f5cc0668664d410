//! Signing in with an OpenID Connect provider: the authorization code flow with PKCE, the one home of
//! `openidconnect`. What it asks of the provider goes through [`HttpClient`].
//!
//! Nothing of a sign-in that has begun is kept here: the browser carries it, sealed (`ticket`), so
//! that any node may end it. What the provider says of itself is kept for an hour; its keys are asked
//! for again when a token names one that is not known, at most once a minute.

mod claims;
mod ticket;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use http::Method;
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, SignatureVerificationError, TokenResponse,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenVerifier,
        CoreJwsSigningAlgorithm, CoreProviderMetadata,
    },
};
use sluice_actors::{domain::Timestamp, ports::Clock};
use tokio::sync::Mutex;
use url::Url;

pub use claims::{Person, Refusal};

use self::ticket::Ticket;
use crate::{
    config::Oidc,
    http_client::{Call, CallError, HttpClient, is_loopback_url},
    ids,
};

/// One call of the provider may take this long: somebody waits for the page.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the provider says of itself is asked for again after so long.
const FRESH: Duration = Duration::from_hours(1);
/// Unknown keys make us ask for the provider's keys at most so often.
const KEYS_EVERY: Duration = Duration::from_mins(1);
/// A provider that failed is not asked again for so long.
const REST: Duration = Duration::from_secs(2);
/// How far an ID token's time of issue may be from ours: it was made for this sign-in, a moment ago.
const TOLERANCE: Duration = Duration::from_mins(5);
/// How long somebody may take at the provider.
pub const TICKET_SECONDS: u64 = 10 * 60;

/// Asymmetric ones only: with a MAC everybody who knows the client's secret could make a token, and
/// `none` is no signature.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why nobody was signed in. Says nothing that a token or a secret holds: it may be logged.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider does not answer, or not as a provider does.
    #[error("the provider cannot be used: {0}")]
    Down(String),
    /// The browser's answer belongs to no sign-in that it began here, or to an old one.
    #[error("{0}")]
    Stale(&'static str),
    /// The provider refused.
    #[error("the provider refused: {0}")]
    Denied(String),
    /// The ID token is not to be believed.
    #[error("the ID token is not to be believed: {0}")]
    Untrusted(String),
    /// The person is who they say, but may not sign in here.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// A sign-in that begins.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: Url,
    /// What it brings back, as text for a cookie.
    pub ticket: String,
}

/// What the provider sends the browser back with.
#[derive(Debug, Default)]
pub struct Answer {
    /// To be exchanged for tokens.
    pub code: Option<String>,
    /// What was sent with the browser.
    pub state: Option<String>,
    /// Who answers (RFC 9207); not every provider says so.
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

/// The way to the provider.
pub struct Provider {
    http: Http,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Known>>,
}

/// What is known of the provider of a configuration.
struct Known {
    of: Arc<Oidc>,
    at: Timestamp,
    told: Result<Arc<CoreProviderMetadata>, String>,
}

impl Provider {
    /// Asks through `client`.
    pub fn new(client: HttpClient, clock: Arc<dyn Clock>) -> Self {
        Self { http: Http(client), clock, known: Mutex::new(None) }
    }

    /// Begins a sign-in that ends at `return_to`.
    pub async fn begin(&self, oidc: &Arc<Oidc>, return_to: &str) -> Result<Begun, OidcError> {
        let metadata = self.metadata(oidc, FRESH).await?;
        let secret = || hex::encode(ids::secret_bytes());
        let ticket = Ticket {
            state: secret(),
            nonce: secret(),
            verifier: secret(),
            return_to: return_to.to_owned(),
            expires_at: self.clock.now().plus(Duration::from_secs(TICKET_SECONDS)),
        };
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(ticket.verifier.clone()));
        let (state, nonce) = (CsrfToken::new(ticket.state.clone()), Nonce::new(ticket.nonce.clone()));
        let client =
            CoreClient::from_provider_metadata((*metadata).clone(), ClientId::new(oidc.client_id.clone()), None)
                .set_redirect_uri(RedirectUrl::from_url(oidc.callback.clone()));
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scopes(oidc.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge);
        let (url, ..) = request.url();
        if url.scheme() != "https" && !is_loopback_url(&url) {
            return Err(OidcError::Down("its authorization endpoint is not https".to_owned()));
        }
        Ok(Begun { url, ticket: ticket.seal(&oidc.client_secret)? })
    }

    /// Ends a sign-in: who it is, and where they wanted to go.
    pub async fn finish(
        &self,
        oidc: &Arc<Oidc>,
        ticket: Option<&[u8]>,
        answer: Answer,
    ) -> Result<(Person, String), OidcError> {
        let ticket = ticket
            .and_then(|sealed| Ticket::open(sealed, &oidc.client_secret))
            .ok_or(OidcError::Stale("the browser began no sign-in here"))?;
        if ticket.expires_at <= self.clock.now() {
            return Err(OidcError::Stale("the sign-in took too long"));
        }
        let state = answer.state.unwrap_or_default();
        if verify_slices_are_equal(state.as_bytes(), ticket.state.as_bytes()).is_err() {
            return Err(OidcError::Stale("the answer belongs to another sign-in"));
        }
        if answer.issuer.is_some_and(|issuer| issuer != oidc.issuer) {
            return Err(OidcError::Untrusted("another provider answered".to_owned()));
        }
        let Some(code) = answer.code else {
            return Err(OidcError::Denied(word(answer.error.as_deref().unwrap_or("no code"))));
        };
        let metadata = self.metadata(oidc, FRESH).await?;
        let token = self.exchange(oidc, &metadata, code, ticket.verifier).await?;
        let nonce = Nonce::new(ticket.nonce);
        let claims = match self.verify(oidc, &metadata, &token, &nonce) {
            Err(Untrusted { is_unknown_key: true, .. }) => {
                let metadata = self.metadata(oidc, KEYS_EVERY).await?;
                self.verify(oidc, &metadata, &token, &nonce)
            }
            outcome => outcome,
        };
        let claims = claims.map_err(|untrusted| OidcError::Untrusted(untrusted.why))?;
        let person = claims::person(oidc, &claims).map_err(|refusal| OidcError::Refused(Box::new(refusal)))?;
        Ok((person, ticket.return_to))
    }

    /// What the provider says of itself, keys included, not older than `age`.
    async fn metadata(&self, oidc: &Arc<Oidc>, age: Duration) -> Result<Arc<CoreProviderMetadata>, OidcError> {
        // One asks, the others wait for what it hears.
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(known) = known.as_ref().filter(|known| Arc::ptr_eq(&known.of, oidc)) {
            let age = if known.told.is_ok() { age } else { REST };
            if now.since(known.at) < age {
                return known.told.clone().map_err(OidcError::Down);
            }
        }
        let told = self.discover(oidc).await.map(Arc::new);
        *known = Some(Known { of: oidc.clone(), at: now, told: told.clone() });
        told.map_err(OidcError::Down)
    }

    async fn discover(&self, oidc: &Oidc) -> Result<CoreProviderMetadata, String> {
        let issuer = IssuerUrl::new(oidc.issuer.clone()).map_err(|error| error.to_string())?;
        CoreProviderMetadata::discover_async(issuer, &self.http).await.map_err(|error| with_cause(&error))
    }

    async fn exchange(
        &self,
        oidc: &Oidc,
        metadata: &CoreProviderMetadata,
        code: String,
        verifier: String,
    ) -> Result<CoreIdToken, OidcError> {
        let down = |why: &str| OidcError::Down(why.to_owned());
        let secret = oidc.client_secret.expose_str().ok_or_else(|| down("the client's secret is no text"))?;
        let methods = metadata.token_endpoint_auth_methods_supported();
        let knows = |method| methods.is_none_or(|methods| methods.contains(&method));
        let basic = knows(CoreClientAuthMethod::ClientSecretBasic) || !knows(CoreClientAuthMethod::ClientSecretPost);
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(oidc.client_id.clone()),
            Some(ClientSecret::new(secret.to_owned())),
        )
        .set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody })
        .set_redirect_uri(RedirectUrl::from_url(oidc.callback.clone()));
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| down("it names no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier));
        let answer = request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(answer) => OidcError::Denied(word(answer.error().as_ref())),
            // Its text may hold the token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                down("its token endpoint does not answer as one does")
            }
            RequestTokenError::Request(error) => OidcError::Down(error.to_string()),
        })?;
        answer.id_token().cloned().ok_or_else(|| OidcError::Untrusted("there is none".to_owned()))
    }

    /// The claims of a token, once they are to be believed.
    fn verify(
        &self,
        oidc: &Oidc,
        metadata: &CoreProviderMetadata,
        token: &CoreIdToken,
        nonce: &Nonce,
    ) -> Result<serde_json::Value, Untrusted> {
        let now = self.clock.now();
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(oidc.client_id.clone()),
            metadata.issuer().clone(),
            metadata.jwks().clone(),
        )
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || time(now))
        .set_issue_time_verifier_fn(move |issued| {
            let off = (time(now) - issued).abs().to_std().unwrap_or(Duration::MAX);
            if off <= TOLERANCE { Ok(()) } else { Err("it was issued at another time".to_owned()) }
        });
        let claims = token.claims(&verifier, nonce).map_err(Untrusted::from)?;
        // The crate leaves this one to its users (OpenID Connect Core §3.1.3.7, rule 5).
        if claims.authorized_party().is_some_and(|party| **party != oidc.client_id) {
            return Err(Untrusted::new("it was made for another client"));
        }
        claims::payload(&token.to_string()).ok_or_else(|| Untrusted::new("its payload is not JSON"))
    }
}

/// Our own client, as the crate calls one.
struct Http(HttpClient);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = CallError;
    type Future = BoxFuture<'c, Result<HttpResponse, CallError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string().parse().map_err(|_| CallError::RefusedUrl("it is not a URL"))?;
            let body = (parts.method != Method::GET).then(|| body.into());
            let call = Call { method: parts.method, url, headers: parts.headers, body, timeout: PATIENCE };
            // It may end a connection that rested just as it is used again. Asked once more, a code that it had taken
            // after all is refused.
            let answer = match self.0.send(call.clone()).await {
                Err(CallError::Broken) => self.0.send(call).await?,
                other => other?,
            };
            let mut response = http::Response::new(answer.whole()?.to_vec());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// A token is not to be believed.
struct Untrusted {
    why: String,
    /// It names a key that is not known: the provider may have a new one.
    is_unknown_key: bool,
}

impl Untrusted {
    fn new(why: &str) -> Self {
        Self { why: why.to_owned(), is_unknown_key: false }
    }
}

impl From<ClaimsVerificationError> for Untrusted {
    fn from(error: ClaimsVerificationError) -> Self {
        use ClaimsVerificationError::{Expired, InvalidAudience, InvalidIssuer, InvalidNonce, SignatureVerification};
        use SignatureVerificationError::{CryptoError, DisallowedAlg, NoMatchingKey};
        let is_unknown_key = matches!(error, SignatureVerification(NoMatchingKey));
        // The crate's own words repeat what a stranger wrote into the token.
        let why = match error {
            Expired(_) => "it has expired, or was issued at another time",
            InvalidAudience(_) => "it is for another audience",
            InvalidIssuer(_) => "it names another issuer",
            InvalidNonce(_) => "it belongs to another sign-in",
            SignatureVerification(NoMatchingKey) => "it is signed with a key that the provider does not publish",
            SignatureVerification(DisallowedAlg(_)) => "it is signed by an algorithm that is not allowed",
            SignatureVerification(CryptoError(_)) => "its signature is wrong",
            _ => "it cannot be verified",
        };
        Self { why: why.to_owned(), is_unknown_key }
    }
}

fn time(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.as_millis()).unwrap_or_default()
}

/// A code of a protocol, for a log: short, and of letters.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "_- ".contains(*c)).take(64).collect()
}

/// An error of discovery with what caused it; none of them holds a secret.
fn with_cause<E: std::error::Error + 'static>(error: &openidconnect::DiscoveryError<E>) -> String {
    use openidconnect::DiscoveryError::{Parse, Request, Response, Validation};
    match error {
        Request(cause) => cause.to_string(),
        Response(status, ..) => format!("it answers {status}"),
        Parse(_) => "its answer is not that of a provider".to_owned(),
        Validation(_) => "it names another issuer than `admin.oidc.issuer`, or no supported form".to_owned(),
        other => other.to_string(),
    }
}
