//! A build that is killed leaves nothing in the way: the next one completes, and nothing is left that nobody needs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::own::content;
use super::pair::{built, devbox_with_base};
use crate::support::devbox::Devbox;
use crate::support::processes::wait_until_none;

const FILE: &str = "FROM localhost/base AS one\nRUN echo one > /one && echo said\n\
    FROM localhost/base\nCOPY c /c\nRUN --mount=type=cache,target=/k echo two > /two\nWORKDIR /w\n\
    COPY --from=one /one /three\nADD big.tar /big\n";

/// Builds without the cache, and kills the client at its event number `kill_at`; false when it ended before that.
fn kill_at(test: &Devbox, kill_at: usize) -> bool {
    let mut command = test.command(["image", "build", "--no-cache", "--progress", "json", "-t", "localhost/it", "."]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
    let mut events = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let is_there = events.nth(kill_at).is_some();
    if is_there {
        child.kill().expect("a kill");
    }
    // At its last events it may be quicker.
    assert!(child.wait().expect("its end").success() || is_there);
    let left = wait_until_none(&test.path(""));
    assert!(left.is_empty(), "event {kill_at}: {left:?}");
    is_there
}

#[test]
fn at_each_event() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    test.file("Containerfile", FILE).file("c/x", "x");
    let tar = std::process::Command::new("tar").args(["-cf", "big.tar", "c"]).current_dir(test.project()).status();
    assert!(tar.expect("tar").success());
    let names = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(test.data().join(directory)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "lock").collect()
    };
    let mut event = 0;
    while kill_at(&test, event) {
        test.args(["image", "build", "-t", "localhost/it", "."]).any_stdout().any_stderr().run();
        let tree = built(&test, "it").0;
        assert_eq!((content(&tree, "three"), content(&tree, "two")), ("one\\n".into(), "two\\n".into()), "{event}");
        let check = test.args(["check"]).any_stdout().any_stderr().run().stdout;
        assert!(check.contains(": 0 problems\n"), "event {event}: {check}");
        event += 1;
    }
    assert!(event > 15, "{event} events");
    test.args(["image", "rm", "localhost/it", "localhost/base"]).any_stdout().any_stderr().run();
    test.args(["gc", "--all"]).any_stdout().run();
    for directory in ["store/layers", "store/tmp", "store/images", "store/blobs/sha256", "store/build/steps", "trash"] {
        assert_eq!(names(directory), Vec::<String>::new(), "{directory}");
    }
}
