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
    accounts::{Accounts, Change, Rights, Session, TokenRow, UserRow, UserSecret},
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
    })
}

fn user_row(row: &Row) -> Result<UserRow, BadRow> {
    let row = Reader::new(row, "users", "created_at");
    Ok(UserRow {
        name: row.get("name")?,
        role: row.parse("role")?,
        tenants: tenants(&row)?,
        created_at: row.time("created_at")?,
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
        Change::AddUser { row, password_hash } => {
            let values = values![
                row.name.as_str(),
                password_hash.as_str(),
                row.role.as_str(),
                row.tenants.as_deref().map(tenants_value),
                row.created_at,
            ];
            batch.fetch(sql!("insert_user"), values).await?
        }
        Change::RemoveUser { scope, name } => {
            let removed = batch.fetch(sql!("delete_user"), values![scope_value(scope), name.as_str()]).await?;
            if !removed.is_empty() {
                batch.execute(sql!("delete_user_sessions"), values![name.as_str()]).await?;
            }
            removed
        }
        Change::OpenSession { digest, user, password_hash, expires_at } => {
            batch.execute(sql!("delete_old_sessions"), values![now]).await?;
            let values = values![digest.as_slice(), user.as_str(), now, *expires_at, password_hash.as_str()];
            batch.fetch(sql!("insert_session"), values).await?
        }
        Change::CloseSession { digest } => batch.fetch(sql!("delete_session"), values![digest.as_slice()]).await?,
    };
    if changed.is_empty() {
        return Ok(false);
    }
    people::audit(batch, audit).await?;
    Ok(true)
}
