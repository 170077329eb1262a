//! Options of a session that go before `[security]` of the profile.

use clap::Args;

use crate::profile::ProfileError;
use crate::profile::security::{Changes, SecurityLayer, parse_call, parse_capability};

/// What the box may do.
#[derive(Debug, Default, Args)]
pub struct SecurityArgs {
    /// Give root of the box a capability, such as NET_ADMIN
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    pub cap_add: Vec<String>,
    /// Take a capability from root of the box
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    pub cap_drop: Vec<String>,
    /// Let no program of the box gain anything by its setuid bit
    #[arg(long)]
    pub no_new_privileges: bool,
    /// Allow or deny system calls: `allow=CALL,..` or `deny=CALL,..`
    #[arg(long, value_name = "RULE", value_parser = parse_rule)]
    pub seccomp: Vec<Changes>,
}

impl SecurityArgs {
    /// As a file of the profile would say it; `None` if nothing was typed.
    pub fn layer(&self) -> Result<Option<SecurityLayer>, ProfileError> {
        let capabilities =
            Changes { more: self.cap_add.iter().cloned().collect(), less: self.cap_drop.iter().cloned().collect() };
        let mut seccomp = Changes::default();
        for rule in &self.seccomp {
            seccomp.more.extend(rule.more.iter().cloned());
            seccomp.less.extend(rule.less.iter().cloned());
        }
        let layer = SecurityLayer::typed(capabilities, seccomp, self.no_new_privileges.then_some(true))?;
        Ok(Some(layer).filter(|layer| *layer != SecurityLayer::default()))
    }
}

/// `allow=keyctl,bpf`.
fn parse_rule(text: &str) -> Result<Changes, String> {
    let (verb, names) = text.split_once('=').ok_or("it is `allow=CALL` or `deny=CALL`")?;
    let names = names.split(',').map(parse_call).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    match verb {
        "allow" => Ok(Changes { more: names, ..Changes::default() }),
        "deny" => Ok(Changes { less: names, ..Changes::default() }),
        _ => Err("it is `allow=CALL` or `deny=CALL`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        security: SecurityArgs,
    }

    fn layer(typed: &str) -> Result<Option<SecurityLayer>, String> {
        let words = std::iter::once("devbox").chain(typed.split_whitespace());
        let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        typed.security.layer().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_typed_is_what_a_file_would_say() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(layer(""), Ok(None));
        let typed = "--cap-add net_admin,SYS_NICE --cap-drop CAP_NET_RAW --seccomp allow=keyctl,bpf --seccomp deny=ptrace \
                     --seccomp allow=acct --no-new-privileges";
        let expected = SecurityLayer {
            capabilities: Changes { more: names(&["CAP_NET_ADMIN", "CAP_SYS_NICE"]), less: names(&["CAP_NET_RAW"]) },
            emulate_ids: None,
            no_new_privileges: Some(true),
            seccomp: Changes { more: names(&["acct", "bpf", "keyctl"]), less: names(&["ptrace"]) },
        };
        assert_eq!(layer(typed), Ok(Some(expected)));
    }

    #[test]
    fn mistakes_are_said() {
        for (typed, said) in [
            ("--cap-add NET_ADMN", "there is no capability `NET_ADMN`: did you mean `CAP_NET_ADMIN`?"),
            ("--seccomp allow=keyctll", "there is no system call `keyctll`: did you mean `keyctl`?"),
            ("--seccomp keyctl", "it is `allow=CALL` or `deny=CALL`"),
            ("--seccomp log=keyctl", "it is `allow=CALL` or `deny=CALL`"),
            ("--cap-add chown --cap-drop CHOWN", "`CAP_CHOWN` is both given and taken"),
        ] {
            let error = layer(typed).unwrap_err();
            assert!(error.contains(said), "{typed}: {error}");
        }
    }
}
