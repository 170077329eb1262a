//! What a client asks of a session (RFC 4254, section 6). Pure.

use super::SshError;
use crate::sandbox::channel::Bytes;
use crate::sys::terminal::Size;
use crate::sys::terminal::modes::Mode;
use crate::wire::Reader;

/// A request on a session's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A terminal, of this name and size, with these modes (RFC 4254, section 8).
    Terminal {
        /// `TERM`.
        name: String,
        /// Its size.
        size: Size,
        /// Number and value.
        modes: Vec<Mode>,
    },
    /// A variable of the environment.
    Variable(String, Bytes),
    /// A shell.
    Shell,
    /// A command line for a shell.
    Command(Bytes),
    /// A service.
    Subsystem(String),
    /// The size of the terminal has changed.
    Resized(Size),
    /// A signal, by its number.
    Signal(i32),
    /// The agent of the client is to be reachable.
    Agent,
    /// Something that we do not have.
    Unknown,
}

impl Request {
    /// Reads what follows the request's name and whether an answer is wanted.
    pub fn parse(untrusted_name: &[u8], mut reader: Reader<'_>) -> Result<Self, SshError> {
        Ok(match untrusted_name {
            b"pty-req" => {
                let name = reader.text()?;
                let size = size(&mut reader)?;
                Self::Terminal { name, size, modes: modes(reader.string()?) }
            }
            b"env" => Self::Variable(reader.text()?, Bytes(reader.string()?.to_vec())),
            b"shell" => Self::Shell,
            b"exec" => Self::Command(Bytes(reader.string()?.to_vec())),
            b"subsystem" => Self::Subsystem(reader.text()?),
            b"window-change" => Self::Resized(size(&mut reader)?),
            b"signal" => number(&reader.text()?).map_or(Self::Unknown, Self::Signal),
            b"auth-agent-req@openssh.com" => Self::Agent,
            _ => Self::Unknown,
        })
    }
}

fn size(reader: &mut Reader<'_>) -> Result<Size, SshError> {
    let mut next = || reader.u32().map(|number| u16::try_from(number).unwrap_or(u16::MAX));
    let (columns, rows) = (next()?, next()?);
    Ok(Size { rows, columns, width_pixels: next()?, height_pixels: next()? })
}

/// Numbers and values, up to the first that has no value.
fn modes(untrusted: &[u8]) -> Vec<Mode> {
    let mut reader = Reader::new(untrusted);
    let mut modes = Vec::new();
    while let Ok(number @ 1..160) = reader.byte() {
        let Ok(value) = reader.u32() else { break };
        modes.push((number, value));
    }
    modes
}

/// Variables that a session takes from its client: what languages, terminals and editors need. The box is made to run
/// what its user wants, so the list keeps out what was not meant for it rather than what could do harm.
#[must_use]
pub fn accepts_variable(name: &str) -> bool {
    const NAMES: [&str; 6] = ["LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "TZ"];
    const PREFIXES: [&str; 6] = ["LC_", "GIT_", "TERM_PROGRAM", "VSCODE_", "ZED_", "JETBRAINS_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Signals by the names of RFC 4254, section 6.10.
const SIGNALS: [(&str, i32); 13] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("TERM", libc::SIGTERM),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
];

fn number(name: &str) -> Option<i32> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a signal for the client. Others than the RFC's have names with a domain.
#[must_use]
pub fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("{number}@devbox"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn parse(name: &str, written: Writer) -> Result<Request, SshError> {
        Request::parse(name.as_bytes(), Reader::new(&written.into_bytes()))
    }

    #[test]
    fn requests_are_read() {
        let size = Size { rows: 24, columns: 80, width_pixels: 0, height_pixels: u16::MAX };
        let numbers = || Writer::default().u32(80).u32(24).u32(0).u32(70_000);
        let terminal = Writer::default().string("xterm").raw(&numbers().into_bytes()).string([53, 0, 0, 0, 1, 0]);
        let expected = Request::Terminal { name: "xterm".into(), size, modes: vec![(53, 1)] };
        assert_eq!(parse("pty-req", terminal).unwrap(), expected);
        assert_eq!(parse("window-change", numbers()).unwrap(), Request::Resized(size));
        assert_eq!(parse("exec", Writer::default().string([0xff])).unwrap(), Request::Command(Bytes(vec![0xff])));
        assert_eq!(parse("signal", Writer::default().string("TERM")).unwrap(), Request::Signal(15));
        assert_eq!(parse("signal", Writer::default().string("STOP")).unwrap(), Request::Unknown);
        assert_eq!(parse("x11-req", Writer::default()).unwrap(), Request::Unknown);
        assert!(matches!(parse("pty-req", Writer::default().string("xterm")), Err(SshError::Malformed)));
    }

    #[test]
    fn modes_end_where_they_make_no_sense() {
        for (bytes, count) in [(&[1, 0, 0, 0, 3, 0][..], 1), (&[1, 0, 0], 0), (&[200, 0, 0, 0, 1], 0), (&[], 0)] {
            assert_eq!(modes(bytes).len(), count, "{bytes:?}");
        }
    }

    #[test]
    fn variables_are_chosen() {
        for (name, accepted) in [("LANG", true), ("LC_ALL", true), ("GIT_PROTOCOL", true), ("LD_PRELOAD", false)] {
            assert_eq!(accepts_variable(name), accepted, "{name}");
        }
    }
}
