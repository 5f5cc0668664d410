//! Users, tokens and sessions.

use async_trait::async_trait;
use sluice_actors::{
    domain::{TenantName, Timestamp, TokenId},
    ports::StoreUnavailable,
};

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::ReadFailed,
    people,
    records::{scope_value, tenants_value},
    rows::{BadRow, Reader, Row},
    sql::sql,
    value::values,
};
use crate::api::{
    accounts::{Accounts, Change, Identity, Linked, Rights, Session, TokenRow, UserRow, UserSecret},
    records::{AuditEntry, Scope},
};

fn tenants(row: &Reader<'_>) -> Result<Option<Vec<TenantName>>, BadRow> {
    match row.opt::<String>("tenants")? {
        Some(_) => row.json("tenants").map(Some),
        None => Ok(None),
    }
}

fn rights(row: &Reader<'_>) -> Result<Rights, BadRow> {
    let scope = tenants(row)?.map_or(Scope::All, Scope::Tenants);
    Ok(Rights { role: row.parse("role")?, scope })
}

fn token_row(row: &Row) -> Result<TokenRow, BadRow> {
    let row = Reader::new(row, "tokens", "id");
    Ok(TokenRow {
        id: TokenId::from_uuid(row.get("id")?),
        name: row.get("name")?,
        role: row.parse("role")?,
        tenants: tenants(&row)?,
        created_at: row.time("created_at")?,
        expires_at: row.time_or_none("expires_at")?,
        revoked_at: row.time_or_none("revoked_at")?,
        used_at: row.time_or_none("used_at")?,
    })
}

fn user_row(row: &Row) -> Result<UserRow, BadRow> {
    let row = Reader::new(row, "users", "created_at");
    Ok(UserRow {
        name: row.get("name")?,
        role: row.parse("role")?,
        tenants: tenants(&row)?,
        created_at: row.time("created_at")?,
        disabled_at: row.time_or_none("disabled_at")?,
        used_at: row.time_or_none("used_at")?,
    })
}

#[async_trait]
impl Accounts for Store {
    async fn token(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<(String, Rights)>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("token"), values![digest.to_vec(), now]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader::new(row, "tokens", "name");
            Ok(Some((row.get("name")?, rights(&row)?)))
        };
        Ok(read().await?)
    }

    async fn token_used(&self, digest: [u8; 32]) -> Result<(), StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::TokenUsed { digest, reply }).await?)
    }

    async fn tokens(&self, scope: &Scope) -> Result<Vec<TokenRow>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("tokens"), values![scope_value(scope)]).await?;
            Ok(rows.iter().map(token_row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn user(&self, name: &str) -> Result<Option<UserSecret>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("user_password"), values![name]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader::new(row, "users", "role");
            Ok(Some(UserSecret { password_hash: row.get("password_hash")?, rights: rights(&row)? }))
        };
        Ok(read().await?)
    }

    async fn linked(&self, identity: &Identity) -> Result<Option<Linked>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let values = values![identity.issuer.as_str(), identity.subject.as_str()];
            let rows = self.rows(sql!("identity"), values).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader::new(row, "users", "name");
            let is_disabled = row.time_or_none("disabled_at")?.is_some();
            Ok(Some(Linked { user: row.get("name")?, is_disabled }))
        };
        Ok(read().await?)
    }

    async fn users(&self, scope: &Scope) -> Result<Vec<UserRow>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("users"), values![scope_value(scope)]).await?;
            Ok(rows.iter().map(user_row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn session(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<Session>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("session"), values![digest.to_vec(), now]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader::new(row, "sessions", "expires_at");
            Ok(Some(Session { user: row.get("name")?, rights: rights(&row)?, expires_at: row.time("expires_at")? }))
        };
        Ok(read().await?)
    }

    async fn change(&self, change: Change, audit: AuditEntry) -> Result<bool, StoreUnavailable> {
        let change = Box::new(change);
        Ok(self.shared.writer.submit(|reply| Command::ChangeAccount { change, audit, reply }).await?)
    }
}

/// What stands for the hash of who has no password: it is the hash of none.
const NO_PASSWORD: &str = "";

