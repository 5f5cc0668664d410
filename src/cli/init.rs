//! `sluice init`.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;
use serde_json::json;
use sluice_actors::domain::TenantName;

use super::{
    Global,
    files::{self, Made, Readers, SECRETS, hex_secret},
    output,
};
use crate::config;

/// Write a configuration that runs as it is.
///
/// One tenant with one source, and a fresh secret for it, in files whose comments say what can be
/// added. The next steps are printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice init my-gateway\n  sluice init /etc/sluice --tenant acme")]
pub(super) struct Init {
    /// The folder; it is made, or is there and empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The tenant's name
    #[arg(long, value_name = "NAME", default_value = "acme")]
    tenant: TenantName,
}

const MAIN: &str = include_str!("init/sluice.toml");
const TENANT: &str = include_str!("init/tenant.toml");

impl Init {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { dir, tenant } = self;
        match fs::read_dir(&dir) {
            Ok(mut entries) => {
                if dir.join("sluice.toml").exists() {
                    bail!(
                        "{0} has a sluice.toml already; nothing was changed. Add a source with `sluice source add --config {0}`, or choose another folder",
                        dir.display()
                    );
                }
                if entries.next().is_some() {
                    bail!("{} is not empty; nothing was changed. Choose another folder", dir.display());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => bail!("{}: {error}; choose another folder", dir.display()),
        }
        let mut made = Made::default();
        let written = [
            ("sluice.toml".to_owned(), Readers::All, MAIN.to_owned()),
            (format!("tenants/{tenant}.toml"), Readers::All, tenant_file(&tenant)),
            (format!("{SECRETS}/{tenant}-orders"), Readers::Owner, hex_secret().to_string()),
        ];
        made.folder(&dir)?;
        for (name, readers, text) in &written {
            let path = dir.join(name);
            if let Some(folder) = path.parent() {
                made.folder(folder)?;
            }
            made.file(&path, text, *readers)?;
        }
        // The environment may override what was written.
        let config = config::load(&dir)?;
        made.keep();

        let origin = config.edge.origin();
        let program = files::program();
        let send = format!(
            "{program} send generic --url {origin}/webhooks/{tenant}/orders --secret file:{SECRETS}/{tenant}-orders"
        );
        if global.json {
            let names: Vec<&String> = written.iter().map(|(name, ..)| name).collect();
            output::json(&json!({ "folder": dir, "files": names, "send": send }))?;
            return Ok(ExitCode::SUCCESS);
        }
        output::line(&format!("{} holds a gateway with one source, {tenant}/orders. Next:\n", dir.display()));
        if !is_here(&dir) {
            output::line(&format!("  cd {}", files::quoted(&dir)));
        }
        output::line(&format!("  {program} check"));
        output::line(&format!("  {program} serve"));
        output::line("\nand in a second terminal, in the same folder:\n");
        output::line(&format!("  {send}"));
        output::line(&format!("  {program} events"));
        output::line(&format!("  {program} source add payments --tenant {tenant} --vendor stripe"));
        Ok(ExitCode::SUCCESS)
    }
}

fn tenant_file(tenant: &TenantName) -> String {
    TENANT.replace("{tenant}", tenant.as_str())
}

fn is_here(dir: &std::path::Path) -> bool {
    let here = std::env::current_dir().ok();
    here.is_some() && here == fs::canonicalize(dir).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Input, secrets::Environment};

    /// The text with its commented keys and tables as keys and tables.
    fn uncommented(text: &str) -> String {
        let is_toml = |line: &str| {
            let mut words = line.split(' ');
            line.starts_with('[') || (words.next().is_some_and(|w| !w.contains('`')) && words.next() == Some("="))
        };
        let lines = text.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_toml(rest)).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_the_comments_teach_is_a_configuration_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        fs::write(dir.path().join("secrets/acme-orders"), "s").unwrap();
        fs::write(dir.path().join("secrets/llm"), "key").unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        fs::write(dir.path().join("secrets/acme-wordpress"), key).unwrap();
        let tenant = uncommented(&tenant_file(&"acme".parse().unwrap()));
        let input = Input::new(dir.path()).environment(Environment::fixed([]));
        let config = input.main(uncommented(MAIN)).tenant("acme", tenant).resolve().unwrap();
        let acme = &config.tenants[&"acme".parse().unwrap()];
        assert!(config.llm.is_some() && config.edge.public_url.is_some() && acme.wordpress.is_some());
        assert_eq!(acme.sources[&"orders".parse().unwrap()].routes.len(), 2);
        assert_eq!(config.warnings, []);
    }
}
