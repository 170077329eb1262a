use std::collections::BTreeMap;

use super::super::Secret;
use super::*;
use crate::limits::Key;
use crate::profile::validate::{BaseChoice, ProjectPath};
use crate::profile::{Build, Grant, Hooks, NetworkMode};

fn read_in(folder: &str, text: &str) -> Result<Layer, String> {
    let file = PathBuf::from("/home/ann/shop").join(folder).join("devcontainer.json");
    let host = |name: &str| match name {
        "HOME" => Some("/home/ann".to_owned()),
        "TOKEN" => Some("secret".to_owned()),
        _ => None,
    };
    let (project, home) = (Path::new("/home/ann/shop"), Path::new("/home/ann"));
    read(&Place { file: &file, text, project, home, host: &host }).map_err(|error| error.to_string())
}

fn of_image(rest: &str) -> Result<Layer, String> {
    read_in(".devcontainer", &format!("{{\"image\": \"debian:12\",\n{rest}}}"))
}

fn layer(rest: &str) -> Layer {
    of_image(rest).unwrap_or_else(|error| panic!("{rest}: {error}"))
}

/// What is noted, without the file's name.
fn notes(rest: &str) -> Vec<String> {
    let notes = layer(rest).devcontainer.unwrap().notes;
    notes.iter().map(|note| note.strip_prefix(".devcontainer/devcontainer.json:2: ").unwrap().to_owned()).collect()
}

#[test]
fn an_image_alone() {
    let layer = layer("");
    assert_eq!(layer.base, Some(BaseChoice::Image("debian:12".to_owned())));
    assert_eq!(layer.project_path, Some(ProjectPath::Absolute("/workspaces/shop".into())));
    assert_eq!((layer.user, layer.lifetime, layer.network_mode), (None, None, None));
    assert_eq!(layer.devcontainer.unwrap().notes, Vec::<String>::new());
}

#[test]
fn builds_are_relative_to_the_file() {
    let build = |containerfile: &str, context: &str| Build {
        containerfile: Some(containerfile.into()),
        context: context.into(),
        ..Build::default()
    };
    for (folder, text, expected) in [
        (".devcontainer", "{\"dockerFile\": \"Dockerfile\"}", build(".devcontainer/Dockerfile", ".devcontainer")),
        (
            ".devcontainer/go",
            "{\"build\": {\"dockerfile\": \"../D\", \"context\": \"../..\"}}",
            build(".devcontainer/D", ""),
        ),
        ("", "{\"build\": {\"dockerfile\": \"Dockerfile\"}}", build("Dockerfile", "")),
        ("", "{\"dockerFile\": \"a/D\", \"context\": \"./b/\"}", build("a/D", "b")),
    ] {
        assert_eq!(read_in(folder, text).unwrap().base, Some(BaseChoice::Build(expected)), "{text}");
    }
    let text = "{\"build\": {\"dockerfile\": \"D\", \"target\": \"dev\", \"args\": {\"A\": \"${localEnv:HOME}\"}, \"cacheFrom\": \"x\"}}";
    let Some(BaseChoice::Build(build)) = read_in("", text).unwrap().base else { panic!("a build") };
    assert_eq!(build.target.as_deref(), Some("dev"));
    assert_eq!(build.args, BTreeMap::from([("A".to_owned(), "/home/ann".to_owned())]));
}

#[test]
fn the_workspace() {
    let path = |rest: &str| {
        let layer = layer(rest);
        let Some(ProjectPath::Absolute(path)) = layer.project_path else { panic!("a path") };
        (path.to_string_lossy().into_owned(), layer.devcontainer.unwrap().folder)
    };
    assert_eq!(path("\"workspaceFolder\": \"/src/${localWorkspaceFolderBasename}\""), ("/src/shop".to_owned(), None));
    let mount = "\"workspaceMount\": \"source=${localWorkspaceFolder},target=/src,type=bind\", \"workspaceFolder\": \"/src/app\"";
    assert_eq!(path(mount), ("/src".to_owned(), Some("/src/app".into())));
    let other = layer("\"workspaceMount\": \"source=data,target=/src,type=volume\", \"workspaceFolder\": \"/src\"");
    assert_eq!(other.volumes, [Volume { name: "data".into(), target: "/src".into(), read_only: false }]);
    assert_eq!(other.project_path, Some(ProjectPath::Absolute("/workspaces/shop.project".into())));
}

