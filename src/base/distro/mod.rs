//! A distribution as the base, made by `mmdebstrap` from the host's own package sources.
//!
//! What was made once stays: the same name gives the same layer until that is removed, offline too, and whatever
//! becomes of the host's sources.

mod sources;

use std::fs::File;
use std::path::{Path, PathBuf};

use self::sources::{HostId, Release, Source};
use super::error::BaseError;
use super::{OverlayDriver, RootLayers, archive};
use crate::image::digest;
use crate::image::layer::UnpackLimits;
use crate::image::store::{LayerRecord, Store};
use crate::paths::{self, Paths};
use crate::process::{ProcessError, Program};
use crate::progress::Progress;
use crate::userns::idmap::{IdMap, IdMode};

/// Packages beside the essential ones and apt.
const INCLUDE: &str = "ca-certificates";

/// Variables that mmdebstrap and apt need to know of the invoking user.
const VARIABLES: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
];

/// The host's apt settings that decide how it reaches its mirrors. Everything else is for the host only.
const SETTINGS: [&str; 5] =
    ["Acquire::http::", "Acquire::https::", "Acquire::Retries ", "Acquire::ForceIPv", "Acquire::Check-Valid-Until "];

/// Runs mmdebstrap so that all of it ends when we die. Its processes outlive it when it alone is killed, and wait for
/// each other for ever; told to end as a group, they end at once and remove what they have made below `/tmp`. The shell
/// leads that group, and our death tells it.
const GUARD: &str = "exec 3<&0; trap 'trap \"\" TERM; kill -TERM 0' TERM; \"$@\" <&3 & \
                     while :; do wait $!; status=$?; kill -0 $! 2>/dev/null || exit $status; done";

/// Makes the distribution `name` (`debian:bookworm`) for `map` unless that has been done. The caller must be
/// single-threaded.
pub fn prepare(paths: &Paths, map: &IdMap, name: &str, progress: &dyn Progress) -> Result<RootLayers, BaseError> {
    let wanted = Release::parse(name).ok_or_else(|| BaseError::DistroName { name: name.chars().take(80).collect() })?;
    if !["debian", "ubuntu"].contains(&wanted.name.as_str()) {
        return Err(BaseError::DistroUnknown { name: wanted.name });
    }
    let store = Store::open(&paths.store())?;
    let prefix = format!("distro-{}-{}", wanted.name, wanted.release);
    if let Some(layers) = find(&store, &prefix, map)? {
        return Ok(layers);
    }
    let _using = store.lock_shared()?;
    let _making = store.lock_name(&prefix)?;
    if let Some(layers) = find(&store, &prefix, map)? {
        return Ok(layers);
    }
    make(&store, map, &wanted, &prefix, progress)
}

/// The layer made earlier, the newest if there are several.
fn find(store: &Store, prefix: &str, map: &IdMap) -> Result<Option<RootLayers>, BaseError> {
    let digits = |name: &str| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let mut found = store.layers_named(prefix)?;
    found.retain(|layer| digits(&layer.record.name) && layer.record.layout == map.layout());
    let newest = found.into_iter().max_by(|a, b| a.record.created.cmp(&b.record.created));
    Ok(newest.map(|layer| layers(&layer.record, layer.tree())))
}

fn layers(record: &LayerRecord, tree: PathBuf) -> RootLayers {
    // The same sources give other packages tomorrow: the time is a part of what this is.
    let id = format!("{}-{}", record.name, record.created);
    RootLayers { id, lower: vec![tree], driver: OverlayDriver::Kernel, ..RootLayers::default() }
}

fn make(
    store: &Store,
    map: &IdMap,
    wanted: &Release,
    prefix: &str,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let distro = format!("{}:{}", wanted.name, wanted.release);
    let program = find_program(&distro, "mmdebstrap")?;
    let mode = match map.mode {
        IdMode::Root => "root",
        IdMode::Range => "unshare",
        IdMode::Single => {
            for needed in ["fakechroot", "fakeroot"] {
                find_program(&distro, needed)
                    .map_err(|_| BaseError::SingleId { distro: distro.clone(), program: needed })?;
            }
            "fakechroot"
        }
    };
    let selected = sources::select(&host_sources(Path::new("/etc/apt")), wanted, &host_id())
        .ok_or_else(|| BaseError::NoSource { distro: distro.clone() })?;
    store.sweep(map)?;
    let build = store.begin(map)?;
    let list = build.path().join("host.sources");
    let tar = build.path().join("root.tar");
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| BaseError::Read { path, source }
    };
    std::fs::write(&list, &selected).map_err(at(&list))?;
    let output = File::create_new(&tar).map_err(at(&tar))?;
    let setpriv = find_program(&distro, "setpriv")?;
    let mut bootstrap = Program::new(&setpriv)
        .args(["--pdeathsig", "TERM", "setsid", "sh", "-c", GUARD, "sh"])
        .arg(&program)
        .args(["--variant=minbase", "--format=tar"])
        .arg(format!("--mode={mode}"))
        .arg(format!("--include={INCLUDE}"))
        .args(apt_options())
        // How the host reaches its mirrors is not how the box does.
        .arg("--customize-hook=rm -f \"$1/etc/apt/apt.conf.d/99mmdebstrap\"")
        .args(
            sources::keyring_files(&selected).into_iter().map(|file| format!("--customize-hook=upload {file} {file}")),
        )
        .args([wanted.release.as_str(), "-", "-"])
        .stdin(File::open(&list).map_err(at(&list))?)
        .stdout(output);
    for name in VARIABLES {
        if let Some(value) = paths::variable(name) {
            bootstrap = bootstrap.env(name, value);
        }
    }
    progress.begin(&format!("making {distro} with mmdebstrap (once; a minute or so)"), None);
    let result = bootstrap.run();
    progress.end();
    result.map_err(|error| failed(&distro, &program, error))?;
    let file = File::open(&tar).map_err(at(&tar))?;
    let report = archive::unpack_into(&build, map, Path::new(&distro), &file, UnpackLimits::default(), progress)?;
    let inputs = digest::of_bytes(format!("{INCLUDE}\n{mode}\n{selected}").as_bytes());
    let mut record = LayerRecord::new(&format!("{prefix}-{}", &inputs[..16]), map, &distro);
    record.diff_id = Some(report.diff_id);
    record.entries = report.entries;
    record.size_bytes = report.size_bytes;
    let layer = build.commit(record)?;
    Ok(layers(&layer.record, layer.tree()))
}

