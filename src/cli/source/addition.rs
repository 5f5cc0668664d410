//! A source that is added to the text of a tenant's file: appended, checked as a whole, then put in
//! its place at once. Comments stay.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use sluice_actors::domain::{SourceName, TenantName};
use zeroize::Zeroizing;

use crate::{
    cli::files::{self, Made, Readers, SECRETS},
    config::{
        Config, Errors, Input,
        draft::{self, SecretFrom},
    },
    error_code::ErrorCode,
    secrets::{Reference, Secret},
    vendors::{self, Key, Vendor},
};

/// What is added.
pub(super) struct Addition {
    pub(super) name: SourceName,
    pub(super) tenant: Option<TenantName>,
    pub(super) vendor: String,
    pub(super) secret: Option<String>,
    pub(super) options: Option<String>,
}

/// What was added.
pub(super) struct Done {
    pub(super) tenant: TenantName,
    pub(super) name: SourceName,
    pub(super) vendor: String,
    pub(super) setup: &'static str,
    pub(super) file: PathBuf,
    pub(super) new_tenant: bool,
    pub(super) secret: Option<String>,
    /// Where the secret that was made is.
    pub(super) made_secret: Option<PathBuf>,
    /// What is to be done about the secret, in a sentence.
    pub(super) about_secret: String,
    pub(super) public_url: Option<url::Url>,
    /// The origin of the URL, by the configuration.
    pub(super) origin: String,
    pub(super) warnings: Vec<String>,
}

/// How a source comes to its secret.
enum Keyed {
    /// By this entry of `secrets`.
    By(String),
    /// By a file that is made now.
    Made { file: String, text: Zeroizing<String> },
    /// The vendor hands it over.
    HandedOver,
}

impl Addition {
    /// Adds it to the configuration at `config`. On an error nothing is changed.
    pub(super) fn make(self, config: &Path) -> anyhow::Result<Done> {
        let input = Input::read(config)?;
        let tenant = match &self.tenant {
            Some(tenant) => tenant.clone(),
            None => only_tenant(&input)?,
        };
        let file = input.tenant_path(tenant.as_str());
        let (old, new_tenant) = match fs::read_to_string(&file) {
            Ok(text) => (text, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), true),
            Err(error) => return Err(anyhow!("{}: {error}", file.display())),
        };
        if has_source(&old, &self.name) {
            bail!(
                "{}: the source `{}` is there already; choose another name, or change it there",
                file.display(),
                self.name
            );
        }
        let options: toml::Table = self.options.as_deref().unwrap_or_default().parse().context("--options")?;
        let vendor = match vendors::build(&self.vendor, &options) {
            Some(Ok(vendor)) => vendor,
            Some(Err(error)) => bail!("--options: {error}"),
            None => bail!("no such vendor: {}", self.vendor),
        };
        let keyed = self.keyed(&tenant, vendor.as_ref())?;
        let text =
            appended(&old, &draft::table(&tenant, &self.name, &self.vendor, keyed.reference().as_deref(), &options));

        let dir = file.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        let mut made = Made::default();
        if let Keyed::Made { file, text } = &keyed {
            made.folder(&dir.join(SECRETS))?;
            made.file(&dir.join(file), text, Readers::Owner)?;
        }
        let (resolved, warnings) = resolve(&input, &tenant, &text)?;
        if new_tenant {
            made.folder(&dir.join("tenants"))?;
            made.file(&file, &text, Readers::All)?;
        } else {
            files::replace(&file, &text)?;
        }
        made.keep();
        let made_secret = match &keyed {
            Keyed::Made { file, .. } => Some(dir.join(file)),
            Keyed::By(_) | Keyed::HandedOver => None,
        };
        let (secret, about_secret) = keyed.told(&self, &tenant, dir);
        Ok(Done {
            setup: vendor.profile().setup,
            tenant,
            name: self.name,
            vendor: self.vendor,
            file,
            new_tenant,
            secret,
            made_secret,
            about_secret,
            public_url: resolved.public_url,
            origin: resolved.origin,
            warnings,
        })
    }

    fn keyed(&self, tenant: &TenantName, vendor: &dyn Vendor) -> anyhow::Result<Keyed> {
        if let Some(text) = &self.secret {
            let Err(plain) = text.parse::<Reference>() else { return Ok(Keyed::By(text.clone())) };
            // A public key is no secret.
            let key = vendor.key(&Secret::new(text.clone().into_bytes()));
            if key.is_ok_and(|key| !matches!(key, Key::Symmetric(_))) {
                return Ok(Keyed::By(text.clone()));
            }
            bail!("--secret {plain}; write it into a file that only you can read and name that with file:PATH");
        }
        if draft::secret_from(&self.vendor) == SecretFrom::HandedOver {
            return Ok(Keyed::HandedOver);
        }
        let text = if WHSEC.contains(&self.vendor.as_str()) { files::whsec_secret() } else { files::hex_secret() };
        match vendor.key(&Secret::new(text.as_bytes().to_vec())) {
            Ok(Key::Symmetric(_)) => Ok(Keyed::Made { file: format!("{SECRETS}/{tenant}-{}", self.name), text }),
            _ => bail!(
                "{0} signs with a key of its own: name its public key with --secret. {1}",
                self.vendor,
                vendor.profile().setup
            ),
        }
    }
}

