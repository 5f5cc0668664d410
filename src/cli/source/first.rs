//! Waiting for the first event of a new source.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use sluice_actors::domain::{EventId, SourceName, TenantName, Timestamp};
use tokio::{signal::unix::Signal, time::Instant};

use crate::{
    api::records::{EventRow, Page, RefusalRow},
    cli::{client::Client, output},
};

/// How often it is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Nobody waits longer at a terminal.
const PATIENCE: Duration = Duration::from_mins(30);

/// Whose first event, at which gateway.
pub(super) struct First<'a> {
    pub(super) client: &'a Client,
    pub(super) tenant: &'a TenantName,
    pub(super) source: &'a SourceName,
    /// Before the source was added.
    pub(super) since: Timestamp,
    /// Ends the waiting; registered before the source was added, so that it never ends the process
    /// halfway.
    pub(super) interrupt: &'a mut Signal,
}

impl First<'_> {
    /// Whether the gateway took the source up. It would notice the file by itself; asking is faster
    /// and tells what it thinks of it.
    pub(super) async fn taken_up(&self) -> bool {
        match self.client.post::<Value>("reload", &json!({})).await {
            Ok(_) => true,
            Err(error) => {
                output::warn(&format!("no gateway has taken it up yet: {error:#}"));
                false
            }
        }
    }

    /// The first event; none where it was not waited for to the end. Refused deliveries are told
    /// meanwhile.
    pub(super) async fn event(self) -> anyhow::Result<Option<EventId>> {
        let spinner = output::spinner("waiting for the first event (Ctrl-C ends the waiting)");
        let Self { client, tenant, source, since, interrupt } = self;
        let found = tokio::select! {
            found = look(client, tenant, source, since, &spinner) => found,
            _ = interrupt.recv() => Ok(None),
        };
        spinner.finish_and_clear();
        if matches!(found, Ok(None)) {
            output::note("\nNo event came yet. The source stays; `sluice events` and `sluice why` show what comes.");
        }
        found
    }
}

/// Asks until there is an event, for as long as anybody waits.
async fn look(
    client: &Client,
    tenant: &TenantName,
    source: &SourceName,
    since: Timestamp,
    spinner: &ProgressBar,
) -> anyhow::Result<Option<EventId>> {
    let end = Instant::now() + PATIENCE;
    let mut told = 0;
    while Instant::now() < end {
        let events = json!({ "tenant": tenant, "source": source, "since": since, "limit": 1 });
        let events: Page<EventRow> = client.get("events", &events).await?;
        if let Some(event) = events.items.first() {
            return Ok(Some(event.id));
        }
        let refusals = json!({ "tenant": tenant, "source": source, "limit": 10 });
        let refusals: Vec<RefusalRow> = client.get("refusals", &refusals).await?;
        let last = told;
        for refusal in refusals.iter().rev().filter(|row| row.id > last && row.at >= since) {
            spinner.suspend(|| {
                output::note(&format!("refused {} from {}: {}", refusal.reason, refusal.peer, refusal.hint));
            });
            told = refusal.id;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(None)
}
