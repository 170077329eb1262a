use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::resolve::tests::World;
use super::*;

/// What a project with this profile wants, with the directories of the world as `~`.
fn wants(config: &str, profile: &str) -> Vec<String> {
    let world = World::new();
    world.write("config/config.toml", config).write("shop/devbox.toml", profile);
    fs::create_dir_all(world.project.join("inside")).unwrap();
    fs::create_dir_all(world.paths.home.join("outside")).unwrap();
    symlink("../outside", world.project.join("leaves")).unwrap();
    world.write("outside/x.toml", "");
    let loaded = world.load();
    describe(&loaded.wants).into_iter().map(|wish| wish.replace(world.paths.home.to_str().unwrap(), "~")).collect()
}

fn mount(source: &str, rest: &str) -> String {
    format!("[[mounts]]\nsource = \"{source}\"\ntarget = \"/x\"\n{rest}")
}

#[test]
fn what_goes_beyond_the_project_is_a_wish() {
    let own_mount = "[[profile.mounts]]\nsource = \"~/outside\"\ntarget = \"/own\"";
    for (config, profile, wish) in [
        ("", "", None),
        ("", "extends = \"agent\"", None),
        ("", &mount("inside", "")[..], None),
        ("", &mount("not-yet/there", ""), None),
        ("", &mount("..", ""), Some("read and change `~` of the host, as `/x`")),
        ("", &mount("~/outside", "read_only = true"), Some("read `~/outside` of the host, as `/x`")),
        ("", &mount("leaves", ""), Some("read and change `~/outside` of the host, as `/x`")),
        ("", &mount("leaves/new", ""), Some("read and change `~/outside/new` of the host, as `/x`")),
        ("", &mount("inside/../../outside", ""), Some("read and change `~/outside` of the host, as `/x`")),
        (own_mount, "", None),
        (own_mount, &mount("~/outside", ""), None),
        (&format!("{own_mount}\nread_only = true"), &mount("~/outside", ""), Some("read and change `~/outside`")),
        ("", "[share]\nssh_agent = true", Some("use your SSH agent")),
        ("[profile.share]\nssh_agent = true", "[share]\nssh_agent = true", None),
        ("[profile.share]\nssh_agent = true", "", None),
        ("", "[share]\ngit_config = true", Some("read your git configuration")),
        ("", "[share]\ngpg_agent = true", Some("use your GPG agent")),
        ("", "[share]\nx11 = true", Some("use your X display")),
        ("", "[share]\ndbus = [\"org.x.Y\"]", Some("talk to `org.x.Y` on your session bus")),
        ("[profile.share]\ndbus = [\"org.x.Y\"]", "[share]\ndbus = [\"org.x.Y\"]", None),
        ("", "[share]\nhome_cache = [\"cargo\"]", Some("read and change the downloads of `cargo`")),
        ("", "[share]\nca_certificates = true", None),
        ("[profile.share]\nca_certificates = false", "[share]\nca_certificates = true", Some("see the host's CA")),
        ("", "[network]\nmode = \"host\"", Some("use the host's network")),
        ("", "[network]\nmode = \"private\"", None),
        ("", "[network]\nports = [\"80\", \"127.0.0.1:1:1\"]", None),
        ("", "[network]\nports = [\"0.0.0.0:80:80\"]", Some("let other machines reach it: `0.0.0.0:80:80/tcp`")),
        ("[profile.network]\nports = [\"[::]:80:80\"]", "", None),
        ("", "[network]\nhost_ports = [5432]", Some("reach the port `5432/tcp` of the host's loopback")),
        ("[profile.network]\nhost_ports = [5432]", "[network]\nhost_ports = [\"5432/tcp\"]", None),
        ("", "[network]\negress = [\"a.example\"]", None),
        ("[profile.network]\negress = [\"*.example:443\"]", "[network]\negress = [\"a.example:443\"]", None),
        ("[profile.network]\negress = [\"*.example:443\"]", "[network]\negress = []", None),
        (
            "[profile.network]\negress = [\"*.example:443\"]",
            "[network]\negress = [\"a.example\"]",
            Some("reach `a.example` over the network, beyond your own list"),
        ),
        ("[profile.network]\negress = []", "[network]\nmode = \"private\"", None),
        ("[profile.network]\nmode = \"none\"", "[network]\nmode = \"private\"", Some("set the network to `private`")),
        ("[profile.network]\nmode = \"host\"", "[network]\nmode = \"host\"", None),
        ("", "[env]\npass = [\"TERM\", \"LC_ALL\"]\nSECRET = \"x\"", None),
        ("", "[env]\npass = [\"TOKEN\"]", Some("read the environment variable `TOKEN`")),
        ("[profile.env]\npass = [\"TOKEN\"]", "[env]\npass = [\"TOKEN\"]", None),
        ("", "rootfs = \"inside\"", None),
        ("", "rootfs = \"leaves\"", Some("use `~/outside` as its root file system")),
        ("[profile]\nrootfs = \"~/outside\"", "", None),
        ("", "extends = \"leaves/x.toml\"", Some("build on the profile `~/outside/x.toml`, outside the project")),
        ("", "extends = \"../outside/x.toml\"", Some("build on the profile `~/outside/x.toml`, outside the project")),
        ("[profile.project]\nread_only = true", "", None),
        ("[profile.project]\nread_only = true", "[project]\nread_only = false", Some("change the project, which")),
        ("[profile.project]\nread_only = true", &mount("inside", ""), Some("read and change `~/shop/inside`")),
        ("[profile.project]\nmask = [\".env\"]", &mount(".env", "read_only = true"), Some("read `~/shop/.env`")),
        ("[profile.project]\nmask = [\".env\"]", &mount(".", ""), Some("read and change `~/shop` of the host")),
        (
            "[profile]\nextends = \"agent\"",
            "extends = \"rust\"\n[network]\nmode = \"auto\"",
            Some("set the network to"),
        ),
    ] {
        let wants = wants(config, profile);
        match wish {
            None => assert_eq!(wants, [""; 0], "{config}\n{profile}"),
            Some(wish) => assert!(wants.iter().any(|want| want.starts_with(wish)), "{config}\n{profile}\n{wants:?}"),
        }
    }
}

