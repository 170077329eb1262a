use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn references_are_read_as_docker_reads_them() {
    let at = format!("@sha256:{HEX}");
    for (text, complete, familiar) in [
        ("debian", "docker.io/library/debian:latest", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("library/debian", "docker.io/library/debian:latest", "debian"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian"),
        ("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c"),
        ("user/image", "docker.io/user/image:latest", "user/image"),
        ("a/b/c", "docker.io/a/b/c:latest", "a/b/c"),
        ("library/a/b", "docker.io/library/a/b:latest", "docker.io/library/a/b:latest"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
        ("docker.io/a.b/x", "docker.io/a.b/x:latest", "docker.io/a.b/x:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x"),
        ("localhost", "docker.io/library/localhost:latest", "localhost"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("quay.io/x/y:1.2_3-4", "quay.io/x/y:1.2_3-4", "quay.io/x/y:1.2_3-4"),
        ("127.0.0.1:80/x", "127.0.0.1:80/x:latest", "127.0.0.1:80/x"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x"),
        // An upper-case letter cannot begin a repository, so it is a host.
        ("HOST/x", "HOST/x:latest", "HOST/x"),
        ("a/b.c_d__e---f", "docker.io/a/b.c_d__e---f:latest", "a/b.c_d__e---f"),
        ("x:_.-", "docker.io/library/x:_.-", "x:_.-"),
        ("xn--n3h.com/x", "xn--n3h.com/x:latest", "xn--n3h.com/x"),
        (&format!("x{at}"), &format!("docker.io/library/x{at}"), &format!("x{at}")),
        (&format!("r.io/x:1{at}"), &format!("r.io/x:1{at}"), &format!("r.io/x:1{at}")),
        (&format!("x:latest{at}"), &format!("docker.io/library/x:latest{at}"), &format!("x:latest{at}")),
    ] {
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), complete, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
    }
}

#[test]
fn others_are_refused() {
    use ReferenceError::*;
    let own = str::to_owned;
    let repository = |text: &str| Repository { repository: own(text) };
    let registry = |text: &str| Registry { registry: own(text) };
    let tag = |text: &str| Tag { tag: own(text) };
    for (text, error) in [
        ("", Empty),
        (HEX, Id { id: own(HEX) }),
        ("Debian", Uppercase { repository: own("Debian") }),
        ("a/B", Uppercase { repository: own("a/B") }),
        ("quay.io/x/Y:z", Uppercase { repository: own("x/Y") }),
        (":tag", repository("")),
        ("a//b", repository("a//b")),
        ("a/b/", repository("a/b/")),
        ("/a", repository("/a")),
        ("./a", registry(".")),
        ("../a", registry("..")),
        ("a..b", repository("a..b")),
        ("a___b", repository("a___b")),
        ("a_.b", repository("a_.b")),
        ("-a", repository("-a")),
        ("a-", repository("a-")),
        ("a b", repository("a b")),
        ("a\u{e9}b", repository("a\u{e9}b")),
        ("a%2fb", repository("a%2fb")),
        ("a/../b", repository("a/../b")),
        ("-h.io/x", registry("-h.io")),
        ("h..io/x", registry("h..io")),
        ("h.io:/x", registry("h.io:")),
        ("h.io:x/x", registry("h.io:x")),
        ("h.io:+80/x", registry("h.io:+80")),
        ("h.io:65536/x", registry("h.io:65536")),
        ("h_h.io/x", registry("h_h.io")),
        ("user@h.io/x", registry("user@h.io")),
        ("[::1/x", registry("[::1")),
        ("[::g]:1/x", registry("[::g]:1")),
        ("http://h.io/x", registry("http:")),
        ("x:", tag("")),
        ("x:.a", tag(".a")),
        ("x:-a", tag("-a")),
        ("x:a/b", registry("x:a")),
        ("x:a b", tag("a b")),
        ("x:a:b", tag("a:b")),
        ("x@sha256:00", Digest { source: "sha256:00".parse::<super::Digest>().unwrap_err() }),
        ("x@", Digest { source: DigestError::Form }),
        ("x@a@b", Digest { source: DigestError::Form }),
    ] {
        assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
    }
}

#[test]
fn lengths_are_limited() {
    let repository = |characters| format!("h.io/{}", "a".repeat(characters));
    assert!(repository(255).parse::<Reference>().is_ok());
    assert_eq!(repository(256).parse::<Reference>(), Err(ReferenceError::LongRepository { characters: 256 }));
    assert!(format!("x:{}", "t".repeat(128)).parse::<Reference>().is_ok());
    assert!(matches!(format!("x:{}", "t".repeat(129)).parse::<Reference>(), Err(ReferenceError::Tag { .. })));
    assert_eq!("x/".repeat(1 << 20).parse::<Reference>(), Err(ReferenceError::Long));
}

#[test]
fn parts_are_replaced() {
    let reference: Reference = "localhost:5000/a/b:c".parse().unwrap();
    assert_eq!((reference.registry(), reference.repository(), reference.tag()), ("localhost:5000", "a/b", Some("c")));
    assert_eq!((reference.name(), reference.target()), ("localhost:5000/a/b".to_owned(), "c".to_owned()));
    let digest = super::Digest::of_bytes(b"");
    let pinned = reference.with_digest(digest.clone());
    assert_eq!(pinned.to_string(), format!("localhost:5000/a/b@{digest}"));
    assert_eq!(pinned.target(), digest.to_string());
    assert_eq!(pinned.with_tag("d").unwrap().to_string(), "localhost:5000/a/b:d");
    assert!(pinned.with_tag("d/..").is_err());
}

proptest! {
    #[test]
    fn what_was_read_is_read_again(text in "([A-Za-z]{1,3}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,8}(:[a-z._-]{1,4})?") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            prop_assert_eq!(reference.familiar().parse(), Ok(reference));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        prop_assert!(text.parse::<Reference>().is_ok() || text.parse::<Reference>().is_err());
    }
}
