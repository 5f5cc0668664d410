//! The in-memory store keeps the contract of every store.

use std::sync::Arc;

use async_trait::async_trait;
use sluice_actors::{
    domain::JobId,
    job_store_contract,
    ports::JobStore,
    several_nodes_contract,
    testing::{
        MemoryStore, NewJob,
        contract::{Fixture, SteppedClock, nodes::Nodes},
    },
};

struct Memory {
    clock: Arc<SteppedClock>,
    store: MemoryStore,
}

impl Memory {
    fn new() -> Self {
        let clock = Arc::new(SteppedClock::default());
        Self { store: MemoryStore::new(clock.clone()), clock }
    }
}

#[async_trait]
impl Fixture for Memory {
    fn store(&self) -> Arc<dyn JobStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> Arc<SteppedClock> {
        self.clock.clone()
    }

    async fn insert(&self, new: NewJob) -> JobId {
        self.store.insert(new)
    }

    async fn next_life(&mut self) {
        self.store = self.store.next_life();
    }
}

#[async_trait]
impl Nodes for Memory {
    async fn another(&mut self) -> Arc<dyn JobStore> {
        Arc::new(self.store.another_node())
    }

    async fn take_for_dead(&mut self) {
        self.store.take_for_dead();
    }
}

job_store_contract!(std::future::ready(Memory::new()));

several_nodes_contract!(std::future::ready(Memory::new()));
