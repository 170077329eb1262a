//! The X display: its socket, and a cookie that is the box's own.
//!
//! A cookie that `xauth generate` marks as untrusted keeps programs from watching and controlling others. Where the
//! server has no such cookies the user's own is taken, which is said.

use std::path::{Path, PathBuf};

use super::host::{Host, Kind, Lack};
use crate::process::Program;

/// Where X servers have their sockets.
const SOCKETS: &str = "/tmp/.X11-unix";
/// An entry for a display of any host: a box has another host name than the one in the user's file.
const ANY_HOST: u16 = 0xffff;
/// How long the server accepts the cookie after its last client has gone.
const COOKIE_LIFE_S: &str = "604800";

/// What a box is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Display {
    pub socket: PathBuf,
    pub number: u32,
}

/// The number of a display of this machine: `:0`, `:0.1`, `unix:0`.
fn display_number(display: &str) -> Option<u32> {
    let (host, rest) = display.rsplit_once(':')?;
    let number = rest.split('.').next()?;
    matches!(host, "" | "unix").then(|| number.parse().ok()).flatten()
}

/// The display that `$DISPLAY` names.
pub(super) fn display(host: &Host<'_>) -> Result<Display, Lack> {
    let lack = |reason: String| Lack::new("x11", reason, "start devbox in a graphical session of X, or with Xwayland");
    let name = host.text("DISPLAY").ok_or_else(|| lack("`$DISPLAY` is not set".to_owned()))?;
    let number =
        display_number(&name).ok_or_else(|| lack(format!("the display `{name}` is not one of this machine")))?;
    let socket = host.own(&Path::new(SOCKETS).join(format!("X{number}")), Kind::Socket).map_err(lack)?;
    Ok(Display { socket, number })
}

/// A cookie file for the display, and whether it is an untrusted one. `scratch` is a private directory.
pub(super) fn cookie(host: &Host<'_>, display: &Display, scratch: &Path) -> Option<(Vec<u8>, bool)> {
    let own = host.variable("XAUTHORITY").map_or_else(|| host.home.join(".Xauthority"), PathBuf::from);
    let fresh = scratch.join("xauthority");
    let generated = generate(host, display, &own, &fresh);
    // Its name may be there from a start that was killed.
    std::fs::remove_file(&fresh).ok();
    if let Some(cookie) = generated {
        return Some((cookie, true));
    }
    let content = std::fs::read(host.own(&own, Kind::File).ok()?).ok()?;
    for_any_host(&content, display.number).map(|cookie| (cookie, false))
}

fn generate(host: &Host<'_>, display: &Display, own: &Path, fresh: &Path) -> Option<Vec<u8>> {
    let program = which::which_in("xauth", Some(host.variable("PATH")?), "/").ok()?;
    let name = format!(":{}", display.number);
    let run = Program::new(&program)
        .args(["-q", "-f"])
        .arg(fresh)
        .args(["generate", &name, ".", "untrusted", "timeout", COOKIE_LIFE_S])
        .env("HOME", &host.home)
        .env("XAUTHORITY", own);
    run.run().ok()?;
    for_any_host(&std::fs::read(fresh).ok()?, display.number)
}

/// The first entry of a cookie file for the display, in a file of its own. An entry is a family (two bytes), and four
/// fields with their lengths (two bytes) before them: address, number, name of the protocol, cookie; all big-endian.
fn for_any_host(file: &[u8], number: u32) -> Option<Vec<u8>> {
    let mut rest = file;
    let number = number.to_string();
    loop {
        let (_family, mut after) = rest.split_at_checked(2)?;
        let mut fields: [&[u8]; 4] = [&[]; 4];
        for field in &mut fields {
            let (length, more) = after.split_first_chunk::<2>()?;
            (*field, after) = more.split_at_checked(u16::from_be_bytes(*length).into())?;
        }
        rest = after;
        // An entry without a number is for every display.
        if fields[1].is_empty() || fields[1] == number.as_bytes() {
            let mut entry = ANY_HOST.to_be_bytes().to_vec();
            for field in [&[], number.as_bytes(), fields[2], fields[3]] {
                entry.extend_from_slice(&u16::try_from(field.len()).ok()?.to_be_bytes());
                entry.extend_from_slice(field);
            }
            return Some(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays() {
        for (display, number) in [
            (":0", Some(0)),
            (":12.1", Some(12)),
            ("unix:1", Some(1)),
            ("example.com:0", None),
            ("localhost:10.0", None),
            ("", None),
            (":x", None),
            (":../../x", None),
        ] {
            assert_eq!(display_number(display), number, "{display}");
        }
    }

    #[test]
    fn cookies() {
        let entry = |family: u16, fields: [&[u8]; 4]| {
            let mut bytes = family.to_be_bytes().to_vec();
            for field in fields {
                bytes.extend_from_slice(&u16::try_from(field.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(field);
            }
            bytes
        };
        let name: &[u8] = b"MIT-MAGIC-COOKIE-1";
        let file = [entry(256, [b"host", b"0", name, b"secret"]), entry(256, [b"host", b"1", name, b"other"])].concat();
        assert_eq!(for_any_host(&file, 1), Some(entry(ANY_HOST, [b"", b"1", name, b"other"])));
        assert_eq!(for_any_host(&file, 2), None);
        assert_eq!(for_any_host(&file[..file.len() - 1], 1), None);
        assert_eq!(for_any_host(&[], 0), None);
    }
}
