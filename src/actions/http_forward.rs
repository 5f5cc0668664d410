//! `http_forward`: the normalised event sent on, signed with Standard Webhooks
//! (<https://www.standardwebhooks.com>, spec/standard-webhooks.md). The id is the job's, so that the
//! receiver recognises every attempt as the same message; the timestamp is each attempt's own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use sha2::Sha256;
use sluice_actors::domain::{JobResult, Timestamp};

use super::{
    auth::Authorization,
    callees, classify, fetch, http_call,
    run::{Run, Step, not_configured},
    template,
};
use crate::{config::HttpForward, http_client::Call, secrets::Secret};

pub(crate) async fn run(run: &Run<'_>, settings: &HttpForward) -> Step<JobResult> {
    let attachments = run.attachments().await?;
    let mut progress = run.progress();
    fetch::ensure(run, &mut progress).await?;
    let event = run.event();
    let mut body = template::event_json(event);
    body["type"] = json!(event.event_type);
    body["timestamp"] = json!(event.occurred_at);
    if let Some(fetched) = progress.fetched {
        body["fetched"] = fetched;
    }
    if let Some(shown) = run.shown(&attachments).await? {
        body["attachments"] = shown;
    }
    let body = body.to_string();
    let id = run.job().id.to_string();
    let Some(headers) = headers(&settings.secret, &id, run.now(), body.as_bytes()) else {
        return Err(not_configured(format!("a `whsec_…` secret of route {}", run.route.name)));
    };
    let mut call = Call::new(Method::POST, settings.url.clone());
    call.headers = headers;
    call.body = Some(body.into());
    let callee = callees::host(&settings.url);
    let answer =
        run.call(&callee, call, |answer, now| classify::by_status(answer, now, &callee, classify::of_status)).await?;
    Ok(http_call::result(run, &answer, &Authorization::default()).await)
}

/// The key behind `whsec_` and base64; none if it is not that.
pub(crate) fn key(secret: &Secret) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.expose_str()?.strip_prefix("whsec_")?).ok()?;
    (!key.is_empty()).then_some(key)
}

fn headers(secret: &Secret, id: &str, now: Timestamp, body: &[u8]) -> Option<HeaderMap> {
    let seconds = now.as_secs().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let value = |text: &str| HeaderValue::from_str(text).expect("ids, digits and base64 are header values");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", value(id));
    headers.insert("webhook-timestamp", value(&seconds));
    headers.insert("webhook-signature", value(&signature));
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standards_example() {
        // spec/standard-webhooks.md, "Signature scheme"; also the vector of the reference libraries.
        let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let headers = headers(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_secs(1_614_265_330),
            br#"{"test": 2432232314}"#,
        )
        .unwrap();
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
    }

    #[test]
    fn other_secrets_are_no_key() {
        for bad in ["", "whsec_", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(key(&Secret::new(bad.into())).is_none(), "{bad}");
        }
    }
}
