//! Connections into the box and out of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
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

fn echo(mut stream: UnixStream) {
    let sent = noise(2 << 20);
    let mut got = Vec::new();
    thread::scope(|scope| {
        let mut other = stream.try_clone().expect("duplicate a socket");
        let sent = &sent;
        scope.spawn(move || {
            other.write_all(sent).expect("write");
            other.shutdown(Shutdown::Write).expect("shutdown");
        });
        stream.read_to_end(&mut got).expect("read");
    });
    assert!(got == sent, "{} bytes came back of {}", got.len(), sent.len());
}

#[test]
fn what_listens_in_the_box_is_reached() {
    require!(Userns, Overlay, Program("ssh"), Program("python3"));
    let client = Client::new("");
    client.test.file("echo.py", ECHO);
    let script = format!("exec python3 {}/echo.py", client.test.project().display());
    // The clients listen at paths of their own: somebody else may take a port that is free now.
    let sockets = ["by-name", "by-number"].map(|name| client.test.path(name));
    let [by_name, by_number] = [("localhost", &sockets[0]), ("127.0.0.1", &sockets[1])]
        .map(|(host, socket)| format!("{}:{host}:7777", text(socket)));
    let options = ["-L", &by_name, "-L", &by_number];
    let mut session = Background::start(client.ssh(&options, &format!("{script} tcp 7777")));
    session.expect("listening");
    for socket in &sockets {
        echo(UnixStream::connect(socket).expect("connect"));
    }
    drop(session);
    let socket = client.test.path("other");
    let options = ["-L", &format!("{}:/tmp/echo", text(&socket))];
    let mut session = Background::start(client.ssh(&options, &format!("rm -f /tmp/echo; {script} unix /tmp/echo")));
    session.expect("listening");
    echo(UnixStream::connect(&socket).expect("connect"));
    // What is not there is refused, and the connection goes on.
    let socket = client.test.path("nothing");
    let options = ["-q", "-L", &format!("{}:127.0.0.1:1", text(&socket))];
    let mut session = Background::start(client.ssh(&options, "echo on; cat"));
    session.expect("on");
    let mut nothing = Vec::new();
    let read = UnixStream::connect(&socket).expect("connect").read_to_end(&mut nothing);
    assert!(read.is_err() || nothing.is_empty());
    session.say("still here");
    session.expect("still here");
}

/// A name server in the box that knows every name, and the server above beside it.
const NAMES: &str = "import os,socket,sys,threading\n\
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
    names.bind(('127.0.0.1', 53))\n\
    open('/etc/resolv.conf', 'w').write('search example\\nnameserver 127.0.0.1\\n')\n\
    record = bytes.fromhex('c00c0001000100000e1000047f000001')\n\
    def answer():\n    \
        while True:\n        \
            query, who = names.recvfrom(512)\n        \
            known = query[-3] == 1 and b'\\x04shop\\x07example\\x00' in query\n        \
            head = query[:2] + bytes([0x81, 0x80, 0, 1, 0, known, 0, 0, 0, 0])\n        \
            names.sendto(head + query[12:] + (record if known else b''), who)\n\
    threading.Thread(target=answer).start()\n\
    exec(open(os.path.dirname(sys.argv[0]) + '/echo.py').read())\n";

#[test]
fn names_are_those_of_the_box() {
    require!(Userns, Overlay, Program("ssh"), Program("python3"));
    let client = Client::new("");
    client.test.file("echo.py", ECHO).file("names.py", NAMES);
    let sockets = ["full", "short", "unknown"].map(|name| client.test.path(name));
    let names = ["shop.example", "shop", "nobody.example"];
    let forwards = [0, 1, 2].map(|index| format!("{}:{}:7777", text(&sockets[index]), names[index]));
    let options: Vec<&str> = ["-q"].into_iter().chain(forwards.iter().flat_map(|forward| ["-L", forward])).collect();
    let script = format!("exec python3 {}/names.py tcp 7777", client.test.project().display());
    let mut session = Background::start(client.ssh(&options, &script));
    session.expect("listening");
    echo(UnixStream::connect(&sockets[0]).expect("connect"));
    echo(UnixStream::connect(&sockets[1]).expect("connect"));
    let mut nothing = Vec::new();
    let read = UnixStream::connect(&sockets[2]).expect("connect").read_to_end(&mut nothing);
    assert!(read.is_err() || nothing.is_empty());
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
