//! Terminals: the pair of a box, raw mode, window size.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use super::{Context, SysError, SysResult};

pub mod modes;

/// Opens a new terminal in the devpts whose multiplexer is `ptmx`: (master, slave).
pub fn open_pair(ptmx: &Path) -> SysResult<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open(ptmx, flags, Mode::empty()).call(|| format!("open `{}`", ptmx.display()))?;
    rustix::pty::unlockpt(&master).call(|| "unlockpt".to_owned())?;
    // By descriptor: the slave's path means something else in another mount namespace.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call(|| "ioctl `TIOCGPTPEER`".to_owned())?;
    Ok((master, slave))
}

/// Makes `terminal` the controlling terminal of this process, which must lead a session without one.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> SysResult<()> {
    rustix::process::ioctl_tiocsctty(terminal).call(|| "ioctl `TIOCSCTTY`".to_owned())
}

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Character rows.
    pub rows: u16,
    /// Character columns.
    pub columns: u16,
    /// Width in pixels, 0 when unknown.
    pub width_pixels: u16,
    /// Height in pixels, 0 when unknown.
    pub height_pixels: u16,
}

/// The window size of a terminal.
pub fn size(terminal: impl AsFd) -> SysResult<Size> {
    let size = rustix::termios::tcgetwinsize(terminal).call(|| "tcgetwinsize".to_owned())?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col, width_pixels: size.ws_xpixel, height_pixels: size.ws_ypixel })
}

/// Changes the window size; the kernel sends SIGWINCH to the foreground job if it differs.
pub fn set_size(terminal: impl AsFd, size: Size) -> SysResult<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: size.width_pixels,
        ws_ypixel: size.height_pixels,
    };
    rustix::termios::tcsetwinsize(terminal, size).call(|| "tcsetwinsize".to_owned())
}

/// Changes these modes of a terminal, and no others.
pub fn set_modes(terminal: impl AsFd, untrusted_modes: &[modes::Mode]) -> SysResult<()> {
    let before = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr".to_owned())?;
    let after = modes::applied(&before, untrusted_modes);
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &after).call(|| "tcsetattr".to_owned())
}

/// A terminal in raw mode, put back as it was when this is dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Switches `terminal` to raw mode.
    pub fn enter(terminal: BorrowedFd<'_>) -> SysResult<Self> {
        let terminal = terminal.try_clone_to_owned().call(|| "dup `terminal`".to_owned())?;
        let before = rustix::termios::tcgetattr(&terminal).call(|| "tcgetattr".to_owned())?;
        let mode = Self { terminal, before };
        mode.resume()?;
        Ok(mode)
    }

    /// Puts the terminal back for the time being.
    pub fn suspend(&self) -> SysResult<()> {
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before).call(|| "tcsetattr".to_owned())
    }

    /// Switches to raw mode again.
    pub fn resume(&self) -> SysResult<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &raw).call(|| "tcsetattr".to_owned())
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that was closed meanwhile cannot be restored, and nobody is left to be told.
        self.suspend().ok();
    }
}

/// Whether `fd` is a terminal.
#[must_use]
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Puts `/dev/null` in the place of the standard streams `numbers`.
pub fn silence(numbers: std::ops::Range<i32>) -> SysResult<()> {
    let null = super::fs::null()?;
    for number in numbers {
        install_as_standard(null.as_fd(), number)?;
    }
    Ok(())
}

/// Gives `fd` the number `number`, without CLOEXEC: of a standard stream, or another that a program to be executed knows.
pub fn install_as_standard(fd: BorrowedFd<'_>, number: i32) -> SysResult<()> {
    // SAFETY: dup2 onto a descriptor that no value owns; the program that has it is about to be replaced, or asked for it.
    if unsafe { libc::dup2(fd.as_raw_fd(), number) } == -1 {
        return Err(SysError::last(format!("dup2 `{}` `{number}`", fd.as_raw_fd())));
    }
    if fd.as_raw_fd() == number {
        // dup2 of a descriptor onto itself leaves CLOEXEC as it was.
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).call(|| format!("fcntl `{number}`"))?;
    }
    Ok(())
}
