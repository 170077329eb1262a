//! The rules by name, and what of them a file wants checked.

use std::collections::BTreeSet;

use crate::build::language::Containerfile;
use crate::build::language::containerfile::{Source, Word};
use crate::build::language::suggest::suggest;
use crate::profile::Diagnostic;

/// The build argument that takes the place of the directive.
pub const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Defines the rules, and the list of them, which must not be forgotten when one is added.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule, with the name that docker's builder gives it: <https://docs.docker.com/reference/build-checks/>.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

rules! {
    /// Names of stages are in lower case.
    StageNameCasing,
    /// `FROM` and `AS` are in the same case.
    FromAsCasing,
    /// Instructions are all in upper case or all in lower case.
    ConsistentInstructionCasing,
    /// No empty lines inside an instruction.
    NoEmptyContinuation,
    /// No two stages have one name.
    DuplicateStageName,
    /// No stage is called as something that `FROM` or `--from` mean otherwise.
    ReservedStageName,
    /// `CMD` and `ENTRYPOINT` are arrays, unless `SHELL` says what runs them.
    JSONArgsRecommended,
    /// Only the last `CMD`, `ENTRYPOINT` or `HEALTHCHECK` of a stage counts.
    MultipleInstructionsDisallowed,
    /// `MAINTAINER` is a label today.
    MaintainerDeprecated,
    /// `ENV name=value` and not `ENV name value`.
    LegacyKeyValueFormat,
    /// A relative `WORKDIR` depends on the base.
    WorkdirRelativePath,
    /// Secrets in variables are in the image.
    SecretsUsedInArgOrEnv,
    /// A variable that nothing gives a value.
    UndefinedVar,
    /// The same in a `FROM`.
    UndefinedArgInFrom,
    /// With the defaults of the arguments, `FROM` names no image.
    InvalidDefaultArgInFrom,
    /// `FROM --platform` with a fixed value.
    FromPlatformFlagConstDisallowed,
    /// `FROM --platform=$TARGETPLATFORM` says nothing.
    RedundantTargetPlatform,
    /// `EXPOSE` names no address and no port of the host.
    ExposeInvalidFormat,
    /// Protocols of `EXPOSE` are in lower case.
    ExposeProtoCasing,
    /// What is copied is left out of the context. Only where it is asked for.
    CopyIgnoredFile,
    /// A comment above a stage or an argument begins with its name. Only where it is asked for.
    InvalidDefinitionDescription,
}

impl Rule {
    /// Whether it holds only where it is asked for.
    fn is_experimental(self) -> bool {
        matches!(self, Self::CopyIgnoredFile | Self::InvalidDefinitionDescription)
    }
}

/// What `# check=skip=A,B;error=true;experimental=C` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    skipped: Names,
    experimental: Names,
    /// What is found fails the build.
    pub is_error: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    rules: BTreeSet<Rule>,
}

impl Names {
    fn has(&self, rule: Rule) -> bool {
        self.all || self.rules.contains(&rule)
    }
}

impl Checks {
    /// Reads the directive of `file`, or `argument`, the value of [`CHECK_ARGUMENT`].
    pub fn of(file: &Containerfile, argument: Option<&str>) -> Result<Self, Box<Diagnostic>> {
        match (argument, &file.directives.check) {
            (Some(text), _) => {
                let source = Source { file: CHECK_ARGUMENT.into(), text: text.to_owned() };
                Self::parse(&source, &Word { text: text.to_owned(), span: 0..text.len() })
            }
            (None, Some(word)) => Self::parse(&file.source, word),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Whether `rule` is looked at.
    #[must_use]
    pub fn wants(&self, rule: Rule) -> bool {
        !self.skipped.has(rule) && (!rule.is_experimental() || self.experimental.has(rule))
    }

    fn parse(source: &Source, word: &Word) -> Result<Self, Box<Diagnostic>> {
        let mut checks = Self::default();
        let mut start = word.span.start;
        for option in word.text.split(';') {
            let span = start..start + option.len();
            start = span.end + 1;
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let names = |value: &str| names(source, &span, value);
            match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
                ("", "") => {}
                ("skip", value) => checks.skipped = names(value)?,
                ("experimental", value) => checks.experimental = names(value)?,
                ("error", "true" | "1") => checks.is_error = true,
                ("error", "false" | "0") => checks.is_error = false,
                ("error", _) => return Err(source.error(&span, "`error` is `true` or `false`")),
                (other, _) => {
                    let error = source.error(&span, format!("`{other}` is no option of `check`"));
                    return Err(suggest(*error, other, ["skip", "error", "experimental"]));
                }
            }
        }
        Ok(checks)
    }
}

/// `all`, or names of rules. Docker knows rules that are not looked at here, so that an unknown name is no mistake.
fn names(source: &Source, span: &std::ops::Range<usize>, value: &str) -> Result<Names, Box<Diagnostic>> {
    if value.is_empty() {
        return Err(source.error(span, "no rule is named"));
    }
    let mut names = Names::default();
    for name in value.split(',').map(str::trim) {
        names.all |= name.eq_ignore_ascii_case("all");
        names.rules.extend(Rule::ALL.iter().find(|rule| rule.name().eq_ignore_ascii_case(name)));
    }
    Ok(names)
}
