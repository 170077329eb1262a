//! What `docker run` was asked for, as the profile of a box. Pure.
//!
//! An option that means nothing here and harms nobody becomes a note; one that would change what the box is shut off from, and
//! cannot be done, is an error.

use std::path::Path;

use caps::Capability;
use toml::{Table, Value};

use super::error::{DockerError, DockerResult};
use super::mounts::{self, MountPoint, Mounted};
use crate::limits::amount::parse_size;
use crate::profile::devcontainer::run_args::size;
use crate::profile::ports::parse_published;
use crate::profile::security::{self, KEPT};
use crate::profile::{Root, Tmpfs};

/// The networks, by their names.
pub const NETWORKS: [&str; 3] = ["bridge", "host", "none"];

/// `what` names another one.
#[must_use]
pub fn no_such_network(what: &str) -> DockerError {
    DockerError::Option {
        option: what.to_owned(),
        reason: "there are the networks `bridge`, `host` and `none`".to_owned(),
    }
}

/// The options that say what the box is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `--mount`
    pub mounts: Vec<String>,
    /// `-v`
    pub volumes: Vec<String>,
    /// `--tmpfs`
    pub tmpfs: Vec<String>,
    /// `--read-only`
    pub read_only: bool,
    /// `-p`
    pub publish: Vec<String>,
    /// `--network`
    pub network: Option<String>,
    /// `--cap-add`
    pub cap_add: Vec<String>,
    /// `--cap-drop`
    pub cap_drop: Vec<String>,
    /// `--security-opt`
    pub security_opt: Vec<String>,
    /// `--privileged`
    pub privileged: bool,
    /// `--memory`
    pub memory: Option<String>,
    /// `--cpus`
    pub cpus: Option<String>,
    /// `--pids-limit`
    pub pids_limit: Option<i64>,
    /// `--shm-size`
    pub shm_size: Option<String>,
    /// `--ulimit`
    pub ulimit: Vec<String>,
    /// `--gpus`
    pub gpus: Option<String>,
    /// `--pid`, `--ipc`, `--uts`, `--userns`, `--cgroupns` with their values.
    pub namespaces: Vec<(&'static str, String)>,
    /// Options with a value that mean nothing here.
    pub meaningless: Vec<&'static str>,
}

/// What they come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// How the root file system differs from that of other boxes.
    pub root: Root,
    /// What is published.
    pub ports: Vec<String>,
    /// `bridge`, `host`, `none`.
    pub network: String,
    /// What was asked for and means nothing here, as sentences.
    pub notes: Vec<String>,
    table: Table,
}

impl Wanted {
    /// The profile of the box called `name`, on `image`, whose files of the host belong to `user`.
    #[must_use]
    pub fn profile(&self, name: &str, image: &str, user: &str) -> String {
        let mut table = self.table.clone();
        for (key, value) in [("name", name), ("image", image), ("user", user)] {
            table.insert(key.to_owned(), value.into());
        }
        // A table always has a text.
        toml::to_string(&table).unwrap_or_default()
    }

    fn set(&mut self, table: &str, key: &str, value: impl Into<Value>) {
        let entry = self.table.entry(table.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(table) = entry {
            table.insert(key.to_owned(), value.into());
        }
    }

    fn add_memory(&mut self, tmpfs: Tmpfs) {
        // It is memory in every box, where things of devbox's lie.
        if tmpfs.target != Path::new("/run") {
            self.root.tmpfs.retain(|other| other.target != tmpfs.target);
            self.root.tmpfs.push(tmpfs);
        }
    }

    fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|known| known == text) {
            self.notes.push(text.to_owned());
        }
    }
}

impl Options {
    /// Checks everything; relative paths lie below `folder`.
    pub fn check(&self, folder: &Path) -> DockerResult<Wanted> {
        let mut wanted = Wanted { network: "bridge".to_owned(), ..Wanted::default() };
        self.check_namespaces(&mut wanted)?;
        let mounted = self.mounts.iter().map(|text| mounts::mount(text));
        for one in mounted.chain(self.volumes.iter().map(|text| mounts::volume(text, folder))) {
            match one? {
                Mounted::Memory(tmpfs) => wanted.add_memory(tmpfs),
                Mounted::Point(point) => {
                    wanted.mounts.retain(|other: &MountPoint| other.target != point.target);
                    wanted.mounts.push(point);
                }
            }
        }
        for text in &self.tmpfs {
            wanted.add_memory(mounts::memory(text)?);
        }
        wanted.root.read_only = self.read_only;
        let binds = wanted.mounts.iter().filter(|point| point.volume.is_none()).map(|point| {
            let path = |path: &Path| Value::from(path.to_string_lossy().into_owned());
            let mut table = Table::new();
            table.insert("source".to_owned(), path(&point.source));
            table.insert("target".to_owned(), path(&point.target));
            table.insert("read_only".to_owned(), point.read_only.into());
            Value::Table(table)
        });
        let binds: Vec<Value> = binds.collect();
        wanted.table.insert("mounts".to_owned(), Value::Array(binds));
        self.add_network(&mut wanted)?;
        self.add_security(&mut wanted)?;
        self.add_limits(&mut wanted)?;
        if self.gpus.is_some() {
            wanted.set("share", "gpu", true);
        }
        for name in &self.meaningless {
            wanted.note(&format!("`--{name}` has no meaning here"));
        }
        Ok(wanted)
    }

