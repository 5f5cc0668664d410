//! What keeps the gateway from starting: one clear line that names key and cure; nothing changed.

use std::{fs, os::unix::fs::PermissionsExt};

use sluice::{app::Refused, error_code::ErrorCode};

use crate::harness::{App, Cluster, Folder, Process};

/// Why the gateway of this folder does not start.
async fn refused(folder: &Folder) -> Refused {
    let error = App::try_start(folder).await.err().expect("it does not start");
    error.downcast::<Refused>().expect("a refusal with a page")
}

#[tokio::test]
async fn a_port_in_use_is_named_by_its_key_and_no_store_is_made() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (section, key) in [("[edge]\nlisten", "edge.listen"), ("[admin]\nlisten", "admin.listen")] {
        let folder = Folder::new();
        let text = fs::read_to_string(folder.config()).unwrap();
        let text = text.replace(&format!("{section} = \"127.0.0.1:0\""), &format!("{section} = \"{address}\""));
        fs::write(folder.config(), text).unwrap();
        let refused = refused(&folder).await;
        assert_eq!(refused.code, ErrorCode::PortInUse);
        assert!(refused.message.starts_with(&format!("{key}: cannot listen on {address}")), "{refused}");
        assert!(refused.message.contains("choose another port") && !refused.message.contains('\n'), "{refused}");
        assert_eq!(folder.stored_bytes(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_store_is_refused_and_the_first_goes_on() {
    let folder = Folder::new();
    let first = App::start(&folder).await;
    let refused = refused(&folder).await;
    assert_eq!(refused.code, ErrorCode::StoreHeld);
    assert!(refused.message.contains("sluice.db"), "{refused}");
    assert_eq!(first.get("/readyz").await["ready"], true);
    first.finish().await;
    App::start(&folder).await.finish().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    // Root may write everywhere, but not below a file.
    fs::write(folder.path().join("data"), "a file, not a folder").unwrap();
    folder.main("[database]\nurl = \"sqlite://data/sluice.db\"\n");
    let refused = refused(&folder).await;
    assert_eq!(refused.code, ErrorCode::NotWritable);
    assert!(refused.message.contains("data") && !refused.message.contains('\n'), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_store_of_ours_is_left_as_it_is() {
    let folder = Folder::new();
    fs::write(folder.path().join("sluice.db"), "not a database, and precious").unwrap();
    let refused = refused(&folder).await;
    assert!(refused.message.contains("sluice.db") && !refused.message.contains('\n'), "{refused}");
    let kept = fs::read_to_string(folder.path().join("sluice.db")).unwrap();
    assert_eq!(kept, "not a database, and precious");
}

#[tokio::test]
async fn a_postgres_server_that_is_not_there_is_named_and_so_is_one_that_would_lose_deliveries() {
    let folder = Folder::new();
    let url = folder.secret("database.url", "postgres://sluice:pass-word@127.0.0.1:1/hooks");
    folder.main(&format!("[database]\nurl = \"{url}\"\n"));
    let away = refused(&folder).await;
    assert_eq!(away.code, ErrorCode::StoreUnreachable);
    assert!(away.message.starts_with("database.url: cannot reach postgres://127.0.0.1:1/hooks"), "{away}");
    assert!(!away.message.contains('\n') && !away.message.contains("pass-word"), "{away}");

    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let careless = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    let mut connection = cluster.connect(&database).await;
    sqlx::query(sqlx::AssertSqlSafe(careless)).execute(&mut connection).await.unwrap();
    folder.secret("database.url", &cluster.url(&database));
    let careless = refused(&folder).await;
    assert_eq!(careless.code, ErrorCode::StoreUnsafe);
    assert!(careless.message.contains("`synchronous_commit` is off") && !careless.message.contains('\n'), "{careless}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_others_can_read_is_named_with_its_mode_and_the_cure() {
    let folder = Folder::new();
    let path = folder.path().join("sluice.db");
    for (mode, is_shared) in [(0o600, false), (0o640, true)] {
        if is_shared {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let process = Process::start(&folder).await;
        process.terminate();
        let (status, lines) = process.ended().await;
        assert!(status.success());
        let line = lines.into_iter().find(|line| line.contains("others can read or write the database"));
        assert_eq!(line.is_some(), is_shared, "{line:?}");
        let line = line.unwrap_or_default();
        assert!(
            !is_shared || line.contains("0640") && line.contains(&format!("chmod 600 {}*", path.display())),
            "{line}"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "it is said, not changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_for_the_owner_only_and_goes_with_the_process() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    let path = folder.path().join("runtime.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    app.finish().await;
    assert!(!path.exists());
}
