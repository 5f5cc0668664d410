//! Who calls: finds the principal of a request by the data folder's token, a token of the API or the
//! cookie of a session.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};
use sluice_actors::{domain::Timestamp, ports::Clock};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{
    ApiError,
    access::{Caller, Principal, Proof, Role},
    accounts::{Accounts, Change, Rights, UserSecret},
    records::{AuditEntry, Scope},
    throttle::Throttle,
};
use crate::{ids, secrets::Secret};

/// The holder of the data folder's token, as the audit names them.
const DATA_FOLDER: &str = "data-folder-token";
/// What a token of the API begins with, so that a leaked one is recognised.
pub(super) const TOKEN_PREFIX: &str = "slu_";
/// The cookie of a session. Its prefix makes browsers insist on https (or loopback), on this host
/// alone and on the whole of it.
pub(super) const COOKIE: &str = "__Host-sluice";
/// What a change by a session must carry.
pub(super) const CSRF_HEADER: &str = "x-sluice-csrf";
/// How long a session lasts, whatever is done in it.
pub(super) const SESSION_SECONDS: u64 = 12 * 60 * 60;
/// Bytes of a password.
pub(super) const MAX_PASSWORD: usize = 1024;
/// How often the use of a token is kept.
const KEEP_USED: Duration = Duration::from_mins(1);
/// Passwords that are hashed at once; each costs 19 MiB and a core.
const HASHING: usize = 2;

/// The parameters of OWASP's cheat sheet (Argon2id, 19 MiB, two passes) are the crate's default.
fn argon2() -> Argon2<'static> {
    Argon2::default()
}

/// Finds out who calls.
pub struct Door {
    accounts: Arc<dyn Accounts>,
    clock: Arc<dyn Clock>,
    token: Secret,
    throttle: Throttle,
    hashing: Semaphore,
    /// When tokens were last kept as used: not every request writes.
    used: Mutex<HashMap<[u8; 32], Timestamp>>,
}

/// An attempt to sign in, held against who makes it until it succeeds.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    client: IpAddr,
    name: &'a str,
}

impl Attempt<'_> {
    /// It succeeded.
    pub(super) fn succeeded(self) {
        self.throttle.succeeded(self.client, self.name);
    }
}

/// A session that was opened.
pub(super) struct Opened {
    /// The cookie's value.
    pub(super) cookie: Zeroizing<String>,
    /// Who it is.
    pub(super) principal: Principal,
}

impl Door {
    /// Knows the accounts of a store, and who presents `token` as the holder of the data folder.
    pub fn new(accounts: Arc<dyn Accounts>, clock: Arc<dyn Clock>, token: Secret) -> Self {
        let (throttle, hashing) = (Throttle::default(), Semaphore::new(HASHING));
        Self { accounts, clock, token, throttle, hashing, used: Mutex::default() }
    }

    /// The accounts behind it.
    pub(super) fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    /// Who sent these headers. `scrape`: the token of scrapers, if one is asked for.
    pub(super) async fn caller(&self, headers: &HeaderMap, scrape: Option<&Secret>) -> Result<Caller, ApiError> {
        let bearer = bearer(headers);
        let may_scrape = match (scrape, bearer) {
            (None, _) => true,
            (Some(scrape), Some(presented)) => is_same(presented, scrape.expose()),
            (Some(_), None) => false,
        };
        let principal = match bearer {
            Some(presented) => self.by_token(presented).await?,
            None => match cookie(headers, COOKIE) {
                Some(value) => self.by_session(value).await?,
                None => None,
            },
        };
        Ok(Caller { principal, may_scrape })
    }

    async fn by_token(&self, presented: &[u8]) -> Result<Option<Principal>, ApiError> {
        if is_same(presented, self.token.expose()) {
            let actor = DATA_FOLDER.to_owned();
            return Ok(Some(Principal { actor, role: Role::Admin, scope: Scope::All, proof: Proof::DataFolder }));
        }
        if !presented.starts_with(TOKEN_PREFIX.as_bytes()) {
            return Ok(None);
        }
        // Looked up by digest: how long that takes says nothing about the secret.
        let digest = digest(presented);
        let found = self.accounts.token(digest, self.clock.now()).await?;
        if found.is_some() {
            self.used(digest);
        }
        Ok(found.map(|(name, Rights { role, scope })| Principal {
            actor: format!("token:{name}"),
            role,
            scope,
            proof: Proof::Token,
        }))
    }