fn find_program(distro: &str, program: &'static str) -> Result<PathBuf, BaseError> {
    which::which(program).map_err(|_| BaseError::ProgramMissing { distro: distro.to_owned(), program })
}

/// The error is the bootstrapping program's, not the guard's.
fn failed(distro: &str, program: &Path, error: ProcessError) -> BaseError {
    let source = match error {
        ProcessError::Failed { status, stderr, .. } => {
            ProcessError::Failed { program: program.to_owned(), status, stderr }
        }
        other => other,
    };
    BaseError::Bootstrap { distro: distro.to_owned(), source }
}

/// All sources of the host, in apt's order. What cannot be read is left out.
fn host_sources(apt: &Path) -> Vec<Source> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(sources::parse_list(&text)),
            Some("sources") => sources.extend(sources::parse_deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// `ID` of the host's os-release; empty when it has none.
fn host_id() -> HostId {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default();
    HostId(id.trim_matches(['"', '\'']).to_owned())
}

/// The host's apt settings for proxies and certificates, as options of mmdebstrap. A host without `apt-config` has none.
fn apt_options() -> Vec<String> {
    let dump = which::which("apt-config")
        .ok()
        .and_then(|program| Program::new(&program).arg("dump").output().ok())
        .unwrap_or_default();
    parse_settings(&String::from_utf8_lossy(&dump))
}

/// Picks lines like `Acquire::http::Proxy "http://proxy:3128";` that have a value.
fn parse_settings(dump: &str) -> Vec<String> {
    dump.lines()
        .filter(|line| SETTINGS.iter().any(|setting| line.starts_with(setting)) && !line.ends_with("\"\";"))
        .map(|line| format!("--aptopt={}", line.trim_end_matches(';')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tests::paths_below;
    use crate::progress::Silent;
    use crate::userns::mapper::Offer;

    #[test]
    fn settings_that_reach_mirrors() {
        let dump = "APT \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy.test:3128\";\n\
                    Acquire::https::CaInfo \"/etc/ssl/own.pem\";\nAcquire::https::Verify \"\";\n\
                    Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAcquire::IndexTargets \"\";\n";
        assert_eq!(
            parse_settings(dump),
            [
                "--aptopt=Acquire::http::Proxy \"http://proxy.test:3128\"",
                "--aptopt=Acquire::https::CaInfo \"/etc/ssl/own.pem\"",
                "--aptopt=Acquire::Retries \"3\"",
            ]
        );
    }

    #[test]
    fn sources_of_all_files() {
        let directory = tempfile::tempdir().unwrap();
        let lists = directory.path().join("sources.list.d");
        std::fs::create_dir(&lists).unwrap();
        let line = |release: &str| format!("deb http://mirror.test/debian {release} main\n");
        std::fs::write(directory.path().join("sources.list"), line("a")).unwrap();
        std::fs::write(lists.join("b.list"), line("b")).unwrap();
        std::fs::write(lists.join("b.list.disabled"), line("x")).unwrap();
        let stanza = "Types: deb\nURIs: http://mirror.test/debian\nSuites: c\nComponents: main";
        std::fs::write(lists.join("c.sources"), stanza).unwrap();
        let suites: Vec<String> = host_sources(directory.path()).into_iter().flat_map(|source| source.suites).collect();
        assert_eq!(suites, ["a", "b", "c"]);
    }

    #[test]
    fn what_was_made_once_stays() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths_below(directory.path());
        let map = Offer::probe().map(0);
        let store = Store::open(&paths.store()).unwrap();
        let make = |name: &str, created: &str| {
            let mut record = LayerRecord::new(name, &map, "a test");
            record.created = created.to_owned();
            store.begin(&map).unwrap().commit(record).unwrap().tree()
        };
        make("distro-debian-bookworm-0123456789abcdef", "2026-01-01T00:00:00Z");
        let newest = make("distro-debian-bookworm-fedcba9876543210", "2026-02-01T00:00:00Z");
        make("distro-debian-bookworm-slim-0123456789abcdef", "2026-03-01T00:00:00Z");
        let layers = prepare(&paths, &map, "debian:bookworm", &Silent).unwrap();
        assert_eq!(layers.lower, [newest]);
        assert_eq!(layers.id, "distro-debian-bookworm-fedcba9876543210-2026-02-01T00:00:00Z");
    }

    #[test]
    fn names_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths_below(directory.path());
        let error = |name: &str| prepare(&paths, &IdMap::root(), name, &Silent).unwrap_err();
        assert!(matches!(error("debian"), BaseError::DistroName { .. }));
        assert!(matches!(error("fedora:42"), BaseError::DistroUnknown { .. }));
    }
}
