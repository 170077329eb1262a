//! Connections into the box and out of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::client::{Client, noise, text};
use crate::require;
use crate::support::background::Background;

/// A server in the box that sends back what it gets, and says when it listens.
const ECHO: &str = "import socket,sys,threading\n\
    family = socket.AF_UNIX if sys.argv[1] == 'unix' else socket.AF_INET\n\
    s = socket.socket(family)\n\
    s.bind(sys.argv[2] if family == socket.AF_UNIX else ('127.0.0.1', int(sys.argv[2])))\n\
    s.listen()\n\
    print('listening', flush=True)\n\
    def serve(c):\n    \
        while True:\n        \
            d = c.recv(65536)\n        \
            if not d: break\n        \
            c.sendall(d)\n    \
        c.close()\n\
    while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()\n";

fn echo(mut stream: impl Read + Write + Send + Closing) {
    let sent = noise(2 << 20);
    let mut got = Vec::new();
    thread::scope(|scope| {
        let mut other = stream.other();
        let sent = &sent;
        scope.spawn(move || {
            other.write_all(sent).expect("write");
            other.close();
        });
        stream.read_to_end(&mut got).expect("read");
    });
    assert!(got == sent, "{} bytes came back of {}", got.len(), sent.len());
}

/// A connection whose halves are closed one after the other.
trait Closing: Sized {
    fn other(&self) -> Self;
    fn close(&self);
}

impl Closing for TcpStream {
    fn other(&self) -> Self {
        self.try_clone().expect("duplicate a socket")
    }
    fn close(&self) {
        self.shutdown(Shutdown::Write).expect("shutdown");
    }
}

impl Closing for UnixStream {
    fn other(&self) -> Self {
        self.try_clone().expect("duplicate a socket")
    }
    fn close(&self) {
        self.shutdown(Shutdown::Write).expect("shutdown");
    }
}

/// A port of the host that nobody uses just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address").port()
}

#[test]
fn what_listens_in_the_box_is_reached() {
    require!(Userns, Overlay, Program("ssh"), Program("python3"));
    let client = Client::new("");
    client.test.file("echo.py", ECHO);
    let script = format!("exec python3 {}/echo.py", client.test.project().display());
    let port = free_port();
    let socket = client.test.path("local");
    let options = ["-L", &format!("{port}:localhost:7777"), "-L", &format!("{}:127.0.0.1:7777", text(&socket))];
    let mut session = Background::start(client.ssh(&options, &format!("{script} tcp 7777")));
    session.expect("listening");
    echo(TcpStream::connect(("127.0.0.1", port)).expect("connect"));
    echo(UnixStream::connect(&socket).expect("connect"));
    drop(session);
    let socket = client.test.path("other");
    let options = ["-L", &format!("{}:/tmp/echo", text(&socket))];
    let mut session = Background::start(client.ssh(&options, &format!("rm -f /tmp/echo; {script} unix /tmp/echo")));
    session.expect("listening");
    echo(UnixStream::connect(&socket).expect("connect"));
    // What is not there is refused, and the connection goes on.
    let port = free_port();
    let mut session = Background::start(client.ssh(&["-q", "-L", &format!("{port}:127.0.0.1:1")], "echo on; cat"));
    session.expect("on");
    let mut nothing = Vec::new();
    let read = TcpStream::connect(("127.0.0.1", port)).expect("connect").read_to_end(&mut nothing);
    assert!(read.is_err() || nothing.is_empty());
    session.say("still here");
    session.expect("still here");
}

#[test]
fn the_box_reaches_what_the_client_gives() {
    require!(Userns, Overlay, Program("ssh"), Program("python3"));
    let client = Client::new("");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let path = client.test.path("given");
    let unix = UnixListener::bind(&path).expect("bind");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream);
        }
    });
    thread::spawn(move || {
        for stream in unix.incoming().flatten() {
            serve(stream);
        }
    });
    let ask = "import socket,sys\n\
        for a in (('127.0.0.1', 7778), '/tmp/given'):\n    \
            s = socket.socket(socket.AF_UNIX if isinstance(a, str) else socket.AF_INET)\n    \
            s.connect(a)\n    s.sendall(b'hello'); s.shutdown(socket.SHUT_WR)\n    \
            print(s.makefile().read(), flush=True)\n";
    client.test.file("ask.py", ask);
    let script = format!("python3 {}/ask.py; read x; ls /tmp/given", client.test.project().display());
    let options = [
        "-R",
        &format!("7778:127.0.0.1:{port}"),
        "-R",
        &format!("/tmp/given:{}", text(&path)),
        "-o",
        "ExitOnForwardFailure=yes",
    ];
    let mut session = Background::start(client.ssh(&options, &script));
    session.expect("got hello");
    session.expect("got hello");
    session.say("");
    session.expect("/tmp/given");
    assert!(session.wait().success());
}

fn serve(mut stream: impl Read + Write) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    stream.write_all(format!("got {text}").as_bytes()).expect("write");
}
