//! `devbox image build`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::base::OverlayDriver;
use crate::build::context::FILES;
use crate::build::language::lint::Warning;
use crate::build::profile::Inputs;
use crate::build::request::{ContextSource, IMAGE_CONTEXT, Pull, Request};
use crate::build::{self, EPOCH};
use crate::cli::args::image::{Build, BuildProgress, BuildPull};
use crate::cli::commands::session::require_trust;
use crate::cli::{Outcome, print, print_json};
use crate::devcontainer::install;
use crate::error::{Error, FAILED};
use crate::image::descriptor::Descriptor;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::paths::{Paths, variable};
use crate::profile::devcontainer::find;
use crate::profile::user::{self, UserConfig};
use crate::profile::{LoadedProfile, Profile};
use crate::progress::{Progress, Silent};
use crate::registry::Settings;
use crate::text::sanitize;
use crate::ui;
use crate::ui::build::{Display, Screen};

/// Builds, and prints the digest of the image.
pub fn run(folder: &Path, args: &Build) -> Outcome {
    let paths = Paths::from_environment()?;
    let UserConfig { registries: settings, driver, .. } = user::load(&paths)?;
    let names = args.tags.iter().map(|name| settings.reference(name)).collect::<Result<Vec<_>, _>>()?;
    let display = match args.progress {
        BuildProgress::Plain => Display::Plain,
        BuildProgress::Tty => Display::Screen,
        BuildProgress::Json => Display::Json,
        BuildProgress::Quiet => Display::Failures,
        BuildProgress::Auto if std::io::stderr().is_terminal() => Display::Screen,
        BuildProgress::Auto => Display::Plain,
    };
    if let Some(loaded) = devcontainer(&paths, folder, args)? {
        let mut screen = Screen::new(display);
        let inputs = if args.pull == BuildPull::Always { Inputs::Newest } else { Inputs::Locked };
        build::profile::prepare(&paths, &loaded, inputs, &mut screen)?;
        let progress: &dyn Progress =
            if args.progress == BuildProgress::Quiet { &Silent } else { &ui::Terminal::default() };
        let built = install::image(&paths, &loaded, &names, &mut screen, progress);
        drop(screen);
        return built?.map_or(Ok(0), |manifest| show(folder, args, &manifest, &names));
    }
    let request = request(folder, args, driver.unwrap_or_default())?;
    if args.check {
        return check(&paths, &settings, &request, args.progress == BuildProgress::Json);
    }
    let mut screen = Screen::new(display);
    let built = build::build(&paths, &settings, &request, &names, &mut screen);
    drop(screen);
    show(folder, args, &built?, &names)
}

fn show(folder: &Path, args: &Build, manifest: &Descriptor, names: &[Reference]) -> Outcome {
    if let Some(file) = &args.id_file {
        std::fs::write(folder.join(file), manifest.digest.to_string())
            .map_err(|error| Error::new(format!("cannot write `{}`: {error}", sanitize(&file.to_string_lossy()))))?;
    }
    for name in names.iter().filter(|_| args.progress != BuildProgress::Quiet) {
        ui::say(&format!("{} is {}", name.familiar(), manifest.digest));
    }
    print(&format!("{}\n", manifest.digest))
}

/// The profile of a context that has a devcontainer file and no Containerfile, once it is trusted.
fn devcontainer(paths: &Paths, folder: &Path, args: &Build) -> Result<Option<LoadedProfile>, Error> {
    let context = folder.join(&args.context);
    let has_own = FILES.iter().any(|name| context.join(name).exists());
    if args.file.is_some() || has_own || !context.is_dir() || find::all(&context)?.is_empty() {
        return Ok(None);
    }
    let loaded = Profile::load(paths, &context)?;
    if loaded.devcontainer.is_none() {
        return Ok(None);
    }
    let given = [
        ("--target", args.target.is_some()),
        ("--build-arg", !args.build_args.is_empty()),
        ("--secret", !args.secrets.is_empty()),
        ("--ssh", !args.ssh.is_empty()),
        ("--build-context", !args.build_contexts.is_empty()),
        ("--label", !args.labels.is_empty()),
        ("--cache-from", !args.cache_from.is_empty()),
        ("--no-cache", args.no_cache),
        ("--platform", args.platform.is_some()),
        ("--check", args.check),
    ];
    if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
        let shown = sanitize(&args.context).into_owned();
        return Err(Error::new(format!(
            "`{option}` is for Containerfiles, and `{shown}` has a devcontainer file alone"
        ))
        .hint("say it in `build` of the devcontainer file, or name the Containerfile by `--file`"));
    }
    require_trust(paths, &loaded)?;
    Ok(Some(loaded))
}

