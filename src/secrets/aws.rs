//! `aws-sm:`: AWS Secrets Manager by the official SDK. Credentials, region and endpoint are those of
//! AWS's own environment variables and files: a role of the container, pod or machine, no static key.

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_secretsmanager::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use sluice_actors::domain::Timestamp;

use super::{
    Secret,
    reference::{Location, Version},
    remote::{Document, Provider, RemoteError},
};

pub(super) struct SecretsManager(Client);

impl SecretsManager {
    pub(super) async fn from_environment() -> Self {
        Self(Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await))
    }
}

#[async_trait]
impl Provider for SecretsManager {
    async fn read(&self, location: &Location) -> Result<Document, RemoteError> {
        let request = self.0.get_secret_value().secret_id(&location.name);
        let request = match &location.version {
            Version::Current => request.version_stage("AWSCURRENT"),
            Version::Previous => request.version_stage("AWSPREVIOUS"),
            // Version ids are UUIDs.
            Version::Named(version) if uuid::Uuid::try_parse(version).is_ok() => request.version_id(version),
            Version::Named(stage) => request.version_stage(stage),
        };
        let answer = request.send().await.map_err(|error| told(&error, location))?;
        let created = answer.created_date().and_then(|at| at.to_millis().ok()).map(Timestamp::from_millis);
        let content = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(blob)) => blob.into_inner(),
            (None, None) => return Err(RemoteError::Odd("an answer without a secret".to_owned())),
        };
        Ok(Document { content: Secret::new(content), created })
    }
}

/// What an error of the SDK says. Its own words are left out: they name accounts and roles.
fn told<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, location: &Location) -> RemoteError {
    let SdkError::ServiceError(answered) = error else {
        return match error {
            // Credentials are got while the request is made.
            SdkError::DispatchFailure(failure) if failure.is_other() => {
                RemoteError::Credentials("none were found, or their role refuses us".to_owned())
            }
            SdkError::ConstructionFailure(_) => {
                RemoteError::Odd("the request cannot be made: is AWS_REGION set?".to_owned())
            }
            _ => RemoteError::Unavailable("no answer".to_owned()),
        };
    };
    let code = answered.err().code().unwrap_or("no code").to_owned();
    match code.as_str() {
        "ResourceNotFoundException" if location.version == Version::Current => RemoteError::NotFound,
        "ResourceNotFoundException" => RemoteError::NoVersion,
        "AccessDeniedException" | "DecryptionFailure" => RemoteError::Denied(code),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => RemoteError::Credentials(code),
        "ThrottlingException" | "InternalServiceError" | "InternalFailure" | "ServiceUnavailable" => {
            RemoteError::Unavailable(code)
        }
        _ => RemoteError::Odd(code),
    }
}
