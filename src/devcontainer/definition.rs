//! `devcontainer-feature.json`: what a Feature is.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::{At, FeatureError};
use crate::profile::devcontainer::Feature;
use crate::profile::devcontainer::hooks::KEYS as HOOKS;
use crate::profile::devcontainer::json::{Json, Node, Source, table_to_json};
use crate::profile::{Diagnostic, schema};

/// The name of the file.
pub const FILE: &str = "devcontainer-feature.json";
/// Beside it.
pub const SCRIPT: &str = "install.sh";
/// No such file is longer.
const MAX_BYTES: u64 = 1 << 20;
/// What goes into the metadata of images, beside hooks.
const METADATA: [&str; 8] =
    ["id", "init", "privileged", "capAdd", "securityOpt", "entrypoint", "mounts", "customizations"];

/// A Feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// A plain word.
    pub id: String,
    /// Its options and their defaults.
    pub options: Vec<(String, String)>,
    /// Features that it needs.
    pub depends_on: Vec<Feature>,
    /// Names of those that it comes after.
    pub installs_after: Vec<String>,
    /// Variables of the image.
    pub variables: Vec<(String, String)>,
    /// Its entry in the metadata of images, as JSON.
    pub metadata: String,
}

/// Reads the file of the Feature in `folder`. A symlink is not followed: it could lead anywhere.
pub fn load(folder: &Path, reference: &str) -> Result<Definition, FeatureError> {
    let not_one = |reason| FeatureError::NotAFeature { reference: reference.to_owned(), reason };
    let path = folder.join(FILE);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_one("it has no `devcontainer-feature.json`"));
        }
        file => file.at("open", &path)?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).at("read", &path)?;
    if !folder.join(SCRIPT).is_file() {
        return Err(not_one("it has no `install.sh`"));
    }
    Ok(parse(&Source { file: &Path::new(reference).join(FILE), text: &text })?)
}

/// Reads its text.
pub fn parse(source: &Source<'_>) -> Result<Definition, Box<Diagnostic>> {
    let root = source.parse()?;
    let entries = source.table(FILE, &root)?;
    let get = |key: &str| entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node);
    let id = match get("id") {
        Some(node) => source.text("id", node)?,
        None => return Err(source.wrong(&(root.span.start..root.span.start + 1), "missing key `id`").into()),
    };
    if id.value.is_empty() || !id.value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(source.wrong(&id.span, "an `id` is of letters, digits, `-`, `_` and `.`").into());
    }
    let mut definition = Definition { id: id.value, ..Definition::default() };
    if let Some(node) = get("options") {
        for (name, option) in source.table("options", node)? {
            let key = format!("options.{}", name.value);
            let default = source.table(&key, option)?.iter().find(|(name, _)| name.value == "default");
            let default = default.map(|(_, node)| value(source, &key, node)).transpose()?;
            definition.options.push((name.value.clone(), default.unwrap_or_default()));
        }
    }
    if let Some(node) = get("dependsOn") {
        for (name, options) in source.table("dependsOn", node)? {
            let key = format!("dependsOn.{}", name.value);
            let options = match &options.value {
                Json::Text(version) => vec![("version".to_owned(), version.clone())],
                Json::Boolean(_) => Vec::new(),
                _ => texts(source, &key, options)?,
            };
            definition.depends_on.push(Feature { reference: name.value.clone(), options });
        }
    }
    if let Some(node) = get("installsAfter") {
        definition.installs_after = source.texts("installsAfter", node)?.into_iter().map(|name| name.value).collect();
    }
    if let Some(node) = get("containerEnv") {
        for (name, entry) in source.table("containerEnv", node)? {
            variable_name(source, name)?;
            let value = source.text(&format!("containerEnv.{}", name.value), entry)?;
            definition.variables.push((name.value.clone(), value.value));
        }
    }
    let is_kept = |key: &str| METADATA.contains(&key) || HOOKS.contains(&key);
    definition.metadata = table_to_json(entries.iter().filter(|(name, _)| is_kept(&name.value)));
    Ok(definition)
}

/// A string, or a boolean as one.
fn value(source: &Source<'_>, key: &str, node: &Node) -> Result<String, Box<Diagnostic>> {
    match &node.value {
        Json::Boolean(on) => Ok(on.to_string()),
        Json::Number(number) => Ok(number.to_string()),
        _ => source.text(key, node).map(|text| text.value),
    }
}

fn texts(source: &Source<'_>, key: &str, node: &Node) -> Result<Vec<(String, String)>, Box<Diagnostic>> {
    let entry = |(name, node): &(schema::At<String>, Node)| {
        value(source, &format!("{key}.{}", name.value), node).map(|value| (name.value.clone(), value))
    };
    source.table(key, node)?.iter().map(entry).collect()
}

/// It becomes part of a Containerfile.
fn variable_name(source: &Source<'_>, name: &schema::At<String>) -> Result<(), Box<Diagnostic>> {
    let good = name.value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if good {
        return Ok(());
    }
    Err(source.wrong(&name.span, "a variable is of letters, digits and `_`").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Definition, String> {
        super::parse(&Source { file: Path::new("f"), text }).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_that_counts_is_read() {
        let definition = parse(
            r#"{"id": "go", "version": "1.2.3", "name": "Go", "entrypoint": "/e", "capAdd": ["SYS_PTRACE"],
                "options": {"version": {"type": "string", "default": "latest"}, "tools": {"type": "boolean", "default": true}},
                "containerEnv": {"PATH": "/go/bin:${PATH}"}, "dependsOn": {"ghcr.io/x/base:1": {"a": false}, "./b": "2"},
                "installsAfter": ["ghcr.io/x/common"], "postCreateCommand": "go version"}"#,
        )
        .unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(definition.id, "go");
        assert_eq!(definition.options, [pair("version", "latest"), pair("tools", "true")]);
        assert_eq!(definition.variables, [pair("PATH", "/go/bin:${PATH}")]);
        assert_eq!(definition.installs_after, ["ghcr.io/x/common"]);
        assert_eq!(
            definition.depends_on[0],
            Feature { reference: "ghcr.io/x/base:1".into(), options: vec![pair("a", "false")] }
        );
        assert_eq!(definition.depends_on[1].options, [pair("version", "2")]);
        let metadata = r#"{"id":"go","entrypoint":"/e","capAdd":["SYS_PTRACE"],"postCreateCommand":"go version"}"#;
        assert_eq!(definition.metadata, metadata);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, error) in [
            ("{}", "f:1:1: missing key `id`"),
            ("{\"id\": \"a b\"}", "f:1:8: an `id` is of letters"),
            ("{\"id\": \"../a\"}", "f:1:8: an `id` is of letters"),
            ("{\"id\": \"a\", \"containerEnv\": {\"A\\nRUN\": \"x\"}}", "f:1:30: a variable is of letters"),
            ("{\"id\": \"a\", \"options\": []}", "f:1:24: wrong type of `options`: expected a table"),
            ("not json", "f:1:1: this is no JSON"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
