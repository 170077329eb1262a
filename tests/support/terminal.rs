//! A pseudo-terminal with a screen: what a user would see, and keys as a user would press them.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;
use super::processes::{remaining, wait_end, wait_fd};

/// A program in a terminal of its own; killed when dropped.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    first_settings: String,
    parser: vt100::Parser,
    written: Vec<u8>,
    child: Guard,
}

/// In a form that can be compared.
fn settings(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).expect("read the settings"))
}

/// A child that does not outlive the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both are no-ops once it was reaped.
        self.0.kill().expect("kill a child");
        self.0.wait().expect("reap a child");
    }
}

impl Terminal {
    /// Starts `command` as leader of a new session that has the new terminal as its controlling one.
    pub fn spawn(command: &Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let path = ptsname(&master, Vec::new()).expect("ptsname");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty()).expect("open the terminal");
        tcsetwinsize(&master, size(rows, columns)).expect("set the size");
        let first_settings = settings(&slave);

        // setsid execs in place, because a child that is no group leader need not be forked again: the pid stays.
        let mut wrapped = Command::new("setsid");
        wrapped.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        let stream = || slave.try_clone().expect("duplicate the terminal");
        let child = wrapped.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("start in a terminal");
        Self {
            master: master.into(),
            slave,
            first_settings,
            parser: vt100::Parser::new(cells(rows), cells(columns), 0),
            written: Vec::new(),
            child: Guard(child),
        }
    }

    /// Types `keys`.
    pub fn send(&mut self, keys: impl AsRef<[u8]>) {
        self.master.write_all(keys.as_ref()).expect("type into the terminal");
    }

    /// Changes the size, which signals the foreground process group.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, size(rows, columns)).expect("set the size");
        self.parser.screen_mut().set_size(cells(rows), cells(columns));
    }

    /// Whether the settings of the terminal are those that it had before the program started.
    pub fn is_as_before(&self) -> bool {
        settings(&self.slave) == self.first_settings
    }

    /// The process in the terminal.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The screen as it was last read.
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Reads until the screen satisfies `condition`; fails with what is on the screen.
    #[track_caller]
    pub fn wait_for(&mut self, condition: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self.parser.screen()) {
            if !self.read(deadline) {
                panic!("this never came, screen:\n{}", self.parser.screen().contents());
            }
        }
    }

    /// Reads until `text` is on the screen.
    #[track_caller]
    pub fn wait_for_text(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.parser.screen().contents().contains(text) {
            if !self.read(deadline) {
                panic!("`{text}` never came, screen:\n{}", self.parser.screen().contents());
            }
        }
    }

    /// Everything that was written to the terminal so far.
    pub fn written(&self) -> &[u8] {
        &self.written
    }

    /// Reads until these bytes have been written after the first `from` ones; returns how many there are then, them included.
    #[track_caller]
    pub fn wait_for_bytes(&mut self, from: usize, bytes: impl AsRef<[u8]>) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let bytes = bytes.as_ref();
        loop {
            let new = &self.written[from.min(self.written.len())..];
            if let Some(at) = new.windows(bytes.len()).position(|window| window == bytes) {
                return from + at + bytes.len();
            }
            if !self.read(deadline) {
                let written = String::from_utf8_lossy(&self.written[from..]).into_owned();
                panic!("{:?} never came, but\n{written:?}", String::from_utf8_lossy(bytes));
            }
        }
    }

    /// Waits for the program's end, reading what it still prints.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let pid = Pid::from_child(&self.child.0);
        let ended = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open");
        // Both at once: the program may wait for us to read, and its end alone does not wake the master.
        loop {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
            match poll(&mut fds, Some(&remaining(deadline))) {
                Ok(0) => panic!("still running, screen:\n{}", self.parser.screen().contents()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
            if !fds[0].revents().is_empty() {
                self.read(deadline);
            } else if !fds[1].revents().is_empty() {
                return self.child.0.wait().expect("reap the program");
            }
        }
    }

    /// Closes the terminal, as when its window is closed, and waits for the program's end.
    #[track_caller]
    pub fn hang_up(self) -> ExitStatus {
        let Self { master, slave, mut child, .. } = self;
        drop((master, slave));
        assert!(wait_end(child.0.id(), Instant::now() + PATIENCE), "still running after its terminal was closed");
        child.0.wait().expect("reap the program")
    }

    /// Feeds the screen with what comes next; false at the deadline.
    fn read(&mut self, deadline: Instant) -> bool {
        if !wait_fd(&self.master, PollFlags::IN, deadline) {
            return false;
        }
        let mut bytes = [0; 4096];
        // We hold the other end ourselves, so this is never the end of the file.
        let count = self.master.read(&mut bytes).expect("read the terminal");
        self.parser.process(&bytes[..count]);
        self.written.extend_from_slice(&bytes[..count]);
        true
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a screen has cells")
}
