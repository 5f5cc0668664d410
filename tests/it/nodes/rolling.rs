//! Nodes of two releases on one database. The newer one is played by its schema, for there is only one
//! release: what it adds is there, and this one, which does not know of it, goes on.

use sluice::error_code::ErrorCode;

use super::{Site, ends, more_acknowledged, says, sender};
use crate::{
    chaos::{Ledger, Load, fast},
    harness::{command, completed, eventually, run},
};

/// What a release may add while nodes of the one before it run.
const EXPAND: &str = r"
    SET lock_timeout = '2s';
    BEGIN;
    ALTER TABLE jobs ADD COLUMN note text, ADD COLUMN urgency smallint NOT NULL DEFAULT 3;
    ALTER TABLE events ADD COLUMN note text NOT NULL DEFAULT 'none';
    ALTER TABLE lanes ADD COLUMN weight integer NOT NULL DEFAULT 1;
    ALTER TABLE nodes ADD COLUMN zone text;
    ALTER TABLE attempts ADD COLUMN node text;
    CREATE TABLE notes (job_id uuid PRIMARY KEY, text text NOT NULL);
    CREATE INDEX jobs_urgency ON jobs (urgency) WHERE state = 'pending';
    CREATE FUNCTION with_note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN new.note := 'by ' || new.route; RETURN new; END
    $$;
    CREATE TRIGGER with_note BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION with_note();
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT max(version) + 1, 'expand notes', true, '\x01', 0 FROM _sqlx_migrations;
    COMMIT";

/// A release that takes away what releases need that do not know the migration before.
const CONTRACT: &str = r"
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT max(version) + 1, 'contract ' || max(version) || ' notes', true, '\x02', 0 FROM _sqlx_migrations";

/// The same, for those that know what this release knows.
const CONTRACT_OLDER: &str = r"
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT max(version) + 1, 'contract ' || min(version) || ' older', true, '\x03', 0 FROM _sqlx_migrations";

/// Runs it as a migration is run: one that cannot get its locks is rolled back and run again.
async fn change(site: &Site, text: &'static str) {
    eventually("the migration gets its locks", || async {
        sqlx::raw_sql(text).execute(&mut site.connect().await).await.ok()
    })
    .await;
}

/// Ends the connections of all nodes: each looks at the schema when it connects anew.
async fn cut(site: &Site) {
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE 'sluice%'";
    sqlx::query(all).execute(&mut site.connect().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_over_a_migration_that_only_adds_and_are_replaced_one_after_the_other() {
    let site = Site::new(&fast()).await;
    let folders = [site.folder(), site.folder()];
    let mut nodes = vec![site.node(&folders[0]).await, site.node(&folders[1]).await];
    let ledger = Ledger::default();
    for (round, migration) in [Some(EXPAND), None, Some(CONTRACT_OLDER)].into_iter().enumerate() {
        let loads = [0, 1].map(|nth| Load::begin(&sender(&nodes[nth]), 2 * round + nth, &ledger));
        more_acknowledged(&ledger, 20).await;
        if let Some(migration) = migration {
            change(&site, migration).await;
        }
        more_acknowledged(&ledger, 20).await;
        cut(&site).await;
        more_acknowledged(&ledger, 20).await;
        for load in loads {
            let others = load.end().await;
            assert!(others.iter().all(|status| *status == 503), "{others:?}");
        }
        // N to N + 1 and back: what begins now finds the newer schema.
        for (nth, folder) in folders.iter().enumerate() {
            let load = Load::begin(&sender(&nodes[1 - nth]), 10 + 2 * round + nth, &ledger);
            ends(nodes.remove(nth)).await;
            nodes.insert(nth, site.node(folder).await);
            more_acknowledged(&ledger, 10).await;
            let others = load.end().await;
            assert!(others.iter().all(|status| *status == 503), "{others:?}");
        }
    }
    says(&nodes[0], "the schema is of a newer release, which left this one what it needs").await;
    site.nothing_lost_and_nothing_doubled(&nodes[0], &ledger).await;
    let noted = "SELECT count(*) FROM jobs WHERE note = 'by summary' AND urgency = 3";
    assert!(site.number(noted).await > 0, "what the newer release added is at work");
    for node in nodes {
        ends(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_a_newer_one_left_behind_refuses_by_a_code_and_acknowledges_nothing() {
    let site = Site::new(&fast()).await;
    let (folder, other) = (site.folder(), site.folder());
    let node = site.node(&folder).await;
    assert_eq!(sender(&node).send("before", &completed("before", 0)).await.status, 200);
    change(&site, EXPAND).await;
    change(&site, CONTRACT).await;
    let refused = run(command(other.path(), &["serve"])).await;
    assert_eq!(refused.status, i32::from(ErrorCode::StoreNewer.exit_status()), "{refused:?}");
    assert!(refused.stderr.contains("SLU06") && refused.stderr.contains("run the newer release"), "{refused:?}");
    // One that runs finds out when it connects anew.
    cut(&site).await;
    eventually("it acknowledges nothing", || async {
        let answer = sender(&node).send("after", &completed("after", 0)).await;
        (answer.status == 503).then_some(())
    })
    .await;
    let before = site.number("SELECT count(*) FROM events").await;
    for n in 0..5 {
        let id = format!("late-{n}");
        assert_eq!(sender(&node).send(&id, &completed(&id, 0)).await.status, 503);
    }
    assert_eq!(site.number("SELECT count(*) FROM events").await, before);
    node.kill();
}
