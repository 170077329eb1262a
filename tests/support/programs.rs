//! Other programs than devbox, to their end.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use super::PATIENCE;
use super::processes::wait_end;

/// Runs `command` with `input` to its end; returns every byte.
#[track_caller]
pub fn output(mut command: Command, input: &[u8]) -> Output {
    let shown = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("a pipe");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    thread::scope(|scope| {
        scope.spawn(move || {
            // Who does not want all of it closes the pipe.
            stdin.write_all(input).ok();
        });
        let read = |stream: &mut dyn Read| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("read");
            bytes
        };
        let errors = scope.spawn(move || read(&mut stderr));
        let output = scope.spawn(move || read(&mut stdout));
        let in_time = wait_end(child.id(), Instant::now() + PATIENCE);
        if !in_time {
            child.kill().expect("kill a child");
        }
        let status = child.wait().expect("reap a child");
        let (stdout, stderr) = (output.join().expect("read"), errors.join().expect("read"));
        assert!(in_time, "{shown} does not end: {}", String::from_utf8_lossy(&stderr));
        Output { status, stdout, stderr }
    })
}

/// As [`output`]: status, output and errors as text.
#[track_caller]
pub fn ended(command: Command, input: &[u8]) -> (i32, String, String) {
    let output = output(command, input);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