#[test]
fn variables_and_users() {
    let layer = layer(
        "\"containerEnv\": {\"A\": \"${localEnv:TOKEN}\", \"B\": \"${containerEnv:PATH}:/b\"},\n\
         \"remoteEnv\": {\"C\": \"${containerWorkspaceFolder}\", \"D\": null},\n\
         \"containerUser\": \"root\", \"remoteUser\": \"node\"",
    );
    assert_eq!(layer.env, BTreeMap::from([("A".to_owned(), "secret".to_owned())]));
    let session = [("B", Some("${containerEnv:PATH}:/b")), ("C", Some("/workspaces/shop")), ("D", None)];
    let session = session.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    assert_eq!(layer.session_env, BTreeMap::from(session));
    assert_eq!(layer.user.as_deref(), Some("node"));
    assert_eq!(layer.devcontainer.unwrap().variables, ["TOKEN"]);
    for (rest, user) in [
        ("\"containerUser\": \"dev\"", Some("dev")),
        ("\"runArgs\": [\"-u\", \"dev:dev\"]", Some("dev")),
        ("\"runArgs\": [\"-u\", \"x\"], \"containerUser\": \"dev\"", Some("dev")),
        ("\"remoteUser\": \"${localEnv:NOBODY}\"", None),
    ] {
        assert_eq!(super::tests::layer(rest).user.as_deref(), user, "{rest}");
    }
}

