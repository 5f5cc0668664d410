//! Secrets as operators handle them: revoking one and putting it back, the keys that WordPress sites
//! verify by. Never a value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{LaneKey, TenantName, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, RevokeSecrets, See},
    answer::{DONE, Done, Json},
    records::Revocation,
    request::{Body, Call, Query},
};
use crate::{
    config::{Duty, LiveKey, Source},
    ids,
    secrets::Fingerprint,
};

/// A secret that is to be taken out of use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The label that the source shows of it (`file:acme.secret`).
    pub version: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Also where no other secret of the source would verify, or where the files cannot be read again.
    #[serde(default)]
    pub force: bool,
}

/// A secret was taken out of use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedHere {
    /// Always true.
    pub ok: bool,
    /// Other sources of the tenant that have the very same secret, as `TENANT/SOURCE`. They keep it.
    pub also: Vec<String>,
}

/// A revoked secret that is to be used again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unrevoke {
    /// The label that the source shows of it.
    pub version: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

fn found<'c>(source: Option<&'c Arc<Source>>, version: &str) -> Result<(&'c Source, &'c LiveKey), ApiError> {
    let source = source.ok_or_else(|| ApiError::NotFound("no such source".to_owned()))?;
    let key = source.keys.iter().find(|key| *key.version == *version);
    let key = key.ok_or_else(|| {
        let known: Vec<&str> = source.keys.iter().map(|key| &*key.version).collect();
        ApiError::NotFound(format!("the source has no secret of that name; it has {}", known.join(", ")))
    })?;
    Ok((&**source, key))
}

/// Takes a secret out of use: here before the answer, on every node within 5 s.
pub(super) async fn revoke(
    api: Arc<Api>,
    who: Allowed<RevokeSecrets>,
    call: Call<Body<Revoke>>,
) -> Result<Json<RevokedHere>, ApiError> {
    let lane = LaneKey::new(call.parameter(0)?, call.parameter(1)?);
    let Revoke { version, reason, force } = call.input.0;
    let visible = who.scope().holds(&lane.tenant);
    // Before anything is read again for it.
    found(api.config.load().source(&lane).map(|(_, source)| source).filter(|_| visible), &version)?;
    // A name means what it leads to: now, not at the last refresh.
    if let Err(error) = api.operations.reread_secrets().await
        && !force
    {
        return Err(ApiError::Conflict(format!(
            "which secret that is now cannot be told, for the configuration is refused; mend it, or use force to revoke the one in use: {error}"
        )));
    }
    if !api.operations.revocations_of(&lane, &version).await?.is_empty() {
        return Err(ApiError::Conflict("it is revoked already".to_owned()));
    }
    let nth = api.records.revocations().await?.iter().filter(|it| it.lane == lane).map(|it| it.nth).max();
    api.operations.follow_revoked().await?;
    let config = api.config.load_full();
    let (source, key) = found(config.source(&lane).map(|(_, source)| source), &version)?;
    let material = key.key.material();
    let now = api.clock.now();
    let is_left = |other: &LiveKey| other.is_live(now) && *other.key.material() != *material;
    if source.is_on() && !force && !source.keys.iter().any(is_left) {
        return Err(ApiError::Conflict(
            "no other secret of the source verifies: everything would be refused; rotate first, or use force"
                .to_owned(),
        ));
    }
    let also = config.tenants.get(&lane.tenant).into_iter().flat_map(|tenant| tenant.sources.values());
    let also = also.filter(|other| {
        other.lane != lane && other.keys.iter().any(|key| key.is_live(now) && *key.key.material() == *material)
    });
    let also = also.map(|other| other.lane.to_string()).collect();
    let salt = ids::nonce();
    let made = tokio::task::spawn_blocking(move || Fingerprint::of(&material, &salt)).await;
    let fingerprint = made.map_err(|_| ApiError::Unavailable("making its fingerprint failed".to_owned()))?;
    let audit = who.acts(
        "secret.revoke",
        Some(lane.tenant.as_str()),
        format!("{lane} {version}"),
        reason.as_deref().unwrap_or_default(),
    );
    let revocation = Revocation {
        lane,
        nth: nth.unwrap_or_default() + 1,
        version,
        fingerprint: fingerprint.to_string(),
        revoked_at: now,
    };
    if !api.records.revoke(revocation, audit).await? {
        return Err(ApiError::Conflict("another secret of the source was revoked just now; look again".to_owned()));
    }
    api.operations.follow_revoked().await?;
    Ok(Json(RevokedHere { ok: true, also }))
}

/// Puts a revoked secret back into use.
pub(super) async fn unrevoke(
    api: Arc<Api>,
    who: Allowed<RevokeSecrets>,
    call: Call<Body<Unrevoke>>,
) -> Result<Json<Done>, ApiError> {
    let lane = LaneKey::new(call.parameter(0)?, call.parameter(1)?);
    let Unrevoke { version, reason } = call.input.0;
    let visible = who.scope().holds(&lane.tenant);
    found(api.config.load().source(&lane).map(|(_, source)| source).filter(|_| visible), &version)?;
    let revocations = api.operations.revocations_of(&lane, &version).await?;
    let audit = who.acts(
        "secret.unrevoke",
        Some(lane.tenant.as_str()),
        format!("{lane} {version}"),
        reason.as_deref().unwrap_or_default(),
    );
    if revocations.is_empty() || !api.records.unrevoke(revocations, audit).await? {
        return Err(ApiError::Conflict("it is not revoked".to_owned()));
    }
    api.operations.follow_revoked().await?;
    Ok(DONE)
}

/// Whose keys.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// One tenant.
    pub tenant: Option<String>,
}

/// A key that requests to a WordPress site are signed with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SigningKeyView {
    /// The tenant.
    pub tenant: TenantName,
    /// The site.
    pub site: String,
    /// The reference that names the key.
    pub version: String,
    /// Its id in tokens and in the key set.
    pub kid: String,
    /// When it begins to sign; it is published before.
    pub signs_from: Option<Timestamp>,
    /// When it is published no more.
    pub not_after: Option<Timestamp>,
    /// What it does now.
    pub duty: DutyView,
}

/// What a signing key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DutyView {
    /// It is published, and will sign.
    Published,
    /// It signs.
    Signs,
    /// It is published for what it signed; it can be removed once that is over.
    Retiring,
    /// It is published no more.
    Retired,
}

impl From<Duty> for DutyView {
    fn from(duty: Duty) -> Self {
        match duty {
            Duty::Published => Self::Published,
            Duty::Signs => Self::Signs,
            Duty::Retiring => Self::Retiring,
            Duty::Retired => Self::Retired,
        }
    }
}

pub(super) async fn signing_keys(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<Vec<SigningKeyView>>, ApiError> {
    let Filter { tenant: wanted } = call.input.0;
    let now = api.clock.now();
    let config = api.config.load();
    let tenants = config
        .tenants
        .values()
        .filter(|of| who.scope().holds(&of.name) && wanted.as_ref().is_none_or(|wanted| of.name.as_str() == wanted));
    let sites = tenants.filter_map(|of| Some((&of.name, of.wordpress.as_deref()?)));
    let keys = sites.flat_map(|(tenant, site)| {
        site.signing.duties(now).map(move |(key, duty)| SigningKeyView {
            tenant: tenant.clone(),
            site: site.site.to_string(),
            version: key.version.to_string(),
            kid: key.kid.clone(),
            signs_from: key.signs_from,
            not_after: key.not_after,
            duty: duty.into(),
        })
    });
    Ok(Json(keys.collect()))
}