    /// Keeps that a token was presented, unless that was kept a moment ago. Nobody waits for it.
    fn used(&self, digest: [u8; 32]) {
        let now = self.clock.now();
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.retain(|_, kept| now.since(*kept) < KEEP_USED);
            if used.contains_key(&digest) {
                return;
            }
            used.insert(digest, now);
        }
        let accounts = self.accounts.clone();
        tokio::spawn(async move {
            if let Err(error) = accounts.token_used(digest).await {
                tracing::debug!(%error, "the use of a token was not kept");
            }
        });
    }

    async fn by_session(&self, value: &[u8]) -> Result<Option<Principal>, ApiError> {
        let digest = digest(value);
        let found = self.accounts.session(digest, self.clock.now()).await?;
        Ok(found.map(|session| {
            let proof = Proof::Session { digest, csrf: csrf(value), expires_at: session.expires_at };
            principal(&session.user, session.rights, proof)
        }))
    }

    /// The user, if who asks knows their password; not asked too often.
    pub(super) async fn knows_password(
        &self,
        client: IpAddr,
        name: &str,
        password: &[u8],
    ) -> Result<UserSecret, ApiError> {
        let attempt = self.attempt(client, name)?;
        let user = self.accounts.user(name).await?;
        let Some(user) = self.verified(user, password).await? else {
            // Not the name: it may be a password in the wrong field.
            tracing::warn!(%client, "sign-in refused");
            return Err(ApiError::WrongPassword);
        };
        attempt.succeeded();
        Ok(user)
    }

    /// Opens a session for who knows the password of `name`.
    pub(super) async fn sign_in(&self, client: IpAddr, name: &str, password: &[u8]) -> Result<Opened, ApiError> {
        let user = self.knows_password(client, name, password).await?;
        self.open(client, name, user).await?.ok_or(ApiError::WrongPassword)
    }

    /// Counts an attempt to sign in, as failed until it is known to have succeeded. `name`: empty where the
    /// attempt names nobody.
    pub(super) fn attempt<'a>(&'a self, client: IpAddr, name: &'a str) -> Result<Attempt<'a>, ApiError> {
        if let Err(wait) = self.throttle.begin(client, name, self.clock.now()) {
            let retry_after = wait.as_secs().max(1);
            tracing::warn!(%client, retry_after, "sign-in held up after attempts that failed");
            return Err(ApiError::TooManyAttempts { retry_after });
        }
        Ok(Attempt { throttle: &self.throttle, client, name })
    }

    /// Opens a session for a user who proved who they are; none where they changed meanwhile.
    pub(super) async fn open(&self, client: IpAddr, name: &str, user: UserSecret) -> Result<Option<Opened>, ApiError> {
        let cookie = Zeroizing::new(hex::encode(ids::secret_bytes()));
        let expires_at = self.clock.now().plus(std::time::Duration::from_secs(SESSION_SECONDS));
        let change = Change::OpenSession {
            digest: digest(cookie.as_bytes()),
            user: name.to_owned(),
            password_hash: user.password_hash,
            expires_at,
        };
        let audit = AuditEntry {
            actor: actor(name),
            action: "session.open".to_owned(),
            tenant: None,
            object: client.to_string(),
            reason: String::new(),
        };
        if !self.accounts.change(change, audit).await? {
            return Ok(None);
        }
        let proof = Proof::Session { digest: digest(cookie.as_bytes()), csrf: csrf(cookie.as_bytes()), expires_at };
        Ok(Some(Opened { principal: principal(name, user.rights, proof), cookie }))
    }

    /// The user, if the password is theirs. Takes as long for a user who is not there.
    async fn verified(&self, user: Option<UserSecret>, password: &[u8]) -> Result<Option<UserSecret>, ApiError> {
        // Of no password: as dear to verify as any other.
        const NOBODY: &str =
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let hash = user.as_ref().map_or(NOBODY, |user| &user.password_hash).to_owned();
        let password = Zeroizing::new(password.to_vec());
        let is_theirs =
            self.hashing(move || PasswordVerifier::<str>::verify_password(&argon2(), &password, &hash).is_ok()).await?;
        Ok(user.filter(|_| is_theirs))
    }

    /// A hash of a password in PHC form.
    pub(super) async fn hash(&self, password: &[u8]) -> Result<String, ApiError> {
        let password = Zeroizing::new(password.to_vec());
        let salt = ids::nonce();
        let hashed =
            self.hashing(move || argon2().hash_password_with_salt(&password, &salt).map(|hash| hash.to_string()));
        hashed.await?.map_err(|error| ApiError::Invalid(format!("the password cannot be hashed: {error}")))
    }

    async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let gone = || ApiError::Unavailable("hashing a password failed".to_owned());
        let _seat = self.hashing.acquire().await.map_err(|_| gone())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| gone())
    }

    /// When it is.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A user, as the audit names them.
