//! `sluice secret rotate`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_actors::{domain::Timestamp, ports::Clock};

use super::{
    kept::{Kept, Now},
    new_value::{NewValue, ValueFrom},
    target::{self, Kind, Named, Target, refused},
};
use crate::{
    actions::SigningKey,
    cli::{
        Global,
        client::{Api, Client},
        output,
    },
    clock::SystemClock,
    config::{DEFAULT_LEAD, LONGEST_OVERLAP, parse_duration},
    secrets::{Previous, Reference},
};

/// DESIGN §10.
const DEFAULT_OVERLAP: Duration = Duration::from_hours(24);

/// Give a source, or a WordPress site, a new secret; the old one stays good for a while
///
/// Changes the newest secret where it is kept: in its file, in Vault or in AWS Secrets Manager. The
/// gateway takes it up by itself. The old one verifies until the end of the overlap, so that the
/// vendor can be switched meanwhile. Run it where the gateway's files are, as their owner.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rotate {
    /// The source; TENANT/wordpress is the signing key of the tenant's site
    #[arg(value_name = "TENANT/SOURCE")]
    of: Named,
    /// TENANT/wordpress is the site's, though a source is called so too
    #[arg(long)]
    site: bool,
    #[command(flatten)]
    from: ValueFrom,
    /// How long the old one stays good (`file:` only; a provider's stands in the tenant's file) [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    overlap: Option<Duration>,
    /// How long sites are shown a new signing key before it signs (`file:` only) [default: 2h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    lead: Option<Duration>,
    /// Also where it cuts off a secret that is still good
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    api: Api,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).ok_or("write a duration such as 24h (units: ms, s, m, h, d)")?;
    if duration <= LONGEST_OVERLAP { Ok(duration) } else { Err("is longer than 90 days".to_owned()) }
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Rotated {
    /// What was rotated.
    of: String,
    /// Where its secret is.
    reference: String,
    /// Whether nothing was done.
    dry_run: bool,
    /// Where the old one is kept.
    previous: Option<String>,
    /// When the old one stops being good; none: when the gateway sees the new one.
    previous_ends: Option<Timestamp>,
    /// When a new signing key begins to sign.
    signs_from: Option<Timestamp>,
    /// The id of a new signing key.
    kid: Option<String>,
    /// Where it goes in the vendor's settings.
    setup: Option<&'static str>,
    /// The value, where it was made here for somebody else to know.
    secret: Option<String>,
    /// Whether a gateway on this machine has taken it up.
    in_force: bool,
}

/// Until when the old one is kept, and until when it signs.
#[derive(Clone, Copy)]
struct Window {
    ends: Option<Timestamp>,
    signs_until: Option<Timestamp>,
}

