//! Jobs to put into a [`MemoryStore`](super::MemoryStore), in the words of a test.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::{JobClass, LaneKey, RouteName, Timestamp};

/// An event with one job, about to be inserted. Every part has a default but the lane.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its lane.
    pub lane: LaneKey,
    /// Its route.
    pub route: RouteName,
    /// Its action.
    pub kind: Arc<str>,
    /// The vendor of its event.
    pub vendor: Arc<str>,
    /// The type of its event.
    pub event_type: String,
    /// What its event is about.
    pub subject_id: Option<String>,
    /// When that happened; now where none is given.
    pub occurred_at: Option<Timestamp>,
    /// When it is due; now where none is given.
    pub run_at: Option<Timestamp>,
    /// Its queue.
    pub class: JobClass,
    /// The normalised fields of its event.
    pub data: Value,
}

impl NewJob {
    /// On the lane `tenant/source`: route `main`, action `log`, due now.
    ///
    /// # Panics
    /// If the text is not two valid names with a slash between.
    pub fn on(lane: &str) -> Self {
        Self {
            lane: lane_key(lane),
            route: "main".parse().expect("a valid name"),
            kind: "log".into(),
            vendor: "generic".into(),
            event_type: "thing.happened".into(),
            subject_id: None,
            occurred_at: None,
            run_at: None,
            class: JobClass::Fresh,
            data: json!({}),
        }
    }

    /// By this route.
    ///
    /// # Panics
    /// If it is not a valid name.
    #[must_use]
    pub fn route(mut self, route: &str) -> Self {
        self.route = route.parse().expect("a valid route name");
        self
    }

    /// With this action.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.into();
        self
    }

    /// Of this event type.
    #[must_use]
    pub fn event_type(mut self, event_type: &str) -> Self {
        event_type.clone_into(&mut self.event_type);
        self
    }

    /// About this subject, at this time.
    #[must_use]
    pub fn about(mut self, subject: &str, occurred_at: Timestamp) -> Self {
        self.subject_id = Some(subject.to_owned());
        self.occurred_at = Some(occurred_at);
        self
    }

    /// Due then.
    #[must_use]
    pub const fn due_at(mut self, at: Timestamp) -> Self {
        self.run_at = Some(at);
        self
    }

    /// In this queue.
    #[must_use]
    pub const fn class(mut self, class: JobClass) -> Self {
        self.class = class;
        self
    }

    /// With these fields.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// The lane written `tenant/source`.
///
/// # Panics
/// If the text is not two valid names with a slash between.
pub fn lane_key(text: &str) -> LaneKey {
    let (tenant, source) = text.split_once('/').expect("a lane is written tenant/source");
    LaneKey::new(tenant.parse().expect("a valid tenant name"), source.parse().expect("a valid source name"))
}
