use super::*;

const POLICY: BreakerPolicy = BreakerPolicy {
    failures: 5,
    ratio: 0.5,
    min_calls: 10,
    window: Duration::from_mins(1),
    cooldown: Duration::from_secs(30),
    max_cooldown: Duration::from_mins(15),
    ramp: Duration::from_secs(30),
};

/// A breaker and the time it lives in.
struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new(opens: Opens) -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(POLICY, opens, 7, now), now }
    }

    fn pass(&mut self, secs: f64) {
        self.now += Duration::from_secs_f64(secs);
    }

    fn call(&mut self, user: u64, report: Report) -> Option<BreakerState> {
        self.breaker.check(self.now).unwrap();
        let ticket = self.breaker.take(self.now);
        self.breaker.report(ticket, user, report, self.now)
    }

    fn trip(&mut self) {
        for _ in 0..5 {
            self.call(1, Report::Failure);
        }
        assert_eq!(self.breaker.state(), BreakerState::Open);
    }

    fn cooldown(&self) -> Duration {
        self.breaker.probe_at().unwrap() - self.now
    }

    fn pass_the_cooldown(&mut self) {
        self.now = self.breaker.probe_at().unwrap();
    }
}

#[tokio::test]
async fn five_failures_in_a_row_open_it() {
    let mut bench = Bench::new(Opens::ByAnyone);
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(bench.call(1, Report::Failure), None);
        }
        // Successes in between keep the share of failures below the threshold.
        for _ in 0..10 {
            assert_eq!(bench.call(1, Report::Success), None);
        }
    }
    for _ in 0..4 {
        assert_eq!(bench.call(1, Report::Failure), None);
    }
    assert_eq!(bench.call(1, Report::Failure), Some(BreakerState::Open));
    assert_eq!(bench.breaker.check(bench.now), Err(NotNow::Until(bench.breaker.probe_at().unwrap())));
}

#[tokio::test]
async fn half_of_ten_calls_within_the_window_open_it_even_at_its_beginning() {
    let mut bench = Bench::new(Opens::ByAnyone);
    for n in 0..9 {
        assert_eq!(bench.call(1, if n % 2 == 0 { Report::Success } else { Report::Failure }), None, "call {n}");
    }
    assert_eq!(bench.call(1, Report::Failure), Some(BreakerState::Open));
}

#[tokio::test]
async fn failures_that_left_the_window_do_not_count_for_the_share() {
    let mut bench = Bench::new(Opens::ByAnyone);
    for _ in 0..4 {
        bench.call(1, Report::Failure);
        bench.call(1, Report::Success);
    }
    bench.pass(70.0);
    for _ in 0..6 {
        bench.call(1, Report::Success);
    }
    for _ in 0..4 {
        assert_eq!(bench.call(1, Report::Failure), None);
    }
}

#[tokio::test]
async fn neutral_results_say_nothing() {
    let mut bench = Bench::new(Opens::ByAnyone);
    for _ in 0..4 {
        bench.call(1, Report::Failure);
        bench.call(1, Report::Neutral);
    }
    assert_eq!(bench.call(1, Report::Failure), Some(BreakerState::Open));
}

#[tokio::test]
async fn one_probe_goes_when_the_cooldown_is_over() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    bench.pass_the_cooldown();
    let probe = bench.breaker.take(bench.now);
    assert!(probe.is_probe());
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    for _ in 0..100 {
        assert_eq!(bench.breaker.check(bench.now), Err(NotNow::Probing));
    }
    assert_eq!(bench.breaker.report(probe, 1, Report::Success, bench.now), Some(BreakerState::Closed));
}

#[tokio::test]
async fn a_failed_probe_opens_it_again_for_twice_as_long_up_to_the_limit() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    for plain in [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0] {
        let cooldown = bench.cooldown().as_secs_f64();
        assert!(cooldown >= plain * 0.8 && cooldown <= plain * 1.2, "{cooldown} of {plain}");
        bench.pass_the_cooldown();
        assert_eq!(bench.call(1, Report::Failure), Some(BreakerState::Open));
    }
}