#[test]
fn options_of_docker() {
    let layer = layer(
        "\"runArgs\": [\"--cap-add=SYS_NICE\", \"--cap-add\", \"SYS_PTRACE\", \"-e\", \"X=a=b\", \"-v\", \"/a:/b:ro\", \
         \"--mount\", \"type=volume,src=v,dst=/v\", \"-p\", \"8080:80\", \"--memory=4g\", \"--cpus\", \"1.5\", \
         \"--init\", \"--rm\", \"--gpus\", \"all\", \"--shm-size=1gb\", \"--ulimit\", \"nofile=1024:2048\"],\n\
         \"mounts\": [\"source=${localEnv:HOME}/.m2,target=/v,type=bind\"], \"capAdd\": [\"NET_ADMIN\"], \
         \"securityOpt\": [\"seccomp=unconfined\", \"no-new-privileges\"], \"privileged\": true",
    );
    assert_eq!(layer.security.capabilities.more, BTreeSet::from(["CAP_SYS_NICE".into(), "CAP_NET_ADMIN".into()]));
    assert_eq!(layer.security.no_new_privileges, Some(true));
    assert_eq!(layer.env["X"], "a=b");
    let mounts: Vec<_> =
        layer.mounts.iter().map(|m| (m.source.to_str().unwrap(), m.target.to_str().unwrap(), m.read_only)).collect();
    assert_eq!(mounts, [("/a", "/b", true), ("/home/ann/.m2", "/v", false)]);
    assert_eq!(layer.volumes, []);
    assert_eq!(super::tests::layer("\"runArgs\": [\"--net\", \"none\"]").network_mode, Some(NetworkMode::None));
    assert_eq!(layer.network.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080:80/tcp"]);
    assert_eq!(
        (layer.limits[&Key::Memory], layer.limits[&Key::Shm], layer.limits[&Key::Files]),
        (4 << 30, 1 << 30, 2048)
    );
    assert_eq!(layer.grants.get(&Grant::Gpu), Some(&true));
    assert_eq!(layer.devcontainer.unwrap().notes.len(), 2);
}

#[test]
fn what_means_nothing_is_said() {
    for (rest, expected) in [
        ("\"runArgs\": [\"--device=/dev/fuse\"]", "`--device` of `runArgs` has no meaning here"),
        ("\"runArgs\": [\"--frobnicate\", \"1\"]", "`--frobnicate` of `runArgs` has no meaning here"),
        ("\"runArgs\": [\"stray\"]", "`stray` of `runArgs` has no meaning here"),
        ("\"mounts\": [\"type=tmpfs,target=/t\"]", "a mount of the type `tmpfs` at `/t` has no meaning here"),
        ("\"forwardPorts\": [\"db:5432\"]", "`db:5432` is no port of the box"),
        ("\"overrideCommand\": false", "the command of the image is not started"),
        ("\"remotUser\": \"x\"", "the key `remotUser` is not known (did you mean `remoteUser`?)"),
    ] {
        assert_eq!(notes(rest), [expected], "{rest}");
    }
}

#[test]
fn ports_that_are_published() {
    let ports = |rest: &str| layer(rest).network.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    for (rest, expected) in [
        ("\"forwardPorts\": [3000, \"localhost:4000\"]", ""),
        (
            "\"forwardPorts\": [3000, 4000], \"portsAttributes\": {\"3000\": {\"requireLocalPort\": true}}",
            "3000:3000/tcp",
        ),
        ("\"forwardPorts\": [3000], \"otherPortsAttributes\": {\"onAutoForward\": \"ignore\"}", "3000:3000/tcp"),
        (
            "\"forwardPorts\": [3000], \"portsAttributes\": {\"3000-3010\": {\"onAutoForward\": \"ignore\"}}",
            "3000:3000/tcp",
        ),
        ("\"portsAttributes\": {\"3000\": {\"onAutoForward\": \"ignore\"}}", ""),
        ("\"appPort\": 80", "80:80/tcp"),
        ("\"appPort\": [80, \"9000:90\"]", "80:80/tcp 9000:90/tcp"),
    ] {
        assert_eq!(ports(rest), expected, "{rest}");
    }
}

#[test]
fn what_is_said_of_ports() {
    let own = layer(
        "\"portsAttributes\": {\"3000\": {\"label\": \"web\", \"onAutoForward\": \"openBrowser\"}, \
         \"4000-4010\": {\"onAutoForward\": \"ignore\"}, \".+/server.js\": {\"label\": \"x\"}}",
    )
    .devcontainer
    .unwrap();
    let web = Attributes { first: 3000, last: 3000, label: Some("web".to_owned()), is_ignored: false };
    assert_eq!(own.ports, [web, Attributes { first: 4000, last: 4010, label: None, is_ignored: true }]);
    assert_eq!(own.notes.len(), 1, "{:?}", own.notes);
    assert!(own.notes[0].contains("`.+/server.js` is no port and no range"), "{:?}", own.notes);
}

#[test]
fn secrets_are_passed() {
    let layer = layer(
        "\"secrets\": {\"TOKEN\": {\"description\": \"of the shop\", \"documentationUrl\": \"https://x\"}, \"B\": {}}",
    );
    assert_eq!(layer.pass, ["TOKEN", "B"]);
    let secret = |name: &str, description: Option<&str>, url: Option<&str>| Secret {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        url: url.map(str::to_owned),
    };
    let own = layer.devcontainer.unwrap();
    assert_eq!(own.secrets, [secret("TOKEN", Some("of the shop"), Some("https://x")), secret("B", None, None)]);
}

#[test]
fn hooks_in_their_order() {
    let hooks = |rest: &str| {
        let layer = layer(rest);
        let mut all = Hooks { create: layer.create, start: layer.start, enter: layer.enter, review: false };
        hooks::arrange(&mut all, layer.devcontainer.unwrap().wait_for.as_deref());
        let shown = |hooks: &[Hook]| {
            hooks
                .iter()
                .map(|hook| format!("{}{}", hook.command, if hook.background { "&" } else { "" }))
                .collect::<Vec<_>>()
                .join(" ")
        };
        format!("{} | {} | {}", shown(&all.create), shown(&all.start), shown(&all.enter))
    };
    let all = "\"postAttachCommand\": \"5\", \"postStartCommand\": \"4\", \"postCreateCommand\": \"3\", \
               \"updateContentCommand\": \"2\", \"onCreateCommand\": \"1\"";
    assert_eq!(hooks(all), "1 2 3 | 4 | 5");
    assert_eq!(hooks(&format!("{all}, \"waitFor\": \"updateContentCommand\"")), "1 2 3& | 4& | 5&");
    assert_eq!(hooks(&format!("{all}, \"waitFor\": \"initializeCommand\"")), "1& 2& 3& | 4& | 5&");
    let layer = layer("\"initializeCommand\": [\"make\", \"a b\"]");
    assert_eq!(layer.devcontainer.unwrap().initialize.map(|it| it.shown).as_deref(), Some("make 'a b'"));
    let table = self::layer("\"initializeCommand\": {\"a\": \"echo A\", \"b\": [\"touch\", \"b\"]}");
    assert_eq!(table.devcontainer.unwrap().initialize.map(|it| it.shown).as_deref(), Some("echo A` and `touch b"));
}

#[test]
fn what_images_carry_along() {
    let text = r#"[{"id": "x", "entrypoint": "/e", "capAdd": ["SYS_NICE"], "initializeCommand": "evil", "image": 1,
                    "postCreateCommand": "${containerWorkspaceFolder}"},
                   {"remoteUser": "node", "containerEnv": {"T": "${localEnv:TOKEN}"}}]"#;
    let host = |name: &str| (name == "TOKEN").then(|| "secret".to_owned());
    let (file, project) = (Path::new("image x"), Path::new("/home/ann/shop"));
    let place = Place { file, text, project, home: Path::new("/home/ann"), host: &host };
    let layers = metadata(&place, "/src", "id").unwrap();
    assert_eq!(layers[0].create[0].command, "/src");
    assert_eq!((layers[0].start[0].name.as_str(), layers[0].start[0].command.as_str()), ("entrypoint", "/e"));
    assert_eq!((&layers[0].base, &layers[0].devcontainer.as_ref().unwrap().initialize), (&None, &None));
    assert_eq!(layers[1].user.as_deref(), Some("node"));
    assert_eq!(layers[1].devcontainer.as_ref().unwrap().variables, ["TOKEN"]);
    let wrong = metadata(&Place { text: "[{\"mounts\": 1}]", ..place }, "/src", "id").unwrap_err();
    assert_eq!(wrong.to_string(), "image x:1:13: wrong type of `mounts`: expected a list (this is a number)");
    assert!(metadata(&Place { text: "[1]", ..place }, "/src", "id").is_err());
}

