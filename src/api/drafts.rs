//! What to write for a new source, and where its URL goes. The configuration stays files: an API that
//! writes them would be a second truth beside whatever deploys them (ADR 0016).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{LaneKey, SourceName, TenantName};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, DraftSources, See},
    answer::{Json, Rows},
    request::{Call, Query},
};
use crate::{
    config::draft::{self, SecretFrom},
    vendors,
};

/// A vendor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct VendorView {
    /// Its name in the configuration.
    name: String,
    /// How a source of it comes to its secret: `us` (we choose it), `vendor` (it shows one),
    /// `public_key` (it shows a key of its own), `handed_over` (it sends one to the URL).
    secret_from: String,
    /// Where the URL and the secret go in its own settings.
    setup: String,
}

pub(super) async fn vendors(_: Arc<Api>, _: Allowed<See>, _: Call<()>) -> Result<Rows<VendorView>, ApiError> {
    let view = |name: &&str| VendorView {
        name: (*name).to_owned(),
        secret_from: word(draft::secret_from(name)).to_owned(),
        setup: draft::setup(name).unwrap_or_default().to_owned(),
    };
    Ok(Rows(vendors::NAMES.iter().map(view).collect()))
}

const fn word(from: SecretFrom) -> &'static str {
    match from {
        SecretFrom::Us => "us",
        SecretFrom::Vendor => "vendor",
        SecretFrom::PublicKey => "public_key",
        SecretFrom::HandedOver => "handed_over",
    }
}

/// The source to be.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Whose.
    #[param(value_type = String)]
    tenant: TenantName,
    /// Its name; it ends the URL.
    #[param(value_type = String)]
    source: SourceName,
    /// Who sends.
    vendor: String,
}

/// What to write for a new source.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Draft {
    /// Where the vendor delivers.
    url: String,
    /// Whether the URL is the public one; else it is what this node listens on, which a vendor on the
    /// internet cannot call.
    is_public: bool,
    /// Whether there is a source of this name already.
    exists: bool,
    /// Where the URL and the secret go in the vendor's own settings.
    setup: String,
    /// As for [`VendorView`].
    secret_from: String,
    /// The command that does it, on the gateway's machine.
    command: String,
    /// The tenant's file, beside `sluice.toml`.
    file: String,
    /// What goes to its end otherwise.
    text: String,
    /// The file of its secret, beside `sluice.toml`; none where the vendor hands it over.
    secret_file: Option<String>,
}

pub(super) async fn draft(
    api: Arc<Api>,
    who: Allowed<DraftSources>,
    call: Call<Query<Wanted>>,
) -> Result<Json<Draft>, ApiError> {
    let Wanted { tenant, source, vendor } = call.input.0;
    if !who.scope().holds(&tenant) {
        return Err(ApiError::NotFound("no such tenant".to_owned()));
    }
    let setup = draft::setup(&vendor).ok_or_else(|| ApiError::Invalid("no such vendor".to_owned()))?;
    let from = draft::secret_from(&vendor);
    let secret_file = (from != SecretFrom::HandedOver).then(|| format!("secrets/{tenant}-{source}"));
    let reference = secret_file.as_ref().map(|file| format!("file:{file}"));
    let needed = draft::needed_options(&vendor);
    let options = needed.parse().unwrap_or_default();
    let key = match (from, &reference) {
        (SecretFrom::PublicKey, Some(reference)) => format!(" --secret {reference}"),
        _ => String::new(),
    };
    let more = if needed.is_empty() { String::new() } else { format!(" --options '{needed}'") };
    let command = format!("sluice source add {source} --tenant {tenant} --vendor {vendor}{key}{more}");
    let config = api.config.load();
    Ok(Json(Draft {
        url: format!("{}/webhooks/{tenant}/{source}", config.edge.origin()),
        is_public: config.edge.public_url.is_some(),
        setup: setup.to_owned(),
        secret_from: word(from).to_owned(),
        command,
        file: format!("tenants/{tenant}.toml"),
        text: draft::table(&tenant, &source, &vendor, reference.as_deref(), &options),
        secret_file,
        exists: config.source(&LaneKey::new(tenant, source)).is_some(),
    }))
}
