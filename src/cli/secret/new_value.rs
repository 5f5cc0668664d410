//! The value that a secret gets: handed over, made here, or the one before.

use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use anyhow::Context;
use clap::Args;
use rcgen::{KeyPair, PKCS_ED25519};
use zeroize::Zeroizing;

use super::{
    kept::Now,
    target::{Kind, Target, refused},
};
use crate::{
    cli::files,
    config::draft::{self, SecretFrom},
    secrets::Secret,
    vendors::Key,
};

/// More is no secret.
const MAX_BYTES: u64 = 256 * 1024;

/// Where the new value comes from; without any, it is made where we may choose it.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct ValueFrom {
    /// The file with the new value, `-` for standard input; one line end at its end does not belong to it
    #[arg(long, value_name = "PATH")]
    value_file: Option<PathBuf>,
    /// Make a value, though this vendor usually gives you one
    #[arg(long)]
    generate: bool,
    /// Go back to the value before
    #[arg(long)]
    pub(super) undo: bool,
}

/// A value, and whether somebody must be shown it.
pub(super) struct NewValue {
    pub(super) value: Secret,
    /// It was made here, and goes into the vendor's settings.
    pub(super) is_to_be_shown: bool,
}

impl ValueFrom {
    pub(super) fn value(&self, target: &Target<'_>, now: &Now) -> anyhow::Result<NewValue> {
        if self.undo {
            let none = || refused(format!("there is no value before the one of {}", target.named));
            return Ok(NewValue { value: now.previous.clone().ok_or_else(none)?, is_to_be_shown: false });
        }
        if let Some(path) = &self.value_file {
            return Ok(NewValue { value: read(path)?, is_to_be_shown: false });
        }
        let source = match &target.kind {
            Kind::Site => {
                let pem = Zeroizing::new(KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem());
                return Ok(NewValue { value: Secret::new(pem.as_bytes().to_vec()), is_to_be_shown: false });
            }
            Kind::Source(source) => source,
        };
        let vendor = source.vendor.name();
        let setup = source.vendor.profile().setup;
        if !self.generate && draft::secret_from(vendor) != SecretFrom::Us {
            return Err(refused(format!(
                "the secret of {} is made by {vendor}: take the new one from there and name it with --value-file PATH (`-` for standard input). {setup}",
                target.named
            )));
        }
        // In the form that the scheme knows: the one it had, or else hexadecimal.
        let is_whsec = now.current.expose().starts_with(b"whsec_") || draft::secret_from(vendor) != SecretFrom::Us;
        let made = [files::whsec_secret(), files::hex_secret()];
        let mut made: Vec<_> = made.iter().map(|text| Secret::new(text.as_bytes().to_vec())).collect();
        if !is_whsec {
            made.reverse();
        }
        let fits = |value: &Secret| matches!(source.vendor.key(value), Ok(Key::Symmetric(_)));
        let value = made.into_iter().find(fits);
        let none = || {
            refused(format!("{vendor} signs with a key of its own: name its new public key with --value-file. {setup}"))
        };
        Ok(NewValue { value: value.ok_or_else(none)?, is_to_be_shown: true })
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<Secret> {
    let shown = path.display().to_string();
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let read = if shown == "-" {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("--value-file {shown}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(format!("--value-file {shown}: is larger than {MAX_BYTES} bytes")));
    }
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(refused(format!("--value-file {shown}: is empty")));
    }
    Ok(Secret::new(bytes.to_vec()))
}
