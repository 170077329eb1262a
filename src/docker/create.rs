//! Making a container: the image is found or fetched, what is asked for is checked and allowed, and the record is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::command::check_directory;
use super::container::{Container, check_name, fresh_id, list, lock_names, root};
use super::error::{DockerError, DockerResult};
use super::options::Options;
use super::{events, images, trust};
use crate::base::{self, BaseSpec};
use crate::boxes::id::sanitize_name;
use crate::boxes::view::View;
use crate::devcontainer::metadata::{Carried, LABEL};
use crate::image::config::ImageConfig;
use crate::image::platform::{Platform, PlatformError};
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::Profile;
use crate::profile::container::Asked;
use crate::profile::user::UserConfig;
use crate::progress::Progress;
use crate::registry::Client;
use crate::sandbox::etc::Base;
use crate::sandbox::passwd::Account;
use crate::transfer::pull::pull;
use crate::userns::idmap::IdMode;
use crate::userns::mapper::Offer;

/// Where programs lie when the image does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// When the registry is asked for the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fetch {
    /// When it is not here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Never.
    Never,
}

/// What `docker create` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The image, by name or id.
    pub image: String,
    /// The command; empty: the image's.
    pub command: Vec<String>,
    /// What stands before it; an empty text takes away that of the image.
    pub entrypoint: Option<String>,
    /// How to call it; `None`: made from the image's name.
    pub name: Option<String>,
    /// Who runs it; `None`: as the image says.
    pub user: Option<String>,
    /// Where it starts; `None`: as the image says.
    pub working_dir: Option<String>,
    /// Variables, each as `NAME=value`.
    pub environment: Vec<String>,
    /// Labels in the order in which they were given.
    pub labels: Vec<(String, String)>,
    /// What asks it to end; `None`: as the image says.
    pub stop_signal: Option<String>,
    /// It goes with its end.
    pub remove: bool,
    /// Its standard input stays open.
    pub open_input: bool,
    /// A terminal was asked for.
    pub terminal: bool,
    /// What the box is.
    pub options: Options,
    /// The caller's folder.
    pub folder: PathBuf,
    /// When the registry is asked.
    pub fetch: Fetch,
    /// What the image must be for; `None`: it is not looked at.
    pub platform: Option<String>,
}

/// Makes the container; returns it with what is worth saying. The caller must be single-threaded.
pub fn create(
    paths: &Paths,
    config: &UserConfig,
    request: &Request,
    progress: &dyn Progress,
) -> DockerResult<(Container, Vec<String>)> {
    let mut wanted = request.options.check(&request.folder)?;
    check_directory(request.working_dir.as_deref())?;
    let label = request.labels.iter().find(|(key, _)| key == trust::FOLDER_LABEL).map(|(_, value)| value.as_str());
    let workspace = trust::workspace(paths, label, &request.folder);
    for mount in wanted.mounts.iter().filter(|mount| mount.volume.is_none()) {
        std::fs::metadata(&mount.source).map_err(|source| DockerError::Io {
            action: "mount",
            path: mount.source.clone(),
            source,
        })?;
    }
    let store = Store::open(&paths.store())?;
    let record = image(paths, &store, config, request, progress)?;
    let (_, image) = images::contents(&store, &record)?;
    check_platform(request.platform.as_deref(), &image.platform())?;
    let labels: BTreeMap<String, String> =
        image.config.labels.clone().into_iter().chain(request.labels.clone()).collect();
    let (entrypoint, command) = what_to_run(request, &image)?;

    let id = fresh_id()?;
    let _names = lock_names(paths)?;
    let name = name(paths, request, &id)?;
    let held = images::hold(&store, &id, &record)?;
    let made = (|| -> DockerResult<Container> {
        let user = owner(paths, config, &held, request, &image, &labels, progress)?;
        let text = wanted.profile(&name, &held.to_string(), &user);
        // For the question the image and the name do not count.
        let folder = root(paths).join("containers").join(&id);
        let asked = Asked { folder: &folder, workspace: workspace.as_deref(), text: &text };
        trust::require(paths, &Profile::of_container(paths, asked)?, asked)?;
        let container = Container {
            id: id.clone(),
            name,
            created: Timestamp::now(),
            image: request.image.clone(),
            image_id: record.manifest.digest.to_string(),
            entrypoint,
            command,
            user: request.user.clone().unwrap_or_else(|| image.config.user.clone()),
            environment: environment(&image.config.env, &request.environment),
            labels,
            working_dir: request.working_dir.clone().unwrap_or_else(|| image.config.working_dir.clone()),
            stop_signal: request
                .stop_signal
                .clone()
                .or_else(|| image.config.stop_signal.clone())
                .unwrap_or_else(|| "SIGTERM".to_owned()),
            remove: request.remove,
            open_input: request.open_input,
            terminal: request.terminal,
            mounts: std::mem::take(&mut wanted.mounts),
            tmpfs: std::mem::take(&mut wanted.root.tmpfs),
            read_only: wanted.root.read_only,
            ports: std::mem::take(&mut wanted.ports),
            network: wanted.network.clone(),
            workspace: workspace.clone(),
            profile: text,
        };
        container.save(paths)?;
        events::append(paths, &container, "create", &[])?;
        Ok(container)
    })();
    if made.is_err() {
        // What failed is what the user has to know.
        images::release(&store, &id).ok();
    }
    Ok((made?, wanted.notes))
}

