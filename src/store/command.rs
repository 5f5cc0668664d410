//! The requests to the writer, the same for every engine.

use sluice_actors::{
    domain::{ArtifactId, CheckpointStage, Epoch, EventId, Fence, JobId, LaneKey, Mandate, Timestamp},
    ports::{AttemptEnd, Begin, BreakerMemory, Fenced, Recovered},
};
use uuid::Uuid;

use super::{data_keys::KeyChange, reseal::SealedRow, sweep::Victims};
use crate::{
    api::{
        accounts::Change,
        marks::{HeldAlert, Raise, Raised},
        records::{AuditEntry, HandshakeRow, RefusalRow, Revocation, RoutedEvent, Switch},
        traffic::KeptTraffic,
    },
    artifacts::{Added, Artifact, ENDED_AT_ONCE, Leave, Use},
    ingest::{
        NewEvent, NewForm, NewJob, Recorded,
        writer::{self, Reply, WriteError},
    },
};

/// One request to the writer.
pub(super) enum Command {
    /// `None`: the key that sealed it was erased meanwhile, and it is not written.
    Record {
        delivery: Vec<NewEvent>,
        reply: Reply<Option<Vec<Recorded>>>,
    },
    Begin {
        job: JobId,
        alone: bool,
        epoch: Epoch,
        reply: Reply<Begin>,
    },
    Abandon {
        job: JobId,
        reply: Reply<bool>,
    },
    Checkpoint {
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: String,
        reply: Reply<Fenced>,
    },
    /// `result`: of one that succeeded, as it is written.
    End {
        end: Box<AttemptEnd>,
        result: Option<String>,
        reply: Reply<Fenced>,
    },
    Recover {
        reply: Reply<Recovered>,
    },
    Replay {
        job: JobId,
        mandate: Mandate,
        run_at: Timestamp,
        reply: Reply<bool>,
    },
    KeepPause {
        lane: LaneKey,
        paused: bool,
        mandate: Mandate,
        reply: Reply<()>,
    },
    ChangeAccount {
        change: Box<Change>,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    Switch {
        switch: Switch,
        on: bool,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    Revoke {
        revocation: Box<Revocation>,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    Unrevoke {
        revocations: Vec<Revocation>,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    KeepBreakers {
        lane: LaneKey,
        breakers: Vec<BreakerMemory>,
        reply: Reply<()>,
    },
    RecordJobs {
        events: Vec<RoutedEvent>,
        audit: AuditEntry,
        reply: Reply<u64>,
    },
    Release {
        event: EventId,
        form: NewForm,
        jobs: Vec<NewJob>,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    Cancel {
        job: JobId,
        audit: AuditEntry,
        reply: Reply<bool>,
    },
    Audit {
        entry: AuditEntry,
        reply: Reply<()>,
    },
    KeepRefusal {
        row: Box<RefusalRow>,
        reply: Reply<()>,
    },
    KeepHandshake {
        row: HandshakeRow,
        reply: Reply<()>,
    },
    TakeHandshake {
        tenant: String,
        source: String,
        audit: AuditEntry,
        reply: Reply<Option<HandshakeRow>>,
    },
    KeepTraffic {
        kept: Box<KeptTraffic>,
        reply: Reply<()>,
    },
    TokenUsed {
        digest: [u8; 32],
        reply: Reply<()>,
    },
    Erase {
        events: Vec<EventId>,
        audit: AuditEntry,
        reply: Reply<u64>,
    },
    RaiseAlert {
        raise: Box<Raise>,
        reply: Reply<Raised>,
    },
    TakeHeldAlert {
        held: Box<HeldAlert>,
        reply: Reply<bool>,
    },
    AddArtifact {
        artifact: Box<Artifact>,
        leave: Option<Leave>,
        reply: Reply<Added>,
    },
    ArtifactStored {
        id: ArtifactId,
        reply: Reply<bool>,
    },
    UseUpload {
        used: Box<Use>,
        reply: Reply<Option<Artifact>>,
    },
    EndPromises {
        ids: Vec<ArtifactId>,
        now: Timestamp,
        reply: Reply<u64>,
    },
    EndErased {
        now: Timestamp,
        reply: Reply<u64>,
    },
    ForgetArtifacts {
        ids: Vec<ArtifactId>,
        now: Timestamp,
        reply: Reply<u64>,
    },
    EraseArtifacts {
        tenant: String,
        subject: String,
        reply: Reply<u64>,
    },
    ChangeKeys {
        change: Box<KeyChange>,
        audit: Option<AuditEntry>,
        reply: Reply<Vec<Uuid>>,
    },
    /// All of them sealed by `key`.
    SealRows {
        key: Uuid,
        rows: Vec<SealedRow>,
        reply: Reply<u64>,
    },
    Sweep {
        victims: Victims,
        reply: Reply<u64>,
    },
    Ping {
        reply: Reply<()>,
    },
}

impl Command {
    /// Whether only a live node may do it.
    pub(super) const fn is_of_a_live_node(&self) -> bool {
        matches!(self, Self::Begin { .. } | Self::Abandon { .. } | Self::Checkpoint { .. } | Self::End { .. })
    }

    /// Whether what it takes away must not be left in free space of the file.
    pub(super) const fn is_to_leave_no_trace(&self) -> bool {
        matches!(self, Self::ChangeKeys { .. } | Self::SealRows { .. })
    }
}

/// Bytes of an event that weigh as much as a row: a batch is held in memory several times while it
/// is written, so that large events make it short.
const ROW: usize = 16 * 1024;

fn weight(event: &NewEvent) -> usize {
    let form = event.form.as_ref().map_or(0, |form| form.json.len());
    1 + (event.raw.len() + form) / ROW
}

impl writer::Command for Command {
    fn weight(&self) -> usize {
        match self {
            Self::Record { delivery, .. } => delivery.iter().map(weight).sum(),
            Self::RecordJobs { events, .. } => events.len(),
            Self::Erase { events, .. } => events.len(),
            Self::SealRows { rows, .. } => rows.len(),
            Self::Sweep { victims, .. } => victims.len(),
            Self::EndPromises { ids, .. } | Self::ForgetArtifacts { ids, .. } => ids.len(),
            Self::EndErased { .. } => ENDED_AT_ONCE,
            Self::Unrevoke { revocations, .. } => revocations.len(),
            Self::Begin { .. }
            | Self::Abandon { .. }
            | Self::Checkpoint { .. }
            | Self::End { .. }
            | Self::Recover { .. }
            | Self::Replay { .. }
            | Self::KeepPause { .. }
            | Self::KeepBreakers { .. }
            | Self::ChangeAccount { .. }
            | Self::Switch { .. }
            | Self::Revoke { .. }
            | Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Audit { .. }
            | Self::KeepRefusal { .. }
            | Self::KeepHandshake { .. }
            | Self::TakeHandshake { .. }
            | Self::KeepTraffic { .. }
            | Self::TokenUsed { .. }
            | Self::RaiseAlert { .. }
            | Self::TakeHeldAlert { .. }
            | Self::AddArtifact { .. }
            | Self::ArtifactStored { .. }
            | Self::UseUpload { .. }
            | Self::EraseArtifacts { .. }
            | Self::ChangeKeys { .. }
            | Self::Ping { .. } => 1,
        }
    }

    fn settle(self, outcome: Result<(), WriteError>) {
        match self {
            Self::Record { reply, .. } => reply.settle(outcome),
            Self::Begin { reply, .. } => reply.settle(outcome),
            Self::Checkpoint { reply, .. } | Self::End { reply, .. } => reply.settle(outcome),
            Self::Recover { reply } => reply.settle(outcome),
            Self::Abandon { reply, .. }
            | Self::Replay { reply, .. }
            | Self::ChangeAccount { reply, .. }
            | Self::Switch { reply, .. }
            | Self::Revoke { reply, .. }
            | Self::Unrevoke { reply, .. }
            | Self::Release { reply, .. }
            | Self::Cancel { reply, .. }
            | Self::TakeHeldAlert { reply, .. }
            | Self::ArtifactStored { reply, .. } => reply.settle(outcome),
            Self::RecordJobs { reply, .. }
            | Self::Erase { reply, .. }
            | Self::SealRows { reply, .. }
            | Self::Sweep { reply, .. }
            | Self::EndPromises { reply, .. }
            | Self::EndErased { reply, .. }
            | Self::ForgetArtifacts { reply, .. }
            | Self::EraseArtifacts { reply, .. } => reply.settle(outcome),
            Self::AddArtifact { reply, .. } => reply.settle(outcome),
            Self::UseUpload { reply, .. } => reply.settle(outcome),
            Self::ChangeKeys { reply, .. } => reply.settle(outcome),
            Self::TakeHandshake { reply, .. } => reply.settle(outcome),
            Self::RaiseAlert { reply, .. } => reply.settle(outcome),
            Self::KeepPause { reply, .. }
            | Self::KeepBreakers { reply, .. }
            | Self::Audit { reply, .. }
            | Self::KeepRefusal { reply, .. }
            | Self::KeepHandshake { reply, .. }
            | Self::KeepTraffic { reply, .. }
            | Self::TokenUsed { reply, .. }
            | Self::Ping { reply } => reply.settle(outcome),
        }
    }
}
