//! What a `devcontainer.json` may say, key by key: names and types of the development-container reference, in a table of our
//! own. devbox itself is more lenient: what it does not know it says, and goes on.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::programs::ended;
use super::{fixture, node_modules};

/// Where `scripts/test-setup` keeps the specification's own schema, beside the packages of npm's. It is older than the table.
pub const SCHEMA: &str = "../schemas/devcontainer.json";

/// What is wrong with configurations by the specification's own schema: nothing, usually.
pub fn refused(configs: &[Value]) -> String {
    let schema: PathBuf = node_modules().expect("packages").join(SCHEMA);
    let mut validator = Command::new("/usr/bin/python3");
    validator.arg(fixture("schema.py")).arg(schema);
    let lines: String = configs.iter().map(|config| format!("{config}\n")).collect();
    let (status, said, errors) = ended(validator, lines.as_bytes());
    assert_eq!(status, 0, "{errors}");
    said
}

/// What a value may be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    /// A whole number between these.
    Whole(i64, i64),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// Digits, and a unit of memory.
    Size,
    Null,
    List(&'static Form),
    /// Names of one's own.
    Map(&'static Form),
    /// These names, and no others.
    Table(&'static [(&'static str, Form)]),
    Either(&'static [Form]),
    Anything,
}

use Form::{Anything, Either, Flag, List, Map, Null, Size, Table, Text, Whole, Word};

const TEXTS: Form = List(&Text);
const COMMAND: Form = Either(&[Text, TEXTS, Map(&Either(&[Text, TEXTS]))]);
const PORT: Form = Whole(0, 65_535);
const MOUNT: Form = Table(&[("type", Word(&["bind", "volume"])), ("source", Text), ("target", Text)]);
const PORT_ATTRIBUTES: Form = Table(&[
    ("label", Text),
    ("protocol", Word(&["http", "https"])),
    ("onAutoForward", Word(&["notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore"])),
    ("requireLocalPort", Flag),
    ("elevateIfNeeded", Flag),
]);
const GPU: Form = Either(&[Flag, Word(&["optional"]), Table(&[("cores", Whole(1, i64::MAX)), ("memory", Size)])]);
const MOMENTS: &[&str] =
    &["initializeCommand", "onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand"];

const KEYS: &[(&str, Form)] = &[
    ("$schema", Text),
    ("name", Text),
    ("image", Text),
    (
        "build",
        Table(&[
            ("dockerfile", Text),
            ("context", Text),
            ("target", Text),
            ("args", Map(&Text)),
            ("cacheFrom", Either(&[Text, TEXTS])),
            ("options", TEXTS),
        ]),
    ),
    ("dockerFile", Text),
    ("context", Text),
    ("workspaceFolder", Text),
    ("workspaceMount", Text),
    ("mounts", List(&Either(&[Text, MOUNT]))),
    ("runArgs", TEXTS),
    ("appPort", Either(&[PORT, Text, List(&Either(&[PORT, Text]))])),
    ("forwardPorts", List(&Either(&[PORT, Text]))),
    ("portsAttributes", Map(&PORT_ATTRIBUTES)),
    ("otherPortsAttributes", PORT_ATTRIBUTES),
    ("containerEnv", Map(&Text)),
    ("remoteEnv", Map(&Either(&[Text, Null]))),
    ("containerUser", Text),
    ("remoteUser", Text),
    ("updateRemoteUserUID", Flag),
    ("userEnvProbe", Word(&["none", "loginShell", "interactiveShell", "loginInteractiveShell"])),
    ("overrideCommand", Flag),
    ("shutdownAction", Word(&["none", "stopContainer"])),
    ("init", Flag),
    ("privileged", Flag),
    ("capAdd", TEXTS),
    ("securityOpt", TEXTS),
    ("features", Map(&Either(&[Text, Flag, Map(&Either(&[Text, Flag]))]))),
    ("overrideFeatureInstallOrder", TEXTS),
    ("initializeCommand", COMMAND),
    ("onCreateCommand", COMMAND),
    ("updateContentCommand", COMMAND),
    ("postCreateCommand", COMMAND),
    ("postStartCommand", COMMAND),
    ("postAttachCommand", COMMAND),
    ("waitFor", Word(MOMENTS)),
    ("hostRequirements", Table(&[("cpus", Whole(1, i64::MAX)), ("memory", Size), ("storage", Size), ("gpu", GPU)])),
    ("secrets", Map(&Table(&[("description", Text), ("documentationUrl", Text)]))),
    ("customizations", Map(&Anything)),
];

/// What is wrong with a configuration of one container, with the place of each fault: nothing, usually.
pub fn faults(config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(Table(KEYS), config, "", &mut faults);
    let names = |key: &str| config.get(key).is_some();
    let is_built = names("dockerFile") || names("build");
    let named = names("dockerFile") || config.pointer("/build/dockerfile").is_some();
    if names("image") == is_built || is_built != named {
        faults.push("one of `image` and `build` with a `dockerfile` is needed".to_owned());
    }
    for mount in config["mounts"].as_array().into_iter().flatten().filter_map(Value::as_object) {
        faults.extend(
            ["type", "target"]
                .into_iter()
                .filter(|key| !mount.contains_key(*key))
                .map(|key| format!("/mounts: a mount without `{key}`")),
        );
    }
    faults
}

fn check(form: Form, value: &Value, place: &str, faults: &mut Vec<String>) {
    let is_right = match (form, value) {
        (Anything, _) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) | (Null, Value::Null) => true,
        (Whole(least, most), Value::Number(number)) => {
            number.as_i64().is_some_and(|number| (least..=most).contains(&number))
        }
        (Word(words), Value::String(text)) => words.contains(&text.as_str()),
        (Size, Value::String(text)) => {
            let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number && ["", "kb", "mb", "gb", "tb"].contains(&&text[digits.len()..])
        }
        (List(form), Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                check(*form, value, &format!("{place}/{index}"), faults);
            }
            true
        }
        (Map(form), Value::Object(table)) => {
            table.iter().for_each(|(name, value)| check(*form, value, &format!("{place}/{name}"), faults));
            true
        }
        (Table(keys), Value::Object(table)) => {
            known(keys, table, place, faults);
            true
        }
        (Either(forms), value) => forms.iter().any(|form| {
            let mut own = Vec::new();
            check(*form, value, place, &mut own);
            own.is_empty()
        }),
        _ => false,
    };
    if !is_right {
        faults.push(format!("{place}: {value}"));
    }
}

fn known(keys: &[(&str, Form)], table: &serde_json::Map<String, Value>, place: &str, faults: &mut Vec<String>) {
    for (name, value) in table {
        let place = format!("{place}/{name}");
        match keys.iter().find(|(key, _)| key == name) {
            Some((_, form)) => check(*form, value, &place, faults),
            None => faults.push(format!("{place}: unknown")),
        }
    }
}
