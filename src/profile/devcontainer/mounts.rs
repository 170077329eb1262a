//! Mounts as devcontainer files have them: docker's strings, and tables of the same keys. Pure.

use super::json::{Json, Node, Source};
use crate::profile::schema::At;
use crate::profile::validate::Checked;
use crate::text::comma_fields;

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A path of the host.
    Bind,
    /// A directory of the box's own, by its name.
    Volume,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What.
    pub kind: Kind,
    /// A path of the host or a name.
    pub source: At<String>,
    /// A path in the box.
    pub target: At<String>,
    /// The box cannot change it.
    pub read_only: bool,
}

/// A mount that is there, or why there is none.
pub type Mounted = Result<Entry, String>;

/// One entry of `mounts`, or the value of `workspaceMount`, with `substitute` applied.
pub fn entry(source: &Source<'_>, key: &str, node: &Node, substitute: &dyn Fn(&str) -> String) -> Checked<Mounted> {
    let pairs: Vec<(String, At<String>)> = match &node.value {
        // What a variable stands for may have commas.
        Json::Text(text) => fields(&At { value: text.clone(), span: node.span.clone() })
            .into_iter()
            .map(|(name, at)| (name, At { value: substitute(&at.value), ..at }))
            .collect(),
        Json::Table(entries) => {
            let mut pairs = Vec::new();
            for (name, value) in entries {
                let text = match &value.value {
                    Json::Text(text) => substitute(text),
                    Json::Boolean(on) => on.to_string(),
                    _ => return Err(source.unexpected(&format!("{key}.{}", name.value), value, "a string")),
                };
                pairs.push((name.value.clone(), At { value: text, span: value.span.clone() }));
            }
            pairs
        }
        _ => return Err(source.unexpected(key, node, "a string or a table")),
    };
    build(source, &At { value: String::new(), span: node.span.clone() }, pairs)
}

/// The value of `--mount`.
pub fn option(source: &Source<'_>, at: &At<String>) -> Checked<Mounted> {
    build(source, at, fields(at))
}

fn fields(at: &At<String>) -> Vec<(String, At<String>)> {
    let field = |field: String| {
        let (name, value) = field.split_once('=').unwrap_or((&field, "true"));
        (name.trim().to_owned(), At { value: value.to_owned(), span: at.span.clone() })
    };
    comma_fields(&at.value).into_iter().filter(|part| !part.is_empty()).map(field).collect()
}

fn build(source: &Source<'_>, whole: &At<String>, pairs: Vec<(String, At<String>)>) -> Checked<Mounted> {
    let (mut kind, mut from, mut target, mut read_only) = (None, None, None, false);
    for (name, value) in pairs {
        match name.as_str() {
            "type" => kind = Some(value),
            "source" | "src" => from = Some(value),
            "target" | "dst" | "destination" => target = Some(value),
            "readonly" | "ro" => read_only = matches!(value.value.as_str(), "true" | "1"),
            // How a volume is kept consistent or labelled says nothing about what is mounted.
            _ => {}
        }
    }
    let Some(target) = target else {
        return Err(source.wrong(&whole.span, "this mount has no `target`").into());
    };
    // Without a type docker makes a volume.
    let kind = match kind.as_ref().map_or("volume", |kind| kind.value.as_str()) {
        "bind" => Kind::Bind,
        "volume" => Kind::Volume,
        other => return Ok(Err(format!("a mount of the type `{other}` at `{}`", target.value))),
    };
    let Some(from) = from.filter(|from| !from.value.is_empty()) else {
        return match kind {
            Kind::Bind => Err(source.wrong(&whole.span, "this mount has no `source`").into()),
            Kind::Volume => Ok(Err(format!("a volume without a name at `{}`", target.value))),
        };
    };
    if kind == Kind::Volume {
        check_name(source, &from)?;
    }
    Ok(Ok(Entry { kind, source: from, target, read_only }))
}

/// The value of `--volume`: `SOURCE:TARGET[:OPTIONS]`.
pub fn volume(source: &Source<'_>, at: &At<String>) -> Checked<Mounted> {
    let part = |text: &str| At { value: text.to_owned(), span: at.span.clone() };
    let mut parts = at.value.splitn(3, ':');
    let (Some(from), Some(target)) = (parts.next(), parts.next()) else {
        return Ok(Err(format!("a volume without a name at `{}`", at.value)));
    };
    let read_only = parts.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
    let kind = if from.contains('/') || from.starts_with('.') { Kind::Bind } else { Kind::Volume };
    if kind == Kind::Volume {
        check_name(source, &part(from))?;
    }
    Ok(Ok(Entry { kind, source: part(from), target: part(target), read_only }))
}

/// The name of a volume becomes that of a directory.
fn check_name(source: &Source<'_>, name: &At<String>) -> Checked<()> {
    let good = name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.value.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && name.value.len() <= 128;
    if good {
        return Ok(());
    }
    Err(source
        .wrong(&name.span, format!("`{}` cannot be the name of a volume", name.value))
        .label("a letter or a digit, then letters, digits, `_`, `.`, `-`; at most 128")
        .into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> String {
        let source = Source { file: Path::new("f"), text };
        let substitute = |text: &str| text.replace("${x}", "/home");
        shown(entry(&source, "mounts[]", &source.parse().unwrap(), &substitute))
    }

    fn shown(mounted: Checked<Mounted>) -> String {
        match mounted {
            Err(error) => error.to_string(),
            Ok(Err(why)) => why,
            Ok(Ok(Entry { kind, source, target, read_only })) => {
                format!("{kind:?} {} {}{}", source.value, target.value, if read_only { " ro" } else { "" })
            }
        }
    }

    #[test]
    fn strings_and_tables() {
        for (text, expected) in [
            ("\"source=${x}/.ssh,target=/s,type=bind,readonly\"", "Bind /home/.ssh /s ro"),
            ("\"type=bind,src=/a,dst=/b,consistency=cached\"", "Bind /a /b"),
            ("\"source=data,target=/d,type=volume\"", "Volume data /d"),
            ("\"source=data,target=/d\"", "Volume data /d"),
            ("{\"type\": \"bind\", \"source\": \"/a\", \"target\": \"/b\", \"readonly\": true}", "Bind /a /b ro"),
            (r#""type=bind,\"source=${x}/a,b\",target=/t""#, "Bind /home/a,b /t"),
            ("\"type=tmpfs,target=/t\"", "a mount of the type `tmpfs` at `/t`"),
            ("\"type=volume,target=/t\"", "a volume without a name at `/t`"),
            ("\"type=bind,target=/t\"", "f:1:1: this mount has no `source`"),
            ("\"source=x,type=volume\"", "f:1:1: this mount has no `target`"),
            ("\"source=../x,target=/t,type=volume\"", "f:1:1: `../x` cannot be the name of a volume (a letter"),
            ("{\"source\": 1}", "f:1:12: wrong type of `mounts[].source`: expected a string (this is a number)"),
            ("[]", "f:1:1: wrong type of `mounts[]`: expected a string or a table (this is a list)"),
        ] {
            let found = parse(text);
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    fn values_of_volume() {
        let source = Source { file: Path::new("f"), text: "" };
        for (text, expected) in [
            ("/a:/b", "Bind /a /b"),
            ("./a:/b:ro,z", "Bind ./a /b ro"),
            ("data:/b", "Volume data /b"),
            ("/b", "a volume without a name at `/b`"),
        ] {
            assert_eq!(shown(volume(&source, &At { value: text.to_owned(), span: 0..0 })), expected);
        }
    }
}
