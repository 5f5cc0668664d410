//! What nodes tell each other: that lanes have work, what operators did to them, that one left. Only
//! hints, which may be lost; the polls of each node are the truth. One `NOTIFY` carries all that was
//! gathered for a while, for the server takes an instance-wide lock for each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sluice_actors::{domain::LaneKey, ports::Told};
use sqlx::postgres::PgListener;
use tokio::{sync::mpsc, time::sleep};

use super::{
    node::Node,
    open::{self, Database},
};
use crate::store::nodes::Hint;

const CHANNEL: &str = "sluice";
/// The server takes 8 000 bytes.
const LONGEST: usize = 7_900;
/// How long the listener waits for a server that does not let it in.
const WAIT: Duration = Duration::from_secs(1);

const MUCH: &str = "*";
const LEFT: &str = "-";
/// Lines that no lane can be, so that a release that does not know them passes the message over.
const PAUSE: &str = "!pause";
const PROBE: &str = "!probe";

/// The messages of what was gathered: the sender, of what they tell (nothing: work), then a lane a line.
pub(super) fn told(sender: &str, gathered: HashSet<(Told, LaneKey)>) -> Vec<String> {
    let mut lanes = HashMap::<Told, Vec<LaneKey>>::new();
    for (what, lane) in gathered {
        lanes.entry(what).or_default().push(lane);
    }
    lanes.into_iter().flat_map(|(what, lanes)| messages(sender, what, &lanes)).collect()
}

fn messages(sender: &str, what: Told, lanes: &[LaneKey]) -> Vec<String> {
    let head = match what {
        Told::Work => sender.to_owned(),
        Told::Pause => format!("{sender}\n{PAUSE}"),
        Told::Probe => format!("{sender}\n{PROBE}"),
    };
    let mut full = Vec::new();
    let mut text = head.clone();
    for lane in lanes {
        let line = format!("\n{lane}");
        if text.len() + line.len() > LONGEST {
            if what == Told::Work {
                return vec![format!("{sender}\n{MUCH}")];
            }
            full.push(std::mem::replace(&mut text, head.clone()));
        }
        text.push_str(&line);
    }
    full.push(text);
    full
}

/// The message that the sender left.
pub(super) fn left(sender: &str) -> String {
    format!("{sender}\n{LEFT}")
}

/// What a message of another node means; `None` for one's own and for what nobody of us sent.
fn heard(payload: &str, own: &str, holds: impl Fn(&LaneKey) -> bool) -> Option<Hint> {
    let mut lines = payload.lines();
    if lines.next()? == own {
        return None;
    }
    let (mut what, mut lanes) = (Told::Work, Vec::new());
    for line in lines {
        match line {
            MUCH => return Some(Hint::MuchWork),
            LEFT => return Some(Hint::Left),
            PAUSE => what = Told::Pause,
            PROBE => what = Told::Probe,
            lane => {
                let (tenant, source) = lane.split_once('/')?;
                lanes.push(LaneKey { tenant: tenant.parse().ok()?, source: source.parse().ok()? });
            }
        }
    }
    lanes.retain(holds);
    (!lanes.is_empty()).then_some(Hint::Lanes(what, lanes))
}

/// Listens until nobody wants to hear it any more.
pub(super) async fn listen(database: Arc<Database>, node: Arc<Node>, hints: mpsc::Sender<Hint>) {
    while !hints.is_closed() {
        let listening = async {
            let mut listener = PgListener::connect_with(&open::listener(&database)).await?;
            listener.listen(CHANNEL).await?;
            loop {
                let message = listener.recv().await?;
                if let Some(hint) = heard(message.payload(), &node.id(), |lane| node.holds(lane)) {
                    // Full: whoever reads it is busy with what was told before.
                    hints.try_send(hint).ok();
                }
            }
        };
        let ended: Result<(), sqlx::Error> = tokio::select! {
            ended = listening => ended,
            () = hints.closed() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "not listening to the other nodes");
        }
        sleep(WAIT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(text: &str) -> LaneKey {
        let (tenant, source) = text.split_once('/').unwrap();
        LaneKey { tenant: tenant.parse().unwrap(), source: source.parse().unwrap() }
    }

    #[test]
    fn a_node_hears_of_its_own_lanes_from_others_only() {
        let has_pay = |key: &LaneKey| *key == lane("acme/pay");
        for what in [Told::Work, Told::Pause, Told::Probe] {
            let [text] = &*told("a", HashSet::from(["acme/pay", "acme/chat"].map(|key| (what, lane(key))))) else {
                panic!("one message")
            };
            assert_eq!(heard(text, "b", has_pay), Some(Hint::Lanes(what, vec![lane("acme/pay")])));
            assert_eq!(heard(text, "b", |_| false), None);
            assert_eq!(heard(text, "a", |_| true), None);
        }
        assert_eq!(heard(&left("a"), "b", |_| false), Some(Hint::Left));
        assert_eq!(heard("a\nnonsense", "b", |_| true), None);
    }

    #[test]
    fn more_lanes_with_work_than_a_message_holds_become_one_word_and_what_operators_did_several_messages() {
        let many = |what| (0..1000).map(|n| (what, lane(&format!("acme/source-{n}")))).collect::<HashSet<_>>();
        let texts = told("a", many(Told::Work));
        assert_eq!(texts.iter().map(|text| heard(text, "b", |_| false)).collect::<Vec<_>>(), [Some(Hint::MuchWork)]);
        let mut lanes = HashSet::new();
        for text in told("a", many(Told::Probe)) {
            assert!(text.len() < 8000);
            let Some(Hint::Lanes(Told::Probe, some)) = heard(&text, "b", |_| true) else { panic!("{text}") };
            lanes.extend(some.into_iter().map(|lane| (Told::Probe, lane)));
        }
        assert_eq!(lanes, many(Told::Probe));
    }
}
