//! `${name}` in a devcontainer file. Pure.
//!
//! What is not known stays as it is written. `containerEnv` has its value only in the box: it stays until a session starts
//! ([`in_session`]).

use std::cell::RefCell;
use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};

/// What variables stand for.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Variables<'a> {
    /// A variable of the host's environment.
    pub host: &'a dyn Fn(&str) -> Option<String>,
    /// The project's folder on the host.
    pub local_folder: &'a str,
    /// The folder in the box that work is done in.
    pub container_folder: &'a str,
    /// `devcontainerId`
    pub id: &'a str,
    /// The host's variables that were asked for and are set.
    pub asked: RefCell<BTreeSet<String>>,
}

impl<'a> Variables<'a> {
    /// Nothing was asked for yet.
    #[must_use]
    pub fn new(
        host: &'a dyn Fn(&str) -> Option<String>,
        local_folder: &'a str,
        container_folder: &'a str,
        id: &'a str,
    ) -> Self {
        Self { host, local_folder, container_folder, id, asked: RefCell::default() }
    }

    /// `text` with everything that is known replaced.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        replace(text, &mut |name, argument, default| match name {
            "localEnv" | "env" => {
                let value = (self.host)(argument?);
                if value.is_some() {
                    self.asked.borrow_mut().extend(argument.map(str::to_owned));
                }
                Some(value.or_else(|| default.map(str::to_owned)).unwrap_or_default())
            }
            "localWorkspaceFolder" => Some(self.local_folder.to_owned()),
            "localWorkspaceFolderBasename" => Some(base_name(self.local_folder).to_owned()),
            "containerWorkspaceFolder" => Some(self.container_folder.to_owned()),
            "containerWorkspaceFolderBasename" => Some(base_name(self.container_folder).to_owned()),
            "devcontainerId" => Some(self.id.to_owned()),
            _ => None,
        })
    }
}

/// `text` with `${containerEnv:NAME}` replaced by what `variable` gives.
#[must_use]
pub fn in_session(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    replace(text, &mut |name, argument, default| match name {
        "containerEnv" => Some(variable(argument?).or_else(|| default.map(str::to_owned)).unwrap_or_default()),
        _ => None,
    })
}

/// Whether something of `text` would be replaced, here or in a session.
#[must_use]
pub fn names_variables(text: &str) -> bool {
    let nobody = |_: &str| None;
    let replaced = Variables::new(&nobody, "", "", "").apply(text);
    in_session(&replaced, &nobody) != text
}

/// What `${name:argument:default}` stands for, if it stands for anything.
type Value<'a> = dyn FnMut(&str, Option<&str>, Option<&str>) -> Option<String> + 'a;

/// Replaces each variable that has a value.
fn replace(text: &str, value: &mut Value<'_>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        whole.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            whole.push_str("${");
            rest = after;
            continue;
        };
        let mut parts = inside.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        match value(name, parts.next(), parts.next()) {
            Some(value) => whole.push_str(&value),
            None => whole.extend(["${", inside, "}"]),
        }
        rest = after;
    }
    whole + rest
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// `devcontainerId`: the same for the same folder and file, and for nothing else.
#[must_use]
pub fn devcontainer_id(local_folder: &str, config_file: &str) -> String {
    id_of_labels(&[("devcontainer.config_file", config_file), ("devcontainer.local_folder", local_folder)])
}

/// SHA-256 of the labels as compact JSON, as a number in base 32 of 52 digits. `labels` are sorted by name.
fn id_of_labels(labels: &[(&str, &str)]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
    let hash = digest(&SHA256, format!("{{{}}}", pairs.join(",")).as_bytes());
    // 256 bits are 51 groups of five and one of a single bit, which is the first digit.
    let bit = |at: usize| hash.as_ref()[at / 8] >> (7 - at % 8) & 1;
    let value = |digit: usize| (0..256).skip((digit * 5).saturating_sub(4)).take(if digit == 0 { 1 } else { 5 });
    (0..52)
        .map(|digit| {
            let index = value(digit).fold(0, |number, at| number << 1 | usize::from(bit(at)));
            char::from(DIGITS[index])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str) -> (String, Vec<String>) {
        let host = |name: &str| match name {
            "HOME" => Some("/home/ann".to_owned()),
            "EMPTY" => Some(String::new()),
            "SECRET" => Some("${localEnv:HOME}".to_owned()),
            _ => None,
        };
        let variables = Variables::new(&host, "/home/ann/shop", "/workspaces/store", "0123");
        (variables.apply(text), variables.asked.into_inner().into_iter().collect())
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("", ""),
            ("plain $HOME {x}", "plain $HOME {x}"),
            ("${localEnv:HOME}/.ssh", "/home/ann/.ssh"),
            ("${env:HOME}", "/home/ann"),
            ("${localEnv:GONE}", ""),
            ("${localEnv:GONE:x}", "x"),
            ("${localEnv:GONE:a:b}", "a:b"),
            ("${localEnv:EMPTY:x}", ""),
            ("${localEnv:HOME:x}${localEnv:HOME}", "/home/ann/home/ann"),
            ("${localWorkspaceFolder}", "/home/ann/shop"),
            ("${localWorkspaceFolderBasename}-data", "shop-data"),
            ("${containerWorkspaceFolder}/a", "/workspaces/store/a"),
            ("${containerWorkspaceFolderBasename}", "store"),
            ("vol-${devcontainerId}", "vol-0123"),
            ("${containerEnv:PATH}:/x", "${containerEnv:PATH}:/x"),
            ("${unknown} ${unknown:x}", "${unknown} ${unknown:x}"),
            ("${localEnv}", "${localEnv}"),
            ("${localEnv:HOME", "${localEnv:HOME"),
            ("${", "${"),
            ("${}${}}", "${}${}}"),
            // What comes out is not looked at again.
            ("${localEnv:SECRET}", "${localEnv:HOME}"),
        ] {
            assert_eq!(apply(text).0, expected, "{text}");
        }
        assert_eq!(apply("${localEnv:SECRET}${localEnv:GONE:${env:HOME}").1, ["SECRET"]);
    }

    #[test]
    fn variables_of_the_box_are_replaced_in_a_session() {
        let variable = |name: &str| (name == "PATH").then(|| "/bin".to_owned());
        for (text, expected) in [
            ("${containerEnv:PATH}:/x", "/bin:/x"),
            ("${containerEnv:GONE:y}/x", "y/x"),
            ("${containerEnv:GONE}", ""),
            ("${localEnv:PATH}", "${localEnv:PATH}"),
        ] {
            assert_eq!(in_session(text, &variable), expected, "{text}");
        }
    }

    #[test]
    fn the_id_is_the_number_of_the_labels() {
        assert_eq!(id_of_labels(&[("a", "b")]), "1mqafr5h2iu6dhh3k1m4vtnuhml2uiec4s7bntt1v0f25ao63i1n");
        let id = devcontainer_id("/p", "/p/.devcontainer.json");
        assert_eq!(id.len(), 52);
        assert_ne!(id, devcontainer_id("/q", "/p/.devcontainer.json"));
    }
}
