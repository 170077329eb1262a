use std::fs;
use std::os::unix::fs::symlink;

use super::super::show::show;
use super::super::{Grant, Lifetime, NetworkMode};
use super::*;
use crate::limits::Key;

/// A home directory with a configuration, and a project in it.
pub(in super::super) struct World {
    _root: tempfile::TempDir,
    pub(in super::super) root: PathBuf,
    pub(in super::super) project: PathBuf,
    pub(in super::super) paths: Paths,
}

impl World {
    pub(in super::super) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let home = root.join("home");
        let paths = Paths {
            data: home.join("data"),
            config: home.join("config"),
            cache: home.join("cache"),
            runtime: home.join("run"),
            home: home.clone(),
        };
        let project = home.join("shop");
        fs::create_dir_all(&project).unwrap();
        Self { _root: temporary, root, project, paths }
    }

    /// Writes `text` to `path` below the home directory.
    pub(in super::super) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.paths.home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(in super::super) fn load(&self) -> LoadedProfile {
        self.try_load().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(in super::super) fn try_load(&self) -> Result<LoadedProfile, ProfileError> {
        Profile::load(&self.paths, &self.project)
    }

    fn error(&self) -> String {
        let text = self.try_load().unwrap_err().to_string();
        text.replace(self.paths.home.to_str().unwrap(), "~")
    }
}

#[test]
fn without_any_file_everything_has_a_default() {
    let world = World::new();
    let loaded = world.load();
    assert_eq!(loaded.project, world.project);
    assert!(loaded.sources.is_empty() && loaded.wants.is_empty());
    let profile = loaded.profile;
    assert_eq!((profile.name.as_str(), profile.base, profile.user.as_str()), ("shop", BaseSpec::Host, "root"));
    assert_eq!((profile.project.path, profile.project.read_only), (world.project.clone(), false));
    assert_eq!((profile.lifetime, profile.network.mode), (Lifetime::Session, NetworkMode::Auto));
    assert_eq!(profile.share.grants, [Grant::CaCertificates].into());
    assert!(profile.share.dbus.is_empty() && profile.share.home_cache.is_empty());
    assert_eq!(profile.env.pass, DEFAULT_PASS);
    assert_eq!(profile.shell, None);
}

#[test]
fn layers_lie_in_order() {
    let world = World::new();
    world
        .write("config/config.toml", "[profile]\nshell = \"/config\"\nuser = \"config\"\npackages = [\"config\"]")
        .write(
            "config/profiles/mine.toml",
            "extends = \"rust\"\nuser = \"mine\"\npackages = [\"mine\"]\nname = \"mine\"",
        )
        .write("shop/devbox.toml", "extends = \"mine\"\npackages = [\"project\", \"git\"]\n[tasks]\nbuild = \"make\"")
        .write("shop/devbox.local.toml", "lifetime = \"keep\"\npackages = [\"local\"]");
    let loaded = world.load();
    let profile = &loaded.profile;
    // A name is never inherited, or every project that extends `mine` would be `mine`.
    assert_eq!(profile.name, "shop");
    assert_eq!((profile.shell.as_deref(), profile.user.as_str()), (Some(Path::new("/config")), "mine"));
    assert_eq!(profile.lifetime, Lifetime::Keep);
    assert_eq!(
        profile.packages,
        [
            "config",
            "ca-certificates",
            "curl",
            "git",
            "build-essential",
            "cargo",
            "pkg-config",
            "rustc",
            "mine",
            "project",
            "local"
        ]
    );
    assert_eq!((profile.tasks["build"].as_str(), profile.tasks["test"].as_str()), ("make", "cargo test"));
    let labels: Vec<String> = loaded
        .sources
        .iter()
        .map(|source| source.label().display().to_string().replace(world.paths.home.to_str().unwrap(), "~"))
        .collect();
    assert_eq!(
        labels,
        [
            "~/config/config.toml",
            "<shipped base>",
            "<shipped rust>",
            "~/config/profiles/mine.toml",
            "~/shop/devbox.toml",
            "~/shop/devbox.local.toml"
        ]
    );
    assert_eq!(loaded.origin("packages.git"), Some(&Source::Shipped("base")));
    assert_eq!(loaded.origin("tasks.build"), Some(&Source::Untrusted(world.project.join("devbox.toml"))));
    assert_eq!(loaded.origin("network.mode"), None);
}