fn image(
    paths: &Paths,
    store: &Store,
    config: &UserConfig,
    request: &Request,
    progress: &dyn Progress,
) -> DockerResult<ImageRecord> {
    if request.fetch != Fetch::Always
        && let Some(record) = images::find(store, &config.registries, &request.image)?
    {
        return Ok(record);
    }
    let no_such = || DockerError::NoSuchImage { name: request.image.clone() };
    if request.fetch == Fetch::Never {
        return Err(no_such());
    }
    let reference = config.registries.reference(&request.image).map_err(|_| no_such())?;
    let client = Client::new(config.registries.clone(), paths).with_notice(progress.notice());
    Ok(pull(paths, &Offer::probe().map(0), &client, &reference, &Platform::host(), progress)?)
}

/// Nothing emulates another processor for a container: an image for another platform than was asked for is refused.
fn check_platform(wanted: Option<&str>, found: &Platform) -> DockerResult<()> {
    let Some(wanted) = wanted.filter(|text| !text.is_empty()) else { return Ok(()) };
    let wrong = |reason: String| DockerError::Option { option: format!("--platform {wanted}"), reason };
    let parsed: Platform = wanted.parse().map_err(|error: PlatformError| wrong(error.to_string()))?;
    if parsed.rank(found).is_some() { Ok(()) } else { Err(wrong(format!("the image is for {found}"))) }
}

fn what_to_run(request: &Request, image: &ImageConfig) -> DockerResult<(Option<Vec<String>>, Vec<String>)> {
    let entrypoint = match &request.entrypoint {
        None => image.config.entrypoint.clone(),
        Some(text) if text.is_empty() => None,
        Some(text) => Some(vec![text.clone()]),
    };
    let command = match (&request.command[..], &request.entrypoint) {
        // An entry point of one's own has nothing to do with the image's command.
        ([], None) => image.config.cmd.clone().unwrap_or_default(),
        (command, _) => command.to_vec(),
    };
    if entrypoint.iter().flatten().chain(&command).next().is_none() {
        return Err(DockerError::NoCommand);
    }
    Ok((entrypoint, command))
}

fn name(paths: &Paths, request: &Request, id: &str) -> DockerResult<String> {
    let Some(name) = &request.name else {
        let image = images::parts(&request.image).0;
        let last = sanitize_name(std::ffi::OsStr::new(image.rsplit('/').next().unwrap_or_default()));
        return Ok(format!("{last}-{}", &id[..6]));
    };
    check_name(name)?;
    match list(paths)?.into_iter().find(|container| container.name == *name) {
        Some(other) => Err(DockerError::NameTaken { name: name.clone(), id: other.id }),
        None => Ok(name.clone()),
    }
}

/// The image's variables, each replaced by one of the same name that was typed.
fn environment(image: &[String], typed: &[String]) -> Vec<String> {
    let name = |pair: &str| pair.split_once('=').map_or(pair.to_owned(), |(name, _)| name.to_owned());
    let mut all: Vec<String> = Vec::new();
    for pair in [PATH.to_owned()].iter().chain(image).chain(typed) {
        match all.iter_mut().find(|known| name(known) == name(pair)) {
            Some(known) => known.clone_from(pair),
            None => all.push(pair.clone()),
        }
    }
    all
}

