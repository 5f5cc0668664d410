//! The command line: one file per subcommand. Results go to standard output, everything else to
//! standard error; an error is one line that names the cure, and an exit status (0 ok, 1 failed,
//! 2 usage, 78 bad configuration).

mod alert;
mod backup;
mod check;
mod client;
mod copy;
mod dead;
mod demo;
mod doctor;
mod encryption;
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
mod restore;
mod secret;
mod send;
mod serve;
mod source;
mod subject;
mod token;
mod user;
mod why;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{app::Refused, config, error_code::ErrorCode, lifecycle::keep_memory_private};

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
    Backup(backup::Backup),
    Restore(restore::Restore),
    Copy(copy::Copy),
    /// Add a source to a tenant, switch one on and off
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
    /// Export or erase all that is kept of one subject
    #[command(subcommand)]
    Subject(subject::Subject),
    /// Show, rotate and revoke the secrets of sources and of WordPress sites
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Seal what is kept of tenants, say by which keys, erase it
    #[command(subcommand)]
    Encryption(encryption::Encryption),
    /// Try whether alerts arrive
    #[command(subcommand)]
    Alert(alert::Alert),
    /// Show what a vendor handed over while its webhook was set up
    #[command(subcommand)]
    Handshake(handshake::Handshake),
    /// Add, list or remove users of the console and the API
    #[command(subcommand)]
    User(user::User),
    /// Make, list or revoke tokens of the API
    #[command(subcommand)]
    Token(token::Token),
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
    if !matches!(&command, Command::Serve(serve) if serve.allow_core_dumps) {
        keep_memory_private().context("cannot forbid core dumps of this process, which holds secrets")?;
    }
    match command {
        Command::Demo(command) => runtime()?.block_on(command.run(&global)),
        Command::Init(command) => command.run(&global),
        Command::Serve(command) => {
            let runtime = runtime()?;
            let ended = runtime.block_on(command.run(&global));
            // Not dropped: that would wait for calls that block, such as a look-up of a name.
            runtime.shutdown_background();
            ended
        }
        Command::Check(command) => command.run(&global),
        Command::Migrate(command) => runtime()?.block_on(command.run(&global)),
        Command::Backup(command) => runtime()?.block_on(command.run(&global)),
        Command::Restore(command) => runtime()?.block_on(command.run(&global)),
        Command::Copy(command) => runtime()?.block_on(command.run(&global)),
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
        Command::Subject(command) => runtime()?.block_on(command.run(&global)),
        Command::Secret(command) => runtime()?.block_on(command.run(&global)),
        Command::Encryption(command) => runtime()?.block_on(command.run(&global)),
        Command::Alert(command) => runtime()?.block_on(command.run(&global)),
        Command::Handshake(command) => runtime()?.block_on(command.run(&global)),
        Command::User(command) => runtime()?.block_on(command.run(&global)),
        Command::Token(command) => runtime()?.block_on(command.run(&global)),
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

    /// The words of a command as a shell takes them apart; quotes only around whole words.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let words = parts.map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(ToOwned::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect::<Vec<Vec<String>>>().concat()
    }

    fn check_examples(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().flat_map(|line| line.split(" && ")).map(str::trim);
        for example in examples.filter(|line| line.starts_with("sluice ") && !line.contains('…')) {
            let parsed = Cli::command().try_get_matches_from(words(example));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
        command.get_subcommands().for_each(check_examples);
    }

    #[test]
    fn the_examples_of_the_help_are_commands() {
        check_examples(&Cli::command());
    }

    /// Commands in a document: lines of code blocks, and spans of code.
    fn commands(text: &str) -> Vec<String> {
        let text = text.replace("```", "");
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let spans = text.split('`').skip(1).step_by(2);
        let all = lines.flat_map(|line| line.split(" && ")).chain(spans).map(str::trim);
        all.filter(|command| command.starts_with("sluice ")).map(ToOwned::to_owned).collect()
    }

    /// Says what of a command as documents write it does not exist.
    fn unknown(written: &str) -> Option<String> {
        let mut root = Cli::command();
        root.build();
        let mut at = &root;
        let mut in_names = true;
        for word in words(written).into_iter().skip(1) {
            if let Some(flag) = word.strip_prefix("--") {
                let flag = flag.split('=').next().unwrap_or_default();
                let known = at.get_arguments().any(|argument| argument.get_long() == Some(flag));
                if !known && !flag.contains('…') {
                    return Some(format!("--{flag}"));
                }
                in_names = false;
            } else if let Some(next) = at.find_subcommand(&word).filter(|_| in_names) {
                at = next;
            } else if in_names && at.has_subcommands() && at.get_positionals().next().is_none() {
                return Some(word);
            } else {
                in_names = false;
            }
        }
        None
    }

    #[test]
    fn the_documents_name_only_commands_that_exist() {
        assert_eq!(unknown("sluice dead replay --reasons x"), Some("--reasons".to_owned()));
        assert_eq!(unknown("sluice dead bury"), Some("bury".to_owned()));
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let named = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
        let mut documents = named.map(|name| root.join(name)).to_vec();
        let mut folders = vec![root.join("docs")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "md") {
                    documents.push(path);
                }
            }
        }
        let mut seen = 0;
        for document in documents {
            for command in commands(&std::fs::read_to_string(&document).unwrap()) {
                seen += 1;
                assert_eq!(unknown(&command), None, "{}: {command}", document.display());
            }
        }
        assert!(seen > 20, "{seen}");
    }
}
