//! The remote providers as `[secrets]` configures them.

use std::{sync::Arc, time::Duration};

use super::{
    reference::RemoteKind,
    remote::{Provider, RemoteError},
    vault::{Session, Vault, VaultSettings},
};

/// `[secrets]`.
#[derive(Debug, Clone)]
pub struct Providers {
    /// How often all that remote providers keep is read again.
    pub refresh: Duration,
    /// How long the last good value is used while its provider cannot be read.
    pub max_age: Duration,
    /// How long one question may take.
    pub timeout: Duration,
    /// `[secrets.vault]`.
    pub vault: Option<VaultSettings>,
}

impl Providers {
    /// The provider of a kind, ready to be asked.
    pub(super) async fn of(&self, kind: RemoteKind, session: &Arc<Session>) -> Result<Arc<dyn Provider>, RemoteError> {
        match kind {
            RemoteKind::Vault => {
                let settings = self.vault.clone().ok_or(RemoteError::NotConfigured)?;
                Ok(Arc::new(Vault::new(settings, session.clone())?))
            }
            #[cfg(feature = "aws")]
            RemoteKind::AwsSecretsManager => Ok(Arc::new(super::aws::SecretsManager::from_environment().await)),
            #[cfg(not(feature = "aws"))]
            RemoteKind::AwsSecretsManager => std::future::ready(Err(RemoteError::NotBuilt)).await,
        }
    }
}
