//! What kind of project a folder is, and the first profile for it. Pure: the names in the folder are all that is asked.

use super::show::toml_key;
use super::validate::name_fault;
use crate::image::reference::Reference;

/// A kind of project, in the order in which the first one found is chosen: a language's own manifest before the build
/// files that accompany other languages as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `Cargo.toml`
    Rust,
    /// `go.mod`
    Go,
    /// `pom.xml`, `build.gradle`
    Java,
    /// `pyproject.toml`, `requirements.txt`, `setup.py`
    Python,
    /// `package.json`: after the others, which often have one for their web pages or tools.
    Node,
    /// `CMakeLists.txt`, `Makefile`, C and C++ sources: last, for any project may have a `Makefile`.
    C,
}

impl Kind {
    /// The shipped profile for it.
    pub fn profile(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Java => "java",
            Self::Python => "python",
            Self::Node => "node",
            Self::C => "c",
        }
    }

    fn of_file(name: &str) -> Option<Self> {
        Some(match name {
            "Cargo.toml" => Self::Rust,
            "go.mod" => Self::Go,
            "pom.xml" | "build.gradle" | "build.gradle.kts" => Self::Java,
            "pyproject.toml" | "requirements.txt" | "setup.py" | "Pipfile" => Self::Python,
            "package.json" => Self::Node,
            "CMakeLists.txt" | "Makefile" | "makefile" | "GNUmakefile" | "configure.ac" | "meson.build" => Self::C,
            _ => match name.rsplit_once('.')? {
                ("", _) => return None,
                (_, "c" | "cc" | "cpp" | "cxx") => Self::C,
                (_, "go") => Self::Go,
                (_, "py") => Self::Python,
                _ => return None,
            },
        })
    }
}

/// A kind and the file that speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detected {
    /// The kind.
    pub kind: Kind,
    /// The first name in the alphabet that says so.
    pub file: String,
}

/// The kinds that the names in a folder speak for, the chosen one first.
pub fn detect<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Detected> {
    let mut all: Vec<Detected> = names
        .into_iter()
        .filter_map(|name| Kind::of_file(name).map(|kind| Detected { kind, file: name.to_owned() }))
        .collect();
    all.sort();
    all.dedup_by_key(|detected| detected.kind);
    all
}

/// The commented text of a `devbox.toml` for a project of these kinds.
///
/// `name` is left out when it cannot be one. On an `image` nothing is extended: it has what its makers chose.
pub fn init_text(name: &str, detected: &[Detected], image: Option<&Reference>) -> String {
    let mut text = String::from("# The development environment of this project: `devbox enter` starts it.\n\n");
    if name_fault(name).is_none() {
        text.push_str(&format!("name = \"{name}\"\n\n"));
    }
    if let Some(image) = image {
        text.push_str("# The root file system: an image, pulled when it is not here yet.\n");
        text.push_str(&format!("image = \"{}\"\n{INIT_REST}", image.familiar()));
        return text;
    }
    match detected {
        [] => text.push_str("# Shipped profiles to build on: `devbox profile list`.\nextends = \"base\"\n"),
        [first, others @ ..] => {
            text.push_str(&format!(
                "# Because of `{}`; other profiles: `devbox profile list`.\nextends = \"{}\"\n",
                file_name(&first.file),
                first.kind.profile()
            ));
            for other in others {
                text.push_str(&format!(
                    "# There is also `{}`: for its tools see `devbox profile show {}`.\n",
                    file_name(&other.file),
                    other.kind.profile()
                ));
            }
        }
    }
    text.push_str(INIT_BASE);
    text.push_str(INIT_REST);
    text
}

/// Names come from the folder, and go into a comment: only those of [`Kind::of_file`] in plain letters are written out.
fn file_name(name: &str) -> String {
    if toml_key(&name.replace('.', "")).starts_with('"') { "its sources".to_owned() } else { name.to_owned() }
}

const INIT_BASE: &str = r#"
# The root file system: a copy-on-write view of this machine's own ("host"), or a fresh one.
base = "host"
# image = "debian:bookworm"         # instead of `base`: of a registry
# distro = "debian:bookworm"        # instead of `base`: bootstrapped
"#;

const INIT_REST: &str = r#"
# Installed once, and shared by all boxes with the same list.
# packages = ["postgresql-client"]

# [project]
# mask = [".env"]                   # hidden from the box

# [env]
# LOG_LEVEL = "debug"
# pass = ["EDITOR"]                 # taken from the host

# [[mounts]]
# source = "~/.cache/shop"          # anything outside the project asks for trust once
# target = "/root/.cache/shop"

# [share]
# ssh_agent = true
# git_config = true

# [network]
# mode = "none"                     # auto | private | host | none

# [tasks]
# serve = "./serve --port 8080"     # `devbox run serve`

# [hooks]
# create = ["./scripts/setup"]      # once, when the box is made
"#;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Grant;
    use super::super::shipped::find_shipped;
    use super::super::validate::{BaseChoice, Extends, Origin, parse_profile};
    use super::*;

    #[test]
    fn detects_in_order() {
        use Kind::*;
        for (names, kinds) in [
            (&[][..], &[][..]),
            (&["README.md", "Cargo.toml"], &[Rust]),
            (&["package.json", "Makefile", "Cargo.toml"], &[Rust, Node, C]),
            (&["requirements.txt", "package.json"], &[Python, Node]),
            (&["pyproject.toml", "setup.py"], &[Python]),
            (&["go.mod", "main.go"], &[Go]),
            (&["build.gradle.kts"], &[Java]),
            (&["main.c", "util.h"], &[C]),
            (&["Makefile"], &[C]),
            (&[".c", "c", "x.txt", "cargo.toml"], &[]),
        ] {
            let found: Vec<Kind> = detect(names.iter().copied()).iter().map(|detected| detected.kind).collect();
            assert_eq!(found, kinds, "{names:?}");
        }
    }

    fn parse(text: &str) -> super::super::validate::Layer {
        let root = Path::new("/p");
        parse_profile(&Origin { file: Path::new("devbox.toml"), text, folder: root, home: root })
            .unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    #[test]
    fn the_first_profile_is_valid() {
        for names in [&[][..], &["Cargo.toml"], &["package.json", "a\nshell = 1.c"], &["\"\n.py"], &["main.go", "x.c"]]
        {
            for name in ["shop", "a b", "größe", "\"\n"] {
                let detected = detect(names.iter().copied());
                let text = init_text(name, &detected, None);
                let layer = parse(&text);
                assert_eq!(layer.name.is_some(), matches!(name, "shop" | "größe"));
                let Extends::Name(extends) = layer.extends.unwrap().value else { panic!("a path") };
                assert!(find_shipped(&extends).is_some());
                assert_eq!(layer.shell, None);
            }
        }
    }

    #[test]
    fn what_is_commented_out_is_valid_too() {
        let image = "debian:12".parse().unwrap();
        for (text, base) in [
            (init_text("shop", &[], None), BaseChoice::Host),
            (init_text("shop", &[], Some(&image)), BaseChoice::Image("debian:12".to_owned())),
        ] {
            check_uncommented(&text, base);
        }
    }

    fn check_uncommented(text: &str, base: BaseChoice) {
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.starts_with('[') || (key.contains(" = ") && !key.contains("instead of `base`")) => key,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let layer = parse(&uncommented);
        assert_eq!(layer.base, Some(base));
        assert_eq!(layer.mounts.len(), 1);
        assert_eq!(layer.grants.get(&Grant::SshAgent), Some(&true));
        assert_eq!((layer.tasks.len(), layer.create.len(), layer.packages.len()), (1, 1, 1));
    }
}
