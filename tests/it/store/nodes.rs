//! What only several nodes on one database can do to each other.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sluice::store::{
    Store,
    nodes::{Hint, Profile},
};
use sluice_actors::{
    domain::{JobResult, JobState},
    ports::{Acquired, JobStore, Told, Verdict},
    several_nodes_contract,
    testing::{NewJob, contract::Fixture, contract::nodes::Nodes, lane_key},
};
use sqlx::{ConnectOptions as _, Connection, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::world::World;
use crate::harness::{eventually, within};

#[async_trait]
impl Nodes for World {
    async fn another(&mut self) -> Arc<dyn JobStore> {
        Arc::new(self.open_again().await.unwrap())
    }

    async fn take_for_dead(&mut self) {
        // As another node does once the lease has run out.
        let id = own_id(&self.store);
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::query("DELETE FROM nodes WHERE id = $1").bind(id).execute(&mut connection).await.unwrap();
    }
}

several_nodes_contract!(World::postgres());

/// Under which id a store lives.
fn own_id(store: &Store) -> String {
    let members = store.nodes().unwrap().members().borrow().clone();
    members.iter().find(|member| member.is_self).expect("it lives").id.clone()
}

/// How many nodes a store sees.
fn seen(store: &Store) -> usize {
    store.nodes().unwrap().members().borrow().len()
}

async fn owner(world: &World, lane: &str) -> Option<String> {
    let lane = lane_key(lane);
    let mut connection = PgConnection::connect(&world.url()).await.unwrap();
    let asked = "SELECT owner FROM lanes WHERE tenant = $1 AND source = $2 AND held";
    let asked = sqlx::query_scalar(asked).bind(lane.tenant.as_str()).bind(lane.source.as_str());
    asked.fetch_optional(&mut connection).await.unwrap().flatten()
}

#[tokio::test]
async fn a_node_taken_for_dead_notices_and_comes_back_without_a_lane() {
    let mut world = World::postgres().await;
    let lease = world.store.nodes().unwrap().lease();
    let lane = lane_key("acme/pay");
    assert!(matches!(world.store.acquire_lane(&lane).await.unwrap(), Acquired::Mine(_)));
    let before = own_id(&world.store);
    world.take_for_dead().await;
    eventually("it comes back", || async { (lease.borrow().tenure == 1).then_some(()) }).await;
    let another_id = || async { Some(own_id(&world.store)).filter(|id| *id != before) };
    let after = eventually("it has another id", another_id).await;
    let Acquired::Mine(owned) = world.store.acquire_lane(&lane).await.unwrap() else { panic!("its owner is dead") };
    assert!(owned.taken_over && owned.epoch.0 == 2, "{owned:?}");
    assert_eq!(owner(&world, "acme/pay").await, Some(after));
    let job = world.insert(NewJob::on("acme/pay")).await;
    world.run(job, Verdict::Succeeded(JobResult::default())).await;
}

#[tokio::test]
async fn a_write_of_a_node_taken_for_dead_is_counted() {
    let mut world = World::postgres().await;
    let nodes = world.store.nodes().unwrap();
    let job = world.insert(NewJob::on("acme/pay")).await;
    world.begin(job).await;
    assert_eq!(nodes.refused(), 0);
    let waiting = world.insert(NewJob::on("acme/pay")).await;
    let epoch = sluice_actors::testing::contract::taken(&world.store, waiting).await;
    world.take_for_dead().await;
    world.store.begin(waiting, false, epoch).await.unwrap();
    assert_eq!(nodes.refused(), 1);
    assert_eq!(world.state(waiting).await, JobState::Pending);
}

#[tokio::test]
async fn a_node_whose_lease_ran_out_is_buried_by_another_and_its_jobs_are_brought_back() {
    let world = World::postgres().await;
    let job = world.insert(NewJob::on("acme/pay")).await;
    world.begin(job).await;
    let other = world.open_again().await.unwrap();
    assert_eq!(other.recover().await.unwrap().suspects, 0);
    // Frozen: it renews nothing more, but its row and its connections are there.
    let id = own_id(&world.store);
    let mut connection = PgConnection::connect(&world.url()).await.unwrap();
    sqlx::raw_sql(
        "CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF old.id = current_setting('test.frozen', true) THEN RETURN NULL; END IF; RETURN new;
         END $$;
         CREATE TRIGGER frozen BEFORE UPDATE ON nodes FOR EACH ROW EXECUTE FUNCTION frozen()",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::query("UPDATE nodes SET lease_until = wall_ms() - 1 WHERE id = $1")
        .bind(&id)
        .execute(&mut connection)
        .await
        .unwrap();
    within(Duration::from_secs(5), "the other brings the job back", || async {
        (world.state(job).await == JobState::Pending).then_some(())
    })
    .await;
    assert!(matches!(other.acquire_lane(&lane_key("acme/pay")).await.unwrap(), Acquired::Mine(_)));
    other.close().await;
}

#[tokio::test]
async fn a_node_frozen_in_the_midst_of_a_transaction_keeps_its_lanes_no_longer_than_its_lease() {
    let world = World::postgres().await;
    let lane = lane_key("acme/pay");
    let mut connection = PgConnection::connect(&world.url()).await.unwrap();
    let named = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice ' || $1";
    let named: i64 = sqlx::query_scalar(named).bind(own_id(&world.store)).fetch_one(&mut connection).await.unwrap();
    assert!(named > 1, "its writers and readers say whose they are: {named}");
    let dead = "INSERT INTO nodes (id, started_at, lease_until) VALUES ('frozen.2', 0, wall_ms() + 60000)";
    let held = "INSERT INTO lanes (tenant, source, owner, epoch, held) VALUES ('acme', 'pay', 'frozen.2', 1, true)";
    for text in [dead, held] {
        connection.execute(text).await.unwrap();
    }
    assert_eq!(world.store.acquire_lane(&lane).await.unwrap(), Acquired::Elsewhere);
    // Without a timeout of its own, as where the server waits for the rest of a request.
    let begun = async |name: &str, text: &'static str| {
        let options: PgConnectOptions = world.url().parse().unwrap();
        let mut begun = options.application_name(name).connect().await.unwrap();
        begun.execute(text).await.unwrap();
        begun
    };
    let holds = "BEGIN; SELECT 1 FROM nodes WHERE id = 'frozen.2' FOR KEY SHARE; UPDATE lanes SET config = 'late'";
    let mut frozen = begun("sluice frozen", holds).await;
    let mut alive = begun("sluice alive", "BEGIN; SELECT pg_current_xact_id()").await;
    connection.execute("UPDATE nodes SET lease_until = wall_ms() - 1 WHERE id = 'frozen.2'").await.unwrap();
    eventually("the lane goes over", || async {
        let acquired = world.store.acquire_lane(&lane).await;
        acquired.is_ok_and(|acquired| matches!(acquired, Acquired::Mine(_))).then_some(())
    })
    .await;
    assert!(frozen.execute("COMMIT").await.is_err(), "what it had under way is undone");
    alive.execute("COMMIT").await.expect("nobody else's");
}

/// As where a provider rotates the password of the database between two users.
#[tokio::test]
async fn nodes_of_several_users_end_each_others_transactions_where_they_may_signal() {
    let world = World::postgres().await;
    let mut admin = PgConnection::connect(&world.url()).await.unwrap();
    let roles =
        "CREATE ROLE gateway; CREATE ROLE gateway_a LOGIN IN ROLE gateway; CREATE ROLE gateway_b LOGIN IN ROLE gateway;
        GRANT ALL ON ALL TABLES IN SCHEMA public TO gateway;
        INSERT INTO nodes (id, started_at, lease_until) VALUES ('frozen', 0, 0)";
    admin.execute(roles).await.unwrap();
    let as_user = async |user: &str, name: &str| {
        let options: PgConnectOptions = world.url().parse().unwrap();
        options.username(user).options([("role", "gateway")]).application_name(name).connect().await.unwrap()
    };
    let mut frozen = as_user("gateway_b", "sluice frozen").await;
    frozen.execute("BEGIN; SELECT 1 FROM nodes WHERE id = 'frozen' FOR KEY SHARE").await.unwrap();
    let mut other = as_user("gateway_a", "sluice other").await;
    let text = include_str!("../../../src/store/sql/postgres/own/end_dead_transactions.sql");
    let ended = async |other: &mut PgConnection| -> Vec<bool> {
        sqlx::query_scalar(text).bind("other").fetch_all(other).await.unwrap()
    };
    assert_eq!(ended(&mut other).await, [false; 0], "it may not, and that is no error");
    admin.execute("GRANT pg_signal_backend TO gateway").await.unwrap();
    // Whether it ended in time is the machine's affair.
    assert_eq!(ended(&mut other).await.len(), 1);
    assert!(frozen.execute("COMMIT").await.is_err());
    drop((frozen, other));
    admin.execute("DROP OWNED BY gateway; DROP ROLE gateway_a, gateway_b, gateway").await.unwrap();
}

#[tokio::test]
async fn a_node_that_leaves_gives_all_its_lanes_back_at_once() {
    let world = World::postgres().await;
    let other = world.open_again().await.unwrap();
    let mut hints = world.store.nodes().unwrap().hints().unwrap();
    let lanes: Vec<_> = (0..20).map(|n| lane_key(&format!("acme/s{n}"))).collect();
    for lane in &lanes {
        assert!(matches!(other.acquire_lane(lane).await.unwrap(), Acquired::Mine(_)));
        assert_eq!(world.store.acquire_lane(lane).await.unwrap(), Acquired::Elsewhere);
    }
    other.close().await;
    for lane in &lanes {
        assert!(matches!(world.store.acquire_lane(lane).await.unwrap(), Acquired::Mine(_)), "{lane}");
    }
    let left = tokio::time::timeout(Duration::from_secs(10), hints.recv()).await.unwrap();
    assert_eq!(left, Some(Hint::Left));
}

#[tokio::test]
async fn a_node_hears_of_work_that_another_took_in_for_its_lanes() {
    let world = World::postgres().await;
    let other = world.open_again().await.unwrap();
    let mut hints = world.store.nodes().unwrap().hints().unwrap();
    let (mine, free) = (lane_key("acme/mine"), lane_key("acme/free"));
    world.store.acquire_lane(&mine).await.unwrap();
    // Its listener may not be there yet: hints may be lost.
    let heard = within(Duration::from_secs(10), "the owner hears", || async {
        other.tell(&mine, Told::Work);
        other.tell(&free, Told::Work);
        tokio::time::sleep(Duration::from_millis(200)).await;
        (!hints.is_empty()).then_some(())
    });
    heard.await;
    assert_eq!(hints.recv().await, Some(Hint::Lanes(Told::Work, vec![mine])), "and of nobody's lane nothing");
    other.close().await;
}

#[tokio::test]
async fn a_new_process_of_a_folder_takes_the_place_of_the_dead_one_at_once() {
    let world = World::postgres().await;
    let named = || async { world.open_as("folder").await.unwrap() };
    let first = named().await;
    let lane = lane_key("acme/pay");
    assert!(matches!(first.acquire_lane(&lane).await.unwrap(), Acquired::Mine(_)));
    // It was killed: it says nothing more.
    let second = named().await;
    assert!(matches!(second.acquire_lane(&lane).await.unwrap(), Acquired::Mine(_)));
    second.close().await;
}

#[tokio::test]
async fn a_lane_stays_with_the_configuration_it_ran_with_while_a_node_lives_that_has_it() {
    let world = World::postgres().await;
    let (other, third) = (world.open_again().await.unwrap(), world.open_again().await.unwrap());
    let profile =
        |digest: &str| Profile { config: [("acme".to_owned(), digest.to_owned())].into(), ..Profile::default() };
    world.store.nodes().unwrap().describe(profile("new"));
    other.nodes().unwrap().describe(profile("old"));
    third.nodes().unwrap().describe(profile("old"));
    let told = |store: Store| async move {
        eventually("the nodes know of each other", || async {
            let members = store.nodes().unwrap().members().borrow().clone();
            members.iter().all(|member| !member.profile.config.is_empty()).then_some(())
        })
        .await;
    };
    told(world.store.clone()).await;
    let lane = lane_key("acme/pay");
    let Acquired::Mine(owned) = other.acquire_lane(&lane).await.unwrap() else { panic!("nobody has it") };
    other.release_lane(&lane, owned.epoch).await.unwrap();
    assert_eq!(
        world.store.acquire_lane(&lane).await.unwrap(),
        Acquired::Elsewhere,
        "it ran with another configuration"
    );
    let Acquired::Mine(owned) = third.acquire_lane(&lane).await.unwrap() else { panic!("the same configuration") };
    third.release_lane(&lane, owned.epoch).await.unwrap();
    assert!(
        matches!(world.store.acquire_lane(&lane_key("bravo/pay")).await.unwrap(), Acquired::Mine(_)),
        "another tenant"
    );
    other.close().await;
    third.close().await;
    assert!(matches!(world.store.acquire_lane(&lane).await.unwrap(), Acquired::Mine(_)), "nobody else has the old one");
}

#[tokio::test]
async fn a_node_counts_what_others_do_to_its_jobs() {
    let world = World::postgres().await;
    let other = world.open_again().await.unwrap();
    eventually("both see two nodes", || async { (seen(&world.store) == 2 && seen(&other) == 2).then_some(()) }).await;
    let job = world.insert(NewJob::on("acme/pay")).await;
    let epoch = sluice_actors::testing::contract::taken(&other, job).await;
    other.begin(job, false, epoch).await.unwrap();
    let end = sluice_actors::ports::AttemptEnd {
        job,
        fence: sluice_actors::domain::Fence(1),
        started_at: world.now(),
        duration: Duration::ZERO,
        verdict: Verdict::Succeeded(JobResult::default()),
    };
    other.end(end).await.unwrap();
    assert_eq!(world.pending("acme/pay").await, 1, "not known yet");
    eventually("the counters are read anew", || async { (world.pending("acme/pay").await == 0).then_some(()) }).await;
    other.close().await;
}
