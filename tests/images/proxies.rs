//! `HTTPS_PROXY` and `NO_PROXY`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::{Options, Registry};

/// A proxy that leads everybody to `upstream`; gives its port and the first line of each request.
fn tunnel(upstream: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let seen = lines.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let seen = seen.clone();
            // Ends with the client.
            thread::spawn(move || serve(&client, upstream, &seen).ok());
        }
    });
    (port, lines)
}

fn serve(client: &TcpStream, upstream: u16, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    seen.lock().expect("nobody panics").push(line.trim().to_owned());
    let mut header = String::from("x");
    while !header.trim().is_empty() {
        header.clear();
        reader.read_line(&mut header)?;
    }
    let server = TcpStream::connect(("127.0.0.1", upstream))?;
    let mut to_client = client;
    write!(to_client, "HTTP/1.1 200 Connection established\r\n\r\n")?;
    let mut to_server = server.try_clone()?;
    thread::spawn(move || {
        let copied = std::io::copy(&mut reader, &mut to_server);
        copied.and_then(|_| to_server.shutdown(Shutdown::Write)).ok();
    });
    let mut from_server = server;
    std::io::copy(&mut from_server, &mut to_client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn a_proxy_leads_to_registries_but_not_to_this_machine() {
    require!(Program("docker-registry"), Program("htpasswd"), Program("openssl"));
    let registry = Registry::with(Options { login: Some(("me", "secret")), tls: true, ..Options::default() });
    let (port, lines) = tunnel(registry.port());
    let mut test = Devbox::new();
    let own = registry.name();
    for name in ["registry.test", &own] {
        let directory = test.home().join(".config/containers/certs.d").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(registry.authority(), directory.join("ca.crt")).unwrap();
    }
    test.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    let login = |name: &str| test.args(["image", "login", "-u", "me", "--password-stdin", name]).stdin("secret");
    login("registry.test").any_stdout().run();
    // The system has no such authority.
    login(&own).any_stdout().run();
    let seen = lines.lock().unwrap().clone();
    assert_eq!(seen, ["CONNECT registry.test:443 HTTP/1.1"]);
    let output = login("registry.test").env("NO_PROXY", "other.test,.test").status(1).any_stderr().run();
    assert!(output.stderr.contains("cannot reach `registry.test`"), "{}", output.stderr);
    let output = login("registry.test").env("HTTPS_PROXY", "socks4://x:1").status(1).any_stderr().run();
    assert!(output.stderr.contains("`HTTPS_PROXY` names no proxy that can be used"), "{}", output.stderr);
    assert_eq!(lines.lock().unwrap().len(), 1);
}
