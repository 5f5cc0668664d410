//! A provider of ours that says what a test tells it to: what a token must not be.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use sluice::{
    config::{Input, Oidc},
    http_client::HttpClient,
    oidc::{Answer, OidcError, Person, Provider},
    secrets::Environment,
};
use sluice_actors::{ports::Clock as _, testing::contract::SteppedClock};
use warp::Filter as _;

const SECRET: &str = "the-secret-of-the-client";

/// What it answers, and what it was asked.
#[derive(Default)]
struct Lie {
    keys: Vec<Value>,
    /// What the token endpoint answers: a status, and JSON or other text.
    tokens: (u16, String),
    /// Instead of its own issuer.
    issuer: Option<String>,
    key_requests: usize,
    /// How often the token endpoint breaks the connection instead of answering.
    breaks: usize,
}

struct Liar {
    lie: Arc<Mutex<Lie>>,
    issuer: String,
    clock: Arc<SteppedClock>,
    provider: Provider,
    oidc: Arc<Oidc>,
    key: Key,
}

struct Key {
    pair: KeyPair,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), kid }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key_raw();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..65]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        encode(&header, claims, &EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap()).unwrap()
    }
}

impl Liar {
    async fn start() -> Self {
        let lie = Arc::new(Mutex::new(Lie::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (of_discovery, of_keys, of_tokens) = (lie.clone(), lie.clone(), lie.clone());
        let own = issuer.clone();
        let discovery = warp::path!(".well-known" / "openid-configuration").map(move || {
            let issuer = of_discovery.lock().unwrap().issuer.clone().unwrap_or_else(|| own.clone());
            warp::reply::json(&json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{own}/authorize"),
                "token_endpoint": format!("{own}/token"),
                "jwks_uri": format!("{own}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                // It claims to know what must not be believed.
                "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            }))
        });
        let keys = warp::path!("keys").map(move || {
            let mut lie = of_keys.lock().unwrap();
            lie.key_requests += 1;
            warp::reply::json(&json!({ "keys": lie.keys }))
        });
        let tokens = warp::path!("token").and(warp::post()).map(move || {
            let mut lie = of_tokens.lock().unwrap();
            let (status, text) = lie.tokens.clone();
            if lie.breaks > 0 {
                lie.breaks -= 1;
                drop(lie);
                std::panic::resume_unwind(Box::new("its connection ends with its task"));
            }
            http::Response::builder().status(status).header("content-type", "application/json").body(text).unwrap()
        });
        tokio::spawn(warp::serve(discovery.or(keys).or(tokens)).incoming(listener).run());
        let text = format!(
            "[admin]\npublic_url = 'https://gate.example'\n[admin.oidc]\nissuer = '{issuer}'\nclient_id = 'sluice'\n\
             client_secret = 'env:SECRET'\n[[admin.oidc.roles]]\nvalue = 'ops'\nrole = 'operator'\n\
             [outbound]\nallow_private = ['127.0.0.0/8']\n"
        );
        let input = Input::new("cfg").environment(Environment::fixed([("SECRET", SECRET)])).main(&text);
        let config = input.resolve().unwrap();
        let clock = Arc::new(SteppedClock::default());
        let client = HttpClient::new(config.outbound.allow_private.clone()).unwrap();
        let key = Key::new("one");
        lie.lock().unwrap().keys = vec![key.public()];
        let provider = Provider::new(client, clock.clone());
        Self { lie, issuer, clock, provider, oidc: config.admin.oidc.clone().unwrap(), key }
    }

    /// The claims of a right token for the sign-in with this nonce.
    fn claims(&self, nonce: &str) -> Value {
        let now = self.clock.now().as_secs();
        json!({
            "iss": self.issuer, "aud": "sluice", "sub": "u1", "nonce": nonce,
            "iat": now, "exp": now + 300, "groups": ["ops"],
        })
    }

    /// A sign-in for which the provider makes a token of its nonce.
    async fn sign_in(&self, token: impl FnOnce(&Self, &str) -> String) -> Result<Person, OidcError> {
        let answer = |token: String| {
            (200, json!({ "access_token": "x", "token_type": "Bearer", "id_token": token }).to_string())
        };
        self.sign_in_by(|liar, nonce| answer(token(liar, nonce))).await
    }

    async fn sign_in_by(&self, answer: impl FnOnce(&Self, &str) -> (u16, String)) -> Result<Person, OidcError> {
        let begun = self.provider.begin(&self.oidc, "/lanes").await?;
        let sent = |name: &str| {
            let found = begun.url.query_pairs().find(|(key, _)| key == name);
            found.unwrap_or_else(|| panic!("{name}: {}", begun.url)).1.into_owned()
        };
        assert_eq!((&*sent("code_challenge_method"), &*sent("response_type")), ("S256", "code"));
        assert_eq!(sent("redirect_uri"), "https://gate.example/api/v1/session/provider/callback");
        let answered = answer(self, &sent("nonce"));
        self.lie.lock().unwrap().tokens = answered;
        let back = Answer { code: Some("code".to_owned()), state: Some(sent("state")), ..Answer::default() };
        self.provider.finish(&self.oidc, Some(begun.ticket.as_bytes()), back).await.map(|(person, _)| person)
    }
}

fn why(outcome: Result<Person, OidcError>) -> String {
    match outcome {
        Ok(person) => format!("signed in: {person:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_token_that_is_not_made_for_this_sign_in_is_not_believed() {
    let liar = Liar::start().await;
    let signed = |change: Value| {
        move |liar: &Liar, nonce: &str| {
            let mut claims = liar.claims(nonce);
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            liar.key.sign(&claims)
        }
    };
    let now = liar.clock.now().as_secs();
    let person = liar.sign_in(signed(json!({}))).await.unwrap();
    assert_eq!(person.subject, "u1");
    // One who names us among those it is for, by what it is used for, is right.
    assert!(liar.sign_in(signed(json!({ "aud": ["sluice"], "azp": "sluice" }))).await.is_ok());
    for (change, expected) in [
        (json!({ "nonce": "another" }), "it belongs to another sign-in"),
        (json!({ "nonce": null }), "it belongs to another sign-in"),
        (json!({ "exp": now }), "it has expired"),
        (json!({ "exp": now - 3600, "iat": now - 7200 }), "it has expired"),
        (json!({ "iat": now - 301 }), "it has expired, or was issued at another time"),
        (json!({ "iat": now + 301 }), "it has expired, or was issued at another time"),
        (json!({ "iss": "https://other.example" }), "it names another issuer"),
        (json!({ "aud": "other" }), "it is for another audience"),
        (json!({ "aud": ["sluice", "other"] }), "it is for another audience"),
        (json!({ "azp": "other" }), "it was made for another client"),
        (json!({ "sub": "" }), "names no subject"),
        (json!({ "groups": [] }), "none of `admin.oidc.roles` fits"),
    ] {
        let outcome = why(liar.sign_in(signed(change.clone())).await);
        assert!(outcome.contains(expected), "{change}: {outcome}");
    }
}

#[tokio::test]
async fn a_token_that_the_provider_did_not_sign_is_not_believed() {
    let liar = Liar::start().await;
    let tampered = why(liar
        .sign_in(|liar, nonce| {
            let token = liar.key.sign(&liar.claims(nonce));
            let mut claims = liar.claims(nonce);
            claims["sub"] = json!("root");
            let mut parts: Vec<String> = token.split('.').map(ToOwned::to_owned).collect();
            parts[1] = B64.encode(claims.to_string());
            parts.join(".")
        })
        .await);
    assert!(tampered.contains("its signature is wrong"), "{tampered}");
    let forged = why(liar.sign_in(|liar, nonce| Key::new("one").sign(&liar.claims(nonce))).await);
    assert!(forged.contains("its signature is wrong"), "{forged}");
    let shared = why(liar
        .sign_in(|liar, nonce| {
            encode(&Header::new(Algorithm::HS256), &liar.claims(nonce), &EncodingKey::from_secret(SECRET.as_bytes()))
                .unwrap()
        })
        .await);
    assert!(shared.contains("an algorithm that is not allowed"), "{shared}");
    let none = why(liar
        .sign_in(|liar, nonce| {
            format!("{}.{}.", B64.encode(r#"{"alg":"none"}"#), B64.encode(liar.claims(nonce).to_string()))
        })
        .await);
    assert!(none.contains("not to be believed"), "{none}");
}

#[tokio::test]
async fn new_keys_are_asked_for_when_a_token_names_one_but_not_by_every_token() {
    let mut liar = Liar::start().await;
    assert!(liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await.is_ok());
    assert_eq!(liar.lie.lock().unwrap().key_requests, 1);
    // The provider changes its keys.
    liar.key = Key::new("two");
    liar.lie.lock().unwrap().keys = vec![liar.key.public()];
    liar.clock.advance(Duration::from_mins(2));
    assert!(liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await.is_ok());
    assert_eq!(liar.lie.lock().unwrap().key_requests, 2);
    let stranger = Key::new("three");
    for _ in 0..5 {
        let outcome = why(liar.sign_in(|liar, nonce| stranger.sign(&liar.claims(nonce))).await);
        assert!(outcome.contains("a key that the provider does not publish"), "{outcome}");
    }
    assert_eq!(liar.lie.lock().unwrap().key_requests, 2, "asked a moment ago");
    liar.clock.advance(Duration::from_mins(2));
    let _ = liar.sign_in(|liar, nonce| stranger.sign(&liar.claims(nonce))).await;
    assert_eq!(liar.lie.lock().unwrap().key_requests, 3);
}

#[tokio::test]
async fn answers_that_are_none_of_a_provider_sign_nobody_in() {
    let liar = Liar::start().await;
    let huge = "x".repeat(2 << 20);
    for (status, text) in [
        (200, "{}"),
        (200, "not JSON"),
        (200, ""),
        (200, r#"{"access_token":"x","token_type":"Bearer"}"#),
        (200, r#"{"access_token":"x","token_type":"Bearer","id_token":"a.b.c"}"#),
        (200, huge.as_str()),
        (302, ""),
        (500, "<html>"),
        (400, r#"{"error":"invalid_grant","error_description":"PLANTED"}"#),
    ] {
        let outcome = liar.sign_in_by(|_, _| (status, text.to_owned())).await;
        let short: String = text.chars().take(40).collect();
        let error = outcome.expect_err(&short);
        assert!(!error.to_string().contains("PLANTED"), "{error}");
    }
    // Its word is also needed for who it is.
    liar.lie.lock().unwrap().issuer = Some("https://other.example".to_owned());
    liar.clock.advance(Duration::from_hours(2));
    let outcome = liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await;
    assert!(matches!(outcome, Err(OidcError::Down(_))), "{outcome:?}");
    liar.lie.lock().unwrap().issuer = None;
    let early = why(liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await);
    assert!(early.contains("another issuer"), "not asked again at once: {early}");
    liar.clock.advance(Duration::from_secs(3));
    assert!(liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await.is_ok());
}

#[tokio::test]
async fn a_connection_that_breaks_as_it_is_used_is_made_anew_once() {
    let liar = Liar::start().await;
    for (breaks, works) in [(1, true), (2, false)] {
        liar.lie.lock().unwrap().breaks = breaks;
        let outcome = liar.sign_in(|liar, nonce| liar.key.sign(&liar.claims(nonce))).await;
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
    }
}

#[tokio::test]
async fn who_takes_too_long_at_the_provider_begins_anew() {
    let liar = Liar::start().await;
    let outcome = liar
        .sign_in(|liar, nonce| {
            let token = liar.key.sign(&liar.claims(nonce));
            liar.clock.advance(Duration::from_mins(10));
            token
        })
        .await;
    assert!(matches!(outcome, Err(OidcError::Stale(_))), "{outcome:?}");
}
