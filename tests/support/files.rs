//! Files that others make: waiting without looking again and again.

use std::path::Path;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::PATIENCE;
use super::processes::wait_fd;

/// Waits until `is_so`, which is asked again at each change directly in `directory`.
#[track_caller]
pub fn wait_for_change(directory: &Path, what: &str, mut is_so: impl FnMut() -> bool) {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
    inotify::add_watch(&watch, directory, changes).expect("a watch");
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(wait_fd(&watch, PollFlags::IN, deadline), "{}: never: {what}", directory.display());
        // What happened does not matter, only that something did.
        rustix::io::read(&watch, &mut [0; 4096]).expect("events");
    }
}
