//! `devbox diff`.

use std::path::Path;

use crate::boxes::comparison;
use crate::boxes::diff::{ChangeKind, Diff, FileKind};
use crate::cli::args::{Format, StatusArgs};
use crate::cli::{Outcome, print, print_json};
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

/// Lists packages by name, then every path that differs: `A` added, `C` changed, `D` removed.
pub fn run(folder: &Path, args: &StatusArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let diff = comparison::diff(&paths, &id, &ui::Terminal::default())?;
    show(&diff, args.format)
}

/// Prints what differs.
pub(super) fn show(diff: &Diff, format: Format) -> Outcome {
    if format == Format::Json {
        return print_json(diff);
    }
    for skipped in &diff.skipped {
        ui::say(&format!("devbox: could not read {}", sanitize(skipped)));
    }
    print(&text(diff))
}

/// What differs, one thing a line.
pub(super) fn text(diff: &Diff) -> String {
    let mut text = String::new();
    for package in &diff.packages {
        let name = sanitize(&package.name);
        text.push_str(&match (&package.old, &package.new) {
            (None, Some(new)) => format!("package added    {name} {}\n", sanitize(new)),
            (Some(old), None) => format!("package removed  {name} {}\n", sanitize(old)),
            (old, new) => format!(
                "package changed  {name} {} -> {}\n",
                sanitize(old.as_deref().unwrap_or_default()),
                sanitize(new.as_deref().unwrap_or_default())
            ),
        });
    }
    if diff.unreadable_packages {
        text.push_str("packages changed; the rpm database names them inside the box\n");
    }
    for change in &diff.changes {
        let mark = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Removed => 'D',
        };
        let slash = if change.file_type == FileKind::Directory { "/" } else { "" };
        text.push_str(&format!("{mark} {}{slash}\n", sanitize(&change.path.to_string_lossy())));
    }
    text
}
