//! The connection of the node itself.

use std::sync::Arc;

use sqlx::{Connection, PgConnection, postgres::PgArguments};
use tokio::time::timeout;

use super::PATIENCE;
use crate::store::{
    postgres::open::{self, Database},
    rows::Row,
};

/// A connection that is made when it is needed, and given up when it failed.
pub(super) struct Link {
    database: Arc<Database>,
    connection: Option<PgConnection>,
}

impl Link {
    pub(super) const fn to(database: Arc<Database>) -> Self {
        Self { database, connection: None }
    }

    /// Rows of a statement, if it returns any.
    pub(super) async fn ask(&mut self, text: &'static str, arguments: PgArguments) -> Result<Vec<Row>, sqlx::Error> {
        let asking = async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => self.connection.insert(open::connect_node(&self.database).await?),
            };
            sqlx::query_with(text, arguments).fetch_all(connection).await
        };
        let found = timeout(PATIENCE, asking).await.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into())));
        if !matches!(found, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.connection = None;
        }
        Ok(found?.into_iter().map(Row::Postgres).collect())
    }

    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            timeout(PATIENCE, connection.close()).await.ok();
        }
    }
}

/// Parameters in order.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {{
        let mut arguments = sqlx::postgres::PgArguments::default();
        $( sqlx::Arguments::add(&mut arguments, $value).map_err(sqlx::Error::Encode)?; )*
        arguments
    }};
}
pub(super) use arguments;
