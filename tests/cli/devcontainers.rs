//! Profiles as devcontainer files and back, and devcontainer files that are wrong.

use std::path::Path;

use serde_json::Value;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::devcontainer::{SCHEMA, faults, refused};

/// What is exported for the project in `folder`: the lines of its comments, and the file below them.
fn export(test: &Devbox, folder: &Path) -> (Vec<String>, Value) {
    let text = test.args(["export", "devcontainer"]).current_dir(folder).any_stdout().run().stdout_bytes;
    let text = String::from_utf8(text).expect("text");
    let (comments, file): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("//"));
    let file = serde_json::from_str(&file.join("\n")).unwrap_or_else(|error| panic!("{error}: {text}"));
    (comments.into_iter().map(|line| line.trim_start_matches("// ").to_owned()).collect(), file)
}

/// A profile, a key of what is exported for it with its value, and what is said to be left out.
type Exported = (&'static str, &'static str, &'static str, &'static [&'static str]);

const EXPORTED: &[Exported] = &[
    ("", "/image", r#""debian:12""#, &[]),
    ("lifetime = \"keep\"", "/shutdownAction", r#""none""#, &[]),
    ("user = \"dev\"", "/remoteUser", r#""dev""#, &["the user `dev` must be one of the image"]),
    ("shell = \"/bin/zsh\"", "/remoteUser", r#""root""#, &["`shell` is left out"]),
    (
        "[project]\npath = \"/a, b\"\nread_only = true",
        "/workspaceMount",
        r#""source=${localWorkspaceFolder},\"target=/a, b\",type=bind,readonly""#,
        &[],
    ),
    ("[project]\npath = \"/src\"", "/workspaceFolder", r#""/src""#, &[]),
    (
        "[project]\nmask = [\".env\"]\nprotect = [\".git/\"]",
        "/image",
        r#""debian:12""#,
        &["`mask` and `protect` are left out: everything in the project can be seen and changed"],
    ),
    (
        "[env]\nA = \"b \\\"c\\\"\\n\"\npass = [\"EDITOR\"]",
        "/containerEnv",
        r#"{"A": "b \"c\"\n", "EDITOR": "${localEnv:EDITOR}"}"#,
        &[],
    ),
    (
        "[[mounts]]\nsource = \"./a,b\"\ntarget = \"/x\"\nread_only = true\n[[mounts]]\nsource = '/h/\"q'\ntarget = \"/y\"",
        "/mounts",
        r#"["\"source=${localWorkspaceFolder}/a,b\",target=/x,type=bind,readonly", "\"source=/h/\"\"q\",target=/y,type=bind"]"#,
        &[],
    ),
    ("[share]\ngpu = true", "/hostRequirements", r#"{"gpu": true}"#, &[]),
    (
        "[share]\nssh_agent = true\nhome_cache = [\"npm\"]",
        "/image",
        r#""debian:12""#,
        &["`[share]` is left out: it has no equivalent"],
    ),
    ("[network]\nmode = \"none\"", "/runArgs", r#"["--network=none"]"#, &[]),
    ("[network]\nmode = \"host\"", "/runArgs", r#"["--network=host"]"#, &[]),
    ("[network]\nforward = \"off\"", "/otherPortsAttributes", r#"{"onAutoForward": "ignore"}"#, &[]),
    (
        "[network]\nports = [\"80:80\", \"8080:80\", \"7\", \"[::1]:53:53/udp\", \"0.0.0.0:90:90\", \"53:53/udp\"]",
        "/appPort",
        r#"[80, "127.0.0.1:8080:80", "127.0.0.1::7", "[::1]:53:53/udp", "0.0.0.0:90:90", "127.0.0.1:53:53/udp"]"#,
        &[],
    ),
    (
        "[network]\nbandwidth = \"50mbit\"\nhost_ports = [5432]",
        "/image",
        r#""debian:12""#,
        &["`bandwidth` is left out", "`host_ports` are left out"],
    ),
    (
        "[network]\njoin = \"other\"",
        "/image",
        r#""debian:12""#,
        &["`join` is left out: the network is a container's own"],
    ),
    (
        "[network]\negress = [\"example.org:443\"]",
        "/image",
        r#""debian:12""#,
        &["`egress` is left out: everything can be reached"],
    ),
    (
        "[limits]\ncpus = 1.5\nmemory = \"2GiB\"\nshm = \"64MiB\"\npids = 100\nfiles = 1024\ndisk = \"10GiB\"",
        "/runArgs",
        r#"["--cpus=1.5", "--memory=2147483648b", "--pids-limit=100", "--ulimit=nofile=1024:1024", "--shm-size=67108864b"]"#,
        &["the limit `disk` is left out"],
    ),
    ("[security]\ncapabilities = { add = [\"SYS_NICE\"] }", "/capAdd", r#"["SYS_NICE"]"#, &[]),
    ("[security]\ncapabilities = { drop = [\"MKNOD\"] }", "/runArgs", r#"["--cap-drop=MKNOD"]"#, &[]),
    ("[security]\nno_new_privileges = true", "/securityOpt", r#"["no-new-privileges"]"#, &[]),
    (
        "[security]\nseccomp = { deny = [\"ptrace\"] }",
        "/image",
        r#""debian:12""#,
        &["`seccomp` is left out: docker's own list counts"],
    ),
    (
        "[tasks]\ntest = \"make\"\n[hooks]\nreview = true",
        "/image",
        r#""debian:12""#,
        &["`[tasks]` are left out", "`review` is left out"],
    ),
    ("[hooks]\ncreate = [\"one\", \"two\"]", "/postCreateCommand", r#""(\none\n) && (\ntwo\n)""#, &[]),
    ("[hooks]\nstart = [\"echo '\\\"'\"]", "/postStartCommand", r#""echo '\"'""#, &[]),
    ("[hooks]\nenter = [\"three\"]", "/postAttachCommand", r#""three""#, &[]),
];

#[test]
fn what_is_exported_is_imported_as_the_same() {
    let test = Devbox::new();
    let copy = test.path("copy");
    let check = |profile: &str, pointer: &str, value: Value, lacks: &[&str]| {
        let folder = copy.join(".devcontainer");
        std::fs::create_dir_all(&folder).expect("a directory");
        test.profile(profile);
        let (comments, file) = export(&test, &test.project());
        assert_eq!(file.pointer(pointer), Some(&value), "{profile}: {file:#}");
        assert_eq!(comments, lacks, "{profile}");
        assert_eq!(faults(&file), Vec::<String>::new(), "{profile}: {file:#}");
        std::fs::write(folder.join("devcontainer.json"), file.to_string()).expect("a file");
        test.args(["import"]).current_dir(&copy).any_stdout().run();
        let (_, mut again) = export(&test, &copy);
        assert_eq!(again["name"].as_str(), Some("copy"));
        again["name"] = file["name"].clone();
        assert_eq!(again, file, "{profile}");
        std::fs::remove_dir_all(&copy).expect("a directory");
    };
    for (rest, pointer, value, lacks) in EXPORTED {
        let value = serde_json::from_str(value).unwrap_or_else(|error| panic!("{error}: {value}"));
        check(&format!("image = \"debian:12\"\n{rest}\n"), pointer, value, lacks);
    }
    check("distro = \"debian:bookworm\"\n", "/image", "debian:bookworm".into(), &[]);
    check("name = \"shop\"\nimage = \"ghcr.io/a/b:1\"\n", "/name", "shop".into(), &[]);
    let build = "[build]\ncontext = \"ci\"\ntarget = \"dev\"\nargs = { V = \"1 2\" }\n";
    let built = serde_json::json!({"dockerfile": "../ci/Containerfile", "context": "../ci", "target": "dev", "args": {"V": "1 2"}});
    check(build, "/build", built, &[]);
}

#[test]
fn the_specification_accepts_what_is_exported() {
    require!(Python("jsonschema"), Node(SCHEMA));
    let test = Devbox::new();
    let exported = |(rest, ..): &Exported| {
        test.profile(&format!("image = \"debian:12\"\n{rest}\n"));
        export(&test, &test.project()).1
    };
    let files: Vec<Value> = EXPORTED.iter().map(exported).collect();
    assert_eq!(refused(&files), "");
    // It does not accept everything.
    let wrong = [
        serde_json::json!({"image": "debian:12", "capAdd": "SYS_NICE"}),
        serde_json::json!({"image": "debian:12", "imagge": 1}),
    ];
    assert_eq!(refused(&wrong).lines().count(), 2);
}

#[test]
fn what_others_replace_is_said() {
    let test = Devbox::new();
    test.profile("image = \"debian:12\"\npackages = [\"git\"]\nuser = \"dev\"\n[env]\nA = \"${localEnv:HOME}\"\n[hooks]\nstart = [\"echo ${env:-x}\"]\n");
    let (comments, file) = export(&test, &test.project());
    assert_eq!(faults(&file), Vec::<String>::new());
    let replaced = "what stands between `${` and `}` there is replaced by whoever reads this file";
    assert_eq!(
        comments,
        [
            "the user `dev` must be one of the image".to_owned(),
            "the packages are installed by `onCreateCommand`, which needs the rights of root".to_owned(),
            format!("`A`: {replaced}"),
            format!("`start hook`: {replaced}"),
        ]
    );
    assert!(file["onCreateCommand"].as_str().is_some_and(|command| command.contains("apk add git")), "{file:#}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let test = Devbox::new();
    for (text, column, message) in [
        (r#"{"image": 1}"#, 11, "wrong type of `image`: expected a string"),
        (r#"{"image": ""}"#, 11, "this is not the name of an image"),
        (r#"{"name": "x"}"#, 1, "missing key `image`"),
        (r#"[]"#, 1, "wrong type of `devcontainer.json`: expected a table"),
        (r#"{"image": "a" "b": 1}"#, 14, "this is no JSON: "),
        (r#"{"build": {"context": "."}}"#, 11, "missing key `build.dockerfile`"),
        (r#"{"build": {"dockerfile": "D", "args": {"A": 1}}}"#, 45, "wrong type of `build.args.A`: expected a string"),
        (r#"{"build": {"dockerfile": "../D"}}"#, 26, "`../D` is outside the project"),
        (r#"{"image": "a", "containerEnv": {"A": null}}"#, 38, "wrong type of `containerEnv.A`: expected a string"),
        (
            r#"{"image": "a", "appPort": 99999}"#,
            27,
            "wrong type of `appPort`: expected a port from 0 to 65535, or a string",
        ),
        (r#"{"image": "a", "appPort": ["a:b"]}"#, 28, "this is no port to publish"),
        (
            r#"{"image": "a", "forwardPorts": [true]}"#,
            33,
            "wrong type of `forwardPorts[]`: expected a port from 0 to 65535, or a string",
        ),
        (r#"{"image": "a", "mounts": ["source=/a"]}"#, 27, "this mount has no `target`"),
        (
            r#"{"image": "a", "mounts": [{"type": "bind", "target": "/proc", "source": "/a"}]}"#,
            54,
            "the target of a mount cannot be `/proc`",
        ),
        (r#"{"image": "a", "workspaceMount": "x"}"#, 34, "`workspaceMount` needs a `workspaceFolder` beside it"),
        (r#"{"image": "a", "waitFor": "later"}"#, 27, "unknown value of `waitFor`: `later`"),
        (r#"{"image": "a", "userEnvProbe": "loginshell"}"#, 32, "unknown value of `userEnvProbe`: `loginshell`"),
        (r#"{"image": "a", "shutdownAction": "stop"}"#, 34, "unknown value of `shutdownAction`: `stop`"),
        (r#"{"image": "a", "hostRequirements": {"memory": "much"}}"#, 47, "`much` is no size"),
        (
            r#"{"image": "a", "hostRequirements": {"gpu": "maybe"}}"#,
            44,
            "wrong type of `hostRequirements.gpu`: expected ",
        ),
        (
            r#"{"image": "a", "features": {"x": 1}}"#,
            34,
            "wrong type of `features.x`: expected a table, a string or a boolean",
        ),
        (
            r#"{"image": "a", "postCreateCommand": {"x": {"y": "z"}}}"#,
            43,
            "wrong type of `postCreateCommand.x`: expected a string, a list of strings",
        ),
        (r#"{"image": "a", "capAdd": "SYS_NICE"}"#, 26, "wrong type of `capAdd`: expected a list"),
        (r#"{"image": "a", "customizations": []}"#, 34, "wrong type of `customizations`: expected a table"),
    ] {
        // On the third line, so that the place is not that of any file.
        test.file(".devcontainer.json", format!("// one\n\n{text}\n"));
        for (command, status) in [(&["import", "--print"][..], 1), (&["run", "true"], 125)] {
            let said = test.args(command).status(status).any_stderr().run().stderr;
            let place = format!(" --> [TEST]/project/.devcontainer.json:3:{column}\n");
            assert!(said.starts_with(&format!("error: {message}")) && said.contains(&place), "{text}: {said}");
        }
    }
}

#[test]
fn what_means_nothing_is_noted_and_the_rest_holds() {
    let test = Devbox::new();
    let text = r#"{
"image": "debian:12",
"hostRequirements": {"ram": "2gb"},
"otherPortsAttributes": {"onAutoforward": "ignore"},
"portsAttributes": {"80": {"colour": "red"}},
"secrets": {"TOKEN": {"url": "x"}},
"build": {"dockerfile": "D", "squash": true},
"imagee": "x"
}"#;
    test.file(".devcontainer.json", text);
    let shown = test.args(["import", "--print"]).any_stdout().run().stdout;
    for note in [
        "2: the `image` is not used: the file also says what is built",
        "3: `hostRequirements.ram` has no meaning here",
        "4: `otherPortsAttributes.onAutoforward` has no meaning here",
        "5: `portsAttributes.colour` has no meaning here",
        "6: `secrets.url` has no meaning here",
        "7: `build.squash` has no meaning here",
        "8: the key `imagee` is not known (did you mean `image`?)",
    ] {
        assert!(shown.lines().any(|line| line == format!("# .devcontainer.json:{note}")), "{note}: {shown}");
    }
    assert!(shown.contains("containerfile = \"D\"") && shown.contains("pass = [\"TOKEN\"]"), "{shown}");
}