/// Vendors whose secrets are written as `whsec_…`.
const WHSEC: [&str; 4] = ["openai", "standard", "stripe", "svix"];

impl Keyed {
    /// The entry of `secrets`; none where the vendor hands it over.
    fn reference(&self) -> Option<String> {
        match self {
            Self::By(reference) => Some(reference.clone()),
            Self::Made { file, .. } => Some(format!("file:{file}")),
            Self::HandedOver => None,
        }
    }

    /// The entry of `secrets`, and what is to be done about it.
    fn told(&self, addition: &Addition, tenant: &TenantName, dir: &Path) -> (Option<String>, String) {
        match self {
            Self::By(reference) => (Some(reference.clone()), format!("Its secret is {reference}.")),
            Self::Made { file, .. } => {
                let path = dir.join(file);
                let about = if draft::secret_from(&addition.vendor) == SecretFrom::Us {
                    format!("The secret is in {}.", path.display())
                } else {
                    format!(
                        "Write the secret that the vendor shows over the placeholder in {}; nothing verifies until then.",
                        path.display()
                    )
                };
                (Some(format!("file:{file}")), about)
            }
            Self::HandedOver => {
                (None, format!("Then `sluice handshake show {tenant}/{}` shows the token.", addition.name))
            }
        }
    }
}

fn only_tenant(input: &Input) -> anyhow::Result<TenantName> {
    let mut names = input.tenant_names();
    match (names.next(), names.next()) {
        (Some(name), None) => name.parse().with_context(|| format!("tenants/{name}.toml")),
        (None, _) => bail!("there is no tenant yet; name one with --tenant"),
        (Some(_), Some(_)) => bail!("there are several tenants; say which with --tenant"),
    }
}

/// Whether the text has a source of that name. A text that is no TOML is told by the check that
/// follows.
fn has_source(text: &str, name: &SourceName) -> bool {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    table.get("sources").and_then(toml::Value::as_table).is_some_and(|sources| sources.contains_key(name.as_str()))
}

