//! Long work on standard error: bars on a terminal, plain lines elsewhere.
//!
//! ```text
//! fetching debian:12         [=========>          ]  45%  9s
//!   layer 1/3 3b1a2b9c8d7e   [===>                ] 12.00 MiB/63.00 MiB  8.10 MiB/s  6s
//!   layer 3/3 90f4c1d2e3a4   [=============>      ] 96.50 MiB/139.00 MiB  7.90 MiB/s  5s
//! ```
//!
//! Bars are drawn by the thread that reports: a thread of their own would forbid the fork that starts a box.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{color_on_stderr, say, size};
use crate::progress::{Notice, Part, Progress, Step};
use crate::text::sanitize;

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_millis(300);
/// Drawings in a second, at most.
const HERTZ: u8 = 10;

/// Progress on standard error: bars on a terminal once work takes long; elsewhere a line for each part that begins or
/// ends. Notes always.
#[derive(Debug)]
pub struct Terminal {
    bars: MultiProgress,
    work: RefCell<Option<Work>>,
}

#[derive(Debug)]
struct Work {
    what: String,
    total: Option<u64>,
    since: Instant,
    bar: Option<ProgressBar>,
    parts: Vec<Running>,
}

/// A part that has begun.
#[derive(Debug)]
struct Running {
    name: String,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Default for Terminal {
    fn default() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        Self { bars, work: RefCell::default() }
    }
}

impl Terminal {
    /// A bar of its own line, below those that are there.
    fn bar(&self, text: String, total: Option<u64>, shape: Shape) -> ProgressBar {
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        let columns = crate::sys::terminal::size(rustix::stdio::stderr()).map_or(80, |size| usize::from(size.columns));
        if let Ok(style) = ProgressStyle::with_template(template(shape, columns, color_on_stderr())) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(text);
        bar
    }

    fn plain(what: &str, running: &mut Vec<Running>, part: &Part, step: Step) {
        let Part { name, size_bytes } = part;
        let bytes = size(*size_bytes);
        let event = match step {
            Step::At(_) => return,
            Step::Begun(kept) => {
                running.push(Running { name: name.clone(), since: Instant::now(), bar: None });
                match kept {
                    0 => format!("begun, {bytes}"),
                    kept => format!("resumed at {} of {bytes}", size(kept)),
                }
            }
            Step::Ended(word) => match running.iter().position(|running| running.name == *name) {
                Some(index) => {
                    let seconds = running.swap_remove(index).since.elapsed().as_secs_f64();
                    format!("{word}, {bytes} in {seconds:.1} s")
                }
                None => format!("{word}, {bytes}"),
            },
        };
        say(&format!("devbox: {}: {}: {event}", sanitize(what), sanitize(name)));
    }

    fn screen(&self, work: &mut Work, part: &Part, step: Step) {
        let index = work.parts.iter().position(|running| running.name == part.name);
        match (step, index) {
            (Step::Begun(_), None) => {
                work.parts.push(Running { name: part.name.clone(), since: Instant::now(), bar: None });
            }
            (Step::At(bytes), Some(index)) => {
                // Below the bar of the whole, which comes first.
                if work.bar.is_none() {
                    return;
                }
                let bar = work.parts[index].bar.get_or_insert_with(|| {
                    let bar = self.bar(format!("  {}", sanitize(&part.name)), Some(part.size_bytes), Shape::Bytes);
                    // What an earlier try has kept took no time.
                    bar.set_position(bytes);
                    bar.reset_eta();
                    bar
                });
                bar.set_position(bytes);
            }
            (Step::Ended(_), Some(index)) => {
                if let Some(bar) = work.parts.remove(index).bar {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
            (Step::Begun(_), Some(_)) | (Step::At(_) | Step::Ended(_), None) => {}
        }
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Anything.
    Steps,
    Bytes,
}

/// A line that fits into `columns`: the text is cut, never wrapped.
fn template(shape: Shape, columns: usize, with_color: bool) -> &'static str {
    match (shape, columns, with_color) {
        (_, ..40, _) => "{wide_msg} {percent:>3}%",
        (_, ..80, _) => "{wide_msg} {percent:>3}% {eta:>4}",
        (Shape::Steps, _, true) => "{wide_msg} [{bar:20.cyan}] {percent:>3}% {eta:>4}",
        (Shape::Steps, _, false) => "{wide_msg} [{bar:20}] {percent:>3}% {eta:>4}",
        (Shape::Bytes, _, true) => {
            "{wide_msg} [{bar:20.cyan}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta:>4}"
        }
        (Shape::Bytes, _, false) => {
            "{wide_msg} [{bar:20}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta:>4}"
        }
    }
}

/// A line of its own, above the bars.
fn note(bars: &MultiProgress, text: &str) {
    bars.suspend(|| say(&format!("devbox: {}", sanitize(text))));
}

impl Progress for Terminal {
    fn begin(&self, what: &str, total: Option<u64>) {
        self.end();
        let (what, since) = (what.to_owned(), Instant::now());
        *self.work.borrow_mut() = Some(Work { what, total, since, bar: None, parts: Vec::new() });
    }

    fn advance(&self, done: u64) {
        let mut work = self.work.borrow_mut();
        let Some(work) = work.as_mut() else { return };
        if work.bar.is_none() && work.since.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            work.bar = Some(self.bar(sanitize(&work.what).into_owned(), work.total, Shape::Steps));
        }
        if let Some(bar) = &work.bar {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        let Some(work) = self.work.borrow_mut().take() else { return };
        for bar in work.parts.into_iter().filter_map(|part| part.bar).chain(work.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn note(&self, text: &str) {
        note(&self.bars, text);
    }

    fn part(&self, part: &Part, step: Step) {
        let mut work = self.work.borrow_mut();
        let Some(work) = work.as_mut() else { return };
        if std::io::stderr().is_terminal() {
            self.screen(work, part, step);
        } else {
            Self::plain(&work.what, &mut work.parts, part, step);
        }
    }

    fn notice(&self) -> Notice {
        let bars = self.bars.clone();
        Box::new(move |text| note(&bars, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_template() {
        for shape in [Shape::Steps, Shape::Bytes] {
            for (columns, with_color) in [(10, true), (60, true), (80, true), (80, false), (500, false)] {
                let text = template(shape, columns, with_color);
                ProgressStyle::with_template(text).unwrap();
                assert_eq!(text.contains("cyan"), with_color && columns >= 80, "{text}");
                assert!(text.starts_with("{wide_msg}"), "{text}: the text is what gives way");
            }
        }
    }
}
