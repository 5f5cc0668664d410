//! What an error of Postgres means for those who wait, and for the connection.

use sqlx::{Error, error::DatabaseError};

use crate::ingest::writer::WriteError;

/// What to do about an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Two transactions were in each other's way; nothing was written. Run this one again.
    Again,
    /// Nothing was written. `lost`: nor is the connection of use any more.
    Failed { error: WriteError, lost: bool },
}

impl Failure {
    /// Of a statement before the commit: a transaction that did not reach it did not take effect.
    pub(super) fn of_statement(error: &Error) -> Self {
        let failed = |error, lost| Self::Failed { error, lost };
        match error {
            Error::Database(error) => {
                let text = described(&**error);
                match class(&**error) {
                    Class::Again => Self::Again,
                    Class::Data => failed(WriteError::Refused(text), false),
                    Class::Server => failed(WriteError::Unavailable(text), false),
                    Class::Gone => failed(WriteError::Unavailable(text), true),
                }
            }
            _ if is_of_content(error) => failed(WriteError::Refused(error.to_string()), false),
            _ => failed(WriteError::Unavailable(error.to_string()), true),
        }
    }

    /// Of the commit: only where the server says that it rolled back is it known that it did.
    pub(super) fn of_commit(error: &Error) -> Self {
        match error {
            Error::Database(of_server) => match class(&**of_server) {
                Class::Again => Self::Again,
                Class::Data => Self::of_statement(error),
                Class::Server | Class::Gone => unknown(described(&**of_server)),
            },
            _ => unknown(error.to_string()),
        }
    }

    /// Of statements that are transactions by themselves: where the server refuses one, it rolled it back.
    pub(super) fn of_own_transaction(error: &Error) -> Self {
        match error {
            Error::Database(of_server) => match class(&**of_server) {
                Class::Again | Class::Data | Class::Server => Self::of_statement(error),
                Class::Gone => unknown(described(&**of_server)),
            },
            _ if is_of_content(error) => Self::of_statement(error),
            _ => unknown(error.to_string()),
        }
    }
}

/// Whether it is about values that cannot be sent or read.
const fn is_of_content(error: &Error) -> bool {
    matches!(
        error,
        Error::Encode(_)
            | Error::Decode(_)
            | Error::ColumnDecode { .. }
            | Error::ColumnNotFound(_)
            | Error::TypeNotFound { .. }
            | Error::RowNotFound
    )
}

/// The commit may have taken effect.
pub(super) fn unknown(text: String) -> Failure {
    Failure::Failed { error: WriteError::Unknown(text), lost: true }
}

enum Class {
    /// A deadlock, a serialization failure, or another node stored an event after this one looked for
    /// it: what that means shows when it is looked up anew.
    Again,
    /// A value that the database refuses, whoever is beside it.
    Data,
    /// Locked, full, too slow, misconfigured: it may work the next time.
    Server,
    /// The server ends, or is not the one that writes any more.
    Gone,
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn class(error: &dyn DatabaseError) -> Class {
    let code = error.code().unwrap_or_default();
    match &*code {
        "40001" | "40P01" => Class::Again,
        "23505" if error.table() == Some("events") => Class::Again,
        // A standby took this one's place, or the transaction did: connect anew and look.
        "25006" | "25P01" | "25P02" | "25P03" => Class::Gone,
        _ => match code.get(..2).unwrap_or_default() {
            "08" | "57" if code != "57014" => Class::Gone,
            // Data, integrity, a trigger's refusal, a limit of one row.
            "21" | "22" | "23" | "54" | "P0" => Class::Data,
            _ => Class::Server,
        },
    }
}

/// Whether a lock was not to be had within `lock_timeout`.
pub(super) fn is_locked(error: &Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "55P03")
}

/// The message and its code. Not the detail: it quotes the row.
fn described(error: &dyn DatabaseError) -> String {
    format!("{} ({})", error.message(), error.code().unwrap_or_default())
}
