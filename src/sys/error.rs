//! The error of a system call: the call as it was made, and what the kernel answered.

use rustix::io::Errno;

/// A system call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", describe(*.errno))]
pub struct SysError {
    /// The operation, then its operands in backticks: "mount `proc` on `proc`".
    pub call: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// What every wrapper returns.
pub type SysResult<T> = Result<T, SysError>;

impl SysError {
    /// `call` was made and answered with `errno`.
    pub fn new(call: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self { call: call.into(), errno: errno.into() }
    }

    /// The last call made by this thread through libc failed.
    pub fn last(call: impl Into<String>) -> Self {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self::new(call, Errno::from_raw_os_error(code))
    }

    /// The standard library made the call.
    pub fn from_io(call: impl Into<String>, error: &std::io::Error) -> Self {
        Self::new(call, Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

impl From<SysError> for std::io::Error {
    fn from(error: SysError) -> Self {
        Self::new(std::io::Error::from(error.errno).kind(), error)
    }
}

/// "permission denied (EACCES)": the sentence of libc in lower case, then the name of the number.
fn describe(errno: Errno) -> String {
    let text = nix::errno::Errno::from_raw(errno.raw_os_error());
    let sentence = text.desc();
    let mut letters = sentence.chars();
    let first = letters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    format!("{first}{} ({text:?})", letters.as_str())
}

/// Adds the call to an `Errno` result.
pub trait Context<T> {
    /// Names the call that gave this result.
    fn call(self, call: impl FnOnce() -> String) -> SysResult<T>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn call(self, call: impl FnOnce() -> String) -> SysResult<T> {
        self.map_err(|errno| SysError::new(call(), errno))
    }
}

impl<T> Context<T> for Result<T, nix::errno::Errno> {
    fn call(self, call: impl FnOnce() -> String) -> SysResult<T> {
        self.map_err(|errno| SysError::new(call(), Errno::from_raw_os_error(errno as i32)))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> SysResult<T> {
        self.map_err(|error| SysError::from_io(call(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_the_call() {
        let error = SysError::new("mount `proc` on `proc`", Errno::PERM);
        assert_eq!(error.to_string(), "mount `proc` on `proc`: operation not permitted (EPERM)");
    }
}