fn appended(old: &str, table: &str) -> String {
    let gap = match old {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{old}{gap}{table}")
}

/// What of the resulting configuration is printed.
struct Resolved {
    public_url: Option<url::Url>,
    origin: String,
}

impl From<&Config> for Resolved {
    fn from(config: &Config) -> Self {
        Self { public_url: config.edge.public_url.clone(), origin: config.edge.origin() }
    }
}

/// Checks the configuration with the new text. Secrets that the gateway may know and this process
/// does not (its environment, its files) are no reason to refuse where they were missing before.
fn resolve(input: &Input, tenant: &TenantName, text: &str) -> anyhow::Result<(Resolved, Vec<String>)> {
    let input = &input.clone().offline();
    let after = match input.clone().tenant(tenant.as_str(), text).resolve() {
        Ok(config) => return Ok(((&config).into(), Vec::new())),
        Err(errors) => errors,
    };
    let before = input.clone().resolve().err().map(|errors| errors.0).unwrap_or_default();
    let new: Vec<_> = after.0.iter().filter(|error| !before.contains(error)).cloned().collect();
    if !new.is_empty() || after.0.iter().any(|error| error.code != ErrorCode::Secret) {
        return Err(Errors(if new.is_empty() { after.0 } else { new }).into());
    }
    let warnings = after.0.iter().map(|error| format!("not checked here: {error}")).collect();
    let edge = input.edge()?;
    Ok((Resolved { public_url: edge.public_url.clone(), origin: edge.origin() }, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    type Change = fn(&mut Addition);

    fn folder(tenant: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tenants")).unwrap();
        fs::write(dir.path().join("sluice.toml"), "[edge]\npublic_url = \"https://hooks.example\"\n").unwrap();
        fs::write(dir.path().join("tenants/acme.toml"), tenant).unwrap();
        dir
    }

    fn addition(name: &str, vendor: &str) -> Addition {
        let tenant = Some("acme".parse().unwrap());
        Addition { name: name.parse().unwrap(), tenant, vendor: vendor.into(), secret: None, options: None }
    }

    fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push((path.clone(), fs::read(path).unwrap())) }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn every_vendor_can_be_added_or_says_what_it_needs() {
        let dir = folder("# mine\n");
        for name in WHSEC {
            assert!(vendors::NAMES.contains(&name), "{name}");
        }
        for name in vendors::NAMES {
            let mut addition = addition(name, name);
            if name == "custom" {
                addition.options = Some(
                    "scheme = { algorithm = \"hmac-sha256\", signature = { header = \"X-Sig\", encoding = \"hex\" }, signed = \"{body}\", id = { header = \"X-Id\" }, type = { pointer = \"/type\" } }".into(),
                );
            }
            match addition.make(dir.path()) {
                Ok(done) => assert!(done.setup.len() > 20 && !done.about_secret.is_empty(), "{name}"),
                Err(error) => assert!(
                    ["discord", "sendgrid", "paypal"].contains(&name) && format!("{error:#}").contains("--"),
                    "{name}: {error:#}"
                ),
            }
        }
        let config = config::load(dir.path()).unwrap();
        let sources = &config.tenants[&"acme".parse().unwrap()].sources;
        assert!(sources.len() >= 13, "{}", sources.len());
        assert!(fs::read_to_string(dir.path().join("tenants/acme.toml")).unwrap().starts_with("# mine\n\n# Del"));
    }

    #[test]
    fn what_cannot_be_added_changes_nothing() {
        let known = "[sources.orders]\nvendor = \"generic\"\nsecrets = [\"file:a\"]";
        let dir = folder(known);
        fs::write(dir.path().join("a"), "s").unwrap();
        let before = files(dir.path());
        let cases: [(&str, Change, &str); 6] = [
            ("orders", |_| {}, "is there already"),
            ("new", |a| a.secret = Some("whsec_aGVsbG8=".into()), "--secret is a plain value"),
            ("new", |a| a.secret = Some("file:missing".into()), "cannot read"),
            ("new", |a| a.options = Some("x = 1".into()), "--options: x"),
            ("new", |a| a.vendor = "discord".into(), "--secret"),
            ("new", |a| a.vendor = "paypal".into(), "webhook_id"),
        ];
        for (name, change, told) in cases {
            let mut addition = addition(name, "generic");
            change(&mut addition);
            let error = format!("{:#}", addition.make(dir.path()).err().expect("it is refused"));
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("aGVsbG8"), "{error}");
            assert_eq!(files(dir.path()), before, "{told}");
        }
    }

    #[test]
    fn a_secret_that_only_the_gateway_knows_is_no_obstacle_and_another_fault_is() {
        let dir = folder("[sources.orders]\nvendor = \"generic\"\nsecrets = [\"env:SLUICE_TEST_OF_SOURCE_ADD\"]\n");
        let done = addition("new", "generic").make(dir.path()).unwrap();
        assert!(done.warnings[0].contains("SLUICE_TEST_OF_SOURCE_ADD"), "{:?}", done.warnings);
        assert_eq!(done.origin, "https://hooks.example");
        fs::write(dir.path().join("sluice.toml"), "[edge]\nlisen = \"127.0.0.1:1\"\n").unwrap();
        let before = files(dir.path());
        let error = addition("newer", "generic").make(dir.path()).err().expect("it is refused");
        assert!(error.to_string().contains("lisen"), "{error}");
        assert_eq!(files(dir.path()), before);
    }

    #[test]
    fn a_tenant_may_be_new_and_is_left_out_where_it_is_the_only_one() {
        let dir = folder("");
        let mut only = addition("a", "generic");
        only.tenant = None;
        assert_eq!(only.make(dir.path()).unwrap().tenant.as_str(), "acme");
        let mut new = addition("a", "generic");
        new.tenant = Some("beta".parse().unwrap());
        assert!(new.make(dir.path()).unwrap().new_tenant);
        let mut which = addition("b", "generic");
        which.tenant = None;
        assert!(which.make(dir.path()).err().unwrap().to_string().contains("--tenant"));
        config::load(dir.path()).unwrap();
    }
}
