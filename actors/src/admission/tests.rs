//! The desk alone, without actors: what a grant costs, and that nobody is forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, advance};

use super::{
    Admission, Deliver, Opened,
    grant::Granted,
    line::steps,
    state::{State, Want},
    turn::Care,
};
use crate::{
    domain::{CallResult, CalleeId, JobClass, LaneKey, Timestamp},
    ports::{BreakerMemory, BreakerPolicy, CalleePolicy, Clock, LaneMemory, LanePolicy, Rate},
    testing::{
        BREAKER, MemoryStore, Recorder, ScriptedAction, TestPolicies, VirtualClock, default_callee, default_lane,
        lane_key,
    },
    world::{NodeLimits, World},
};

const WALL: Timestamp = Timestamp::from_secs(1_767_225_600);

/// A desk with lanes that are awake.
struct Desk {
    state: State,
    policies: TestPolicies,
    opened: HashMap<LaneKey, Opened>,
}

impl Desk {
    fn new(slots: usize, callee: CalleePolicy) -> Self {
        let rate = Rate { per_second: 1e6, burst: 1000 };
        let lane = LanePolicy { rate, concurrency: 32, breaker: callee.breaker, ..default_lane() };
        Self {
            state: State::new(slots, 7, Instant::now()),
            policies: TestPolicies::new(lane, callee),
            opened: HashMap::new(),
        }
    }

    fn open(&mut self, lane: &LaneKey) {
        use crate::ports::Policies;
        let policy = self.policies.lane(lane).unwrap();
        let now = Instant::now();
        let deliver: Deliver = Arc::new(|_, _| {});
        let opened = self.state.open_lane(lane, policy, &LaneMemory::default(), None, deliver, WALL, now);
        self.opened.insert(lane.clone(), opened);
    }

    fn ask(&mut self, lane: &LaneKey, group: u64, callees: &[CalleeId], class: JobClass, care: Care) -> Vec<Granted> {
        let now = Instant::now();
        self.state.know(lane, callees, &self.policies, now);
        let want = Want { group, callees: callees.into(), class, care, count: 1 };
        self.state.ask(lane, self.opened[lane], want, now)
    }

    /// Time passes and something was given back: who is granted now.
    fn serve(&mut self) -> Vec<Granted> {
        self.state.serve(Instant::now());
        self.state.take_outbox().grants.into_iter().map(|(_, _, granted)| granted).collect()
    }

    fn end(&mut self, granted: Granted, result: CallResult) {
        let Granted { lane, care, passes } = granted;
        let now = Instant::now();
        for (callee, entered) in passes {
            self.state.leave(&lane, &callee, entered, Some(result), now);
        }
        self.state.release(&lane, None, care, false, now);
    }
}