/// Shows what the checks find.
fn check(paths: &Paths, settings: &Settings, request: &Request, as_json: bool) -> Outcome {
    let found = build::check(paths, settings, request)?;
    if as_json {
        print_json(&found.iter().map(Warning::brief).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        print("no warnings\n")?;
    } else {
        for Warning { rule, diagnostic } in &found {
            print(&format!("{}\n  = rule: {}\n\n", diagnostic.render_warning(true), rule.name()))?;
        }
        print(&match found.len() {
            1 => "1 warning\n".to_owned(),
            count => format!("{count} warnings\n"),
        })?;
    }
    Ok(if found.is_empty() { 0 } else { FAILED })
}

fn request(folder: &Path, args: &Build, driver: OverlayDriver) -> Result<Request, Error> {
    let context = match args.context.as_str() {
        "-" => ContextSource::Standard,
        text if is_remote(text) => ContextSource::Remote(text.to_owned()),
        text => ContextSource::Directory(folder.join(text)),
    };
    let in_folder = |file: &PathBuf| if file.as_os_str() == "-" { file.clone() } else { folder.join(file) };
    let epoch = match variable(EPOCH).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let wrong = || Error::new(format!("{EPOCH} is no number of seconds since 1970"));
            Some(text.to_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?)
        }
    };
    let platform = match &args.platform {
        Some(platform) => platform.parse()?,
        None => Platform::host(),
    };
    Ok(Request {
        file: args.file.as_ref().map(in_folder),
        target: args.target.clone(),
        arguments: args.build_args.iter().filter_map(|text| argument(text)).collect(),
        secrets: args.secrets.iter().map(|text| secret(folder, text)).collect::<Result<_, _>>()?,
        agents: args.ssh.iter().map(|text| agent(folder, text)).collect::<Result<_, _>>()?,
        contexts: args.build_contexts.iter().map(|text| context_of(folder, text)).collect::<Result<_, _>>()?,
        labels: args.labels.iter().map(|text| label(text)).collect(),
        caches: args.cache_from.clone(),
        pull: match args.pull {
            BuildPull::Always => Pull::Always,
            BuildPull::Missing => Pull::Missing,
            BuildPull::Never => Pull::Never,
        },
        no_cache: args.no_cache,
        epoch_seconds: epoch,
        ..Request::new(context, driver, platform)
    })
}

fn is_remote(text: &str) -> bool {
    ["https://", "http://", "git://", "ssh://", "file://", "git@"].iter().any(|begin| text.starts_with(begin))
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// `KEY=value`, or `KEY` with an empty value.
pub fn label(text: &str) -> (String, String) {
    pair(text).unwrap_or((text.to_owned(), String::new()))
}

/// `NAME=value`, or `NAME` with the value that it has in the environment; nothing if it has none.
fn argument(text: &str) -> Option<(String, String)> {
    pair(text).or_else(|| Some((text.to_owned(), variable(text)?.into_string().ok()?)))
}

/// `id=ID,src=FILE`, `id=ID,env=VARIABLE`; without a source the variable, or the file, of that name.
fn secret(folder: &Path, text: &str) -> Result<(String, Vec<u8>), Error> {
    let wrong = |why: &str| {
        Error::new(format!("`--secret {text}`: {why}")).hint("write `id=token,src=FILE` or `id=token,env=VARIABLE`")
    };
    let (mut id, mut file, mut name) = (None, None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", value)) => file = Some(value),
            Some(("env", value)) => name = Some(value),
            Some(("type", "file")) => {}
            Some(("type", "env")) => name = name.or(id),
            _ => return Err(wrong(&format!("`{field}` means nothing"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("there is no `id`"))?;
    let content = match (file, name) {
        (None, None) => variable(id).map(std::os::unix::ffi::OsStringExt::into_vec),
        (None, Some(name)) => variable(name).map(std::os::unix::ffi::OsStringExt::into_vec),
        (Some(_), _) => None,
    };
    let content = match content {
        Some(content) => content,
        None => {
            let path = folder.join(file.or(name).unwrap_or(id));
            std::fs::read(&path).map_err(|error| wrong(&format!("cannot read `{}`: {error}", path.display())))?
        }
    };
    Ok((id.to_owned(), content))
}

/// `default`, `ID`, `ID=SOCKET`.
fn agent(folder: &Path, text: &str) -> Result<(String, PathBuf), Error> {
    match text.split_once('=') {
        Some((id, socket)) => Ok((id.to_owned(), folder.join(socket))),
        None => {
            let missing = || Error::new("there is no SSH agent: `SSH_AUTH_SOCK` is not set").hint("start `ssh-agent`");
            Ok((text.to_owned(), variable("SSH_AUTH_SOCK").map(PathBuf::from).ok_or_else(missing)?))
        }
    }
}

/// `NAME=DIRECTORY`, `NAME=docker-image://IMAGE`, or the `URL` of a repository or an archive.
fn context_of(folder: &Path, text: &str) -> Result<(String, String), Error> {
    let wrong = || Error::new(format!("`--build-context {text}` names nothing")).hint("write `NAME=DIRECTORY`");
    let (name, value) = pair(text).ok_or_else(wrong)?;
    if value.starts_with(IMAGE_CONTEXT) || is_remote(&value) {
        return Ok((name, value));
    }
    let path = folder.join(&value);
    if !path.is_dir() {
        return Err(Error::new(format!("the build context `{}` is no directory", path.display())));
    }
    Ok((name, path.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "t").unwrap();
        let read = |text: &str| secret(directory.path(), text).map_err(|_| ());
        let token = |id: &str| Ok((id.to_owned(), b"t".to_vec()));
        assert_eq!(read("id=a,src=token"), token("a"));
        assert_eq!(read("type=file,id=a,source=token"), token("a"));
        assert_eq!(read("id=token"), token("token"));
        for bad in ["", "token", "src=token", "id=a,src=none", "id=a,x=y"] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
        assert_eq!(argument("A=b=c"), Some(("A".into(), "b=c".into())));
        assert_eq!(argument("NO_SUCH_VARIABLE_HERE"), None);
        assert!(context_of(directory.path(), "x=nowhere").is_err());
        for there in ["x=docker-image://y", "x=https://host/y.tar.gz", "x=git@host:y.git#main", "x=."] {
            assert!(context_of(directory.path(), there).is_ok(), "{there}");
        }
    }
}