#[test]
fn a_project_cannot_choose_a_profile_of_the_users_to_get_its_grants() {
    let world = World::new();
    world
        .write("config/profiles/work.toml", "[share]\nssh_agent = true")
        .write("shop/devbox.toml", "extends = \"work\"");
    assert_eq!(world.load().wants, [HostWish::Share { grant: Grant::SshAgent }]);
}

#[test]
fn privileges_are_asked_for_and_giving_them_up_is_not() {
    let capability = |name: &str| HostWish::Capability { name: name.into() };
    let call = |name: &str| HostWish::SystemCall { name: name.into() };
    let keyctl = "seccomp = { allow = [\"keyctl\"] }";
    for (config, project, wants) in [
        ("", "capabilities = { add = [\"NET_ADMIN\"] }", vec![capability("CAP_NET_ADMIN")]),
        ("capabilities = { add = [\"NET_ADMIN\"] }", "capabilities = { add = [\"NET_ADMIN\"] }", vec![]),
        (
            "",
            "capabilities = { drop = [\"NET_RAW\"] }\nno_new_privileges = true\nseccomp = { deny = [\"bpf\"] }",
            vec![],
        ),
        (
            "capabilities = { drop = [\"NET_RAW\"] }",
            "capabilities = { add = [\"NET_RAW\"] }",
            vec![capability("CAP_NET_RAW")],
        ),
        ("", keyctl, vec![call("keyctl")]),
        (keyctl, keyctl, vec![]),
        ("seccomp = { deny = [\"ptrace\"] }", "seccomp = { allow = [\"ptrace\"] }", vec![call("ptrace")]),
        ("no_new_privileges = true", "no_new_privileges = false", vec![HostWish::NewPrivileges]),
    ] {
        let world = World::new();
        world
            .write("config/config.toml", &format!("[profile.security]\n{config}"))
            .write("shop/devbox.toml", &format!("[security]\n{project}"));
        assert_eq!(world.load().wants, wants, "{config} / {project}");
    }
    // A local file may not loosen what the profile forbids.
    let world = World::new();
    world
        .write("shop/devbox.toml", "[security]\nno_new_privileges = true\ncapabilities = { drop = [\"NET_RAW\"] }")
        .write(
            "shop/devbox.local.toml",
            "[security]\nno_new_privileges = false\ncapabilities = { add = [\"NET_RAW\"] }",
        );
    assert_eq!(world.load().wants, [capability("CAP_NET_RAW"), HostWish::NewPrivileges]);
}

#[test]
fn a_local_file_may_have_come_with_the_project() {
    let world = World::new();
    world.write("shop/devbox.local.toml", "[share]\nssh_agent = true");
    assert_eq!(world.load().wants, [HostWish::Share { grant: Grant::SshAgent }]);
}

