//! What operators get wrong: one line that names file, key and cure; an exit status; nothing changed.

use std::{fs, path::Path};

use sluice::store::migrate;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use super::files;
use crate::harness::{Folder, Ran, command, run, sluice};

const ORDERS: &str = "[sources.orders]\nvendor = 'generic'\nsecrets = ['file:orders.secret']\n";

fn folder(tenant: &str) -> Folder {
    let folder = Folder::new();
    folder.tenant("acme", tenant);
    folder.secret("orders.secret", "a secret");
    folder
}

/// One line on standard error with each of `told`, nothing else, and no file touched.
async fn refused(folder: &Folder, arguments: &[&str], status: i32, told: &[&str]) {
    let looked = || {
        let mut files = files(folder.path());
        // The lock beside the database is no change of it.
        files.retain(|(path, _)| !path.to_string_lossy().ends_with(".lock"));
        files
    };
    let before = looked();
    let ran = sluice(folder.path(), arguments).await;
    says(&ran, status, told);
    assert!(
        looked() == before,
        "{arguments:?} changed {:?}",
        looked().iter().map(|(path, _)| path).collect::<Vec<_>>()
    );
}

fn says(ran: &Ran, status: i32, told: &[&str]) {
    assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    for word in told {
        assert!(ran.stderr.contains(word), "`{word}` is not in {ran:#?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_named_with_the_one_that_was_meant() {
    let folder = folder(&ORDERS.replace("secrets", "secret"));
    let told = ["error: SLU01: ", "tenants/acme.toml:3: ", "sources.orders.secret: ", "did you mean `secrets`?"];
    let ran = sluice(folder.path(), &["serve"]).await;
    assert_eq!((ran.status, ran.stdout.as_str()), (78, ""), "{ran:#?}");
    assert!(told.iter().all(|word| ran.stderr.contains(word)), "{ran:#?}");
    let folder = self::folder(ORDERS);
    folder.main("[edg]\nmax_body = '1KiB'\n");
    for command in ["serve", "check"] {
        refused(&folder, &[command], 78, &["SLU01", "sluice.toml:", "edg: ", "did you mean `edge`?"]).await;
    }
}

#[tokio::test]
async fn an_unknown_vendor_is_named_with_the_one_that_was_meant() {
    let folder = folder(&ORDERS.replace("generic", "strpie"));
    for command in ["serve", "check"] {
        let told = ["SLU01", "tenants/acme.toml:2: sources.orders.vendor: `strpie`", "did you mean `stripe`?"];
        refused(&folder, &[command], 78, &told).await;
    }
}

#[tokio::test]
async fn a_missing_secret_is_named_by_its_reference() {
    let by_file = folder(&ORDERS.replace("orders.secret", "missing.secret"));
    let by_environment = folder(&ORDERS.replace("file:orders.secret", "env:MISSING_SECRET"));
    for command in ["serve", "check"] {
        let told = ["SLU02", "tenants/acme.toml:3: sources.orders.secrets", "missing.secret", "mode 0600"];
        refused(&by_file, &[command], 78, &told).await;
        let told = ["SLU02", "tenants/acme.toml:3: ", "MISSING_SECRET is not set", "set it for the process"];
        refused(&by_environment, &[command], 78, &told).await;
    }
}

#[tokio::test]
async fn a_missing_configuration_is_named_with_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["serve", "check", "doctor", "events"] {
        let ran = sluice(dir.path(), &[command]).await;
        assert_eq!(ran.status, if command == "doctor" { 1 } else { 78 }, "{ran:#?}");
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains("sluice.toml") && told.contains("sluice init"), "{ran:#?}");
    }
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_port_in_use_is_named_by_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder(ORDERS);
    let main = fs::read_to_string(folder.config()).unwrap();
    fs::write(folder.config(), main.replacen("127.0.0.1:0", &address, 1)).unwrap();
    let told = ["SLU03: edge.listen: ", &address, "choose another port"];
    refused(&folder, &["serve"], 1, &told).await;
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    let folder = folder(ORDERS);
    // Root may write everywhere, but not below a file.
    fs::write(folder.path().join("data"), "a file").unwrap();
    folder.main("[database]\nurl = \"sqlite://data/sluice.db\"\n");
    for command in ["serve", "migrate"] {
        refused(&folder, &[command], 1, &["SLU04: database.url: ", "data/sluice.db"]).await;
    }
}

/// A database that a later release migrated.
async fn later(path: &Path) {
    migrate(path).await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let text = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_as_it_is() {
    let folder = folder(ORDERS);
    later(&folder.path().join("sluice.db")).await;
    for arguments in [&["serve"][..], &["migrate"], &["migrate", "--dry-run"]] {
        let told = ["SLU06: database.url: ", "sluice.db has schema 9999", "run the newer release"];
        refused(&folder, arguments, 1, &told).await;
    }
}

#[tokio::test]
async fn a_command_without_a_gateway_says_how_to_start_one() {
    let folder = folder(ORDERS);
    for arguments in [&["events"][..], &["jobs"], &["lanes"], &["dead", "list"], &["why"], &["why", "1"]] {
        refused(&folder, arguments, 1, &["SLU09", "sluice.toml", "`sluice serve`", "--api"]).await;
    }
}

#[tokio::test]
async fn what_is_called_wrongly_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["frobnicate"][..],
        &["serve", "--frobnicate"],
        &["send", "acme"],
        &["send", "generic", "--url", "nowhere", "--secret", "x"],
        &["events", "show", "job_1"],
        &["lanes", "pause", "acme"],
        &["events", "--since", "yesterday"],
        &["dead", "list", "--why", "boredom"],
        &["init"],
        &["events", "--api", "http://127.0.0.1:1"],
    ] {
        let ran = sluice(dir.path(), arguments).await;
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:#?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {ran:#?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_quietly() {
    let folder = folder(ORDERS);
    for arguments in
        [&["check"][..], &["check", "--json"], &["migrate"], &["doctor"], &["--help"], &["source", "--help"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(folder.path(), arguments);
        command.stdout(writer);
        let ran = run(command).await;
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}