#[test]
fn the_highest_extends_is_the_one_chain() {
    let world = World::new();
    world.write("config/config.toml", "[profile]\nextends = \"python\"\n[profile.tasks]\ntest = \"mine\"");
    assert!(world.load().profile.packages.contains(&"python3".to_owned()));
    assert_eq!(world.load().profile.tasks["test"], "mine");
    world.write("shop/devbox.toml", "extends = \"go\"");
    assert!(world.load().profile.packages.contains(&"golang-go".to_owned()));
    assert!(!world.load().profile.packages.contains(&"python3".to_owned()));
    world.write("shop/devbox.local.toml", "extends = \"node\"");
    assert!(world.load().profile.packages.contains(&"npm".to_owned()));
    assert!(!world.load().profile.packages.contains(&"golang-go".to_owned()));
}

#[test]
fn a_users_profile_may_extend_the_shipped_one_of_its_name() {
    let world = World::new();
    world
        .write("config/profiles/rust.toml", "# Rust as I like it\nextends = \"rust\"\npackages = [\"lld\"]")
        .write("shop/devbox.toml", "extends = \"rust\"");
    let packages = world.load().profile.packages;
    assert!(packages.contains(&"rustc".to_owned()) && packages.contains(&"lld".to_owned()));
    let listed = list(&world.paths);
    assert_eq!(listed.len(), SHIPPED.len());
    let rust = listed.iter().find(|listed| listed.name == "rust").unwrap();
    assert_eq!(rust.summary, "Rust as I like it");
}

#[test]
fn paths_start_from_the_file_that_names_them() {
    let world = World::new();
    world
        .write("shop/dev/common.toml", "rootfs = \"root.tar.zst\"\n[[mounts]]\nsource = \"cache\"\ntarget = \"/c\"")
        .write("shop/devbox.toml", "extends = \"dev/common.toml\"\n[project]\npath = \"/src\"");
    let loaded = world.load();
    assert_eq!(loaded.profile.base, BaseSpec::Archive(world.project.join("dev/root.tar.zst")));
    assert_eq!(loaded.profile.mounts[0].source, world.project.join("dev/cache"));
    assert_eq!(loaded.profile.project.path, Path::new("/src"));
    fs::create_dir(world.project.join("dev/root.tar.zst")).unwrap();
    assert_eq!(world.load().profile.base, BaseSpec::Directory(world.project.join("dev/root.tar.zst")));
}

#[test]
fn a_chain_that_cannot_be_followed() {
    for (files, message) in [
        (
            &[("shop/devbox.toml", "extends = \"pyton\"")][..],
            "~/shop/devbox.toml:1:11: there is no profile `pyton` (did you mean `python`?)",
        ),
        (
            &[("shop/devbox.toml", "\nextends = \"./x.toml\"")],
            "~/shop/devbox.toml:2:11: `~/shop/x.toml` does not exist",
        ),
        (
            &[("shop/devbox.toml", "extends = \"devbox.toml\"")],
            "~/shop/devbox.toml:1:11: `extends` leads in a circle: back to",
        ),
        (
            &[("shop/devbox.toml", "extends = \"./a.toml\""), ("shop/a.toml", "extends = \"../shop/devbox.toml\"")],
            "~/shop/a.toml:1:11: `extends` leads in a circle: back to",
        ),
        (
            &[("shop/devbox.toml", "extends = \"./a.toml\""), ("shop/a.toml", "shel = \"x\"")],
            "~/shop/a.toml:1:1: unknown key `shel` (did you mean `shell`?)",
        ),
        (
            &[
                ("config/profiles/a.toml", "extends = \"b\""),
                ("config/profiles/b.toml", "extends = \"a\""),
                ("shop/devbox.toml", "extends = \"a\""),
            ],
            "~/config/profiles/b.toml:1:11: `extends` leads in a circle: back to",
        ),
        (
            &[
                ("shop/devbox.toml", "[project]\npath = \"/src\""),
                ("shop/devbox.local.toml", "[[mounts]]\nsource = \".\"\ntarget = \"/src\""),
            ],
            "~/shop/devbox.local.toml:3:10: this mount would hide the project",
        ),
        (
            &[("config/config.toml", "[profil]")],
            "~/config/config.toml:1:2: unknown key `profil` (did you mean `profile`?)",
        ),
        (&[("shop/devbox.toml/x", "")], "profile `~/shop/devbox.toml` is a directory, not a file"),
    ] {
        let world = World::new();
        for (path, text) in files {
            world.write(path, text);
        }
        assert!(world.error().starts_with(message), "{}\n{message}", world.error());
    }
}

