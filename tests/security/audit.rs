//! What a box can do at all: a program looks from inside, and `SECURITY.md` shows what it found.

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::{Identity, identity};

/// Prints `name|what was found`.
const PROBE: &str = include_str!("probe.sh");
/// Has the table: `| name | what was found |`, by mode where that differs: `single: one; range: a range; root: a range`.
const DOCUMENT: &str = include_str!("../../SECURITY.md");

#[cfg(target_arch = "x86_64")]
#[test]
fn the_table_of_the_document_is_what_a_box_can_do() {
    require!(Userns, Overlay, Program("perl"));
    let mode = match identity() {
        Identity::Root => "root",
        Identity::Range => "range",
        Identity::Plain => "single",
    };
    let output = Devbox::host().args(["run", "--", "sh"]).stdin(PROBE).any_stdout().run();
    assert!(output.stdout.lines().count() > 20, "{}", output.stdout);
    for line in output.stdout.lines() {
        let (name, found) = line.split_once('|').expect("a name and a value");
        let row = DOCUMENT.lines().find_map(|row| row.strip_prefix(&format!("| {name} | "))?.strip_suffix(" |"));
        let shown =
            row.unwrap_or_else(|| panic!("SECURITY.md has no row `{name}`; `scripts/audit-box --write` makes it"));
        let own = shown.split("; ").find_map(|part| part.strip_prefix(&format!("{mode}: "))).unwrap_or(shown);
        assert_eq!(own, found, "`{name}` of SECURITY.md; `scripts/audit-box --write` brings it up to date");
    }
}
