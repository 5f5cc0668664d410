//! What nodes tell each other: that lanes have work, that one left. Only hints, which may be lost;
//! the poll of each node is the truth. One `NOTIFY` carries all that was gathered for a while, for
//! the server takes an instance-wide lock for each.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sluice_actors::domain::LaneKey;
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

/// The message that these lanes have work: the sender, then a lane a line.
pub(super) fn told(sender: &str, lanes: &HashSet<LaneKey>) -> String {
    let mut text = sender.to_owned();
    for lane in lanes {
        text.push('\n');
        text.push_str(&lane.to_string());
        if text.len() > LONGEST {
            return format!("{sender}\n{MUCH}");
        }
    }
    text
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
    let mut lanes = Vec::new();
    for line in lines {
        match line {
            MUCH => return Some(Hint::MuchWork),
            LEFT => return Some(Hint::Left),
            lane => {
                let (tenant, source) = lane.split_once('/')?;
                lanes.push(LaneKey { tenant: tenant.parse().ok()?, source: source.parse().ok()? });
            }
        }
    }
    lanes.retain(holds);
    (!lanes.is_empty()).then_some(Hint::Work(lanes))
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
        let lanes = HashSet::from([lane("acme/pay"), lane("acme/chat")]);
        let text = told("a", &lanes);
        let has_pay = |key: &LaneKey| *key == lane("acme/pay");
        assert_eq!(heard(&text, "b", has_pay), Some(Hint::Work(vec![lane("acme/pay")])));
        assert_eq!(heard(&text, "b", |_| false), None);
        assert_eq!(heard(&text, "a", |_| true), None);
        assert_eq!(heard(&left("a"), "b", |_| false), Some(Hint::Left));
        assert_eq!(heard("a\nnonsense", "b", |_| true), None);
    }

    #[test]
    fn more_lanes_than_a_message_holds_become_one_word() {
        let lanes: HashSet<_> = (0..1000).map(|n| lane(&format!("acme/source-{n}"))).collect();
        let text = told("a", &lanes);
        assert!(text.len() < 8000);
        assert_eq!(heard(&text, "b", |_| false), Some(Hint::MuchWork));
    }
}
