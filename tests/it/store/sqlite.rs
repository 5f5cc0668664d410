//! What only a file can do: vanish, be locked, be of another release.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sluice::{
    api::records::{Records, Scope},
    ingest::{EventStore, RecordError, Recorded},
    store::{OpenError, Store, migrate},
};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::world::{World, options};

#[tokio::test]
async fn a_removed_file_is_unavailable_until_it_is_back() {
    let world = World::sqlite().await;
    world.record(world.event("acme/pay")).await;
    let aside = world.path().with_file_name("aside.db");
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    for (from, to) in [(world.path(), aside.clone()), (log(&world.path()), log(&aside))] {
        std::fs::rename(from, to).unwrap();
    }
    for _ in 0..2 {
        let refused = world.store.record(vec![world.event("acme/pay")]).await;
        assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    }
    assert!(!world.path().exists(), "no empty file takes its place");
    for (from, to) in [(aside.clone(), world.path()), (log(&aside), log(&world.path()))] {
        std::fs::rename(from, to).unwrap();
    }
    let event = world.event("acme/pay");
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().is_some(), "the readers see the file that is back");
}

#[tokio::test]
async fn a_second_process_cannot_serve_the_same_file() {
    let world = World::sqlite().await;
    let second = world.open_again().await.err().unwrap();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("sluice.db is in use by another sluice process"), "{second}");
    assert!(matches!(migrate(&world.path()).await, Err(OpenError::InUse { .. })));
    world.store.close().await;
    world.open_again().await.unwrap();
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let world = World::sqlite().await;
    world.record(world.event("acme/pay")).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(world.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "the file, its log and its lock");
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_and_nothing_changes() {
    let world = World::sqlite().await;
    world.store.close().await;
    let mut other = connect(&world).await;
    for (text, expected) in [
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "is not the one this release knows"),
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', 1, x'00', 0)",
            "run the newer release",
        ),
        ("DELETE FROM _sqlx_migrations; DROP TABLE _sqlx_migrations", "database of another program"),
    ] {
        let mut before = other.begin().await.unwrap();
        sqlx::raw_sql(text).execute(&mut *before).await.unwrap();
        before.commit().await.unwrap();
        let bytes = std::fs::read(world.path()).unwrap();
        let error = world.open_again().await.err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("sluice.db"), "{error}");
        assert_eq!(bytes, std::fs::read(world.path()).unwrap());
        if text.starts_with("UPDATE") {
            let known = sqlx::migrate!("migrations/sqlite");
            for migration in known.iter() {
                sqlx::query("UPDATE _sqlx_migrations SET checksum = ? WHERE version = ?")
                    .bind(migration.checksum.as_ref())
                    .bind(migration.version)
                    .execute(&mut other)
                    .await
                    .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let world = World::sqlite().await;
    let nowhere = world.path().with_file_name("nowhere").join("sluice.db");
    let error = Store::sqlite(&nowhere, options(&world.clock)).await.err().unwrap();
    assert!(error.to_string().contains("nowhere/sluice.db"), "{error}");
}

#[tokio::test]
async fn every_migration_takes_its_sample_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("sluice.db");
    let mut connection = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    let migrations = sqlx::migrate!("migrations/sqlite");
    for migration in migrations.iter() {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.unwrap();
        let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
        let samples = std::fs::read_to_string(folder.join("samples").join(&name))
            .unwrap_or_else(|error| panic!("migrations/sqlite/samples/{name}: {error}"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(samples)).execute(&mut connection).await.unwrap();
    }
    let broken: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
    assert_eq!(broken, ["ok"]);
}

/// A connection of another program.
async fn connect(world: &World) -> SqliteConnection {
    SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap()
}