    fn check_namespaces(&self, wanted: &mut Wanted) -> DockerResult<()> {
        for (name, value) in &self.namespaces {
            match (*name, value.as_str()) {
                (_, "" | "private") | ("userns", "keep-id") | ("ipc", "none" | "shareable") => {}
                // There `host` means that ids are not mapped, which an ordinary user cannot have.
                ("userns", _) => {
                    wanted.note("the ids of the box are mapped as devbox maps them, whatever `--userns` says")
                }
                (name, value) => {
                    return Err(DockerError::Option {
                        option: format!("--{name} {value}"),
                        reason: "a box has its own, and cannot share the host's or another's".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn add_network(&self, wanted: &mut Wanted) -> DockerResult<()> {
        match self.network.as_deref().unwrap_or_default() {
            "" | "bridge" | "default" => {}
            name @ ("host" | "none") => {
                wanted.set("network", "mode", name);
                wanted.network = name.to_owned();
            }
            other => {
                return Err(no_such_network(&format!("--network {other}")));
            }
        }
        for text in &self.publish {
            parse_published(text).map_err(|reason| wrong("publish", text, reason))?;
        }
        wanted.ports.clone_from(&self.publish);
        let ports = wanted.ports.iter().cloned().map(Value::from).collect::<Vec<_>>();
        wanted.set("network", "ports", ports);
        // What is not published is reached by nobody.
        wanted.set("network", "forward", "off");
        Ok(())
    }

    fn add_security(&self, wanted: &mut Wanted) -> DockerResult<()> {
        for (option, names) in [("cap-add", &self.cap_add), ("cap-drop", &self.cap_drop)] {
            let known = |name: &str| name.eq_ignore_ascii_case("all") || security::capability(name).is_some();
            if let Some(name) = names.iter().find(|name| !known(name)) {
                return Err(wrong(option, name, "there is no such capability"));
            }
        }
        let (mut add, mut drop) = (Vec::new(), Vec::new());
        for name in &self.cap_add {
            if name.eq_ignore_ascii_case("all") {
                wanted.note("capabilities are given by their names, not all at once");
            } else if !security::is_kept(name) {
                add.push(Value::from(name.clone()));
            }
        }
        for name in &self.cap_drop {
            if name.eq_ignore_ascii_case("all") {
                drop.extend(KEPT.iter().filter(|kept| !self.adds(kept)).map(|kept| Value::from(kept.to_string())));
            } else {
                drop.push(Value::from(name.clone()));
            }
        }
        let mut capabilities = Table::new();
        capabilities.insert("add".to_owned(), add.into());
        capabilities.insert("drop".to_owned(), drop.into());
        wanted.set("security", "capabilities", capabilities);
        for option in &self.security_opt {
            match option.replacen(':', "=", 1).as_str() {
                "no-new-privileges" | "no-new-privileges=true" => wanted.set("security", "no_new_privileges", true),
                label if label.starts_with("label") => {}
                "seccomp=unconfined" => wanted.note("the filter of system calls stays"),
                other => wanted.note(&format!("the security option `{other}` has no meaning here")),
            }
        }
        if self.privileged {
            wanted.note(
                "`--privileged` gives nothing: no box has rights over the host; `--cap-add` gives single capabilities",
            );
        }
        Ok(())
    }

    /// Whether `--cap-add` names the capability.
    fn adds(&self, capability: &Capability) -> bool {
        self.cap_add.iter().any(|name| security::capability(name) == Some(*capability))
    }

    fn add_limits(&self, wanted: &mut Wanted) -> DockerResult<()> {
        let sized = |option: &str, text: &str| match size(text) {
            size if parse_size(&size).is_some() => Ok(size),
            _ => Err(wrong(option, text, "this is no size")),
        };
        if let Some(memory) = &self.memory {
            wanted.set("limits", "memory", sized("memory", memory)?);
        }
        if let Some(shm) = &self.shm_size {
            wanted.set("limits", "shm", sized("shm-size", shm)?);
        }
        if let Some(cpus) = &self.cpus {
            let number: f64 = cpus.parse().map_err(|_| wrong("cpus", cpus, "this is no number of processors"))?;
            wanted.set("limits", "cpus", number);
        }
        if let Some(pids) = self.pids_limit.filter(|pids| *pids > 0) {
            wanted.set("limits", "pids", pids);
        }
        for limit in &self.ulimit {
            match limit.strip_prefix("nofile=").and_then(|limits| limits.split(':').next_back()) {
                Some(files) => {
                    let files: i64 = files.parse().map_err(|_| wrong("ulimit", limit, "this is no number of files"))?;
                    wanted.set("limits", "files", files);
                }
                None => wanted.note(&format!("`--ulimit {limit}` has no meaning here")),
            }
        }
        Ok(())
    }
}

/// That the option cannot have this value.
fn wrong(option: &str, value: &str, reason: &str) -> DockerError {
    DockerError::Option { option: format!("--{option} {value}"), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn options_become_a_profile() {
        let options = Options {
            mounts: strings(&["type=bind,source=/home/me/shop,target=/w", "source=cache,target=/c"]),
            volumes: strings(&["/ro:/ro:ro"]),
            publish: strings(&["127.0.0.1:80:80", "3000", "53:53/udp", "9/udp"]),
            network: Some("host".to_owned()),
            cap_add: strings(&["SYS_PTRACE", "CAP_NET_ADMIN"]),
            security_opt: strings(&["seccomp=unconfined", "label=disable", "no-new-privileges"]),
            memory: Some("4g".to_owned()),
            pids_limit: Some(-1),
            ulimit: strings(&["nofile=1:2"]),
            gpus: Some("all".to_owned()),
            privileged: true,
            tmpfs: strings(&["/t:mode=700", "/run", "/t"]),
            read_only: true,
            ..Options::default()
        };
        let wanted = options.check(Path::new("/here")).unwrap();
        let found: Table = wanted.profile("shop", "debian", "root").parse().unwrap();
        let expected: Table = "name = 'shop'\nimage = 'debian'\nuser = 'root'\n\
             [[mounts]]\nsource = '/home/me/shop'\ntarget = '/w'\nread_only = false\n\
             [[mounts]]\nsource = '/ro'\ntarget = '/ro'\nread_only = true\n\
             [network]\nmode = 'host'\nforward = 'off'\nports = ['127.0.0.1:80:80', '3000', '53:53/udp', '9/udp']\n\
             [security]\nno_new_privileges = true\ncapabilities = { add = ['CAP_NET_ADMIN'], drop = [] }\n\
             [limits]\nmemory = '4G'\nfiles = 2\n[share]\ngpu = true\n"
            .parse()
            .unwrap();
        assert_eq!(found, expected);
        let memory = Tmpfs { target: "/t".into(), mode: 0o1777, size_bytes: None };
        assert_eq!(wanted.root, Root { read_only: true, tmpfs: vec![memory] });
        assert_eq!(wanted.mounts[1].volume.as_deref(), Some("cache"));
        assert_eq!(wanted.notes.len(), 2, "{:?}", wanted.notes);
    }

    #[test]
    fn all_capabilities_are_dropped_but_those_that_are_added() {
        let options = Options {
            cap_drop: strings(&["all"]),
            cap_add: strings(&["chown", "CAP_NET_ADMIN"]),
            ..Options::default()
        };
        let wanted = options.check(Path::new("/here")).unwrap();
        let profile: Table = wanted.profile("shop", "debian", "root").parse().unwrap();
        let list = |key: &str| -> Vec<String> {
            let names = profile["security"]["capabilities"][key].as_array().unwrap();
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        assert_eq!(list("drop").len(), KEPT.len() - 1);
        assert!(list("drop").contains(&"CAP_SETUID".to_owned()) && !list("drop").contains(&"CAP_CHOWN".to_owned()));
        assert_eq!((list("add"), wanted.notes), (vec!["CAP_NET_ADMIN".to_owned()], Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_option() {
        let list = |text: &str| strings(&[text]);
        for (options, expected) in [
            (
                Options { cap_add: list("NOSUCH"), ..Options::default() },
                "`--cap-add NOSUCH`: there is no such capability",
            ),
            (Options { cap_drop: list("X"), ..Options::default() }, "`--cap-drop X`: there is no such capability"),
            (Options { publish: list("abc"), ..Options::default() }, "`--publish abc`: "),
            (Options { memory: Some("abc".to_owned()), ..Options::default() }, "`--memory abc`: this is no size"),
            (Options { shm_size: Some("-1".to_owned()), ..Options::default() }, "`--shm-size -1`: this is no size"),
        ] {
            let error = options.check(Path::new("/")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_would_open_the_box_is_refused() {
        for (name, value) in
            [("pid", "host"), ("ipc", "host"), ("uts", "host"), ("cgroupns", "host"), ("pid", "container:x")]
        {
            let options = Options { namespaces: vec![(name, value.to_owned())], ..Options::default() };
            let error = options.check(Path::new("/")).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`--{name} {value}`: a box has its own, and cannot share the host's or another's")
            );
        }
        for (name, value) in [("pid", ""), ("ipc", "private"), ("userns", "keep-id"), ("userns", "host")] {
            let options = Options { namespaces: vec![(name, value.to_owned())], ..Options::default() };
            assert!(options.check(Path::new("/")).is_ok(), "{name} {value}");
        }
        let options = Options { network: Some("container:x".to_owned()), ..Options::default() };
        assert!(options.check(Path::new("/")).is_err());
    }
}