/// The user of the image to whom the files of the host belong: whom the devcontainer's metadata, the command line or the image names.
fn owner(
    paths: &Paths,
    config: &UserConfig,
    held: &crate::image::reference::Reference,
    request: &Request,
    image: &ImageConfig,
    labels: &BTreeMap<String, String>,
    progress: &dyn Progress,
) -> DockerResult<String> {
    let map = Offer::probe().map(0);
    let remote = remote_user(labels, image);
    let typed = request.user.clone().filter(|user| !user.is_empty());
    let own = Some(image.config.user.clone()).filter(|user| !user.is_empty());
    let names = [remote, typed.clone(), own];
    if names.iter().all(Option::is_none) {
        return Ok("root".to_owned());
    }
    let base = BaseSpec::Image(held.clone());
    let layers = base::prepare(paths, &map, &base, config.driver, &config.registries, progress)?;
    let view = View::new(&[], &layers);
    let read = |name: &str| {
        let bytes = view.read(Path::new(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let find = |wanted: &str| Account::parse(&passwd, &group, wanted);
    if let Some(typed) = &typed
        && find(typed).is_none()
    {
        return Err(DockerError::Option {
            option: format!("--user {typed}"),
            reason: "the image has no such user".to_owned(),
        });
    }
    if map.mode == IdMode::Single {
        return Ok("root".to_owned());
    }
    // A number without a name cannot be given the host's files.
    let named = |account: &Account| account.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let chosen = names.into_iter().flatten().next().and_then(|wanted| find(&wanted)).filter(named);
    Ok(chosen
        .map_or_else(|| "root".to_owned(), |account| if account.uid == 0 { "root".to_owned() } else { account.name }))
}

/// `remoteUser`, or else `containerUser`, of the devcontainer's metadata; the last entry wins.
fn remote_user(labels: &BTreeMap<String, String>, image: &ImageConfig) -> Option<String> {
    let own: Option<Value> = labels.get(LABEL).and_then(|text| serde_json::from_str(text).ok());
    let entries: Vec<Value> = match own {
        Some(Value::Array(entries)) => entries,
        Some(entry) => vec![entry],
        None => Carried::of(image).entries.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
    };
    let last = |key: &str| {
        entries.iter().rev().find_map(|entry| entry[key].as_str().map(str::to_owned)).filter(|user| !user.is_empty())
    };
    last("remoteUser").or_else(|| last("containerUser"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut image = ImageConfig::default();
        image.config.entrypoint = Some(words(&["/entry"]));
        image.config.cmd = Some(words(&["serve"]));
        for (entrypoint, command, expected) in [
            (None, &[][..], "/entry serve"),
            (None, &["other"], "/entry other"),
            (Some("/bin/sh"), &["-c", "x"], "/bin/sh -c x"),
            (Some("/bin/sh"), &[], "/bin/sh"),
            (Some(""), &["x"], "x"),
        ] {
            let request =
                Request { entrypoint: entrypoint.map(str::to_owned), command: words(command), ..Request::default() };
            let (first, rest) = what_to_run(&request, &image).unwrap();
            let found: Vec<String> = first.into_iter().flatten().chain(rest).collect();
            assert_eq!(found.join(" "), expected);
        }
        assert!(matches!(what_to_run(&Request::default(), &ImageConfig::default()), Err(DockerError::NoCommand)));
        let found = environment(&words(&["PATH=/x", "A=1", "B=2"]), &words(&["A=3 4", "C="]));
        assert_eq!(found, ["PATH=/x", "A=3 4", "B=2", "C="]);
    }

    #[test]
    fn images_for_another_platform_are_refused() {
        let image = Platform::linux("amd64", None);
        for (wanted, expected) in [
            (None, None),
            (Some(""), None),
            (Some("linux/amd64"), None),
            (Some("linux/x86_64"), None),
            (Some("linux/arm64"), Some("`--platform linux/arm64`: the image is for linux/amd64")),
        ] {
            let found = check_platform(wanted, &image).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), expected, "{wanted:?}");
        }
        assert!(check_platform(Some("/"), &image).is_err());
    }

    #[test]
    fn the_users_of_devcontainers() {
        let image = ImageConfig::default();
        for (label, expected) in [
            ("[{\"remoteUser\":\"node\"},{\"remoteUser\":\"dev\"}]", Some("dev")),
            ("[{\"remoteUser\":\"node\"},{\"id\":\"x\"}]", Some("node")),
            ("[{\"containerUser\":\"app\"}]", Some("app")),
            ("{\"remoteUser\":\"one\"}", Some("one")),
            ("[]", None),
            ("nonsense", None),
        ] {
            let labels = BTreeMap::from([(LABEL.to_owned(), label.to_owned())]);
            assert_eq!(remote_user(&labels, &image).as_deref(), expected, "{label}");
        }
    }
}
