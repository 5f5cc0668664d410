//! Users, tokens and sessions as the store keeps them: of a secret only what recognises it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{TenantName, Timestamp, TokenId},
    ports::StoreUnavailable,
};
use utoipa::ToSchema;

use super::{
    access::Role,
    records::{AuditEntry, Scope},
};

/// What an account may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Its role.
    pub role: Role,
    /// Whose objects it sees.
    pub scope: Scope,
}

/// A token in a table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The tenants it sees; none: all.
    pub tenants: Option<Vec<TenantName>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; none: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was presented last, to a minute.
    pub used_at: Option<Timestamp>,
}

/// A user in a table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The tenants they see; none: all.
    pub tenants: Option<Vec<TenantName>>,
    /// When they were added.
    pub created_at: Timestamp,
    /// When somebody locked them out; none: they may sign in.
    pub disabled_at: Option<Timestamp>,
    /// When they signed in last.
    pub used_at: Option<Timestamp>,
}

/// A user whose password is to be verified.
#[derive(Clone)]
pub struct UserSecret {
    /// In PHC form (Argon2id).
    pub password_hash: String,
    /// What they may do.
    pub rights: Rights,
}

/// Who somebody is to an OpenID Connect provider: what it never gives to anybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Its name for them.
    pub subject: String,
}

/// The user of an [`Identity`].
#[derive(Debug, Clone)]
pub struct Linked {
    /// Their name.
    pub user: String,
    /// Whether somebody locked them out.
    pub is_disabled: bool,
}

/// A session that is open.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose.
    pub user: String,
    /// What they may do now.
    pub rights: Rights,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A change of accounts.
#[derive(Clone)]
pub enum Change {
    /// A new token.
    AddToken {
        /// What is shown of it.
        row: TokenRow,
        /// SHA-256 of its secret.
        digest: [u8; 32],
    },
    /// The end of a token.
    RevokeToken {
        /// Who asks sees only these.
        scope: Scope,
        /// Which.
        id: TokenId,
    },
    /// A new user; no change where the name is taken.
    AddUser {
        /// What is shown of them.
        row: UserRow,
        /// In PHC form.
        password_hash: String,
    },
    /// A new user without a password; no change where the name is taken or the identity is linked.
    AddLinkedUser {
        /// What is shown of them.
        row: UserRow,
        /// Who they are to the provider.
        identity: Identity,
    },
    /// What a user may do from now on, in their open sessions too; no change where it is so already.
    ChangeRights {
        /// Who.
        user: String,
        /// What.
        rights: Rights,
    },
    /// Locks a user out, or lets them in again; their sessions end.
    SwitchUser {
        /// Who asks sees only these.
        scope: Scope,
        /// Which.
        name: String,
        /// Whether they may sign in.
        may_sign_in: bool,
    },
    /// The end of all sessions of a user.
    CloseSessions {
        /// Whose.
        user: String,
    },
    /// The end of a user, of their links and of their sessions.
    RemoveUser {
        /// Who asks sees only these.
        scope: Scope,
        /// Which.
        name: String,
    },
    /// A user has another password. Their other sessions end.
    SetPassword {
        /// Who.
        user: String,
        /// The hash of the old one: no change where it changed meanwhile.
        old_hash: String,
        /// Of the new one, in PHC form.
        new_hash: String,
        /// SHA-256 of the cookie of the session that stays.
        keep: [u8; 32],
    },
    /// A user signed in.
    OpenSession {
        /// SHA-256 of the cookie.
        digest: [u8; 32],
        /// Who.
        user: String,
        /// The hash against which the password was verified: no session where it changed meanwhile.
        /// Empty for who has none.
        password_hash: String,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// A user signed out.
    CloseSession {
        /// SHA-256 of the cookie.
        digest: [u8; 32],
    },
}

/// The accounts of a store.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Whose token has this digest: its name and rights; none if it is unknown, revoked or over at
    /// `now`.
    async fn token(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<(String, Rights)>, StoreUnavailable>;
    /// The token with this digest was presented.
    async fn token_used(&self, digest: [u8; 32]) -> Result<(), StoreUnavailable>;
    /// Tokens that see no more than `scope`, newest first.
    async fn tokens(&self, scope: &Scope) -> Result<Vec<TokenRow>, StoreUnavailable>;
    /// A user with a password, by name.
    async fn user(&self, name: &str) -> Result<Option<UserSecret>, StoreUnavailable>;
    /// The user of an identity.
    async fn linked(&self, identity: &Identity) -> Result<Option<Linked>, StoreUnavailable>;
    /// Users who see no more than `scope`, by name.
    async fn users(&self, scope: &Scope) -> Result<Vec<UserRow>, StoreUnavailable>;
    /// The session with this digest that is open at `now`.
    async fn session(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<Session>, StoreUnavailable>;
    /// Makes a change with its line of the audit, in one transaction. `false`: there was nothing to
    /// change, and nothing is written.
    async fn change(&self, change: Change, audit: AuditEntry) -> Result<bool, StoreUnavailable>;
}
