//! How a build shows itself: plain lines, a part of the screen that is drawn again, or one JSON object a line.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use anstyle::{AnsiColor, Style};

use super::{say, say_without_newline};
use crate::build::events::{Event, Listener, Outcome, StepId};
use crate::build::language::lint::Brief;
use crate::text::{sanitize, sanitize_json};

/// Lines of a command that are seen while it runs, on a screen.
const SEEN_LINES: usize = 6;
/// Lines of a command that are kept, to be shown when it fails.
const KEPT_LINES: usize = 60;
/// Bytes of a line that does not end that are kept.
const MAX_LINE_BYTES: usize = 64 << 10;

const DONE: Style = AnsiColor::Green.on_default();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const NOTED: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = AnsiColor::BrightBlack.on_default();

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Lines that stay.
    Plain,
    /// A screen on which running steps move.
    Screen,
    /// Objects for programs.
    Json,
    /// Steps that fail, with their last lines.
    Failures,
}

/// Shows a build on standard error.
#[derive(Debug)]
pub struct Screen {
    display: Display,
    steps: HashMap<StepId, Shown>,
    /// Steps that run, in the order in which they began.
    running: Vec<StepId>,
    /// Lines of the screen that will be drawn again.
    drawn: usize,
    /// Steps are shown only once they do something; those that have not yet, with their text.
    pending: Option<HashMap<StepId, String>>,
}

/// What is known of a step.
#[derive(Debug)]
struct Shown {
    number: usize,
    text: String,
    begin: Instant,
    /// What it is at, besides its command.
    work: String,
    /// The last line, not ended yet.
    rest: Vec<u8>,
    /// The last lines.
    lines: Vec<String>,
}

impl Screen {
    /// Shows on standard error.
    #[must_use]
    pub fn new(display: Display) -> Self {
        Self { display, steps: HashMap::new(), running: Vec::new(), drawn: 0, pending: None }
    }

    /// Shows only steps that are not done already: a build in which nothing has changed is silent.
    #[must_use]
    pub fn of_changes(display: Display) -> Self {
        let mut screen = Self::new(display);
        screen.pending = Some(HashMap::new());
        screen
    }

    fn plain(&mut self, event: &Event) {
        match event {
            Event::Started { step, text } => {
                let number = self.number(step);
                say(&format!("#{number} {}{}", name(step), one_line(text)));
            }
            Event::Output { step, bytes } => {
                let Some(shown) = self.steps.get_mut(step) else { return };
                let (number, time) = (shown.number, shown.begin.elapsed().as_secs_f64());
                for line in shown.take(bytes) {
                    say(&format!("#{number} {time:.2} {line}"));
                }
            }
            Event::Working { step, what, done: 0, .. } => say(&format!("#{} {}", self.number(step), sanitize(what))),
            Event::Working { .. } | Event::Resolved { .. } => {}
            Event::Note { step, text } => say(&format!("#{} {}", self.number(step), sanitize(text))),
            Event::Warning(warning) => say(&brief(warning)),
            Event::Ended { step, outcome, milliseconds } => {
                let number = self.number(step);
                let rest = self.steps.get_mut(step).and_then(Shown::end);
                if let Some(line) = rest {
                    say(&format!("#{number} {line}"));
                }
                let time = seconds(*milliseconds);
                say(&match outcome {
                    Outcome::Done => format!("#{number} {DONE}done{DONE:#} {time}"),
                    Outcome::Cached => format!("#{number} {DONE}cached{DONE:#}"),
                    Outcome::Failed => format!("#{number} {FAILED}failed{FAILED:#} {time}"),
                });
            }
        }
    }

