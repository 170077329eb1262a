use super::*;

fn parse(text: &str) -> Checked<Layer> {
    parse_profile(&Origin {
        file: Path::new("/work/shop/devbox.toml"),
        text,
        folder: Path::new("/work/shop"),
        home: Path::new("/home/ann"),
    })
}

#[test]
fn a_build_is_a_base_and_stays_in_the_project() {
    let layer = parse("[build]\ncontext = \"./ci/\"\ncontainerfile = \"ci/File\"\nargs = { A = \"b\" }\n").unwrap();
    let build = Build {
        containerfile: Some("ci/File".into()),
        context: "ci".into(),
        target: None,
        args: [("A".to_owned(), "b".to_owned())].into(),
    };
    assert_eq!(layer.base, Some(BaseChoice::Build(build)));
    for bad in ["context = \"..\"", "context = \"/etc\"", "containerfile = \"a/../../b\"", "args = { \"a=b\" = \"\" }"]
    {
        assert!(parse(&format!("[build]\n{bad}\n")).is_err(), "{bad}");
    }
    assert!(parse("base = \"host\"\n[build]\n").unwrap_err().to_string().contains("exclude each other"));
}

#[test]
fn reads_every_key() {
    let layer = parse(
        r#"
name = "shop"
extends = "rust"
distro = "debian:bookworm"
packages = ["build-essential", "g++", "libc6:i386", "hello=2.10-3", "@development-tools"]
shell = "/bin/bash"
user = "ann"
lifetime = "keep"
[project]
path = "/src"
mask = [".env", "./.git//hooks/"]
read_only = true
[env]
RUST_BACKTRACE = "1"
pass = ["EDITOR"]
[[mounts]]
source = "~/.cargo/registry"
target = "/root/.cargo/./registry/"
[[mounts]]
source = "data"
target = "/data"
read_only = true
[share]
ssh_agent = true
git_config = true
ca_certificates = false
dbus = ["org.freedesktop.Notifications"]
home_cache = ["cargo", "pip"]
[network]
mode = "none"
[tasks]
test = "cargo test"
[hooks]
create = ["cargo fetch"]
enter = ["true"]
"#,
    )
    .unwrap();
    assert_eq!(layer.extends.unwrap().value, Extends::Name("rust".into()));
    assert_eq!(layer.base, Some(BaseChoice::Distro("debian:bookworm".into())));
    assert_eq!(layer.packages.len(), 5);
    assert_eq!(layer.mask, [PathBuf::from(".env"), PathBuf::from(".git/hooks")]);
    assert_eq!(layer.mounts[0].source, Path::new("/home/ann/.cargo/registry"));
    assert_eq!(layer.mounts[0].target, Path::new("/root/.cargo/registry"));
    assert_eq!(layer.mounts[1].source, Path::new("/work/shop/data"));
    assert!(layer.mounts[1].read_only && !layer.mounts[0].read_only);
    assert_eq!((layer.lifetime, layer.network_mode), (Some(Lifetime::Keep), Some(NetworkMode::None)));
    assert_eq!(layer.env["RUST_BACKTRACE"], "1");
    assert_eq!(layer.tasks["test"], "cargo test");
}