#[test]
fn features_and_requirements() {
    let extra = layer(
        "\"features\": {\"ghcr.io/x/node:1\": {\"version\": \"20\", \"yarn\": false}, \"./local\": {}, \"ghcr.io/x/go\": \"1.22\"},\n\
         \"overrideFeatureInstallOrder\": [\"ghcr.io/x/go\"], \"hostRequirements\": {\"cpus\": 2, \"memory\": \"8gb\"}",
    )
    .devcontainer
    .unwrap();
    let shown: Vec<String> =
        extra.features.iter().map(|feature| format!("{} {:?}", feature.reference, feature.options)).collect();
    assert_eq!(
        shown,
        [
            "ghcr.io/x/node:1 [(\"version\", \"20\"), (\"yarn\", \"false\")]",
            "./local []",
            "ghcr.io/x/go [(\"version\", \"1.22\")]"
        ]
    );
    assert_eq!(extra.feature_order, ["ghcr.io/x/go"]);
    assert_eq!((extra.requirements.cpus, extra.requirements.memory_bytes), (Some(2), Some(8 << 30)));
    // Nothing that concerns this machine alone is carried along.
    assert_eq!(extra.metadata, "{\"hostRequirements\":{\"cpus\":2,\"memory\":\"8gb\"}}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the text is, there is an answer, and it can be drawn.
    #[test]
    fn any_text_has_an_answer(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "\"image\"", "\"build\"", "\"mounts\"", "\"runArgs\"", "\"features\"", "\"forwardPorts\"", "\"postCreateCommand\"",
                "\"workspaceMount\"", "\"${localEnv:HOME}\"", "\"-v\"", "\"a:b\"", "\"debian\"", "{", "}", "[", "]", ":", ",", "1", "-1e9",
                "true", "null", "//", "/*", "*/", "\n", "\"", "\\", "ü", "\u{1b}", "\u{202e}", "\u{feff}", "\0",
            ]),
            0..24,
        ),
    ) {
        let text = words.concat();
        for text in [text.clone(), format!("{{\"image\": \"debian\", {text}}}")] {
            let (file, project) = (Path::new("/p/.devcontainer.json"), Path::new("/p"));
            let place = Place { file, text: &text, project, home: project, host: &|_| None };
            if let Err(error) = read(&place) {
                let drawn = error.render(false);
                proptest::prop_assert!(!drawn.contains(|c: char| c == '\u{202e}' || (c.is_control() && c != '\n')), "{:?}", drawn);
            }
        }
    }
}

