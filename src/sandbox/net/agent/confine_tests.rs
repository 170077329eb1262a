use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use super::*;
use crate::sys::seccomp::attempt;

/// Does `work` on a new thread, which is confined as `role` is, or not at all.
fn below<T: Send + 'static>(role: Option<Role>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        if let Some(role) = role {
            process::set_no_new_privileges().unwrap();
            Program::compile(&policy(role)).install().unwrap();
        }
        work()
    });
    thread.join().unwrap()
}

/// Sockets as the agent has them: a listener, a connection, a socket for datagrams; and an address as the kernel reads it.
fn sockets() -> (TcpListener, TcpStream, UdpSocket, [u8; 16]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut raw = [0; 16];
    raw[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    raw[2..4].copy_from_slice(&address.port().to_be_bytes());
    raw[4..8].copy_from_slice(&[127, 0, 0, 1]);
    (listener, stream, datagrams, raw)
}

#[test]
fn the_agent_turns_no_socket_to_another_address() {
    use libc::*;
    let refused = |role: Option<Role>| {
        let (listener, stream, datagrams, address) = sockets();
        let number = |fd: i32| u64::from(fd.unsigned_abs());
        let (listening, connected, said) =
            (number(listener.as_raw_fd()), number(stream.as_raw_fd()), number(datagrams.as_raw_fd()));
        below(role, move || {
            let at = address.as_ptr() as u64;
            let nowhere = [0_u8; 16];
            let fast_open = MSG_FASTOPEN as u64;
            let calls: [(&str, i64, [u64; 6]); 12] = [
                ("socket", SYS_socket, [AF_INET as u64, SOCK_DGRAM as u64, 0, 0, 0, 0]),
                ("connect nowhere", SYS_connect, [connected, nowhere.as_ptr() as u64, 16, 0, 0, 0]),
                ("connect elsewhere", SYS_connect, [connected, at, 16, 0, 0, 0]),
                ("sendto with an address", SYS_sendto, [said, at, 1, 0, at, 16]),
                ("a connection by sendto", SYS_sendto, [said, at, 1, fast_open, 0, 0]),
                ("sendmsg", SYS_sendmsg, [said, at, 0, 0, 0, 0]),
                ("sendmmsg", SYS_sendmmsg, [said, at, 0, 0, 0, 0]),
                ("listen", SYS_listen, [listening, 1, 0, 0, 0, 0]),
                ("bind", SYS_bind, [listening, at, 16, 0, 0, 0]),
                ("another filter", SYS_setsockopt, [listening, SOL_SOCKET as u64, SO_DETACH_FILTER as u64, at, 4, 0]),
                ("a way round", SYS_setsockopt, [listening, SOL_IP as u64, IP_TTL as u64, at, 4, 0]),
                ("signals", SYS_fcntl, [listening, F_SETOWN as u64, 0, 0, 0, 0]),
            ];
            calls.map(|(name, call, arguments)| (name, attempt(call, arguments) == Err(EPERM)))
        })
    };
    for ((name, confined), (_, free)) in refused(Some(Role::Agent)).into_iter().zip(refused(None)) {
        assert!(confined, "{name}");
        assert!(!free, "{name} without a filter: the test could not fail");
    }
}

#[test]
fn the_agent_serves() {
    let (listener, stream, datagrams, _) = sockets();
    datagrams.connect(datagrams.local_addr().unwrap()).unwrap();
    below(Some(Role::Agent), move || {
        let (accepted, _) = listener.accept().unwrap();
        crate::sandbox::net::agent::ports::stream::reset(&accepted);
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        assert_eq!((&stream).write(b"x").unwrap(), 1);
        assert_eq!((&accepted).read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(datagrams.send(b"xy").unwrap(), 2);
        assert_eq!(datagrams.recv_from(&mut [0; 9]).unwrap().0, 2);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn the_dialer_holds_its_peace() {
    let (listener, stream, ..) = sockets();
    let address = listener.local_addr().unwrap();
    below(Some(Role::Dialer), move || {
        assert!(TcpStream::connect(address).is_ok());
        assert!(UdpSocket::bind("127.0.0.1:0").is_err() && listener.accept().is_err());
        assert!(stream.shutdown(std::net::Shutdown::Both).is_err());
    });
}
