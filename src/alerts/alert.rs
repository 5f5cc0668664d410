//! An alert, and its words for programs and people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_actors::domain::{EventId, JobId, SourceName, TenantName, Timestamp};

use crate::config::Cause;

/// What somebody is told. Holds no payload but a redacted sample of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same however often it is sent.
    pub id: String,
    /// Why.
    pub cause: Cause,
    /// When it came up.
    pub at: Timestamp,
    /// Whose it is: of several where they share whom they call; of none where it is of the node.
    pub tenants: Vec<TenantName>,
    /// The source, where it is about one.
    pub source: Option<SourceName>,
    /// Whom its jobs call.
    pub callee: Option<String>,
    /// In one line.
    pub summary: String,
    /// How many of the same lane and cause were not told since the last one.
    pub suppressed: u64,
    /// The last failure before it.
    pub failure: Option<Failure>,
    /// The page of the console that shows more.
    pub link: String,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The event.
    pub event_id: EventId,
    /// The job.
    pub job_id: JobId,
    /// Its error.
    pub error: String,
    /// The event's type.
    #[serde(default)]
    pub event_type: Option<String>,
    /// The vendor's id of it.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The beginning of what was stored of its payload, redacted.
    #[serde(default)]
    pub sample: Option<String>,
}

impl Alert {
    /// The lane, or whose it is, in short.
    fn place(&self) -> String {
        match (&*self.tenants, &self.source) {
            ([tenant], Some(source)) => format!("{tenant}/{source}"),
            ([tenant], None) => tenant.to_string(),
            _ => "gateway".to_owned(),
        }
    }

    /// The same without the payload.
    #[must_use]
    pub(super) fn without_sample(mut self) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.sample = None;
        }
        self
    }

    /// For programs, in the form that Standard Webhooks recommends.
    pub(super) fn to_json(&self) -> serde_json::Value {
        json!({
            "type": format!("alert.{}", self.cause.as_str()),
            "timestamp": self.at,
            "data": self,
        })
    }

    /// The subject of a mail.
    pub(super) fn subject(&self) -> String {
        format!("[sluice] {}: {}", self.place(), self.summary)
    }

    /// What is known besides the summary, as names and values.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("when", self.at.to_string())];
        if let Some(callee) = &self.callee {
            facts.push(("callee", callee.clone()));
        }
        if self.tenants.len() > 1 {
            let names: Vec<&str> = self.tenants.iter().map(TenantName::as_str).collect();
            facts.push(("tenants", names.join(", ")));
        }
        if let Some(failure) = &self.failure {
            let event_type = failure.event_type.as_deref().unwrap_or("type not known");
            facts.push(("event", format!("{} ({event_type})", failure.event_id)));
            if let Some(id) = &failure.external_id {
                facts.push(("vendor's id", id.clone()));
            }
            facts.push(("job", failure.job_id.to_string()));
            facts.push(("last error", failure.error.clone()));
        }
        if self.suppressed > 0 {
            facts.push(("not told since the last one", self.suppressed.to_string()));
        }
        facts.push(("look", self.link.clone()));
        facts
    }

    fn sample(&self) -> Option<&str> {
        self.failure.as_ref()?.sample.as_deref()
    }

    /// The text of a mail.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.place(), self.summary);
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name}: {value}");
        }
        if let Some(sample) = self.sample() {
            let _ = write!(text, "\nWhat was stored of it, redacted:\n{sample}\n");
        }
        text
    }

    /// For a chat: nothing in it is markup but what is meant, so that nobody is mentioned or led elsewhere by what
    /// a vendor sent.
    pub(super) fn chat(&self) -> String {
        let mut text = format!("*{}*: {}\n", chat_text(&self.place()), chat_text(&self.summary));
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name}: {}", chat_text(&value));
        }
        if let Some(sample) = self.sample() {
            let _ = write!(text, "```{}```", chat_text(sample));
        }
        text
    }
}

/// The three characters that Slack reads as markup everywhere, and those of code and emphasis.
fn chat_text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut written, c| {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '`' => written.push('\''),
            other => written.push(other),
        }
        written
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            id: "alert_1".into(),
            cause: Cause::BreakerOpened,
            at: Timestamp::from_secs(0),
            tenants: vec!["acme".parse().unwrap()],
            source: Some("pay".parse().unwrap()),
            callee: Some("host:crm.example".into()),
            summary: "the breaker of host:crm.example opened".into(),
            suppressed: 2,
            failure: Some(Failure {
                event_id: EventId::from_uuid(uuid::Uuid::nil()),
                job_id: JobId::from_uuid(uuid::Uuid::nil()),
                error: "HTTP 500".into(),
                event_type: Some("invoice.<!channel>".into()),
                external_id: None,
                sample: Some("{\"note\":\"```<https://evil.example|click> & <!here>\"}".into()),
            }),
            link: "https://sluice.example/#/lanes".into(),
        }
    }

    #[test]
    fn what_a_vendor_sent_is_no_markup_in_a_chat() {
        let text = alert().chat();
        assert!(!text.contains("<!") && !text.contains("<https"), "{text}");
        assert_eq!(text.matches("```").count(), 2, "{text}");
        assert!(text.contains("&lt;!here&gt;"), "{text}");
    }

    #[test]
    fn who_wants_no_sample_gets_none_in_any_form() {
        let alert = alert().without_sample();
        for text in [alert.chat(), alert.text(), alert.to_json().to_string()] {
            assert!(!text.contains("evil"), "{text}");
            assert!(text.contains("HTTP 500") && text.contains("#/lanes"), "{text}");
        }
    }

    #[test]
    fn an_alert_that_is_held_is_read_back_as_it_was() {
        let text = serde_json::to_string(&alert()).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert());
    }
}