#[tokio::test]
async fn a_probe_without_a_report_leaves_the_probe_to_the_next() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    bench.pass_the_cooldown();
    assert_eq!(bench.call(1, Report::Neutral), None);
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    assert!(bench.breaker.take(bench.now).is_probe());
}

#[tokio::test]
async fn a_straggler_of_an_older_generation_neither_closes_nor_opens_it() {
    let mut bench = Bench::new(Opens::ByAnyone);
    let straggler = bench.breaker.take(bench.now);
    bench.trip();
    bench.pass_the_cooldown();
    let probe = bench.breaker.take(bench.now);
    assert_eq!(bench.breaker.report(straggler, 1, Report::Success, bench.now), None);
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    bench.breaker.report(probe, 1, Report::Success, bench.now);
    assert_eq!(bench.breaker.report(straggler, 1, Report::Failure, bench.now), None);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn after_a_good_probe_calls_come_back_over_the_ramp() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    bench.pass_the_cooldown();
    bench.call(1, Report::Success);
    let mut in_each_third = [0; 3];
    for third in &mut in_each_third {
        for _ in 0..1000 {
            bench.pass(0.01);
            if bench.breaker.check(bench.now).is_ok() {
                bench.call(1, Report::Success);
                *third += 1;
            }
        }
    }
    let [first, second, last] = in_each_third;
    assert!(first < 25 && first * 2 < second && second * 2 < last, "{in_each_third:?}");
    bench.pass(1.0);
    for _ in 0..100 {
        bench.call(1, Report::Success);
    }
}

#[tokio::test]
async fn the_cooldown_is_short_again_only_after_the_ramp() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    bench.pass_the_cooldown();
    bench.call(1, Report::Success);
    bench.pass(2.0);
    for _ in 0..5 {
        bench.pass(1.0);
        bench.call(1, Report::Failure);
    }
    assert!(bench.cooldown() > Duration::from_secs(40), "it flaps: {:?}", bench.cooldown());
    bench.pass_the_cooldown();
    bench.call(1, Report::Success);
    bench.pass(31.0);
    bench.call(1, Report::Success);
    bench.call(1, Report::Success);
    bench.trip();
    assert!(bench.cooldown() < Duration::from_secs(40), "it had recovered: {:?}", bench.cooldown());
}

#[tokio::test]
async fn an_operator_can_have_the_probe_at_once() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.trip();
    assert!(bench.breaker.check(bench.now).is_err());
    bench.breaker.probe_now(bench.now);
    assert_eq!(bench.call(1, Report::Success), Some(BreakerState::Closed));
}

#[tokio::test]
async fn it_can_be_put_away_and_reopened() {
    let mut bench = Bench::new(Opens::ByAnyone);
    bench.breaker.reopen(Duration::from_secs(100), 3, bench.now);
    assert_eq!(bench.breaker.check(bench.now), Err(NotNow::Until(bench.now + Duration::from_secs(100))));
    bench.pass_the_cooldown();
    assert_eq!(bench.call(1, Report::Failure), Some(BreakerState::Open));
    assert!(bench.cooldown() >= Duration::from_secs(192), "the fourth in a row: {:?}", bench.cooldown());
}

#[tokio::test]
async fn a_shared_breaker_is_not_opened_by_one_of_its_users() {
    let mut bench = Bench::new(Opens::ByTwoUsers);
    for _ in 0..100 {
        assert_eq!(bench.call(1, Report::Failure), None);
    }
    assert_eq!(bench.call(2, Report::Failure), Some(BreakerState::Open));
}

#[tokio::test]
async fn a_shared_breaker_opens_when_several_users_fail_in_a_row() {
    let mut bench = Bench::new(Opens::ByTwoUsers);
    let opened = (1..100).find(|user| bench.call(*user, Report::Failure).is_some());
    assert_eq!(opened, Some(5));
}
