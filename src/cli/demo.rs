//! `sluice demo`: the real gateway in a scratch folder, with stand-ins for whom it calls.

mod board;
mod keys;
mod story;
mod world;

use std::{process::ExitCode, time::Duration};

use clap::Args;

use self::{
    board::Board,
    story::{Outcome, Story},
    world::World,
};
use super::{Global, output};
use crate::lifecycle::{Asked, End, Signals, drain_or_second_signal};

/// See the gateway at work on this machine alone.
///
/// Signed traffic of every vendor becomes summaries
/// and posts, and what goes wrong is seen to be contained. Needs no network, account or key.
///
/// It stays up with its URLs until Ctrl-C; its folder is removed at the end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice demo\n  sluice demo --once --json")]
pub(super) struct Demo {
    /// End after the summary; the status is 1 if something was not shown
    #[arg(long)]
    once: bool,
}

/// What a shell says of a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

impl Demo {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::register()?;
        let world = World::start().await?;
        let told = self.tell(&world, global, &mut signals).await;
        let Some(shown_all) = told? else {
            output::note("interrupted, cleaning up");
            world.stop().await;
            return Ok(ExitCode::from(INTERRUPTED));
        };
        if !self.once {
            if !global.json {
                world.places();
            }
            output::note("\nrunning until Ctrl-C");
            stop_asked(&mut signals).await;
            output::note("stopping");
        }
        match drain_or_second_signal(&mut signals, world.stop()).await {
            End::Drained(()) if shown_all => Ok(ExitCode::SUCCESS),
            End::Drained(()) | End::Forced => Ok(ExitCode::FAILURE),
        }
    }

    /// Plays the story and prints what was shown: whether all of it was. None: a signal came first.
    async fn tell(&self, world: &World, global: &Global, signals: &mut Signals) -> anyhow::Result<Option<bool>> {
        let board = Board::new();
        if !global.json {
            board.line(&format!("gateway started in {}", world.folder().display()));
        }
        let story = Story::new(world, &board, global.json);
        let played = tokio::select! {
            played = board.follow(&world.running, story.play()) => Some(played),
            () = stop_asked(signals) => None,
        };
        board.clear();
        let Some(outcomes) = played else { return Ok(None) };
        let shown_all = outcomes.iter().all(Outcome::is_shown);
        if global.json {
            output::json(&world.report(&outcomes))?;
        } else {
            world.summary(&outcomes);
        }
        Ok(Some(shown_all))
    }
}

async fn stop_asked(signals: &mut Signals) {
    while signals.next().await == Asked::Reload {}
}

/// How often the demo looks whether something has happened.
const LOOK: Duration = Duration::from_millis(25);
