//! Objects in a bucket that speaks S3. `object_store` puts, reads and deletes; what it signs pins only the
//! host, so URLs are signed here with AWS's own signer, which pins the headers of an upload and the headers
//! of an answer too ([ADR 0022](../../docs/adr/0022-artifacts.md)). Credentials are those of AWS's own chain for both: a role
//! of the container, pod or machine, no static key.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::BehaviorVersion;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use object_store::{
    ClientOptions, CredentialProvider, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AwsCredential},
};
use sluice_actors::domain::Timestamp;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    Exactly, Key, Link, ObjectError, Ticket,
    objects::{encoded, file_name},
};
use crate::config::Bucket;

/// From the first step to the last byte of one request.
const PATIENCE: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// Where neither the file nor AWS's environment names one: what servers that are not AWS take.
const REGION: &str = "us-east-1";

/// A bucket.
pub struct S3 {
    bucket: Bucket,
    /// The folder in the bucket, with a slash at its end, or nothing.
    prefix: String,
    opened: OnceCell<Opened>,
    host: String,
}

struct Opened {
    client: Arc<dyn ObjectStore>,
    credentials: SharedCredentialsProvider,
    region: String,
    /// What objects' paths are joined to.
    origin: String,
}

/// AWS's chain as `object_store` asks it.
#[derive(Debug)]
struct Chain(SharedCredentialsProvider);

#[async_trait::async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|_| object_store::Error::Unauthenticated {
            path: String::new(),
            source: "no credentials were found, or their role refuses us".into(),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(ToOwned::to_owned),
        }))
    }
}

impl S3 {
    /// A bucket; it is looked for with the first object.
    pub fn new(bucket: Bucket) -> Self {
        let prefix = if bucket.prefix.is_empty() { String::new() } else { format!("{}/", bucket.prefix) };
        let host = bucket.endpoint.as_ref().map_or_else(
            || format!("s3:{}", bucket.name),
            |endpoint| format!("{}:{}", endpoint.host_str().unwrap_or_default(), bucket.name),
        );
        Self { bucket, prefix, opened: OnceCell::new(), host }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) async fn client(&self) -> Result<Arc<dyn ObjectStore>, ObjectError> {
        Ok(self.opened().await?.client.clone())
    }

    async fn opened(&self) -> Result<&Opened, ObjectError> {
        self.opened.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Opened, ObjectError> {
        // Boxed: the chain is tens of kilobytes of state, and would be part of every attempt.
        let aws = Box::pin(aws_config::load_defaults(BehaviorVersion::latest())).await;
        let credentials = aws.credentials_provider().ok_or(ObjectError::Refused)?;
        self.open_with(credentials, aws.region().map(ToString::to_string))
    }

    fn open_with(&self, credentials: SharedCredentialsProvider, region: Option<String>) -> Result<Opened, ObjectError> {
        let region = self.bucket.region.clone().or(region).unwrap_or_else(|| REGION.to_owned());
        let variable = |name: &str| std::env::var(name).ok().and_then(|url| url.parse::<Url>().ok());
        // The same variables as everything of AWS reads.
        let endpoint = self.bucket.endpoint.clone();
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3")).or_else(|| variable("AWS_ENDPOINT_URL"));
        let options = ClientOptions::new()
            .with_timeout(PATIENCE)
            .with_connect_timeout(CONNECT)
            .with_allow_http(endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http"));
        // A job that meets a store which is away comes again by its own rules.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket.name)
            .with_region(&region)
            .with_client_options(options)
            .with_retry(retry)
            .with_credentials(Arc::new(Chain(credentials.clone())));
        let origin = match &endpoint {
            Some(endpoint) => {
                let endpoint = endpoint.as_str().trim_end_matches('/').to_owned();
                builder = builder.with_endpoint(&endpoint).with_virtual_hosted_style_request(false);
                format!("{endpoint}/{}", self.bucket.name)
            }
            // A name with a dot is not covered by the certificate of `*.s3…`.
            None if self.bucket.name.contains('.') => {
                format!("https://s3.{region}.amazonaws.com/{}", self.bucket.name)
            }
            None => {
                builder = builder.with_virtual_hosted_style_request(true);
                format!("https://{}.s3.{region}.amazonaws.com", self.bucket.name)
            }
        };
        let client = builder.build().map_err(|_| ObjectError::Unavailable("its settings make no client"))?;
        Ok(Opened { client: Arc::new(client), credentials, region, origin })
    }

    pub(super) async fn link(
        &self,
        path: &str,
        key: &Key,
        media_type: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Link, ObjectError> {
        let disposition = format!("attachment; filename=\"{}\"", file_name(key, media_type));
        let query = format!(
            "response-content-disposition={}&response-content-type={}",
            percent(&disposition),
            percent(media_type)
        );
        self.signed("GET", &format!("{path}?{query}"), &[], now, ttl).await
    }

    pub(super) async fn ticket(
        &self,
        path: &str,
        exactly: &Exactly,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Ticket, ObjectError> {
        let headers = vec![
            ("content-length", exactly.length.to_string()),
            ("content-type", exactly.media_type.clone()),
            ("x-amz-checksum-sha256", STANDARD.encode(exactly.digest)),
        ];
        let link = self.signed("PUT", path, &headers, now, ttl).await?;
        Ok(Ticket { link, headers })
    }

    async fn signed(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(&'static str, String)],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Link, ObjectError> {
        let opened = self.opened().await?;
        let credentials = opened.credentials.provide_credentials().await.map_err(|_| ObjectError::Refused)?;
        let ttl = lives(&credentials, now, ttl);
        let url = format!("{}/{path_and_query}", opened.origin);
        let url = presigned(&credentials, &opened.region, (method, &url), headers, now, ttl)?;
        Ok(Link { url, expires_at: Timestamp::from_secs(now.as_secs()).plus(ttl) })
    }
}

/// A URL ends with the credentials that signed it.
fn lives(credentials: &Credentials, now: Timestamp, ttl: Duration) -> Duration {
    let end = credentials.expiry().and_then(|end| end.duration_since(at(now)).ok());
    let left = if credentials.expiry().is_some() { end.unwrap_or_default() } else { ttl };
    // S3 takes whole seconds.
    Duration::from_secs(ttl.min(left).as_secs())
}

fn at(now: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0))
}

/// As a query of S3 has it: a space is `%20`.
fn percent(text: &str) -> String {
    encoded(text).replace('+', "%20")
}

fn presigned(
    credentials: &Credentials,
    region: &str,
    (method, url): (&str, &str),
    headers: &[(&'static str, String)],
    now: Timestamp,
    ttl: Duration,
) -> Result<String, ObjectError> {
    let broken = |_| ObjectError::Unavailable("a URL cannot be signed");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(ttl);
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(at(now))
        .settings(settings)
        .build()
        .map_err(|_| ObjectError::Unavailable("a URL cannot be signed"))?
        .into();
    let pinned = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let request = SignableRequest::new(method, url, pinned, SignableBody::UnsignedPayload).map_err(broken)?;
    let (instructions, _) = sign(request, &params).map_err(broken)?.into_parts();
    let mut signed = url.to_owned();
    for (name, value) in instructions.params() {
        signed.push(if signed.contains('?') { '&' } else { '?' });
        signed.push_str(name);
        signed.push('=');
        signed.push_str(&percent(value));
    }
    Ok(signed)
}

#[cfg(test)]
mod tests;
