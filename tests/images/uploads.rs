//! Uploads in chunks, as registries take them, and as they do not.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use devbox::image::descriptor::Descriptor;
use devbox::image::media_type::LAYER;
use devbox::registry::Client;

use super::registry::{User, bytes_from, noise, reference, upload};
use crate::require;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::registry::Registry;

const UPLOADS: &str = "/v2/app/blobs/uploads/";

fn client(user: &User) -> Client {
    user.client().with_chunk_bytes(50_000)
}

#[test]
fn chunks_and_what_is_small() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let image = reference(&proxy.name(), "app");
    for (size, chunks) in [(0, 0), (1, 0), (50_000, 0), (50_001, 2), (150_001, 4)] {
        let before = proxy.requests("PATCH").len();
        let bytes = noise(size);
        let blob = upload(&client(&user), &image, &bytes);
        assert_eq!(client(&user).blob_bytes(&image, &blob).unwrap(), bytes);
        assert_eq!(proxy.requests("PATCH").len() - before, chunks, "{size}");
    }
    let wrong = Descriptor { size: 60_000, ..Descriptor::of_bytes(LAYER, b"x") };
    let bytes = noise(60_000);
    let error =
        client(&user).upload_blob(&image, &wrong, &mut |offset| Ok(Box::new(bytes_from(&bytes, offset)))).unwrap_err();
    assert!(error.fault.to_string().contains("400"), "{error:?}");
}

#[test]
fn a_chunk_that_did_not_arrive_is_sent_again() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let image = reference(&proxy.name(), "app");
    let bytes = noise(150_001);
    let blob = Descriptor::of_bytes(LAYER, &bytes);
    let mut offsets = Vec::new();
    // Two of four chunks arrive; the registry is away while the third comes.
    proxy.add("PATCH", Fault::Slow(1 << 16, Duration::ZERO), 2);
    proxy.add("PATCH", Fault::Answer("502 Bad Gateway", vec![], String::new()), 1);
    client(&user)
        .upload_blob(&image, &blob, &mut |offset| {
            offsets.push(offset);
            Ok(Box::new(bytes_from(&bytes, offset)))
        })
        .unwrap();
    assert_eq!(offsets, [0, 100_000]);
    assert_eq!(client(&user).blob_bytes(&image, &blob).unwrap(), bytes);
}

#[test]
fn a_registry_that_refuses_chunks_gets_the_whole() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    for status in
        ["405 Method Not Allowed", "404 Not Found", "416 Requested Range Not Satisfiable", "501 Not Implemented"]
    {
        let proxy = FaultProxy::start(registry.port());
        let image = reference(&proxy.name(), &format!("app{}", &status[..3]));
        proxy.add("PATCH", Fault::Answer(status, vec![], String::new()), 100);
        let bytes = noise(120_000);
        let blob = upload(&client(&user), &image, &bytes);
        assert_eq!(client(&user).blob_bytes(&image, &blob).unwrap(), bytes);
        assert_eq!(proxy.requests("PATCH").len(), 1);
    }
}

/// A registry as the specification has it: it keeps what arrived of a chunk that was cut, and says how much that is.
struct Keeping {
    port: u16,
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    upload: Vec<u8>,
    blobs: HashMap<String, Vec<u8>>,
    /// Bytes of chunks, all tries together.
    received: usize,
    /// Connections break after so many bytes of a body, this often.
    cuts: Vec<usize>,
}

impl Keeping {
    fn start(cuts: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(Kept { cuts: cuts.to_vec(), ..Kept::default() }));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                Self::serve(&client, &mut shared.lock().expect("no panic")).ok();
            }
        });
        Self { port, state }
    }

    fn serve(client: &TcpStream, kept: &mut Kept) -> std::io::Result<()> {
        let mut reader = BufReader::new(client);
        if reader.fill_buf()?.first() == Some(&0x16) {
            return Ok(());
        }
        let mut lines = reader.by_ref().lines();
        let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut length: usize = length.unwrap_or(0);
        let is_cut = line.starts_with("PATCH") && !kept.cuts.is_empty();
        if is_cut {
            length = length.min(kept.cuts.remove(0));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let location = format!("Location: {UPLOADS}1\r\n");
        let answer = match line.split(' ').next().unwrap_or_default() {
            "POST" => {
                kept.upload.clear();
                format!("202 Accepted\r\n{location}")
            }
            "PATCH" => {
                kept.received += body.len();
                kept.upload.extend(body);
                format!("202 Accepted\r\n{location}")
            }
            "GET" if line.contains(UPLOADS) => {
                format!("204 No Content\r\n{location}Range: 0-{}\r\n", kept.upload.len().saturating_sub(1))
            }
            "PUT" => {
                let blob = std::mem::take(&mut kept.upload);
                kept.blobs.insert(Descriptor::of_bytes(LAYER, &blob).digest.to_string(), blob);
                "201 Created\r\n".to_owned()
            }
            _ => "404 Not Found\r\n".to_owned(),
        };
        if is_cut {
            return Ok(());
        }
        let mut client = client;
        write!(client, "HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n")
    }
}

#[test]
fn what_arrived_of_a_chunk_is_not_sent_again() {
    let bytes = noise(120_000);
    let blob = Descriptor::of_bytes(LAYER, &bytes);
    let user = User::new();
    // In the first chunk, in the rest of it, after a whole one, and before a byte.
    let registry = Keeping::start(&[20_000, 10_000, 50_000, 0]);
    let image = reference(&format!("localhost:{}", registry.port), "app");
    let mut offsets = Vec::new();
    client(&user)
        .upload_blob(&image, &blob, &mut |offset| {
            offsets.push(offset);
            Ok(Box::new(bytes_from(&bytes, offset)))
        })
        .unwrap();
    assert_eq!(offsets, [0, 20_000, 30_000, 80_000, 80_000]);
    let kept = registry.state.lock().expect("no panic");
    assert_eq!(kept.blobs.get(&blob.digest.to_string()), Some(&bytes));
    assert_eq!(kept.received, bytes.len());
}
