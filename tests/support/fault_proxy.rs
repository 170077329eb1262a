//! Stands before a registry and does to answers what networks and bad servers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What happens to one answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// After so many bytes of the body nothing more comes, and the connection stays until the client goes.
    Hold(u64),
    /// The body comes in pieces of so many bytes, with a pause before each.
    Slow(usize, Duration),
    /// This byte of the body is another one.
    Corrupt(u64),
    /// Another answer: status line, headers, body.
    Answer(&'static str, Vec<String>, String),
    /// The `Content-Length` is another one.
    Length(u64),
    /// Without `Content-Length`, and it does not end by itself: the body is repeated for ever.
    Endless,
    /// Ranges are ignored: the whole body comes.
    NoRange,
}

/// Names in lower case, and values.
pub type Headers = Vec<(String, String)>;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET /v2/`.
    pub line: String,
    /// All of them.
    pub headers: Headers,
    /// Its body, if the proxy answered itself.
    pub body: String,
    /// Bytes of the body that are sent back, those on their way included.
    pub sent: u64,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

struct Rule {
    part: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
}

/// A proxy on a loopback port; its threads end with the test's process.
pub struct FaultProxy {
    port: u16,
    state: Arc<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread of the proxy panics")
}

impl FaultProxy {
    /// Forwards to `upstream`, a port on 127.0.0.1.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::<State>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                // A client that goes away is what the tests are about.
                thread::spawn(move || serve(&client, upstream, &state).ok());
            }
        });
        Self { port, state }
    }

    /// `localhost:PORT`.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The next `times` requests whose line contains `part` meet `fault`.
    pub fn add(&self, part: &str, fault: Fault, times: usize) {
        lock(&self.state.rules).push(Rule { part: part.to_owned(), fault, times });
    }

    /// The requests so far whose line contains `part`.
    pub fn requests(&self, part: &str) -> Vec<Request> {
        lock(&self.state.requests).iter().filter(|request| request.line.contains(part)).cloned().collect()
    }
}

/// Line and headers of a message; `None` at the end of the stream.
fn read_head(stream: &mut impl BufRead) -> std::io::Result<Option<(String, Headers)>> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some((first.trim().to_owned(), headers)));
        }
        if let Some((name, value)) = line.trim().split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

/// One request, and the end of the connection.
fn serve(client: &TcpStream, upstream: u16, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    // Somebody asks whether TLS is spoken here.
    if reader.fill_buf()?.first() == Some(&0x16) {
        return Ok(());
    }
    let Some((line, headers)) = read_head(&mut reader)? else { return Ok(()) };
    let fault = {
        let mut rules = lock(&state.rules);
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && line.contains(&rule.part));
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        })
    };
    let number = {
        let mut requests = lock(&state.requests);
        requests.push(Request { line: line.clone(), headers: headers.clone(), body: String::new(), sent: 0 });
        requests.len() - 1
    };
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut content = reader.take(length.unwrap_or(0));
    let mut writer = client;
    if let Some(Fault::Answer(status, headers, body)) = &fault {
        let mut asked = Vec::new();
        content.read_to_end(&mut asked)?;
        lock(&state.requests)[number].body = String::from_utf8_lossy(&asked).into_owned();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        write!(writer, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        writer.flush()?;
        return finish(client);
    }
    let server = TcpStream::connect(("127.0.0.1", upstream))?;
    let mut to_server = &server;
    write!(to_server, "{line}\r\nConnection: close\r\n")?;
    let dropped = |name: &str| name == "connection" || matches!(fault, Some(Fault::NoRange)) && name == "range";
    for (name, value) in headers.iter().filter(|(name, _)| !dropped(name)) {
        write!(to_server, "{name}: {value}\r\n")?;
    }
    write!(to_server, "\r\n")?;
    std::io::copy(&mut content, &mut to_server)?;
    answer(client, &server, fault.as_ref(), |sent| lock(&state.requests)[number].sent = sent)?;
    finish(client)
}

fn answer(
    mut client: &TcpStream,
    server: &TcpStream,
    fault: Option<&Fault>,
    mut note: impl FnMut(u64),
) -> std::io::Result<()> {
    let mut from_server = BufReader::new(server);
    let Some((status, headers)) = read_head(&mut from_server)? else { return Ok(()) };
    write!(client, "{status}\r\nConnection: close\r\n")?;
    for (name, value) in headers.iter().filter(|(name, _)| name != "connection") {
        match (name.as_str(), fault) {
            ("content-length", Some(Fault::Length(lie))) => write!(client, "content-length: {lie}\r\n")?,
            ("content-length", Some(Fault::Endless)) => {}
            _ => write!(client, "{name}: {value}\r\n")?,
        }
    }
    write!(client, "\r\n")?;
    let mut sent = 0_u64;
    let mut buffer = vec![0; if let Some(Fault::Slow(size, _)) = fault { *size } else { 1 << 16 }];
    loop {
        let mut count = from_server.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        match fault {
            Some(Fault::Cut(after) | Fault::Hold(after)) => {
                count = count.min(usize::try_from(after - sent).unwrap_or(usize::MAX))
            }
            Some(Fault::Slow(_, pause)) => thread::sleep(*pause),
            Some(Fault::Corrupt(at)) if (sent..sent + count as u64).contains(at) => {
                buffer[usize::try_from(at - sent).expect("a place in the buffer")] ^= 1;
            }
            _ => {}
        }
        // Before: who has read the last of it may ask at once.
        sent += count as u64;
        note(sent);
        client.write_all(&buffer[..count])?;
        match fault {
            Some(Fault::Cut(after)) if sent >= *after => return Ok(()),
            Some(Fault::Hold(after)) if sent >= *after => return client.read(&mut buffer).map(drop),
            Some(Fault::Endless) => loop {
                sent += count as u64;
                note(sent);
                client.write_all(&buffer[..count])?;
            },
            _ => {}
        }
    }
}

/// What was not read yet would make the kernel reset the connection and drop what was sent.
fn finish(client: &TcpStream) -> std::io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut rest = client;
    std::io::copy(&mut rest, &mut std::io::sink()).map(drop)
}
