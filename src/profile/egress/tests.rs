use super::*;

fn rule(text: &str) -> Rule {
    parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

#[test]
fn what_is_read_is_written_again() {
    for (text, canonical) in [
        ("packages.example:443", ""),
        ("Packages.Example.:443", "packages.example:443"),
        ("*.github.com", ""),
        ("*.github.com:1-65535", "*.github.com"),
        ("tcp/a_b.example:80,8000-8010", "a_b.example:80,8000-8010"),
        ("10.0.0.0/8:22", ""),
        ("udp/1.1.1.1:53", ""),
        ("1.1.1.1/32", "1.1.1.1"),
        ("[2001:db8::/32]:443", ""),
        ("udp/[2001:DB8::1]", "udp/[2001:db8::1]"),
        ("[::/0]", ""),
        ("0.0.0.0/0:443", ""),
        ("localhost:80", ""),
    ] {
        let canonical = if canonical.is_empty() { text } else { canonical };
        assert_eq!(rule(text).to_string(), canonical);
        assert_eq!(rule(canonical), rule(text));
    }
}

#[test]
fn faults_are_pointed_at() {
    for (text, bytes, label) in [
        ("", 0..=0, "missing"),
        (":443", 0..=0, "missing"),
        ("icmp/1.1.1.1", 0..=3, "protocols"),
        ("a.example:0", 10..=10, "1 to 65535"),
        ("a.example:80,70000", 13..=17, "1 to 65535"),
        ("a.example:", 10..=10, "1 to 65535"),
        ("a.example:+1", 10..=11, "1 to 65535"),
        ("a.example:9-8", 10..=12, "ends before"),
        ("10.0.0.1/8", 0..=9, "bits behind"),
        ("10.0.0.0/33", 0..=10, "prefix"),
        ("10.0.0", 0..=5, "no IPv4"),
        ("1.2.3.400:1", 0..=8, "no IPv4"),
        ("2001:db8::1", 0..=10, "brackets"),
        ("[2001:db8::1", 0..=11, "`]` is missing"),
        ("[2001:db8::1]443", 13..=15, "after the `]`"),
        ("[1.2.3.4]", 1..=7, "no IPv6"),
        ("[::ffff:1.2.3.4]", 1..=14, "as one"),
        ("a.*.example", 0..=10, "before a name"),
        ("*", 0..=0, "before a name"),
        ("-a.example", 0..=9, "no name"),
        ("a..example", 0..=9, "no name"),
        ("bücher.example", 0..=14, "xn--"),
        ("https://a.example", 0..=5, "the name and the port"),
        ("a.example/path:443", 0..=13, "no path"),
    ] {
        let fault = parse(text).unwrap_err();
        assert!(fault.bytes == bytes && fault.label.contains(label), "{text}: {fault:?}");
    }
}

#[test]
fn names_and_addresses() {
    let table: [(&str, &[&str], &[&str]); 2] = [
        ("example.org", &["example.org"], &["a.example.org", "xample.org", "example.org.evil"]),
        ("*.example.org", &["a.example.org", "a.b.example.org"], &["example.org", "aexample.org", ".example.org"]),
    ];
    for (text, inside, outside) in table {
        let target = rule(text).target;
        assert!(inside.iter().all(|name| target.names(name)), "{text}");
        assert!(!outside.iter().any(|name| target.names(name)), "{text}");
    }
    for (text, address, inside) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "::1", false),
        ("[2001:db8::/32]", "2001:db8:ffff::1", true),
        ("[::/0]", "2001::", true),
        ("[2001:db8::/32]", "2001:db9::1", false),
    ] {
        assert_eq!(rule(text).target.contains(address.parse().unwrap()), inside, "{text} {address}");
    }
}

#[test]
fn narrower_or_not() {
    for (allowed, wanted, covered) in [
        ("a.example", "a.example:443", true),
        ("a.example:443", "a.example", false),
        ("a.example:80,443", "a.example:443,80", true),
        ("a.example:80-90", "a.example:85-91", false),
        ("*.example", "a.example:1", true),
        ("*.example", "*.a.example", true),
        ("*.a.example", "*.example", false),
        ("a.example", "*.a.example", false),
        ("*.a.example", "a.example", false),
        ("udp/a.example", "a.example", false),
        ("10.0.0.0/8", "10.1.0.0/16:22", true),
        ("10.1.0.0/16", "10.0.0.0/8", false),
        ("0.0.0.0/0", "[::1]", false),
        ("0.0.0.0/0", "a.example", false),
    ] {
        assert_eq!(rule(allowed).covers(&rule(wanted)), covered, "{allowed} {wanted}");
    }
    let own = [rule("a.example"), rule("*.b.example:443")];
    let wanted = [rule("a.example:1"), rule("c.example")];
    assert_eq!(beyond(&wanted, &own).collect::<Vec<_>>(), [&wanted[1]]);
}
