//! Users of the box, from its own `/etc/passwd` and `/etc/group`.
//!
//! Read by hand: the host's name service must not be asked about the box's users, and libc's would load the box's
//! libraries into our process.

use std::path::Path;

use super::channel::Bytes;
use crate::sys::{Context, SysResult};

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Log-in name.
    pub name: String,
    /// User id in the box.
    pub uid: u32,
    /// Primary group id in the box.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Log-in shell; empty when none is named.
    pub shell: String,
}

impl Account {
    /// The box's root.
    #[must_use]
    pub fn root() -> Self {
        Self { name: "root".into(), uid: 0, gid: 0, groups: Vec::new(), home: "/root".into(), shell: String::new() }
    }

    /// Looks up `user` or `user:group`, each a name or a number, in the files below `etc`. A number without an entry is
    /// a user or group without a name. A group that is given takes the place of all groups of the user.
    #[must_use]
    pub fn find(etc: &Path, wanted: &str) -> Option<Self> {
        let read = |name: &str| {
            std::fs::read(etc.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Self::parse(&read("passwd"), &read("group"), wanted)
    }

    /// As [`Account::find`], from the files' texts.
    #[must_use]
    pub fn parse(passwd: &str, group: &str, wanted: &str) -> Option<Self> {
        match wanted.split_once(':') {
            None | Some((_, "")) => Self::parse_user(passwd, group, wanted.trim_end_matches(':')),
            Some((user, wanted_group)) => {
                let gid = parse_group(group, wanted_group)?;
                Some(Self { gid, groups: Vec::new(), ..Self::parse_user(passwd, group, user)? })
            }
        }
    }

    fn parse_user(passwd: &str, group: &str, wanted: &str) -> Option<Self> {
        let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
            fields.len() >= 7 && (fields[0] == wanted || (wanted.parse::<u32>().is_ok() && fields[2] == wanted))
        });
        let Some(fields) = entry else {
            let uid = wanted.parse().ok()?;
            return Some(Self {
                name: wanted.into(),
                uid,
                gid: uid,
                groups: Vec::new(),
                home: "/".into(),
                shell: String::new(),
            });
        };
        let name = fields[0].to_owned();
        let groups = group
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let member = fields.len() >= 4 && fields[3].split(',').any(|member| member == name);
                if member { fields[2].parse().ok() } else { None }
            })
            .collect();
        Some(Self {
            uid: fields[2].parse().ok()?,
            gid: fields[3].parse().ok()?,
            groups,
            home: if fields[5].is_empty() { "/".into() } else { fields[5].to_owned() },
            shell: fields[6].to_owned(),
            name,
        })
    }

    /// Takes on this account's ids. Nothing is called for those that a command already has.
    pub fn assume(&self) -> SysResult<()> {
        use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
        if (self.uid, self.gid) == (geteuid().as_raw(), getegid().as_raw()) {
            return Ok(());
        }
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).call(|| format!("setgroups `{}`", self.name))?;
        let gid = Gid::from_raw(self.gid);
        setresgid(gid, gid, gid).call(|| format!("setresgid `{}`", self.gid))?;
        let uid = Uid::from_raw(self.uid);
        setresuid(uid, uid, uid).call(|| format!("setresuid `{}`", self.uid))
    }

    /// Adds `HOME`, `USER`, `LOGNAME` where the environment does not have them.
    pub fn complete(&self, environment: &mut Vec<(Bytes, Bytes)>) {
        for (key, value) in [("HOME", &self.home), ("USER", &self.name), ("LOGNAME", &self.name)] {
            if !environment.iter().any(|(existing, _)| existing.0 == key.as_bytes()) {
                environment.push((Bytes::from(key), Bytes::from(value)));
            }
        }
    }
}

/// The id of a group that is named, or numbered, in the text of `/etc/group`.
#[must_use]
pub fn parse_group(group: &str, wanted: &str) -> Option<u32> {
    let mut lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines.find(|fields| fields.len() >= 3 && fields[0] == wanted).and_then(|fields| fields[2].parse().ok());
    named.or_else(|| wanted.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\ndev:x:1000:100::/home/dev:/bin/zsh\nbroken:x:1\n";
        let group = "users:x:100:\nsudo:x:27:dev,other\nx:x:28:devel\n";
        let account = Account::parse(passwd, group, "dev").unwrap();
        assert_eq!((account.uid, account.gid, account.groups.as_slice()), (1000, 100, &[27][..]));
        assert_eq!(Account::parse(passwd, group, "1000").unwrap().name, "dev");
        assert_eq!(Account::parse(passwd, group, "broken"), None);
        assert_eq!(Account::parse(passwd, group, "nobody"), None);
        assert_eq!(Account::parse(passwd, group, "77").unwrap().home, "/");
        for (wanted, expected) in
            [("dev:sudo", Some((1000, 27))), ("dev:9", Some((1000, 9))), ("7:8", Some((7, 8))), ("dev:no", None)]
        {
            let account = Account::parse(passwd, group, wanted);
            assert_eq!(account.map(|account| (account.uid, account.gid)), expected, "{wanted}");
        }
    }
}