#[test]
fn a_chain_has_an_end() {
    let world = World::new();
    for depth in 0..20 {
        world.write(&format!("shop/{depth}.toml"), &format!("extends = \"./{}.toml\"", depth + 1));
    }
    world.write("shop/20.toml", "").write("shop/devbox.toml", "extends = \"./5.toml\"");
    world.load();
    world.write("shop/devbox.toml", "extends = \"./4.toml\"");
    assert!(world.error().contains("more than 16 profiles below each other"), "{}", world.error());
    symlink(world.project.join("devbox.toml"), world.project.join("again.toml")).unwrap();
    world.write("shop/devbox.toml", "extends = \"./again.toml\"");
    assert!(world.error().contains("leads in a circle"), "{}", world.error());
}

#[test]
fn some_folders_are_no_projects() {
    let world = World::new();
    for folder in ["/", "/proc", "/dev"] {
        let error = Profile::load(&world.paths, Path::new(folder)).unwrap_err();
        assert!(matches!(error, ProfileError::ImpossibleProject { .. }), "{folder}: {error}");
    }
}

#[test]
fn what_is_shown_is_a_profile_again() {
    let world = World::new();
    world.write(
        "shop/devbox.toml",
        r#"
extends = "agent"
shell = "/bin/zsh"
packages = ["g++"]
[project]
mask = ["secret file"]
[env]
"a.b" = "x\ny\u001b\"\\"
pass = ["EDITOR"]
[[mounts]]
source = "data"
target = "/data"
[tasks]
"a:b" = "echo ä"
[hooks]
create = ["one", "two"]
"#,
    );
    let first = world.load();
    let shown = show(&first);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    for line in [
        "base = \"host\"",
        "shell = \"/bin/zsh\"  # devbox.toml",
        "    \"git\",  # <shipped base>",
        "mode = \"private\"  # <shipped agent>",
        "    \".env\",  # <shipped agent>",
        "    \"TERM\",",
        "target = \"/data\"  # devbox.toml",
        "ca_certificates = true",
        "    \"two\",  # devbox.toml",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    world.write("shop/devbox.toml", &shown);
    assert_eq!(world.load().profile, first.profile);
}

#[test]
fn checks_a_file_anywhere() {
    let world = World::new();
    world.write("a.toml", "extends = \"./b.toml\"").write("b.toml", "x = 1");
    let check = |name: &str| Profile::check(&world.paths, &world.paths.home.join(name));
    assert!(check("a.toml").unwrap_err().to_string().contains("b.toml:1:1: unknown key `x`"));
    world.write("b.toml", "");
    check("a.toml").unwrap();
    assert!(check("c.toml").is_err());
    assert!(world.root.exists());
}

#[test]
fn a_projects_files_can_only_lower_the_users_limits() {
    let world = World::new();
    world
        .write("config/config.toml", "[profile.limits]\nmemory = \"4GiB\"\npids = 500\n")
        .write("shop/devbox.toml", "[limits]\nmemory = \"8GiB\"\npids = 100\ncpus = 2\n")
        .write("shop/devbox.local.toml", "[limits]\npids = 300\ncpus = 1\nrequire = true\n");
    let limits = world.load().profile.limits;
    let expected = [(Key::Cpus, 1000), (Key::Memory, 4 << 30), (Key::Pids, 100)];
    assert_eq!(limits, Limits { values: expected.into(), require: true });
}
