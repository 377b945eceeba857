//! What people and scripts get to see.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{Row, Table};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use crate::api::Failure;

pub(super) use crate::platform::SUDO;

/// How often what is watched is shown again.
const FRAME_EVERY: Duration = Duration::from_secs(1);
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Prints a result. One that cannot be written is a failure; a reader that has seen enough is not.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    written(writeln!(io::stdout(), "{}", text.trim_end()).and_then(|()| io::stdout().flush()))
}

/// What becomes of a command whose result was written to standard output like this.
pub(super) fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome
        .or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })
        .map_err(|error| {
            let sentence = format!(
                "standard output cannot be written ({error}): the command was carried out, but what it says is lost"
            );
            Failure::new("output_lost", sentence)
        })
}

/// Prints what replaces the last frame, on a terminal in its place; false when nobody reads any more.
pub(super) fn frame(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout();
    // Cursor home, and everything after it cleared (ECMA-48 CUP and ED).
    let clear = if out.is_terminal() { "\x1b[H\x1b[J" } else { "" };
    let outcome = writeln!(out, "{clear}{}", text.trim_end()).and_then(|()| out.flush());
    let is_read = !outcome
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    written(outcome).map(|()| is_read)
}

/// Shows what `frame_now` gives, again every second, until nobody reads any more.
pub(super) async fn watch<F>(mut frame_now: impl FnMut() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<String, Failure>>,
{
    let mut tick = tokio::time::interval(FRAME_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !frame(&frame_now().await?)? {
            return Ok(());
        }
    }
}

/// Prints a result for a script.
pub(super) fn json(report: &impl Serialize) -> Result<(), Failure> {
    text(&json_line(report)?)
}

/// A result as a script reads it.
pub(super) fn json_line(report: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(report)
        .map_err(|error| Failure::new("internal", format!("the report cannot be written as JSON: {error}")))
}

/// Says something that is not the result.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

/// Says why a command failed.
pub(super) fn failure(failure: &Failure, as_json: bool) {
    note(&format!("lanrage: {failure}"));
    if as_json {
        // The exit code and the sentence above tell it too.
        let _ = text(&json!({ "error": failure }).to_string());
    }
}

/// What to do outside a party.
pub(super) fn how_to_get_in() -> String {
    format!("`{SUDO}lanrage join <invite>`, or `{SUDO}lanrage host <server-link>`")
}

/// A table without lines: short enough for a chat message.
pub(super) fn table<R: Into<Row>>(header: impl Into<Row>, rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header).add_rows(rows);
    // No cell may begin a line with a space.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Shows what is going on while a person watches: a spinner on a terminal, nothing in a log or for a script.
pub(super) enum Progress {
    Spinner(ProgressBar),
    Silent,
}

impl Progress {
    pub(super) fn start(as_json: bool) -> Self {
        if as_json || !io::stderr().is_terminal() {
            return Self::Silent;
        }
        let spinner = ProgressBar::new_spinner();
        spinner.enable_steady_tick(TICK);
        Self::Spinner(spinner)
    }

    pub(super) fn step(&self, step: &str) {
        match self {
            Self::Spinner(spinner) => spinner.set_message(format!("{step} …")),
            Self::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Spinner(spinner) = self {
            spinner.finish_and_clear();
        }
    }
}

/// Roughly how long ago: `3 s`, `12 min`, `5 h`, `4 days`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `45 s`, `1 h 30 min`, `7 days`: exact to the minute from one minute on.
pub(super) fn duration(seconds: u64) -> String {
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let parts = [
        (days, if days == 1 { "day" } else { "days" }),
        (hours, "h"),
        (minutes, "min"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, unit)| format!("{count} {unit}")).collect();
    parts.join(" ")
}

/// `812 B`, `1.4 MiB`.
pub(super) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `21.3 ms`, or a dash.
pub(super) fn millis(rtt_ms: Option<f64>) -> String {
    rtt_ms.map_or_else(|| "–".to_owned(), |rtt| format!("{rtt:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(7200), "2 h");
        assert_eq!(age(1_000_000), "11 days");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(5400), "1 h 30 min");
        assert_eq!(duration(7 * 86_400), "7 days");
        assert_eq!(duration(86_400 + 3600 + 119), "1 day 1 h 1 min");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_500_000), "1.4 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(millis(Some(21.34)), "21.3 ms");
        assert_eq!(millis(None), "–");
    }

    #[test]
    fn a_table_has_columns_and_no_frame() {
        let rows = [["Anna".to_owned(), "10.64.0.1".to_owned()]];
        assert_eq!(table(["NAME", "ADDRESS"], rows), "NAME  ADDRESS\nAnna  10.64.0.1");
    }
}