async fn insert_user(batch: &mut Batch<'_>, row: &UserRow, password_hash: &str) -> Result<Vec<Row>, sqlx::Error> {
    let values = values![
        row.name.as_str(),
        password_hash,
        row.role.as_str(),
        row.tenants.as_deref().map(tenants_value),
        row.created_at,
    ];
    batch.fetch(sql!("insert_user"), values).await
}

/// The token with this digest was presented now.
pub(super) async fn token_used(batch: &mut Batch<'_>, digest: &[u8; 32]) -> Result<(), sqlx::Error> {
    let now = batch.now;
    batch.execute(sql!("token_used"), values![digest.as_slice(), now]).await?;
    Ok(())
}

/// Makes a change with its line of the audit.
pub(super) async fn change(batch: &mut Batch<'_>, change: &Change, audit: &AuditEntry) -> Result<bool, sqlx::Error> {
    let now = batch.now;
    let changed = match change {
        Change::AddToken { row, digest } => {
            let values = values![
                row.id,
                digest.as_slice(),
                row.name.as_str(),
                row.role.as_str(),
                row.tenants.as_deref().map(tenants_value),
                row.created_at,
                row.expires_at,
            ];
            batch.fetch(sql!("insert_token"), values).await?
        }
        Change::RevokeToken { scope, id } => {
            batch.fetch(sql!("revoke_token"), values![scope_value(scope), *id, now]).await?
        }
        Change::AddUser { row, password_hash } => insert_user(batch, row, password_hash).await?,
        Change::AddLinkedUser { row, identity } => {
            let (issuer, subject) = (identity.issuer.as_str(), identity.subject.as_str());
            let added = insert_user(batch, row, NO_PASSWORD).await?;
            if added.is_empty() {
                return Ok(false);
            }
            let linked = batch.fetch(sql!("insert_identity"), values![issuer, subject, row.name.as_str(), now]).await?;
            if linked.is_empty() {
                // Somebody linked it a moment ago: the user just added is nobody's.
                batch.fetch(sql!("delete_user"), values![scope_value(&Scope::All), row.name.as_str()]).await?;
            }
            linked
        }
        Change::ChangeRights { user, rights } => {
            let values = values![user.as_str(), rights.role.as_str(), scope_value(&rights.scope)];
            batch.fetch(sql!("change_rights"), values).await?
        }
        Change::SwitchUser { scope, name, may_sign_in } => {
            let changed = if *may_sign_in {
                batch.fetch(sql!("enable_user"), values![scope_value(scope), name.as_str()]).await?
            } else {
                batch.fetch(sql!("disable_user"), values![scope_value(scope), name.as_str(), now]).await?
            };
            if !changed.is_empty() {
                batch.fetch(sql!("delete_user_sessions"), values![name.as_str()]).await?;
            }
            changed
        }
        Change::CloseSessions { user } => batch.fetch(sql!("delete_user_sessions"), values![user.as_str()]).await?,
        Change::RemoveUser { scope, name } => {
            let removed = batch.fetch(sql!("delete_user"), values![scope_value(scope), name.as_str()]).await?;
            if !removed.is_empty() {
                batch.fetch(sql!("delete_user_sessions"), values![name.as_str()]).await?;
                batch.execute(sql!("delete_user_identities"), values![name.as_str()]).await?;
            }
            removed
        }
        Change::SetPassword { user, old_hash, new_hash, keep } => {
            let values = values![user.as_str(), old_hash.as_str(), new_hash.as_str()];
            let set = batch.fetch(sql!("set_password"), values).await?;
            if !set.is_empty() {
                batch.execute(sql!("delete_other_sessions"), values![user.as_str(), keep.as_slice()]).await?;
            }
            set
        }
        Change::OpenSession { digest, user, password_hash, expires_at } => {
            batch.execute(sql!("delete_old_sessions"), values![now]).await?;
            let values = values![digest.as_slice(), user.as_str(), now, *expires_at, password_hash.as_str()];
            let opened = batch.fetch(sql!("insert_session"), values).await?;
            if !opened.is_empty() {
                batch.execute(sql!("user_used"), values![user.as_str(), now]).await?;
            }
            opened
        }
        Change::CloseSession { digest } => batch.fetch(sql!("delete_session"), values![digest.as_slice()]).await?,
    };
    if changed.is_empty() {
        return Ok(false);
    }
    people::audit(batch, audit).await?;
    Ok(true)
}
