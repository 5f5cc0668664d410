//! What people and programs read: tables, JSON, colour on a terminal only.

use std::{
    io::{IsTerminal, Write},
    process,
    time::Duration,
};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sluice_actors::domain::Timestamp;

/// Writes a line to standard output. A reader that went away (`| head`) ends the process quietly.
pub(super) fn line(text: &str) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        process::exit(0);
    }
}

/// Writes a line for the person at the terminal, where it does not mix with results.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes an error.
pub(super) fn complain(text: &str) {
    let mark = if std::io::stderr().is_terminal() { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
    note(&format!("{mark} {text}"));
}

/// Writes a warning.
pub(super) fn warn(text: &str) {
    let mark = if std::io::stderr().is_terminal() { "\u{1b}[1;33mwarning:\u{1b}[0m" } else { "warning:" };
    note(&format!("{mark} {text}"));
}

/// Writes a value as JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Writes what the gateway answered to an order: as JSON for a program, in words for people.
pub(super) fn done(json: bool, answer: &impl Serialize, words: &str) -> anyhow::Result<()> {
    if json {
        return self::json(answer);
    }
    line(words);
    Ok(())
}

/// Writes a table; `none` where it has no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) {
    if rows.is_empty() {
        note(none);
        return;
    }
    let colour = std::io::stdout().is_terminal();
    for text in table_lines(header, rows) {
        line(&if colour { paint(&text) } else { text });
    }
}

/// The lines of a table.
pub(super) fn table_lines(header: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|text| text.trim_end().to_owned()).collect()
}

/// Writes named values below each other.
pub(super) fn facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let colour = std::io::stdout().is_terminal();
    for (name, value) in facts {
        let text = format!("{name:width$}  {value}");
        line(&if colour { paint(&text) } else { text });
    }
}

/// Writes a line that begins with the word of a state.
pub(super) fn state_line(state: &str, text: &str) {
    if std::io::stdout().is_terminal() {
        line(&format!("{}{text}", paint(&format!("{state:<6}"))));
    } else {
        line(&format!("{state:<6}{text}"));
    }
}

/// The words of states, in the colours people expect. Only whole words between blanks are painted.
pub(super) fn paint(text: &str) -> String {
    text.split_inclusive(' ')
        .map(|part| {
            let word = part.trim_end();
            let colour = match word {
                "succeeded" | "flowing" | "closed" | "ok" => "32",
                "running" | "pending" | "half_open" | "released" => "36",
                "failed" | "paused" | "quarantined" | "unrouted" | "held" | "warn" => "33",
                "deadletter" | "open" | "parked" | "unconfigured" | "bad" => "31",
                _ => return part.to_owned(),
            };
            format!("\u{1b}[{colour}m{word}\u{1b}[0m{}", &part[word.len()..])
        })
        .collect()
}

/// `1 job`, `2 jobs`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How long ago (or until) `at`, in one unit: `12s`, `5m`, `3h`, `2d`; `in 5m`.
pub(super) fn age(now: Timestamp, at: Timestamp) -> String {
    if at > now { format!("in {}", short(at.since(now))) } else { short(now.since(at)) }
}

/// A duration in one unit.
pub(super) fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        seconds @ 1..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A value that may be missing.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// At most `width` characters of the first line.
pub(super) fn clip(text: &str, width: usize) -> String {
    let first = text.lines().next().unwrap_or_default();
    if first.chars().count() <= width {
        return first.to_owned();
    }
    first.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A spinner on standard error, hidden where that is no terminal.
pub(super) fn spinner(text: impl Into<String>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text.into());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A bar on standard error, hidden where that is no terminal.
pub(super) fn bar(total: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// A bar of bytes on standard error, hidden where that is no terminal.
pub(super) fn bytes_bar(text: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(text)
}

/// A size in one unit: `812 B`, `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let now = Timestamp::from_secs(1_000_000);
        for (ago, shown) in [(0, "0ms"), (59, "59s"), (119, "119s"), (180, "3m"), (7_200, "2h"), (200_000, "2d")] {
            assert_eq!(age(now, now.minus(Duration::from_secs(ago))), shown);
        }
        assert_eq!(age(now, now.plus(Duration::from_secs(300))), "in 5m");
    }

    #[test]
    fn only_whole_words_are_painted() {
        assert_eq!(paint("payment.failed  failed  x"), "payment.failed  \u{1b}[33mfailed\u{1b}[0m  x");
    }

    #[test]
    fn a_clipped_text_keeps_its_first_line() {
        assert_eq!(clip("one\ntwo", 10), "one");
        assert_eq!(clip("0123456789", 5), "0123…");
    }
}