fn lanes(count: usize, tenants: usize) -> Vec<LaneKey> {
    (0..count).map(|n| lane_key(&format!("t{}/s{n}", n % tenants))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_grant_costs_the_same_however_many_lanes_wait_for_a_slot() {
    let llm = CalleeId::new("llm", "0123abcd");
    for (count, tenants) in [(10_000, 1), (10_000, 10_000)] {
        let mut desk = Desk::new(16, default_callee());
        advance(Duration::from_secs(1)).await;
        let mut running = Vec::new();
        let mut served = HashSet::new();
        for lane in lanes(count, tenants) {
            desk.open(&lane);
            running.extend(desk.ask(&lane, 1, std::slice::from_ref(&llm), JobClass::Fresh, Care::None));
        }
        let before = steps::taken();
        while let Some(granted) = running.pop() {
            served.insert(granted.lane.clone());
            advance(Duration::from_millis(10)).await;
            desk.end(granted, CallResult::Success);
            running.extend(desk.serve());
        }
        assert_eq!(served.len(), count, "each lane had its turn");
        let each = (steps::taken() - before) / count as u64;
        assert!(each <= 48, "{each} looks for each grant, {count} lanes of {tenants} tenants");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_costs_the_same_however_many_lanes_wait_for_a_callee() {
    let llm = CalleeId::new("llm", "0123abcd");
    let rate = Rate { per_second: 100.0, burst: 1 };
    for (count, tenants) in [(10_000, 1), (10_000, 10_000)] {
        let mut desk = Desk::new(256, CalleePolicy { rate: Some(rate), concurrency: Some(3), ..default_callee() });
        for lane in lanes(count, tenants) {
            desk.open(&lane);
            assert!(desk.ask(&lane, 1, std::slice::from_ref(&llm), JobClass::Fresh, Care::None).is_empty());
        }
        let before = steps::taken();
        let mut served = HashSet::new();
        while served.len() < count {
            let at = desk.state.next_look().expect("who waits for a token is looked at when it is there");
            tokio::time::sleep_until(at).await;
            let mut running = desk.serve();
            while let Some(granted) = running.pop() {
                served.insert(granted.lane.clone());
                desk.end(granted, CallResult::Success);
                running.extend(desk.serve());
            }
        }
        let each = (steps::taken() - before) / count as u64;
        assert!(each <= 16, "{each} looks for each grant, {count} lanes of {tenants} tenants");
    }
}

/// Lanes, callees, classes and suspects at random, with failures and refused credentials: whoever
/// asks is served in the end, and the desk says by itself when to look again.
#[tokio::test(start_paused = true)]
async fn nobody_who_waits_is_forgotten() {
    const ASKS: usize = 300;
    let breaker = BreakerPolicy { failures: 2, cooldown: Duration::from_secs(3), ..BREAKER };
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let concurrency = rng.random_bool(0.5).then(|| rng.random_range(1..12));
        let rate = rng.random_bool(0.5).then_some(Rate { per_second: 5.0, burst: 2 });
        let mut desk =
            Desk::new(rng.random_range(1..40), CalleePolicy { rate, concurrency, breaker, ..default_callee() });
        let callees: Vec<_> = (0..3).map(|n| CalleeId::new("host", &format!("h{n}.example"))).collect();
        let lanes = lanes(12, 3);
        for lane in &lanes {
            desk.open(lane);
        }
        let (mut running, mut step) = (Vec::new(), 0);
        loop {
            let asks = step < ASKS;
            if asks {
                // The first tenant is noisy.
                let lane = &lanes[if rng.random_bool(0.6) { 0 } else { rng.random_range(0..lanes.len()) }];
                let care = match rng.random_range(0..20) {
                    0 => Care::Quarantine,
                    1 => Care::Alone,
                    _ => Care::None,
                };
                let class = [JobClass::Fresh, JobClass::Retry, JobClass::Replay][rng.random_range(0..3)];
                let first = rng.random_range(0..callees.len());
                let whom: Vec<_> = callees.iter().cycle().skip(first).take(rng.random_range(0..3)).cloned().collect();
                running.extend(desk.ask(lane, step as u64, &whom, class, care));
                if rng.random_bool(0.02) {
                    desk.state.refuse_credentials(lane, &callees[first], Instant::now());
                }
                step += 1;
            }
            advance(Duration::from_millis(rng.random_range(0..300))).await;
            if !running.is_empty() && rng.random_bool(if asks { 0.3 } else { 1.0 }) {
                let one = running.swap_remove(rng.random_range(0..running.len()));
                let fails = asks && rng.random_bool(0.3);
                let result = if fails { CallResult::Failure { retry_after: None } } else { CallResult::Success };
                desk.end(one, result);
            } else if running.is_empty() && !asks {
                let Some(at) = desk.state.next_look() else { break };
                tokio::time::sleep_until(at).await;
            }
            running.extend(desk.serve());
        }
        let waiting: Vec<_> = lanes.iter().flat_map(|lane| desk.state.room.places(lane)).collect();
        assert_eq!(waiting, [] as [String; 0], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reserved_probe_becomes_a_call_before_anyone_else_gets_it() {
    let (llm, site) = (CalleeId::new("llm", "0123abcd"), CalleeId::new("wordpress", "blog.example"));
    let clock = Arc::new(VirtualClock::default());
    let admission = Admission::new(World {
        store: Arc::new(MemoryStore::new(clock.clone())),
        action: Arc::new(ScriptedAction::default()),
        policies: Arc::new(TestPolicies::new(default_lane(), default_callee())),
        observer: Arc::new(Recorder::default()),
        clock: clock.clone(),
        seed: 7,
        limits: NodeLimits::default(),
    });
    let (one, other) = (lane_key("acme/one"), lane_key("other/two"));
    let memory = BreakerMemory { callee: site.clone(), probe_at: clock.now(), opens: 1, shared: true };
    admission.restore_shared(&one, &memory);
    advance(Duration::from_secs(60)).await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut opened = Vec::new();
    for lane in [&one, &other] {
        let served = served.clone();
        let deliver: Deliver = Arc::new(move |_, grant| served.lock().unwrap().push(grant));
        opened.push(admission.open_lane(lane, default_lane(), &LaneMemory::default(), Some(Instant::now()), deliver));
    }
    let want = || Want {
        group: 1,
        callees: [llm.clone(), site.clone()].into(),
        class: JobClass::Fresh,
        care: Care::None,
        count: 1,
    };
    let mut granted = admission.ask(&one, opened[0], want());
    assert!(
        admission.ask(&other, opened[1], want()).is_empty(),
        "one attempt at a time goes to a site that may be down"
    );
    let mut passes = granted[0].begun();
    let reserved = passes.pop().expect("of the site");
    passes.pop().expect("of the model").use_it().report(CallResult::Success);
    let Ok(pass) = reserved.complete(Instant::now() + Duration::from_secs(2)).await else {
        panic!("the model was paid, and another attempt got the probe")
    };
    assert!(served.lock().unwrap().is_empty());
    pass.use_it().report(CallResult::Success);
    tokio::spawn(admission.clone().keep_time());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(served.lock().unwrap().len(), 1, "the site is well: the other goes on");
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_asked_for_is_not_its_successors() {
    let (llm, lane, other) = (CalleeId::new("llm", "0123abcd"), lane_key("acme/one"), lane_key("acme/two"));
    let mut desk = Desk::new(1, default_callee());
    advance(Duration::from_secs(1)).await;
    desk.open(&other);
    desk.open(&lane);
    let running = desk.ask(&other, 1, &[], JobClass::Fresh, Care::None).pop().expect("the slot is free");
    let before = desk.opened[&lane];
    assert!(desk.ask(&lane, 1, std::slice::from_ref(&llm), JobClass::Fresh, Care::None).is_empty());
    // The next actor counts its groups from one again.
    desk.open(&lane);
    assert!(desk.ask(&lane, 1, &[], JobClass::Fresh, Care::None).is_empty());
    let late = Want { group: 7, callees: [].into(), class: JobClass::Fresh, care: Care::None, count: 1 };
    assert!(desk.state.ask(&lane, before, late, Instant::now()).is_empty());
    assert_eq!(desk.state.room.places(&lane).len(), 1, "only what the actor that lives asked for");
    desk.end(running, CallResult::Success);
    let granted = desk.serve();
    assert_eq!(granted.iter().map(|granted| granted.passes.len()).collect::<Vec<_>>(), [0]);
}
