//! A program of a box that is asked something, in a sandbox that is thrown away: without a network, without the project
//! and whatever else the profile shares, and without a way to change the box.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::base::{BaseSpec, RootLayers};
use crate::boxes::environment::variables_of_a_build;
use crate::boxes::pool;
use crate::boxes::session::{SessionError, hold, io};
use crate::boxes::transient;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sandbox::attach::Purpose;
use crate::sandbox::channel::{Bytes, Command};
use crate::sandbox::net::{self, plan::Mode as NetMode, plan::plan as plan_network};
use crate::sandbox::plan::{Wanted, plan};
use crate::sys::fs::null;
use crate::userns::idmap::IdMap;

/// Longest answer that is taken, in bytes. A program that says more is told by a broken pipe.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// How long a program may take: `rpm` needs seconds for the files of thousands of packages, on a slow disk a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a sandbox stands on.
#[derive(Debug, Clone, Copy)]
pub(in crate::boxes) struct Ground<'a> {
    /// Who is who.
    pub map: &'a IdMap,
    /// The base.
    pub base: &'a RootLayers,
    /// As the profile says it.
    pub named: &'a BaseSpec,
}

/// What `arguments` prints in a sandbox of `layers` on `ground`; `None` unless it succeeds. The answer is
/// the box's word, and any text. The caller must be single-threaded.
pub(super) fn ask(
    paths: &Paths,
    ground: Ground<'_>,
    layers: &[PathBuf],
    arguments: &[&str],
    progress: &dyn Progress,
) -> Result<Option<String>, SessionError> {
    let map = ground.map.for_installing();
    let store = Store::open(&paths.store())?;
    // What the sandbox stands on must stay meanwhile.
    let _using = store.lock_shared()?;
    // A directory that is swept should this be killed.
    let scratch = store.begin(&map)?;
    let place = scratch.path();
    pool::make_layer(&place.join("upper"), &map, None)?;
    std::fs::create_dir_all(place.join("work")).map_err(io("make the scratch directory"))?;
    let net = plan_network(NetMode::None, &net::probe(""))?;
    let spec = |runtime: &Path| {
        plan(Wanted {
            layers: layers.to_vec(),
            ..Wanted::without_project("question", &map, ground.base, place, runtime)
        })
    };
    let words = arguments.iter().map(Bytes::from).collect();
    let command = Command::new(words, variables_of_a_build(&[], false, &|_| None), &arguments.join(" "));
    let hold = hold(ground.named, ground.base)?;
    let mut answer = answer_file().map_err(io("make a file in memory"))?;
    let nothing = || null().map_err(|error| io("have no input")(error.into()));
    let output = answer.try_clone().map_err(io("duplicate a descriptor"))?;
    let streams = Some([nothing()?, output.into(), nothing()?]);
    let command = Box::new(command);
    let purpose = Purpose::Service { command, streams, patience: Some(PATIENCE), started: None };
    let ended = transient::run(paths, place, spec, &net, purpose, hold, progress)?;
    // The client of a session blocks signals; afterwards this process can be ended by them again.
    crate::sys::signal::unblock_all().map_err(|error| io("let signals through")(error.into()))?;
    if ended.status() != 0 {
        return Ok(None);
    }
    read(&mut answer).map(Some).map_err(io("read what a program printed"))
}

/// A file that takes [`MAX_ANSWER_BYTES`] and not more.
fn answer_file() -> std::io::Result<File> {
    let file = rustix::fs::memfd_create("answer", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&file, MAX_ANSWER_BYTES)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file.into())
}

/// What was written to the file, up to where the last write ended.
fn read(file: &mut File) -> std::io::Result<String> {
    let length = file.stream_position()?;
    file.rewind()?;
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_answer_has_an_end() {
        let mut file = answer_file().unwrap();
        let mut other = file.try_clone().unwrap();
        other.write_all(b"one\ntwo\xff").unwrap();
        assert_eq!(read(&mut file).unwrap(), "one\ntwo\u{fffd}");
        file.set_len(MAX_ANSWER_BYTES + 1).unwrap_err();
        file.seek(std::io::SeekFrom::Start(MAX_ANSWER_BYTES)).unwrap();
        other.write_all(b"x").unwrap_err();
    }
}
