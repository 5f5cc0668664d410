//! What a writer has of the database: batches as transactions, commits whose outcome is known or not,
//! connecting anew.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sluice_actors::ports::Clock;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr};
use tokio::time::timeout;

use super::{
    failure::{Failure, unknown},
    node::Node,
    open::{self, Database},
    warnings::Warnings,
};
use crate::{
    ingest::writer::{self, Flush, WriteError},
    seal::Ring,
    store::{
        Around, OpenError,
        batch::{Batch, carry_out},
        command::Command,
        counters::{Counters, Moves, count_at_start, count_from_now_on},
        session::{Readers, Session},
        sql::own,
    },
};

/// How often a batch that another transaction got in the way of is run again before those who wait
/// hear that the store is not available.
const ATTEMPTS: u32 = 5;

/// How long a transaction or a commit may take with the way there and back. The server's own limits
/// are shorter: past this the network swallows packets.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is told where the server warned: it may have given up the wait for a standby.
const WARNED: &str = "the server warned while it committed";

/// The engine of the writer.
pub(in crate::store) struct Postgres {
    database: Arc<Database>,
    /// None before the first batch, for a connection belongs to the runtime that made it, and the writer
    /// has one of its own; after a failure that the connection may not have survived; after a commit
    /// whose outcome is not known. Connected before the next batch.
    connection: Option<PgConnection>,
    /// By which the store was opened: it says that the database is served until the writer's own does.
    opening: Option<PgConnection>,
    /// Whether the counters are known. They stay so while every outcome is.
    is_counted: bool,
    clock: Arc<dyn Clock>,
    node: Arc<Node>,
    counters: Arc<Counters>,
    readers: Arc<ArcSwap<Readers>>,
    ring: Arc<Ring>,
    warnings: Warnings,
}

impl Postgres {
    /// Reads by an opened connection where the counters stand.
    pub(in crate::store) async fn start(
        database: Arc<Database>,
        connection: PgConnection,
        clock: Arc<dyn Clock>,
        node: Arc<Node>,
        (counters, readers, ring): Around,
    ) -> Result<Self, OpenError> {
        count_at_start(&counters, open::snapshot(&database).await?).await;
        Ok(Self {
            database,
            connection: None,
            opening: Some(connection),
            is_counted: true,
            clock,
            node,
            counters,
            readers,
            ring,
            warnings: Warnings::new(),
        })
    }

    /// Another one, of the same node with the same counters.
    pub(in crate::store) fn beside(&self) -> Self {
        Self {
            database: self.database.clone(),
            connection: None,
            opening: None,
            is_counted: self.is_counted,
            clock: self.clock.clone(),
            node: self.node.clone(),
            counters: self.counters.clone(),
            readers: self.readers.clone(),
            ring: self.ring.clone(),
            warnings: Warnings::new(),
        }
    }

    async fn connect(&mut self) -> Result<(), WriteError> {
        let unavailable = |error: &dyn std::fmt::Display| WriteError::Unavailable(error.to_string());
        let connection = open::reopen(&self.database).await.map_err(|error| unavailable(&error))?;
        self.connection = Some(connection);
        if !self.is_counted {
            self.count_anew().await;
            tracing::info!(store = %self.database, "store connected again");
        }
        Ok(())
    }

    /// A batch whose outcome is not known may have moved jobs.
    async fn count_anew(&mut self) {
        let counters = self.counters.clone();
        let _settled = counters.settled().await;
        match open::snapshot(&self.database).await {
            Ok(snapshot) => {
                drop(count_from_now_on(&counters, snapshot));
                self.is_counted = true;
            }
            Err(error) => tracing::warn!(%error, "the jobs of the lanes were not counted anew"),
        }
    }