pub(super) fn actor(user: &str) -> String {
    format!("user:{user}")
}

fn principal(user: &str, rights: Rights, proof: Proof) -> Principal {
    Principal { actor: actor(user), role: rights.role, scope: rights.scope, proof }
}

/// SHA-256, under which a secret of 256 bits is kept.
pub(super) fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// What a page of the session knows and a page of another site does not.
fn csrf(cookie: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"sluice csrf\0");
    digest.update(cookie);
    hex::encode(digest.finalize())
}

/// Takes the same time for every wrong text of the right length.
fn is_same(presented: &[u8], expected: &[u8]) -> bool {
    presented.ct_eq(expected).into()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, presented) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(presented)
}

/// The cookie of this name; none where there are several.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let values = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut ours = values.filter_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    });
    let (Some(value), None) = (ours.next(), ours.next()) else { return None };
    Some(value)
}

/// Whether a browser says that another site caused the request.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin")
}

/// Refuses a change by a session that not a page of ours asked for.
pub(super) fn guard(caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(Principal { proof: Proof::Session { csrf, .. }, .. }) = &caller.principal else { return Ok(()) };
    if method.is_safe() {
        return Ok(());
    }
    let presented = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if is_foreign(headers) || !is_same(presented, csrf.as_bytes()) {
        return Err(ApiError::Forbidden(format!("a change by a session needs the header {CSRF_HEADER}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_one_cookie_of_the_name_counts() {
        assert_eq!(
            cookie(&headers(&[("cookie", "a=b; __Host-sluice=xy; __Host-sluice-oidc=z")]), COOKIE),
            Some(&b"xy"[..])
        );
        for none in ["__Host-sluice2=x", "x__Host-sluice=x", "__Host-sluice=a; __Host-sluice=b", "a=b"] {
            assert_eq!(cookie(&headers(&[("cookie", none)]), COOKIE), None, "{none}");
        }
    }

    #[test]
    fn a_change_by_a_session_needs_its_own_word_and_no_foreign_page() {
        let proof = Proof::Session { digest: [0; 32], csrf: csrf(b"cookie"), expires_at: Timestamp::from_secs(0) };
        let of = |proof| {
            let principal = Principal { actor: String::new(), role: Role::Admin, scope: Scope::All, proof };
            Caller { principal: Some(principal), may_scrape: false }
        };
        let session = of(proof);
        let own = csrf(b"cookie");
        let other = csrf(b"another");
        let ends = |pairs: &[(&'static str, &str)]| guard(&session, &Method::POST, &headers(pairs)).is_ok();
        assert!(ends(&[("x-sluice-csrf", &own)]));
        assert!(ends(&[("x-sluice-csrf", &own), ("sec-fetch-site", "same-origin")]));
        assert!(!ends(&[("x-sluice-csrf", &own), ("sec-fetch-site", "cross-site")]));
        assert!(!ends(&[("x-sluice-csrf", &own), ("sec-fetch-site", "same-site")]));
        assert!(!ends(&[("x-sluice-csrf", &other)]));
        assert!(!ends(&[]));
        assert!(guard(&session, &Method::GET, &HeaderMap::new()).is_ok());
        assert!(guard(&of(Proof::Token), &Method::POST, &HeaderMap::new()).is_ok());
    }
}