#[test]
fn a_local_file_cannot_loosen_the_profile_unasked() {
    let more = |from, to| HostWish::MoreNetwork { from, to };
    let unmask = |path: &str| HostWish::Unmask { path: path.into() };
    use NetworkMode::{Auto, None, Private};
    for (config, shared, local, wants) in [
        ("", "[network]\nmode = \"none\"", "[network]\nmode = \"auto\"", vec![more(None, Auto)]),
        ("", "[network]\nmode = \"private\"", "[network]\nmode = \"none\"", vec![]),
        (
            "",
            "extends = \"agent\"",
            "extends = \"rust\"\n[network]\nmode = \"auto\"",
            [
                vec![more(Private, Auto), HostWish::Egress { rule: Option::None }],
                [".env", ".env.local"].map(unmask).to_vec(),
                vec![
                    HostWish::Unprotect { path: ".git".into() },
                    HostWish::Capability { name: "CAP_MKNOD".into() },
                    HostWish::Capability { name: "CAP_NET_RAW".into() },
                    HostWish::NewPrivileges,
                ],
            ]
            .concat(),
        ),
        (
            "[profile.network]\nmode = \"host\"",
            "[network]\nmode = \"none\"",
            "[network]\nmode = \"host\"",
            vec![HostWish::HostNetwork],
        ),
        ("[profile.network]\nmode = \"none\"", "[network]\nmode = \"auto\"", "", vec![more(None, Auto)]),
        ("", "[project]\nread_only = true", "[project]\nread_only = false", vec![HostWish::ChangeProject]),
        ("", "", "shell = \"/bin/sh\"", vec![]),
    ] {
        let world = World::new();
        world.write("config/config.toml", config).write("shop/devbox.toml", shared);
        world.write("shop/devbox.local.toml", local);
        assert_eq!(world.load().wants, wants, "{shared}\n{local}");
    }
}

#[test]
fn wishes_are_fit_for_a_terminal() {
    let wants = wants("", &mount("/a\\u001b[2J\\n", ""));
    assert_eq!(wants, ["read and change `/a\\u{1b}[2J\\u{a}` of the host, as `/x`"]);
}

#[test]
fn an_answer_holds_until_something_changes() {
    let world = World::new();
    fs::create_dir_all(world.project.join("data")).unwrap();
    let profile = "[share]\nssh_agent = true\n[[mounts]]\nsource = \"data\"\ntarget = \"/x\"";
    world.write("shop/devbox.toml", profile);
    let trusted = || is_trusted(&world.paths, &world.load()).unwrap();
    assert!(!trusted());
    trust(&world.paths, &world.load()).unwrap();
    assert!(trusted());
    trust(&world.paths, &world.load()).unwrap();

    // The text of a file; also one that wants nothing.
    world.write("shop/devbox.toml", &format!("{profile}\n# more"));
    assert!(!trusted());
    world.write("shop/devbox.toml", profile);
    assert!(trusted());
    world.write("shop/devbox.local.toml", "shell = \"/bin/sh\"");
    assert!(!trusted());
    fs::remove_file(world.project.join("devbox.local.toml")).unwrap();
    assert!(trusted());

    // What a path of the project leads to: a box could have changed it.
    fs::remove_dir(world.project.join("data")).unwrap();
    symlink(&world.paths.home, world.project.join("data")).unwrap();
    assert!(!trusted());
    fs::remove_file(world.project.join("data")).unwrap();
    fs::create_dir(world.project.join("data")).unwrap();
    assert!(trusted());

    // The user's own files may change.
    world.write("config/config.toml", "[profile]\nshell = \"/bin/zsh\"");
    assert!(trusted());

    let record = directory(&world.paths).join(&world.load().digest);
    assert_eq!(fs::metadata(directory(&world.paths)).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(fs::read_to_string(&record).unwrap().contains("SSH agent"));
    fs::write(directory(&world.paths).join("junk"), "junk").unwrap();
    assert_eq!(untrust(&world.paths, Path::new("/elsewhere")).unwrap(), 0);
    assert_eq!(untrust(&world.paths, &world.project).unwrap(), 1);
    assert!(!trusted());
    assert!(!record.exists());
}

#[test]
fn nothing_is_remembered_where_nothing_is_wanted() {
    let world = World::new();
    assert!(is_trusted(&world.paths, &world.load()).unwrap());
    assert_eq!(untrust(&world.paths, &world.project).unwrap(), 0);
    assert!(!directory(&world.paths).exists());
}

#[test]
fn the_same_profile_elsewhere_asks_again() {
    let (one, other) = (World::new(), World::new());
    for world in [&one, &other] {
        world.write("shop/devbox.toml", "[share]\nssh_agent = true");
    }
    assert_ne!(one.load().digest, other.load().digest);
    assert_eq!(one.load().digest.len(), 64);
}

#[test]
fn the_file_of_another_user_is_not_obeyed_unasked() {
    for (source, owner, me, asked) in [
        (Source::Untrusted("/p".into()), Some(1001), 1000, true),
        (Source::Untrusted("/p".into()), Some(1000), 1000, false),
        (Source::Untrusted("/p".into()), Some(0), 1000, false),
        (Source::Untrusted("/p".into()), Some(1001), 0, false),
        (Source::User("/p".into()), Some(1001), 1000, false),
        (Source::Shipped("base"), None, 1000, false),
    ] {
        let file = LoadedFile { source, text: String::new(), owner, layer: Layer::default() };
        let mut wants = Vec::new();
        foreign_files(std::slice::from_ref(&file), me, &mut wants);
        assert_eq!(!wants.is_empty(), asked, "{file:?} {me}");
    }
}
