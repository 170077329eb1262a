//! A sandbox for one command: nobody joins it, and its writable layer becomes a layer of the store.

use std::fs::File;
use std::path::Path;

use super::boot::{self, Place};
use super::lock::{BoxLock, Sharing};
use super::running::{control_address_in, socket_address_in, temporary_runtime};
use super::session::{SessionError, io};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sandbox::attach::{Outcome, Purpose};
use crate::sandbox::net::plan::NetPlan;
use crate::sandbox::spec::SandboxSpec;
use crate::sys::process::Ended;

/// Does what `purpose` says in the sandbox that `plan` gives for a runtime directory of its own, and waits until nothing of the
/// sandbox is left. `place` is a directory of the caller's alone; `hold` is kept open as long as the sandbox exists.
///
/// The caller must be single-threaded.
pub fn run(
    paths: &Paths,
    place: &Path,
    plan: impl FnOnce(&Path) -> SandboxSpec,
    net: &NetPlan,
    purpose: Purpose<'_>,
    hold: Option<File>,
    progress: &dyn Progress,
) -> Result<Ended, SessionError> {
    let runtime = temporary_runtime(paths, place);
    let spec = plan(&runtime);
    let at = Place {
        socket: socket_address_in(&runtime)?,
        control: control_address_in(&runtime)?,
        running: place.join("running"),
        events: None,
        join: None,
        placeholders: None,
        denied: None,
        runtime: runtime.clone(),
    };
    let running = at.running.clone();
    let outcome = boot::boot(&spec, net, at, purpose, None, hold, progress);
    // The supervisor is done with the layer when it gives up its lock.
    BoxLock::acquire(&running, Sharing::Exclusive, "devbox", progress)?;
    std::fs::remove_dir_all(&runtime).map_err(io("remove the runtime directory"))?;
    match outcome? {
        Outcome::Ended(ended) => Ok(ended),
        Outcome::Failed(failure) => Err(SessionError::Start(failure)),
        Outcome::NotExecuted { program, reason, status } => Err(SessionError::NotExecuted { program, reason, status }),
        Outcome::Late(patience) => Err(SessionError::Late { patience }),
        Outcome::Refused | Outcome::Lost | Outcome::Held => Err(SessionError::Lost),
    }
}
