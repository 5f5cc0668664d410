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
    remote::{Change, Document, Provider, RemoteError},
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
            Version::Current => request.version_stage(CURRENT),
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

    /// As AWS's own rotation functions do: the new version is staged, then made the current one in the
    /// place of the one that was read. `AWSPREVIOUS` follows by itself.
    async fn write(&self, location: &Location, change: Change<'_>) -> Result<(), RemoteError> {
        let request = self.0.get_secret_value().secret_id(&location.name).version_stage(CURRENT);
        let answer = request.send().await.map_err(|error| told(&error, location))?;
        let odd = |what: &str| RemoteError::Odd(what.to_owned());
        let read_version = answer.version_id.ok_or_else(|| odd("an answer without a version"))?;
        let text = answer.secret_string.ok_or_else(|| odd("a binary secret, which is not rotated here"))?;
        let content = change.applied_to(&Document { content: Secret::new(text.into_bytes()), created: None })?;
        let content = content.expose_str().ok_or(RemoteError::NoText)?.to_owned();
        let version = uuid::Builder::from_random_bytes(change.nonce).into_uuid().to_string();
        let request = self.0.put_secret_value().secret_id(&location.name).client_request_token(&version);
        let request = request.secret_string(content).version_stages(PENDING);
        request.send().await.map_err(|error| told_of_write(&error, location))?;
        let request = self.0.update_secret_version_stage().secret_id(&location.name).version_stage(CURRENT);
        let request = request.move_to_version_id(&version).remove_from_version_id(read_version);
        request.send().await.map_err(|error| told_of_write(&error, location))?;
        Ok(())
    }
}

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";

/// As [`told`], of a change.
fn told_of_write<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, location: &Location) -> RemoteError {
    match told(error, location) {
        RemoteError::Denied(code) => RemoteError::ReadOnly(code),
        // The stage is no longer at the version that was read.
        RemoteError::Odd(code) if code == "InvalidParameterException" || code == "InvalidRequestException" => {
            RemoteError::Changed
        }
        error => error,
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
