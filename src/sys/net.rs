//! Network interfaces of the current network namespace.

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::SockaddrStorage;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::error::Context;
use super::{SysError, SysResult};

/// Brings `lo` up in the calling thread's network namespace; the kernel then gives it 127.0.0.1 and ::1 by itself.
pub fn bring_up_loopback() -> SysResult<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "make a socket for `lo`".to_owned())?;
    // SAFETY: all zeroes is a valid `ifreq`: an empty name and a union of plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `SIOCSIFFLAGS` reads one `ifreq`, which outlives the call; its name is terminated by the zeroes.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 { Ok(()) } else { Err(SysError::last("set the flags of `lo`")) }
}

/// The addresses of this network namespace's interfaces; none where they cannot be had.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| interface.address);
    let v4 = |address: &SockaddrStorage| address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    let v6 = |address: &SockaddrStorage| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
    addresses.filter_map(|address| v4(&address).or_else(|| v6(&address))).collect()
}