impl Rotate {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config.clone();
        // Reading asks remote providers in a way of its own.
        let (config, unread) = tokio::task::spawn_blocking(move || target::read(&config)).await??;
        let target = Target::find(&config, &unread, self.of.clone(), self.site)?;
        let kept = Kept::of(&target)?;
        let now = kept.read(&target).await?;
        let at = SystemClock.now();
        let window = self.window(&target, at)?;
        let NewValue { value, is_to_be_shown } = self.from.value(&target, &now)?;
        if value.expose() == now.current.expose() {
            return Err(refused(format!("the new value is the one that {} has", target.named)));
        }
        target.check(&value)?;
        self.check_what_it_cuts_off(&target, &now, window, at)?;
        let is_file = matches!(kept, Kept::File { .. });
        if !self.dry_run {
            let kept_beside = window.ends.map(|ends| (ends, window.signs_until));
            kept.write(&now, &value, at, kept_beside).await?;
        }
        let previous = match &target.reference {
            Reference::Remote(remote) => remote.previous().map(|previous| previous.to_string()),
            reference => reference.beside().map(|beside| beside.to_string()),
        };
        let shows = is_to_be_shown && !self.dry_run;
        let mut rotated = Rotated {
            of: target.named.to_string(),
            reference: target.reference.to_string(),
            dry_run: self.dry_run,
            previous: previous.filter(|_| window.ends.is_some()),
            previous_ends: window.ends,
            signs_from: window.signs_until,
            kid: match &target.kind {
                // Of a dry run it would be another one than is made.
                Kind::Site if !self.dry_run => SigningKey::parse(&value).ok().map(|key| key.kid().to_owned()),
                Kind::Site | Kind::Source(_) => None,
            },
            setup: match &target.kind {
                Kind::Source(source) => Some(source.vendor.profile().setup),
                Kind::Site => None,
            },
            secret: value.expose_str().filter(|_| shows).map(ToOwned::to_owned),
            in_force: false,
        };
        drop(kept);
        if is_file && !self.dry_run {
            rotated.in_force = taken_up(&self.api, global).await;
        }
        if global.json {
            return output::json(&rotated);
        }
        let refresh = (!is_file).then_some(config.secrets.refresh);
        tell(&rotated, &target, self.from.undo, refresh);
        Ok(())
    }

    fn window(&self, target: &Target<'_>, now: Timestamp) -> anyhow::Result<Window> {
        let is_file = matches!(target.reference, Reference::File { .. });
        if !is_file && (self.overlap.is_some() || self.lead.is_some()) {
            return Err(refused(format!(
                "{} is kept by a provider: how long its previous version stays good stands in the tenant's file (`overlap`, for a signing key also `lead`)",
                target.reference
            )));
        }
        let overlap = match (is_file, self.overlap.or(target.overlap)) {
            (true, overlap) => overlap.unwrap_or(DEFAULT_OVERLAP),
            (false, overlap) => overlap.unwrap_or_default(),
        };
        if overlap.is_zero() {
            return Ok(Window { ends: None, signs_until: None });
        }
        let lead = match target.kind {
            Kind::Source(_) if self.lead.is_some() => return Err(refused("--lead is for signing keys")),
            Kind::Source(_) => None,
            Kind::Site => Some(self.lead.or(target.lead).unwrap_or(DEFAULT_LEAD)),
        };
        if lead.is_some_and(|lead| overlap <= lead) {
            return Err(refused(
                "the overlap is not longer than the lead: the old key would end before the new one signs",
            ));
        }
        Ok(Window { ends: Some(now.plus(overlap)), signs_until: lead.map(|lead| now.plus(lead)) })
    }

    /// Nothing that is good is refused by what we do, unless it is wanted.
    fn check_what_it_cuts_off(
        &self,
        target: &Target<'_>,
        now: &Now,
        window: Window,
        at: Timestamp,
    ) -> anyhow::Result<()> {
        if self.force {
            return Ok(());
        }
        let named = &target.named;
        if window.ends.is_none() {
            return Err(refused(match target.reference {
                Reference::Remote(_) => format!(
                    "the entry of {named} has no `overlap`: its old secret would end with the next refresh; write {{ ref = \"{}\", overlap = \"24h\" }}, or use --force",
                    target.reference
                ),
                Reference::Env(_) | Reference::File { .. } => {
                    format!("without an overlap the old secret of {named} ends at once; use --force if it is to")
                }
            }));
        }
        if let Some((other, ends)) = now.beside.iter().find(|(_, ends)| ends.is_none_or(|ends| at < ends)) {
            let until = ends.map_or_else(|| "as long as it is named".to_owned(), |ends| format!("until {ends}"));
            return Err(refused(format!(
                "the version before of the same document is used for {other}, {until}, and would end now: wait, keep each secret in a document of its own, or use --force"
            )));
        }
        // Going back puts the one before to where the newest is: none of both is lost.
        match now.previous_ends {
            Some(ends) if at < ends && !self.from.undo => Err(refused(format!(
                "the secret before the one of {named} is good until {ends} and would end now: wait, go back with --undo, or use --force"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a gateway of this configuration read the files again. It would notice by itself; asking is
/// faster and tells what it thinks of them.
async fn taken_up(api: &Api, global: &Global) -> bool {
    let Ok(client) = Client::connect(api, global) else { return false };
    match client.post::<Value>("reload", &json!({ "reason": "secret rotate" })).await {
        Ok(_) => true,
        Err(error) => {
            output::warn(&format!("the gateway has not taken it up: {error:#}"));
            false
        }
    }
}

fn tell(rotated: &Rotated, target: &Target<'_>, undone: bool, refresh: Option<Duration>) {
    let Rotated { of, reference, dry_run, previous, previous_ends, signs_from, kid, setup, secret, in_force } = rotated;
    if *dry_run {
        output::line(&format!("Nothing is done. {of} would get a new secret in {reference}."));
    } else {
        output::line(&format!("{of} has {} secret in {reference}.", if undone { "its former" } else { "a new" }));
    }
    match (previous, previous_ends) {
        (Some(previous), Some(ends)) => output::line(&format!("  The old one is good until {ends} ({previous}).")),
        _ => output::line("  The old one ends as soon as the gateway sees the new one."),
    }
    if let Some(from) = signs_from {
        output::line(&format!(
            "  The old key signs until {from}, the new one from then on; both are published until the old one ends."
        ));
    }
    if *dry_run {
        return;
    }
    match refresh {
        _ if *in_force => output::line("  The gateway on this machine has taken it up."),
        Some(refresh) => output::line(&format!("  Every node knows it within {}.", output::short(refresh))),
        None => output::line("  A gateway that runs takes it up within seconds, each node from its own file."),
    }
    if let Some(secret) = secret {
        output::line(&format!("\n  {secret}\n\n  This is the new secret; it is not shown again."));
    }
    output::line("\nNext:");
    match (&target.kind, setup, kid) {
        (Kind::Source(_), Some(setup), _) => {
            output::line(&format!("  Set it at the vendor before the old one ends. {setup}"));
            output::line(&format!(
                "  `sluice secret status {of}` says when the old one is safe to retire; then it ends by itself."
            ));
        }
        (_, _, kid) => {
            let kid = kid.as_deref().unwrap_or("the new key");
            output::line(&format!(
                "  Sites that fetch their keys learn {kid} by themselves. Where keys were pasted or stand in wp-config.php, put the new key set there before it signs."
            ));
        }
    }
    if let Reference::File { .. } = target.reference {
        let beside = Previous::path(std::path::Path::new("")).display().to_string();
        output::line(&format!(
            "  What was there is kept under the file's name with `{beside}`; --undo goes back to it."
        ));
    } else {
        output::line("  --undo goes back to what was there.");
    }
}
