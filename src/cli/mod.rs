//! The command line: one file per subcommand. Results go to standard output, everything else to
//! standard error; an error is one line that names the cure, and an exit status (0 ok, 1 failed,
//! 2 usage, 78 bad configuration).

mod check;
mod client;
mod dead;
mod demo;
mod doctor;
mod events;
mod files;
mod filter;
mod handshake;
mod init;
mod jobs;
mod lanes;
mod migrate;
mod output;
mod release;
mod replay;
mod send;
mod serve;
mod source;
mod why;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{app::Refused, config, error_code::ErrorCode};

/// Receives webhooks, verifies and stores them, and runs the work they cause.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    about,
    max_term_width = 100,
    after_help = "Begin with `sluice demo`, or with `sluice init DIR` for a configuration of your own."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Global {
    /// The configuration: sluice.toml or its folder
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SLUICE_CONFIG",
        default_value = "sluice.toml",
        help_heading = "Of every command"
    )]
    config: PathBuf,
    /// Print JSON instead of tables
    #[arg(long, global = true, help_heading = "Of every command")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Serve(serve::Serve),
    Check(check::Check),
    Migrate(migrate::Migrate),
    /// Add a source to a tenant
    #[command(subcommand)]
    Source(source::SourceCommand),
    Send(send::Send),
    Doctor(doctor::Doctor),
    Why(why::Why),
    /// List or show events
    Events(events::Events),
    /// List, show or cancel jobs
    Jobs(jobs::Jobs),
    /// List, pause, resume or probe lanes
    Lanes(lanes::Lanes),
    /// List, show or replay dead letters
    #[command(subcommand)]
    Dead(dead::Dead),
    Replay(replay::Replay),
    Release(release::Release),
    /// Show what a vendor handed over while its webhook was set up
    #[command(subcommand)]
    Handshake(handshake::Handshake),
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Demo(command) => runtime()?.block_on(command.run(&global)),
        Command::Init(command) => command.run(&global),
        Command::Serve(command) => runtime()?.block_on(command.run(&global)),
        Command::Check(command) => command.run(&global),
        Command::Migrate(command) => runtime()?.block_on(command.run(&global)),
        Command::Send(command) => command.run(&global),
        Command::Source(command) => runtime()?.block_on(command.run(&global)),
        Command::Doctor(command) => runtime()?.block_on(command.run(&global)),
        Command::Why(command) => runtime()?.block_on(command.run(&global)),
        Command::Events(command) => runtime()?.block_on(command.run(&global)),
        Command::Jobs(command) => runtime()?.block_on(command.run(&global)),
        Command::Lanes(command) => runtime()?.block_on(command.run(&global)),
        Command::Dead(command) => runtime()?.block_on(command.run(&global)),
        Command::Replay(command) => runtime()?.block_on(command.run(&global)),
        Command::Release(command) => runtime()?.block_on(command.run(&global)),
        Command::Handshake(command) => runtime()?.block_on(command.run(&global)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Prints an error and says the status it ends with.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(errors) = error.downcast_ref::<config::Errors>() {
        for error in &errors.0 {
            output::complain(&format!("{}: {error}", error.code));
        }
        return ExitCode::from(ErrorCode::Configuration.exit_status());
    }
    if let Some(refused) = error.downcast_ref::<Refused>() {
        output::complain(&refused.to_string());
        return ExitCode::from(refused.code.exit_status());
    }
    output::complain(&format!("{error:#}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
