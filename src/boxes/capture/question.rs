//! A program of a box that is asked something, in a sandbox that is thrown away: without a network, without the project
//! and whatever else the profile shares, and without a way to change the box.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::boxes::comparison::Comparison;
use crate::boxes::environment::variables_of_a_build;
use crate::boxes::error::BoxesError;
use crate::boxes::pool;
use crate::boxes::session::{SessionError, hold, io};
use crate::boxes::transient;
use crate::image::store::Store;
use crate::limits::Plan;
use crate::paths::Paths;
use crate::profile::Security;
use crate::progress::Progress;
use crate::sandbox::channel::{Bytes, Command, Stream};
use crate::sandbox::net::{self, plan::Mode as NetMode, plan::plan as plan_network};
use crate::sandbox::plan::{Wanted, plan};
use crate::sandbox::spec::{Lifetime, Network};
use crate::userns::stage::run_mapped;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// Where the program's standard output goes, in the sandbox.
const ANSWER: &str = "/.devbox-answer";

/// What `arguments` prints in a sandbox of `layers` on the base of `comparison`; `None` unless it succeeds. The answer is
/// the box's word, and any text. The caller must be single-threaded.
pub(super) fn ask(
    paths: &Paths,
    comparison: &Comparison,
    layers: &[PathBuf],
    arguments: &[&str],
    progress: &dyn Progress,
) -> Result<Option<String>, SessionError> {
    let map = comparison.record.id_map.for_installing();
    let store = Store::open(&paths.store())?;
    // What the sandbox stands on must stay meanwhile.
    let _using = store.lock_shared()?;
    // A directory that is swept should this be killed.
    let scratch = store.begin(&map)?;
    let place = scratch.path();
    pool::make_layer(&place.join("upper"), &map, None)?;
    let work = place.join("work");
    std::fs::create_dir_all(&work).map_err(io("make the scratch directory"))?;
    let upper = place.join("upper/fs");
    let net = plan_network(NetMode::None, &net::probe(""))?;
    let spec = |runtime: &Path| {
        plan(Wanted {
            hostname: "question".to_owned(),
            id_map: map.clone(),
            base: comparison.base.clone(),
            layers: layers.to_vec(),
            upper: upper.clone(),
            work,
            staging: runtime.join("root"),
            network: Network::Own,
            lifetime: Lifetime::Session,
            security: Security::default(),
            limits: Plan::default(),
            project: None,
            guarded: Vec::new(),
            binds: Vec::new(),
            own: Vec::new(),
            files: Vec::new(),
        })
    };
    let script = format!("exec \"$@\" </dev/null >{ANSWER} 2>/dev/null");
    let head = ["/bin/sh", "-c", &script, "devbox"].map(Bytes::from);
    let command = Command {
        arguments: head.into_iter().chain(arguments.iter().map(Bytes::from)).collect(),
        alternatives: Vec::new(),
        shells: Vec::new(),
        environment: variables_of_a_build(&[], false, &|_| None),
        directories: vec![Bytes::from("/")],
        user: None,
        streams: [Stream::Descriptor; 3],
        terminal: None,
        title: arguments.join(" "),
    };
    let hold = hold(&comparison.loaded.profile.base, &comparison.base)?;
    let ended = transient::run(paths, place, spec, &net, command, hold, progress)?;
    // The client of a session blocks signals; afterwards this process can be ended by them again.
    crate::sys::signal::unblock_all().map_err(|error| io("let signals through")(error.into()))?;
    if ended.status() != 0 {
        return Ok(None);
    }
    let answer = run_mapped(&map, || Ok(read(&upper.join(ANSWER.trim_start_matches('/')))))
        .map_err(|source| BoxesError::Stage { action: "read what a program printed", source })?;
    Ok(answer)
}

/// The regular file `path`, unless it is longer than an answer may be. Nothing of the sandbox is left to change it.
fn read(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_ANSWER_BYTES).then(|| String::from_utf8_lossy(&text).into_owned())
}