    fn screen(&mut self, event: &Event) {
        match event {
            Event::Output { step, bytes } => {
                if let Some(shown) = self.steps.get_mut(step) {
                    let lines = shown.take(bytes);
                    shown.lines.extend(lines);
                    let surplus = shown.lines.len().saturating_sub(KEPT_LINES);
                    shown.lines.drain(..surplus);
                }
            }
            Event::Working { step, what, done, total } => {
                if let Some(shown) = self.steps.get_mut(step) {
                    let part = total.filter(|total| *total > 0).map(|total| format!(" {}%", done * 100 / total));
                    shown.work = format!("{}{}", sanitize(what), part.unwrap_or_default());
                }
            }
            Event::Note { step, text } => {
                let line = format!("   {}{}", name(step), sanitize(text));
                self.above(&line);
            }
            Event::Warning(warning) => self.above(&brief(warning)),
            Event::Resolved { .. } => {}
            Event::Started { .. } => self.draw(),
            Event::Ended { step, outcome, milliseconds } => {
                let Some(shown) = self.steps.get_mut(step) else { return };
                if let Some(rest) = shown.end() {
                    shown.lines.push(rest);
                }
                let text = one_line(&shown.text);
                let (style, word) = match outcome {
                    Outcome::Done => (DONE, seconds(*milliseconds)),
                    Outcome::Cached => (DONE, "cached".to_owned()),
                    Outcome::Failed => (FAILED, "failed".to_owned()),
                };
                let mut block = format!("{style}{word:>7}{style:#} {}{text}", name(step));
                if *outcome == Outcome::Failed {
                    for line in &shown.lines {
                        write!(block, "\n        {line}").unwrap_or_default();
                    }
                }
                self.above(&block);
            }
        }
    }

    /// A step's number, in the order in which they began.
    fn number(&mut self, step: &StepId) -> usize {
        let next = self.steps.len() + 1;
        self.steps.get(step).map_or(next, |shown| shown.number)
    }

    /// Adds lines that stay above those that are drawn again.
    fn above(&mut self, text: &str) {
        self.erase();
        say(text);
        self.draw();
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up, to the first column, and everything below is cleared.
            say_without_newline(&format!("\x1b[{}A\r\x1b[J", self.drawn)).unwrap_or_default();
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if self.display != Display::Screen {
            return;
        }
        self.erase();
        let width = crate::sys::terminal::size(rustix::stdio::stderr()).map_or(80, |size| usize::from(size.columns));
        let cut = |text: &str| text.chars().take(width.saturating_sub(1)).collect::<String>();
        let mut lines = Vec::new();
        for step in &self.running {
            let Some(shown) = self.steps.get(step) else { continue };
            let time = format!("{:.1}s", shown.begin.elapsed().as_secs_f64());
            lines.push(cut(&format!("{time:>7} {}{} {}", name(step), one_line(&shown.text), shown.work)));
            for line in &shown.lines[shown.lines.len().saturating_sub(SEEN_LINES)..] {
                lines.push(format!("{QUIET}{}{QUIET:#}", cut(&format!("        {line}"))));
            }
        }
        for line in &lines {
            say(line);
        }
        self.drawn = lines.len();
    }
}

impl Listener for Screen {
    fn hear(&mut self, event: &Event) {
        if let Some(pending) = &mut self.pending {
            match event {
                Event::Started { step, text } => {
                    pending.insert(step.clone(), text.clone());
                    return;
                }
                Event::Ended { step, outcome, .. } => {
                    // Standing on an image that is here is no work either.
                    let is_nothing = *outcome == Outcome::Cached || (*outcome == Outcome::Done && step.number == 1);
                    if pending.contains_key(step) && is_nothing {
                        pending.remove(step);
                        return;
                    }
                    self.begin(step);
                }
                // `image build --check` says it.
                Event::Warning(_) | Event::Resolved { .. } => return,
                Event::Output { step, .. } | Event::Working { step, .. } | Event::Note { step, .. } => self.begin(step),
            }
        }
        self.show(event);
    }

    fn tick(&mut self) {
        if !self.running.is_empty() {
            self.draw();
        }
    }
}

