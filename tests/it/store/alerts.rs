//! What was told when: once an hour, by one of those who ask.

use std::time::Duration;

use sluice::{
    api::marks::{HeldAlert, Mark, Marks, Raise, Raised},
    ids,
};

use super::{on_both, world::World};

const HOUR: Duration = Duration::from_hours(1);

on_both! {
    an_alert_is_told_once_an_hour_and_the_next_one_says_how_many_were_not
    what_was_held_is_told_when_the_hour_is_over_once
    lanes_and_causes_have_hours_of_their_own
    what_lasts_is_neither_held_nor_counted
    of_many_that_ask_at_once_one_tells
    a_clock_that_was_set_back_silences_nothing_for_long
    who_asks_again_after_a_lost_answer_is_answered_the_same
}

fn raise(place: &str, cause: &'static str) -> Raise {
    let mark = Mark { tenant: "acme".into(), place: place.into(), cause };
    let id = hex::encode(ids::nonce());
    Raise { id, mark, every: HOUR, counts: true, hold: Some(format!("{place} {cause}")) }
}

async fn ask(world: &World) -> Raised {
    world.store.raise(raise("pay", "breaker_opened")).await.unwrap()
}

async fn held(world: &World) -> Vec<HeldAlert> {
    world.store.held_alerts(world.now().minus(HOUR), 10).await.unwrap()
}

async fn an_alert_is_told_once_an_hour_and_the_next_one_says_how_many_were_not(world: World) {
    assert_eq!(ask(&world).await, Raised::Tell { suppressed: 0 });
    for _ in 0..3 {
        world.clock.advance(HOUR / 4);
        assert_eq!(ask(&world).await, Raised::Suppressed);
    }
    world.clock.advance(Duration::from_millis(15 * 60_000 - 1));
    assert_eq!(ask(&world).await, Raised::Suppressed);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&world).await, Raised::Tell { suppressed: 4 });
    assert_eq!(ask(&world).await, Raised::Suppressed);
}

async fn what_was_held_is_told_when_the_hour_is_over_once(world: World) {
    ask(&world).await;
    world.clock.advance(HOUR / 2);
    ask(&world).await;
    ask(&world).await;
    assert_eq!(held(&world).await, []);
    world.clock.advance(HOUR / 2);
    let found = held(&world).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].suppressed, &*found[0].alert), (2, "pay breaker_opened"));
    assert!(world.store.take_held_alert(&found[0]).await.unwrap());
    assert!(!world.store.take_held_alert(&found[0]).await.unwrap(), "only one node tells it");
    assert_eq!(held(&world).await, []);
    assert_eq!(ask(&world).await, Raised::Suppressed, "its telling began another hour");

    world.clock.advance(HOUR);
    let stale = held(&world).await.remove(0);
    assert_eq!(ask(&world).await, Raised::Tell { suppressed: 1 });
    assert!(!world.store.take_held_alert(&stale).await.unwrap(), "the next one has told of it");
}

async fn lanes_and_causes_have_hours_of_their_own(world: World) {
    for (place, cause) in [("pay", "breaker_opened"), ("pay", "breaker_closed"), ("chat", "breaker_opened")] {
        let told = world.store.raise(raise(place, cause)).await.unwrap();
        assert_eq!(told, Raised::Tell { suppressed: 0 }, "{place} {cause}");
    }
    let mut foreign = raise("pay", "breaker_opened");
    foreign.mark.tenant = "bravo".into();
    assert_eq!(world.store.raise(foreign).await.unwrap(), Raised::Tell { suppressed: 0 });
}

async fn what_lasts_is_neither_held_nor_counted(world: World) {
    let lasting = || Raise { counts: false, hold: None, ..raise("pay", "secret_expiring") };
    assert_eq!(world.store.raise(lasting()).await.unwrap(), Raised::Tell { suppressed: 0 });
    for _ in 0..3 {
        assert_eq!(world.store.raise(lasting()).await.unwrap(), Raised::Suppressed);
    }
    world.clock.advance(HOUR);
    assert_eq!(held(&world).await, []);
    assert_eq!(world.store.raise(lasting()).await.unwrap(), Raised::Tell { suppressed: 0 });
}

async fn of_many_that_ask_at_once_one_tells(world: World) {
    let asked = (0..20).map(|_| ask(&world));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| **answer != Raised::Suppressed).count(), 1, "{answers:?}");
}

async fn a_clock_that_was_set_back_silences_nothing_for_long(world: World) {
    ask(&world).await;
    let ahead = format!("UPDATE alert_marks SET told_at = {}", world.now().plus(HOUR * 24).as_millis());
    world.other_program().await.run(&ahead).await.unwrap();
    assert_eq!(ask(&world).await, Raised::Tell { suppressed: 0 });
}

async fn who_asks_again_after_a_lost_answer_is_answered_the_same(world: World) {
    let one = raise("pay", "breaker_opened");
    for _ in 0..2 {
        assert_eq!(world.store.raise(one.clone()).await.unwrap(), Raised::Tell { suppressed: 0 });
    }
    assert_eq!(ask(&world).await, Raised::Suppressed);
}

#[tokio::test]
async fn of_two_nodes_that_ask_at_once_one_tells() {
    let world = World::postgres().await;
    let other = world.open_again().await.unwrap();
    let mut told = 0;
    for nth in 0..20 {
        let place = format!("lane-{nth}");
        let (one, two) =
            tokio::join!(world.store.raise(raise(&place, "lane_parked")), other.raise(raise(&place, "lane_parked")));
        told += [one.unwrap(), two.unwrap()].iter().filter(|answer| **answer != Raised::Suppressed).count();
    }
    assert_eq!(told, 20);
}
