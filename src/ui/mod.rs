//! The terminal: what is printed, how long work shows itself, and questions.
//!
//! Only this module and `cli` write to the standard streams.

pub mod announcement;
pub mod build;
mod progress;

pub use progress::Terminal;

use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};

use crate::error::{Error, Message};
use crate::sys::terminal::RawMode;
use crate::text::sanitize;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Prints to standard output. A reader that went away ends the program quietly, as `head` expects.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A number of bytes for people: `12.50 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Prints one line to standard error.
pub fn say(text: &str) {
    // Nothing can be done about a standard error that cannot be written to.
    writeln!(anstream::stderr().lock(), "{text}").ok();
}

/// Whether `stderr` shows colours: a terminal, and no `NO_COLOR`.
#[must_use]
pub fn color_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Whether `stdout` shows colours.
#[must_use]
pub fn color_on_stdout() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Shows an error with its causes and hints.
pub fn show_error(error: &Error) {
    match &error.message {
        Message::Sentence(text) => say(&format!("{ERROR}error:{ERROR:#} {}", sanitize(text))),
        Message::Report(diagnostic) => say(diagnostic.render(color_on_stderr()).trim_end()),
    }
    for cause in &error.causes {
        say(&format!("  cause: {}", sanitize(cause)));
    }
    for hint in &error.hints {
        say(&format!("{HINT}hint:{HINT:#} {}", sanitize_lines(hint)));
    }
}

/// A hint may hold a file to write, of several lines.
fn sanitize_lines(text: &str) -> String {
    text.lines().map(sanitize).collect::<Vec<_>>().join("\n")
}

/// A whole file that others wrote: its lines and tabs stay, everything else that could steer a terminal is shown.
#[must_use]
pub fn foreign_text(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(sanitize).collect::<Vec<_>>().join("\t");
    text.lines().map(|text| line(text) + "\n").collect()
}

/// Asks on the terminal; anything but "y" or "yes" is no.
pub fn confirm(question: &str) -> std::io::Result<bool> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks on the terminal for one line.
pub fn ask(question: &str) -> std::io::Result<String> {
    say_without_newline(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks on the terminal for one line that is not shown. Ctrl-C is the error `Interrupted`.
pub fn ask_secret(question: &str) -> std::io::Result<String> {
    // Before the question: what is typed at once must not be shown either. Raw, not only without echo: a signal would
    // leave the terminal as it is.
    let raw = RawMode::enter(std::io::stdin().as_fd()).map_err(std::io::Error::from)?;
    say_without_newline(question)?;
    let mut secret = Vec::new();
    let mut byte = [0];
    let typed = loop {
        match std::io::stdin().read(&mut byte) {
            Ok(0) => break Ok(()),
            Ok(_) => match byte[0] {
                b'\r' | b'\n' | 4 => break Ok(()),
                3 => break Err(std::io::ErrorKind::Interrupted.into()),
                8 | 127 => _ = secret.pop(),
                21 => secret.clear(),
                other => secret.push(other),
            },
            Err(error) => break Err(error),
        }
    };
    drop(raw);
    say_without_newline("\n")?;
    typed?;
    String::from_utf8(secret).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

fn say_without_newline(text: &str) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    write!(err, "{text}")?;
    err.flush()
}

/// Whether somebody can be asked.
#[must_use]
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Prints `text` in place of what was drawn before; `drawn` counts its lines.
pub fn redraw(text: &str, drawn: &mut usize) -> std::io::Result<()> {
    let back = if *drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\x1b[J") };
    *drawn = text.lines().count();
    print(&(back + text))
}

/// Rows of words in columns, the last one ragged.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|word| word.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(word, width)| format!("{word:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            table(&[row(&["NAME", "STATE"]), row(&["shop-front", "running"])]),
            "NAME        STATE\nshop-front  running\n"
        );
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn files_of_others_keep_their_lines() {
        for (text, expected) in [
            ("", ""),
            ("a\n\n\tb = 1", "a\n\n\tb = 1\n"),
            ("a\r\nb\n", "a\nb\n"),
            ("\u{1b}[31m\u{202e}\n", "\\u{1b}[31m\\u{202e}\n"),
        ] {
            assert_eq!(foreign_text(text), expected, "{text:?}");
        }
    }
}