#[test]
fn an_empty_file_and_a_byte_order_mark_are_fine() {
    for text in ["", "# nothing\n", "\u{feff}shell = \"/bin/sh\"\n", "shell = \"/bin/sh\"\r\n"] {
        parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
}

/// Text; what the one-line form must be. The position is that of the offending word.
const REFUSED: &[(&str, &str)] = &[
    ("pakages = []", "1:1: unknown key `pakages` (did you mean `packages`?)"),
    ("\n\nservices = \"x\"", "3:1: unknown key `services`"),
    ("image = \"Debian\"", "1:9: this is not the name of an image"),
    ("image = \"x\"\nbase = \"host\"", "2:8: `image` and `base` exclude each other"),
    ("[netwrk]\nmode = \"none\"", "1:2: unknown key `netwrk` (did you mean `network`?)"),
    ("[project]\nreadonly = true", "2:1: unknown key `readonly` (did you mean `read_only`?)"),
    ("ssh_agent = true", "1:1: unknown key `ssh_agent`"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"/b\"\nmod = 1", "4:1: unknown key `mod`"),
    ("\"a\\u001bb\" = 1", "1:1: unknown key `a\\u{1b}b`"),
    ("'a`, expected `b' = 1", "1:1: unknown key `a`, expected `b`"),
    ("shell = ", "1:9: "),
    ("shell", "1:6: key with no value, expected `=`"),
    ("shell = \"/a\"\nshell = \"/b\"", "2:1: duplicate key"),
    ("packages = \"git\"", "1:12: wrong type: expected a list (this is the string \"git\")"),
    ("packages = [1]", "1:13: wrong type: expected a string in quotes (this is the number `1`)"),
    ("shell = true", "1:9: wrong type: expected a string in quotes (this is the boolean `true`)"),
    ("project = 1", "1:11: wrong type: expected a table (this is the number `1`)"),
    ("[project]\nread_only = \"yes\"", "2:13: wrong type: expected `true` or `false` (this is the string \"yes\")"),
    ("[env]\nA = 1", "2:5: wrong type: expected a string in quotes (this is the number `1`)"),
    ("[env]\nA = \"b\"\npackages = [\"git\"]", "3:12: wrong type: expected a string in quotes (this is a list)"),
    ("lifetime = \"kep\"", "1:12: unknown value `kep` (did you mean `keep`?)"),
    ("[network]\nmode = \"bridge\"", "2:8: unknown value `bridge`"),
    ("[network]\nports = [\"80\", \"x:80\"]", "2:16: this is no port to publish"),
    ("[network]\nports = [\"80:80\", \"80:81\"]", "2:19: this port of the host is named twice"),
    ("[network]\nhost_ports = [0]", "2:15: this is no port of the host"),
    ("[network]\nmode = \"none\"\nports = [\"80\"]", "3:10: `ports` and `mode = \"none\"` exclude each other"),
    ("[network]\nbandwidth = \"50 MB\"", "2:13: this is no rate"),
    ("[network]\nbandwidth = { up = \"1kbit\" }", "2:13: this is no rate"),
    ("[network]\nmode = \"host\"\nbandwidth = \"1mbit\"", "3:13: `bandwidth` needs a network of the box's own"),
    ("[network]\njoin = \"a/b\"", "2:8: this cannot be the name of a box"),
    ("[network]\nmode = \"private\"\njoin = \"db\"", "3:8: `join` and `mode` exclude each other"),
    ("[network]\nports = [\"80\"]\njoin = \"db\"", "3:8: `join` and `ports` exclude each other"),
    ("[network]\negress = [\"a.example\", \"b.example:0\"]", "2:35: this is nothing that a box could reach"),
    ("[network]\nmode = \"host\"\negress = []", "2:8: `egress` and `mode = \"host\"` exclude each other"),
    ("[network]\nforward = \"on\"", "2:11: unknown value `on`"),
    ("[[mounts]]\nsource = \"a\"", "1:1: missing key `target`"),
    ("base = \"host\"\ndistro = \"debian:bookworm\"", "2:10: `base` and `distro` exclude each other (a second base)"),
    ("rootfs = \"a\"\nbase = \"host\"", "2:8: `rootfs` and `base` exclude each other (a second base)"),
    ("base = \"hots\"", "1:8: unknown base `hots` (did you mean `host`?)"),
    ("base = \"debian:bookworm\"", "1:8: unknown base `debian:bookworm`"),
    ("distro = \"debian\"", "1:10: this is not a distribution and its release (the release is missing)"),
    ("distro = \"debian:-x\"", "1:10: this is not a distribution"),
    ("distro = \"../x:y\"", "1:10: this is not a distribution"),
    ("rootfs = \"\"", "1:10: an empty path"),
    ("rootfs = \"~bob/x\"", "1:10: the home of another user"),
    ("name = \"\"", "1:8: this cannot be the name of a box (it is empty)"),
    ("name = \"a/b\"", "1:8: this cannot be the name of a box (it contains a slash)"),
    ("name = \"a\\u0007\"", "1:8: this cannot be the name of a box (it contains a control character)"),
    ("name = \"..\"", "1:8: this cannot be the name of a box (it must begin with a letter or a digit)"),
    ("name = \"a b\"", "1:8: this cannot be the name of a box (letters, digits, `-`, `_` and `.` only)"),
    ("extends = \"\"", "1:11: this is neither the name of a profile nor a path (it is empty)"),
    ("packages = [\"git\", \"-o\"]", "1:20: this is not the name of a package (it would be taken for an option)"),
    ("packages = [\"a b\"]", "1:13: this is not the name of a package (it contains a blank"),
    ("packages = [\"\"]", "1:13: this is not the name of a package (it is empty)"),
    ("packages = [\"apt-\"]", "1:13: this is not the name of a package (apt would remove it)"),
    ("packages = [\"./a.deb\"]", "1:13: this is not the name of a package"),
    ("shell = \"bash\"", "1:9: the shell must be an absolute path in the box"),
    ("user = \"0day\"", "1:8: this cannot be the name of a user"),
    ("user = \"a:b\"", "1:8: this cannot be the name of a user"),
    ("[project]\npath = \"src\"", "2:8: the mount point of the project must be an absolute path in the box"),
    ("[project]\npath = \"/a/../b\"", "2:8: the mount point of the project cannot contain `..`"),
    ("[project]\nmask = [\"/etc\"]", "2:9: a mask must be a path in the project"),
    ("[project]\nmask = [\"a/../../b\"]", "2:9: a mask must be a path in the project"),
    ("[project]\nmask = [\".env*\"]", "2:9: a mask is a path, and no pattern"),
    ("[project]\nmask = [\"./\"]", "2:9: a mask cannot be the whole project"),
    ("[env]\n\"A=B\" = \"1\"", "2:1: this cannot be the name of a variable (it contains `=`)"),
    ("[env]\n\"\" = \"1\"", "2:1: this cannot be the name of a variable (it is empty)"),
    ("[env]\n\"A\\u0000\" = \"1\"", "2:1: this cannot be the name of a variable (it contains a control character)"),
    ("[env]\nA = \"\\u0000\"", "2:5: this cannot contain a NUL character"),
    ("[env]\npass = [\"A=1\"]", "2:9: this cannot be the name of a variable (it contains `=`)"),
    ("[tasks]\n-t = \"x\"", "2:1: this cannot be the name of a task"),
    ("[tasks]\n\"a b\" = \"x\"", "2:1: this cannot be the name of a task"),
    ("[tasks]\na = \" \"", "2:5: an empty command"),
    ("[hooks]\ncreate = [\"\"]", "2:11: an empty command"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"b\"", "3:10: the target of a mount must be an absolute path"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"/\"", "3:10: the target of a mount cannot be `/`"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"//./\"", "3:10: the target of a mount cannot be `/`"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"/proc/sys\"", "3:10: the target of a mount cannot be `/proc/sys`"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"/dev\"", "3:10: the target of a mount cannot be `/dev`"),
    ("[[mounts]]\nsource = \"a\"\ntarget = \"/a/../proc\"", "3:10: the target of a mount cannot contain `..`"),
    ("[[mounts]]\nsource = \"a\\u0000\"\ntarget = \"/b\"", "2:10: this cannot contain a NUL character"),
    (
        "[[mounts]]\nsource = \"a\"\ntarget = \"/x\"\n[[mounts]]\nsource = \"b\"\ntarget = \"/x/\"",
        "6:10: two mounts have the target `/x` (the second of them)",
    ),
];

#[test]
fn refuses_with_the_position() {
    for (text, expected) in REFUSED {
        let error = parse(text).err().unwrap_or_else(|| panic!("{text:?} was accepted"));
        let expected = format!("/work/shop/devbox.toml:{expected}");
        assert!(error.to_string().starts_with(&expected), "{text:?}:\n   got {error}\n  want {expected}");
        assert!(!error.render(false).contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
    }
}

#[test]
fn long_names_are_refused() {
    for (length, fine) in [(64, true), (65, false), (300, false)] {
        assert_eq!(parse(&format!("name = \"{}\"", "n".repeat(length))).is_ok(), fine, "{length}");
    }
}

#[test]
fn helps_with_what_stands_in_the_wrong_place() {
    for (text, help) in [
        ("ssh_agent = true", "`ssh_agent` belongs in `[share]`"),
        ("source = true", "`source` belongs in `[[mounts]]`"),
        ("[share]\nmounts = []", "`mounts` belongs at the top of the file, above the first `[section]`"),
        ("[env]\npackages = []", "`packages` belongs at the top of the file, above the first `[section]`"),
        ("base = \"debian:sid\"", "for a distribution write `distro = \"debian:sid\"`"),
        ("shell = \"zsh\"", "for example `shell = \"/bin/zsh\"`"),
        ("[network]\nmode = \"x\"", "the values are `none`, `private`, `auto`, `host`"),
        (
            "[network]\nbridges = []",
            "the keys here are `mode`, `ports`, `forward`, `host_ports`, `egress`, `bandwidth`, `join`",
        ),
        ("[[mounts]]\nsource = \"~/a\"\ntarget = \"~/a\"", "the home of the box's root is `/root`: write `/root/a`"),
    ] {
        assert_eq!(parse(text).unwrap_err().help.as_deref(), Some(help), "{text}");
    }
}

#[test]
fn the_config_takes_defaults_only() {
    let origin = |text| Origin { file: Path::new("/c"), text, folder: Path::new("/"), home: Path::new("/h") };
    assert_eq!(parse_config(&origin("[profile]\nshell = \"/bin/zsh\"")).unwrap().shell, Some("/bin/zsh".into()));
    let error = parse_config(&origin("[profile]\nname = \"x\"")).unwrap_err();
    assert_eq!(error.to_string(), "/c:2:8: `name` cannot be a default: every project would have the same");
    assert!(parse_config(&origin("shell = \"/bin/zsh\"")).is_err());
}

#[test]
fn names_a_box_after_its_folder() {
    for (folder, name) in [
        ("/home/ann/shop", "shop"),
        ("/home/ann/My Project (2)", "My-Project--2"),
        ("/home/ann/.config", "config"),
        ("/home/ann/---", "box"),
        ("/", "root"),
        ("/x/größe", "größe"),
        ("/x/a\u{1b}[2Jb", "a--2Jb"),
    ] {
        assert_eq!(default_name(Path::new(folder)), name);
        assert_eq!(name_fault(name), None);
    }
    let long = default_name(Path::new(&format!("/{}", "ä".repeat(200))));
    assert_eq!(long.len(), 64);
    assert_eq!(default_name(Path::new(OsStr::from_bytes(b"/a\xffb"))), "a-b");
}

#[test]
fn deep_and_long_texts_do_no_harm() {
    let deep = format!("packages = {}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(parse(&deep).is_err());
    let dotted = format!("{}b = 1", "a.".repeat(300_000));
    assert!(parse(&dotted).is_err());
    let tables = format!("x = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000));
    assert!(parse(&tables).is_err());
    let wide = format!("shell = \"{}\"", "x".repeat(1 << 20));
    let drawn = parse(&wide).unwrap_err().render(false);
    assert!(drawn.len() < 20_000, "{}", drawn.len());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the text is, there is an answer, and it can be drawn.
    #[test]
    fn any_text_has_an_answer(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "name", "shell", "packages", "[env]", "[[mounts]]", "[project]", "source", "target", "mask", "=", "\"",
                "'", "[", "]", "{", "}", ".", ",", "\n", "\r\n", "\t", " ", "#", "\"/x\"", "\"ä\"", "true", "1", "\"\"\"",
                "\\u001b", "ü", "漢字", "\u{1b}", "\u{202e}", "\u{feff}", "\0", "x", "..", "/",
            ]),
            0..24,
        ),
    ) {
        let text = words.concat();
        if let Err(error) = parse(&text) {
            let (line, column) = error.position();
            proptest::prop_assert!(line >= 1 && column >= 1);
            let drawn = error.render(false);
            proptest::prop_assert!(!drawn.contains(|c: char| c == '\u{202e}' || (c.is_control() && c != '\n')), "{:?}", drawn);
            let place = format!(":{line}:{column}");
            proptest::prop_assert!(drawn.contains(&place), "{:?} {:?}", drawn, place);
        }
    }
}
