//! The backlog of lanes for who looks at pages: counts as they are now, and when the oldest job was due as
//! it was a moment ago, for that is a seek in the store for each lane, and pages look again all the time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sluice_actors::{domain::Timestamp, ports::StoreUnavailable};
use tokio::{sync::Mutex, time::Instant};

use super::records::{LaneBacklog, Records};

/// How old what is shown of the oldest due jobs may be.
const AGE: Duration = Duration::from_secs(2);

type Due = HashMap<(String, String), Timestamp>;

/// Asks the store once for all who look.
#[derive(Default)]
pub struct Backlogs {
    last: Mutex<Option<(Instant, Arc<Due>)>>,
}

impl Backlogs {
    /// The backlog of every lane that has jobs which are not over, or dead letters.
    pub(super) async fn of(&self, records: &dyn Records) -> Result<Vec<LaneBacklog>, StoreUnavailable> {
        let due = self.due(records).await?;
        let mut counts = records.counts();
        for lane in &mut counts {
            lane.oldest_due = due.get(&(lane.tenant.clone(), lane.source.clone())).copied();
        }
        Ok(counts)
    }

    async fn due(&self, records: &dyn Records) -> Result<Arc<Due>, StoreUnavailable> {
        let mut last = self.last.lock().await;
        if let Some((at, due)) = &*last
            && at.elapsed() < AGE
        {
            return Ok(due.clone());
        }
        let read = records.backlog().await?.into_iter();
        let due = Arc::new(read.filter_map(|of| Some(((of.tenant, of.source), of.oldest_due?))).collect::<Due>());
        *last = Some((Instant::now(), due.clone()));
        Ok(due)
    }
}