    /// Carries out a batch of deliveries alone. The one statement of them that writes is a transaction by
    /// itself, which spares the way to the server for its begin and for its commit.
    async fn record(&mut self, commands: &mut [Command]) -> Result<Moves, Failure> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::of_statement(&sqlx::Error::Io(io::ErrorKind::NotConnected.into())));
        };
        let id = self.node.id();
        let recording = async {
            let mut batch = Batch::new(Session::Postgres(connection), self.clock.now(), &id, &self.ring);
            carry_out(&mut batch, commands).await?;
            Ok(batch.moves)
        };
        match self.warnings.during(timeout(PATIENCE, recording)).await {
            (Ok(Ok(_)), true) => Err(unknown(WARNED.into())),
            (Ok(Ok(moves)), false) => Ok(moves),
            (Ok(Err(error)), _) => Err(Failure::of_own_transaction(&error)),
            (Err(_), _) => Err(unknown("no answer to what was to be stored".into())),
        }
    }

    /// Carries out the batch up to its commit.
    async fn fill(&mut self, commands: &mut [Command]) -> Result<Moves, Failure> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::of_statement(&sqlx::Error::Io(io::ErrorKind::NotConnected.into())));
        };
        let id = self.node.id();
        let held = commands.iter().any(Command::is_of_a_live_node);
        let filling = async {
            let is_dead = begin(connection, held.then_some(&id)).await?;
            if is_dead {
                self.node.is_taken_for_dead();
            }
            let mut batch = Batch::new(Session::Postgres(connection), self.clock.now(), &id, &self.ring);
            batch.is_dead = is_dead;
            carry_out(&mut batch, commands).await?;
            Ok(batch.moves)
        };
        match timeout(PATIENCE, filling).await {
            Ok(filled) => filled.map_err(|error| Failure::of_statement(&error)),
            // Not committed: the server rolls back when it sees that the connection is gone.
            Err(elapsed) => Err(Failure::of_statement(&sqlx::Error::Io(elapsed.into()))),
        }
    }

    async fn commit_filled(&mut self) -> Result<(), Failure> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::of_statement(&sqlx::Error::Io(io::ErrorKind::NotConnected.into())));
        };
        let committing = sqlx::raw_sql(own!("postgres", "commit")).execute(&mut *connection);
        let (committed, warned) = self.warnings.during(timeout(PATIENCE, committing)).await;
        match committed {
            Ok(Ok(_)) if warned => Err(unknown(WARNED.into())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure::of_commit(&error)),
            Err(_) => Err(unknown("no answer to the commit".into())),
        }
    }

    /// Undoes an open transaction; a connection that cannot is given up.
    async fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        let rolling_back = sqlx::raw_sql(own!("postgres", "rollback")).execute(&mut *connection);
        if !matches!(timeout(PATIENCE, rolling_back).await, Ok(Ok(_))) {
            self.lose();
        }
    }

    /// Gives the connection up, and with it what is known of the counters.
    fn lose(&mut self) {
        self.connection = None;
        self.is_counted = false;
    }

    /// One run of the batch.
    async fn run(&mut self, batch: &mut [Command]) -> Result<(), Failure> {
        let counters = self.counters.clone();
        let _moving = counters.moving().await;
        let are_deliveries = batch.iter().all(|command| matches!(command, Command::Record { .. }));
        let outcome = if are_deliveries {
            self.record(batch).await
        } else {
            match self.fill(batch).await {
                Ok(moves) => self.commit_filled().await.map(|()| moves),
                Err(failure) => Err(failure),
            }
        };
        match outcome {
            Ok(moves) => {
                counters.apply(moves);
                Ok(())
            }
            Err(failure) => {
                if matches!(failure, Failure::Failed { lost: true, .. }) {
                    self.lose();
                } else if !are_deliveries {
                    self.roll_back().await;
                }
                Err(failure)
            }
        }
    }
}

/// Begins a transaction, and holds the row of this node as long as it lasts: one request. True: the
/// others took the node for dead.
async fn begin(connection: &mut PgConnection, node: Option<&Arc<String>>) -> Result<bool, sqlx::Error> {
    let text = match node {
        // Ids are ours: hexadecimal digits and a number.
        Some(id) => {
            let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
            let held = own!("postgres", "hold_node").replace("$1", &format!("'{id}'"));
            AssertSqlSafe(format!("{};\n{held}", own!("postgres", "begin_transaction"))).into_sql_str()
        }
        None => own!("postgres", "begin_transaction").into_sql_str(),
    };
    let rows = sqlx::raw_sql(text).fetch_all(connection).await?;
    Ok(node.is_some() && rows.is_empty())
}

impl writer::Engine for Postgres {
    type Command = Command;

    async fn begin(&mut self) {
        if let Err(error) = self.connect().await {
            tracing::debug!(store = %self.database, %error, "no connection to write by yet");
        }
        self.opening = None;
    }

    async fn commit(&mut self, batch: &mut [Command]) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS {
            if self.connection.is_none() {
                self.connect().await?;
            }
            match self.run(batch).await {
                Ok(()) => return Ok(()),
                Err(Failure::Again) => {}
                Err(Failure::Failed { error, .. }) => return Err(error),
            }
        }
        Err(WriteError::Unavailable("other transactions were in the way".into()))
    }

    /// The server answers a commit when its disk has it.
    fn flush(&mut self) -> Option<Flush> {
        None
    }

    async fn tend(&mut self, _idle: bool) {}

    async fn reset(&mut self) {
        self.lose();
    }

    async fn close(mut self) {
        let readers = self.readers.load_full();
        if timeout(Duration::from_secs(5), readers.close()).await.is_err() {
            tracing::warn!(store = %self.database, "a reader did not end in time");
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(store = %self.database, %error, "store not closed cleanly");
        }
    }
}
