//! Keys of a devcontainer file that stand for options of `docker run`, and that ask something of the host.

use super::json::{Json, Node};
use super::mounts;
use super::read::Reader;
use super::run_args::{Argument, size};
use crate::profile::NetworkMode;
use crate::profile::ports::Attributes;
use crate::profile::schema::At;
use crate::profile::security::is_kept;
use crate::profile::validate::Checked;

/// Options that mean nothing here because what they are for is so in every box, or concerns docker alone.
const NEEDLESS: [&str; 9] = ["init", "label", "name", "rm", "interactive", "tty", "detach", "userns", "log-driver"];

/// What `onAutoForward` can say. All but the last differ in how an editor shows a port.
const ON_FORWARD: [&str; 6] = ["notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore"];

/// What is said of a port to editors alone.
const FOR_EDITORS: [&str; 4] = ["label", "protocol", "elevateIfNeeded", "requireLocalPort"];

/// What stands for a port.
const A_PORT: &str = "a port from 0 to 65535, or a string";

impl Reader<'_> {
    /// One option of `runArgs`.
    pub(super) fn run_argument(&mut self, argument: Argument) -> Checked<()> {
        let Argument { name, value, place } = argument;
        let Some(value) = value else {
            match name.as_str() {
                "privileged" => self.privileged(&place.span),
                "read-only" => self.note(&place.span, "the root file system of a box can be written"),
                name if NEEDLESS.contains(&name) => {}
                name => self.meaningless(name, &place),
            }
            return Ok(());
        };
        let source = self.source;
        match name.as_str() {
            "env" => {
                let (name, text) = match value.value.split_once('=') {
                    Some((name, text)) => (name.to_owned(), text.to_owned()),
                    None => {
                        self.raw.env.pass.push(value);
                        return Ok(());
                    }
                };
                let at = |value| At { value, span: place.span.clone() };
                self.variable(at(name), at(text));
            }
            "volume" => {
                let mounted = mounts::volume(&source, &value)?;
                self.mount(mounted, &place.span)?;
            }
            "mount" => {
                let mounted = mounts::option(&source, &value)?;
                self.mount(mounted, &place.span)?;
            }
            "user" => {
                if value.value.starts_with(|c: char| c.is_ascii_digit()) {
                    self.note(&place.span, "a user is named here, not numbered: use `remoteUser`");
                } else {
                    let name = value.value.split(':').next().unwrap_or_default().to_owned();
                    self.user[2] = Some(At { value: name, span: value.span });
                }
            }
            "cap-add" => self.capability(value),
            "cap-drop" if value.value.eq_ignore_ascii_case("all") => {
                self.note(&place.span, "capabilities are dropped by their names");
            }
            "cap-drop" => self.raw.security.capabilities.drop.push(value),
            "security-opt" => self.security_option(&value),
            "publish" => self.raw.network.ports.push(value),
            "network" | "net" => match value.value.as_str() {
                "host" => self.raw.network.mode = Some(At { value: NetworkMode::Host, span: value.span }),
                "none" => self.raw.network.mode = Some(At { value: NetworkMode::None, span: value.span }),
                "bridge" | "default" => {}
                _ => self.meaningless("network", &place),
            },
            "cpus" => match value.value.parse() {
                Ok(number) => self.raw.limits.cpus = Some(At { value: number, span: value.span }),
                Err(_) => return Err(source.wrong(&value.span, "this is no number of processors").into()),
            },
            "memory" => self.raw.limits.memory = Some(At { value: size(&value.value), span: value.span }),
            "shm-size" => self.raw.limits.shm = Some(At { value: size(&value.value), span: value.span }),
            "pids-limit" => match value.value.parse() {
                Ok(number) => self.raw.limits.pids = Some(At { value: number, span: value.span }),
                // Docker's word for no limit is a negative number.
                Err(_) => self.note(&place.span, "processes are not limited"),
            },
            "ulimit" => match value.value.strip_prefix("nofile=").map(|limits| limits.split(':').next_back()) {
                Some(Some(limit)) => match limit.parse() {
                    Ok(number) => self.raw.limits.files = Some(At { value: number, span: value.span }),
                    Err(_) => return Err(source.wrong(&value.span, "this is no number of files").into()),
                },
                _ => self.meaningless("ulimit", &place),
            },
            "gpus" => self.raw.share.gpu = Some(At { value: true, span: value.span }),
            name if NEEDLESS.contains(&name) => {}
            name => self.meaningless(name, &place),
        }
        Ok(())
    }

    fn meaningless(&mut self, name: &str, place: &At<String>) {
        let shown = match name.chars().count() {
            0 => place.value.clone(),
            _ if name.starts_with('-') => name.to_owned(),
            _ => format!("--{name}"),
        };
        self.note(&place.span, &format!("`{shown}` of `runArgs` has no meaning here"));
    }

    /// A capability that is wanted.
    pub(super) fn capability(&mut self, name: At<String>) {
        let is_all = ["ALL", "CAP_ALL"].iter().any(|all| name.value.eq_ignore_ascii_case(all));
        if is_all {
            self.note(&name.span, "capabilities are given by their names, not all at once");
        } else if !is_kept(&name.value) {
            self.raw.security.capabilities.add.push(name);
        }
    }

    /// One entry of `securityOpt`.
    pub(super) fn security_option(&mut self, option: &At<String>) {
        match option.value.replacen(':', "=", 1).as_str() {
            "no-new-privileges" | "no-new-privileges=true" => {
                self.raw.security.no_new_privileges = Some(At { value: true, span: option.span.clone() });
            }
            // A box has no label of its own.
            label if label.starts_with("label") => {}
            "seccomp=unconfined" => self.note(
                &option.span,
                "the filter of system calls stays; `[security] seccomp.allow` in a devbox.toml gives calls by name",
            ),
            other => self.note(&option.span, &format!("the security option `{other}` has no meaning here")),
        }
    }

    /// What `privileged` asks for is given to no box.
    pub(super) fn privileged(&mut self, span: &std::ops::Range<usize>) {
        self.note(
            span,
            "`privileged` gives nothing: no box has rights over the host; `capAdd` gives single capabilities",
        );
    }

    pub(super) fn ports(&mut self, key: &str, node: &Node) -> Checked<()> {
        let number = |node: &Node| match &node.value {
            Json::Number(number) if *number >= 0.0 && *number <= 65_535.0 && number.fract() == 0.0 => {
                Some(At { value: format!("{number}"), span: node.span.clone() })
            }
            _ => None,
        };
        match key {
            "appPort" => {
                let one = std::slice::from_ref(node);
                let list = if let Json::List(list) = &node.value { list } else { one };
                for entry in list {
                    let port = match number(entry) {
                        Some(At { value, span }) => At { value: format!("{value}:{value}"), span },
                        None if matches!(entry.value, Json::Text(_)) => self.text("appPort", entry)?,
                        None => return Err(self.source.unexpected("appPort", entry, A_PORT)),
                    };
                    self.raw.network.ports.push(port);
                }
            }
            "forwardPorts" => {
                for entry in self.source.list(key, node)? {
                    match (number(entry), &entry.value) {
                        (Some(port), _) => self.forwarded.push(port),
                        (None, Json::Text(text)) => match text.strip_prefix("localhost:") {
                            Some(port) => {
                                let port = At { value: port.to_owned(), span: entry.span.clone() };
                                self.forwarded.push(port);
                            }
                            None => self.note(&entry.span.clone(), &format!("`{text}` is no port of the box")),
                        },
                        _ => return Err(self.source.unexpected("forwardPorts[]", entry, A_PORT)),
                    }
                }
            }
            "portsAttributes" => {
                for (port, attributes) in self.source.table(key, node)? {
                    let (first, last) = port.value.split_once('-').unwrap_or((&port.value, &port.value));
                    let mut said = match (first.parse(), last.parse()) {
                        (Ok(first), Ok(last)) => Attributes { first, last, ..Attributes::default() },
                        _ => {
                            let text = format!("`{}` is no port and no range: programs are not looked for", port.value);
                            self.note(&port.span, &text);
                            continue;
                        }
                    };
                    for (name, value) in self.source.table(&format!("{key}.{}", port.value), attributes)? {
                        match name.value.as_str() {
                            "requireLocalPort" if self.source.boolean(&name.value, value)? => {
                                self.local_ports.insert(port.value.clone());
                            }
                            "onAutoForward" => {
                                said.is_ignored = self.source.one_of(&name.value, value, &ON_FORWARD)? == "ignore";
                            }
                            "label" => said.label = Some(self.source.text(&name.value, value)?.value),
                            known if FOR_EDITORS.contains(&known) => {}
                            _ => self.meaningless_key(key, name),
                        }
                    }
                    self.extra.ports.push(said);
                }
            }
            _ => {
                for (name, value) in self.source.table(key, node)? {
                    match name.value.as_str() {
                        "onAutoForward" => {
                            self.is_off = self.source.one_of(&name.value, value, &ON_FORWARD)? == "ignore";
                        }
                        known if FOR_EDITORS.contains(&known) => {}
                        _ => self.meaningless_key(key, name),
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn requirements(&mut self, node: &Node) -> Checked<()> {
        let table = "hostRequirements";
        for (name, value) in self.source.table(table, node)?.to_vec() {
            let key = format!("{table}.{}", name.value);
            let size = |reader: &Self| -> Checked<Option<u64>> {
                let text = reader.text(&key, &value)?;
                let size = crate::limits::amount::parse_size(&size(&text.value));
                size.map(Some).ok_or_else(|| {
                    let wrong = reader.source.wrong(&text.span, format!("`{}` is no size", text.value));
                    wrong.help("write it like `\"8gb\"`").into()
                })
            };
            match name.value.as_str() {
                "cpus" => match value.value {
                    Json::Number(number) if number >= 0.0 => self.extra.requirements.cpus = Some(number as u64),
                    _ => return Err(self.source.unexpected(&key, &value, "a number")),
                },
                "memory" => self.extra.requirements.memory_bytes = size(self)?,
                "storage" => self.extra.requirements.storage_bytes = size(self)?,
                "gpu" => match &value.value {
                    Json::Boolean(true) | Json::Table(_) => {
                        self.raw.share.gpu = Some(At { value: true, span: value.span.clone() });
                    }
                    Json::Boolean(false) => {}
                    Json::Text(text) if text == "optional" => {}
                    _ => {
                        return Err(self.source.unexpected(&key, &value, "`true`, `false`, `\"optional\"` or a table"));
                    }
                },
                _ => self.meaningless_key(table, &name),
            }
        }
        Ok(())
    }
}