impl Screen {
    /// Shows the beginning of a step that was held back.
    fn begin(&mut self, step: &StepId) {
        if let Some(text) = self.pending.as_mut().and_then(|pending| pending.remove(step)) {
            self.show(&Event::Started { step: step.clone(), text });
        }
    }

    fn show(&mut self, event: &Event) {
        if let Event::Started { step, text } = event {
            let number = self.steps.len() + 1;
            let shown = Shown {
                number,
                text: text.clone(),
                begin: Instant::now(),
                work: String::new(),
                rest: Vec::new(),
                lines: Vec::new(),
            };
            self.running.push(step.clone());
            if self.display == Display::Plain {
                self.plain(event);
            }
            self.steps.insert(step.clone(), shown);
        }
        if let Event::Ended { step, .. } = event {
            self.running.retain(|running| running != step);
        }
        match (self.display, event) {
            (Display::Plain, Event::Started { .. }) => {}
            (Display::Plain, event) => self.plain(event),
            (Display::Failures, Event::Note { .. } | Event::Warning(_)) => {}
            (Display::Failures, Event::Ended { outcome, .. }) if *outcome != Outcome::Failed => {}
            (Display::Screen | Display::Failures, event) => self.screen(event),
            (Display::Json, event) => say(&sanitize_json(&json(event))),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.erase();
    }
}

impl Shown {
    /// The lines that are complete with `bytes`. Of one that was drawn over itself the last state counts.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            let surplus = self.rest.len().saturating_sub(MAX_LINE_BYTES);
            self.rest.drain(..surplus);
            return Vec::new();
        };
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        complete[..end].split(|byte| *byte == b'\n').map(line).collect()
    }

    /// What came without a newline at its end.
    fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| line(&rest))
    }
}

fn line(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let last = bytes.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
    sanitize(&String::from_utf8_lossy(last).replace('\t', "    ")).into_owned()
}

/// `[build 2/5] `.
fn name(step: &StepId) -> String {
    let space = if step.stage_name.is_empty() { "" } else { " " };
    format!("[{}{space}{}/{}] ", sanitize(&step.stage_name), step.number, step.total)
}

/// An instruction without the white space that indents its continued lines.
fn one_line(instruction: &str) -> String {
    sanitize(&instruction.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// A warning in one line.
fn brief(warning: &Brief) -> String {
    let Brief { rule, message, file, line, column } = warning;
    format!("{NOTED}warning{NOTED:#}: {file}:{line}:{column}: {message} ({rule})")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100)
}

fn json(event: &Event) -> String {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let (Event::Output { bytes, .. }, Some(object)) = (event, value.as_object_mut()) {
        object.insert("text".to_owned(), String::from_utf8_lossy(bytes).into());
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_one_line() {
        assert_eq!(one_line("RUN set -eux; \t{ \t\techo a; \t}  > /b"), "RUN set -eux; { echo a; } > /b");
    }

    #[test]
    fn lines_come_whole() {
        let mut shown = Shown {
            number: 1,
            text: String::new(),
            begin: Instant::now(),
            work: String::new(),
            rest: Vec::new(),
            lines: Vec::new(),
        };
        assert_eq!(shown.take(b"one\ntw"), ["one"]);
        assert_eq!(shown.take(b"o\r\n10%\r20%\n\x1b[2Jx\n"), ["two", "20%", &*sanitize("\x1b[2Jx")]);
        assert_eq!(shown.take(b"rest"), Vec::<String>::new());
        assert_eq!(shown.end().as_deref(), Some("rest"));
        assert_eq!(shown.end(), None);
    }

    #[test]
    fn events_for_programs() {
        let step = StepId { stage: 0, stage_name: "base".into(), number: 2, total: 3 };
        let text = json(&Event::Output { step: step.clone(), bytes: b"hi\n".to_vec() });
        assert_eq!(
            text,
            r#"{"event":"output","step":{"number":2,"stage":0,"stage_name":"base","total":3},"text":"hi\n"}"#
        );
        assert_eq!(name(&step), "[base 2/3] ");
    }
}