#[test]
fn mistakes_have_a_place() {
    for (rest, expected) in [
        ("\"remoteUser\": 1", "2:15: wrong type of `remoteUser`: expected a string (this is a number)"),
        ("\"remoteUser\": \"a b\"", "2:15: this cannot be the name of a user"),
        ("\"containerEnv\": {\"A\": 1}", "2:23: wrong type of `containerEnv.A`: expected a string (this is a number)"),
        ("\"containerEnv\": []", "2:17: wrong type of `containerEnv`: expected a table (this is a list)"),
        ("\"mounts\": [\"type=bind,source=/a,target=b\"]", "2:12: the target of a mount must be an absolute path"),
        ("\"mounts\": [\"type=volume,source=a,target=/proc/x\"]", "2:12: the target of a mount cannot be `/proc/x`"),
        ("\"workspaceFolder\": \"src\"", "2:20: the mount point of the project must be an absolute path"),
        ("\"workspaceMount\": \"x\"", "2:19: `workspaceMount` needs a `workspaceFolder`"),
        ("\"capAdd\": [\"SYS_NICER\"]", "2:12: there is no capability `SYS_NICER` (did you mean `CAP_SYS_NICE`?)"),
        ("\"runArgs\": [\"--memory\", \"lots\"]", "2:25: "),
        ("\"waitFor\": \"postCreate\"", "2:12: unknown value of `waitFor`: `postCreate`"),
        ("\"privileged\": \"yes\"", "2:15: wrong type of `privileged`: expected `true` or `false` (this is a string)"),
        ("\"features\": {\"x\": 1}", "2:19: wrong type of `features.x`: expected a table, a string or a boolean"),
        ("\"hostRequirements\": {\"memory\": \"much\"}", "2:32: `much` is no size"),
        ("\"forwardPorts\": [70000]", "2:18: wrong type of `forwardPorts[]`"),
        ("\"dockerComposeFile\": \"c.yml\"", "2:22: Docker Compose files are not supported"),
        ("\"extends\": \"./x.json\"", "2:1: `extends` is not supported"),
    ] {
        let error = of_image(rest).err().unwrap_or_else(|| panic!("{rest}"));
        let expected = format!("/home/ann/shop/.devcontainer/devcontainer.json:{expected}");
        assert!(error.starts_with(&expected), "{rest}: {error}");
    }
    for (text, expected) in [
        ("[]", "1:1: wrong type of `devcontainer.json`: expected a table (this is a list)"),
        ("{}", "1:1: missing key `image`"),
        ("{\"build\": {}}", "1:11: missing key `build.dockerfile`"),
        ("{\"build\": {\"dockerfile\": \"../../D\"}}", "1:26: `../../D` is outside the project"),
        ("{\"image\": \"no image\"}", "1:11: this is not the name of an image"),
    ] {
        let error = read_in("", text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(error.starts_with(&format!("/home/ann/shop/devcontainer.json:{expected}")), "{text}: {error}");
    }
}
