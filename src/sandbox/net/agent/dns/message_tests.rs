use proptest::prelude::*;

use super::*;

fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [7, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

fn query(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut bytes = header(RECURSION_DESIRED, [1, 0, 0, edns.map_or(0, |_| 1)]);
    bytes.extend(wire(name));
    bytes.extend([kind.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    if let Some(size) = edns {
        bytes.push(0);
        bytes.extend([TYPE_OPT.to_be_bytes(), size.to_be_bytes()].concat());
        bytes.extend([0; 6]);
    }
    bytes
}

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend([kind.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn answer(name: &str, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header(RESPONSE | flags, [1, records.len() as u16, 0, 0]);
    bytes.extend(wire(name));
    bytes.extend([TYPE_A.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    bytes.extend(records.concat());
    bytes
}

#[test]
fn queries() {
    let read = parse_query(&query("Packages.Example", 28, None)).unwrap();
    assert_eq!((read.id, read.question.name.as_str(), read.question.kind), (7, "packages.example", 28));
    assert_eq!(read.udp_size, PLAIN_UDP);
    assert_eq!(parse_query(&query("a", 1, Some(1232))).unwrap().udp_size, 1232);
    assert_eq!(parse_query(&query("a", 1, Some(1))).unwrap().udp_size, PLAIN_UDP);
    assert_eq!(parse_query(&query("a b.c", 1, None)).unwrap().question.name, "a\\032b.c");
    // A dot within a label is not a dot between two.
    let mut dotted = header(0, [1, 0, 0, 0]);
    dotted.extend([3, b'a', b'.', b'b', 0, 0, 1, 0, 1]);
    assert_eq!(parse_query(&dotted).unwrap().question.name, "a\\046b");
}

#[test]
fn nothing_is_handed_on_beside_the_question() {
    for (edns, expected) in [(None, query("a.example", 16, None)), (Some(1232), query("a.example", 16, Some(1232)))] {
        let mut asked = query("a.example", 16, edns);
        let read = parse_query(&asked).unwrap();
        assert_eq!(forwarded(&read, &asked), expected);
        // Records that no query has, an option in the one that it may have, and what follows the message.
        asked[11] += 1;
        asked.extend(record(&wire("secret.example"), 16, 1, b"secret"));
        asked.extend(b"more secrets");
        assert_eq!(forwarded(&parse_query(&asked).unwrap(), &asked), expected);
    }
    let mut signed = query("a.example", 1, None);
    signed[11] = 1;
    signed.extend(record(&[0], TYPE_OPT, 0xff00_8000, b"secret"));
    let handed_on = forwarded(&parse_query(&signed).unwrap(), &signed);
    assert!(handed_on.ends_with(&[0, 0x80, 0, 0, 0]) || handed_on.ends_with(&[0, 0, 0, 0, 0]), "{handed_on:?}");
    // A name that lies in the header, which is not the one that will be sent.
    let mut pointing = header(RECURSION_DESIRED, [1, 0, 0, 0]);
    pointing.extend([0xc0, 4, 0, 1, 0, 1]);
    assert_eq!(parse_query(&pointing), Err(Malformed));
}

#[test]
fn what_is_no_query() {
    let good = query("a.example", 1, None);
    for cut in 0..good.len() {
        assert_eq!(parse_query(&good[..cut]), Err(Malformed), "{cut}");
    }
    for (at, value) in [(2, 0x80), (2, 0x08), (2, 0x02), (5, 2), (5, 0), (7, 1), (12, 0x40), (12, 0xc0)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(parse_query(&bad), Err(Malformed), "{at} {value:#x}");
    }
    let long = vec!["a".repeat(63); 5].join(".");
    assert_eq!(parse_query(&query(&long, 1, None)), Err(Malformed));
}

#[test]
fn aliases_lead_to_addresses() {
    // The question's name is at byte 12.
    let question = [0xc0, 12];
    let records = [
        record(&wire("c.cdn"), TYPE_A, 9, &[192, 0, 2, 3]),
        record(&question, TYPE_CNAME, 60, &wire("b.cdn")),
        record(&wire("B.cdn"), TYPE_CNAME, 5, &wire("c.cdn")),
        record(&wire("other"), TYPE_A, 9, &[192, 0, 2, 66]),
        record(&wire("c.cdn"), 16, 9, b"text"),
    ];
    let read = parse_answer(&answer("a.example", 0, &records)).unwrap();
    assert_eq!(read.chain(), [("a.example", u32::MAX), ("b.cdn", 60), ("c.cdn", 5)]);
    assert_eq!(read.addresses(), [("192.0.2.3".parse().unwrap(), 5)], "what was not asked for is not believed");
    let around = [record(&question, TYPE_CNAME, 1, &wire("b")), record(&wire("b"), TYPE_CNAME, 1, &question)];
    assert_eq!(parse_answer(&answer("a", 0, &around)).unwrap().chain().len(), 2);
}

#[test]
fn what_is_no_answer() {
    let good = answer("a", 0, &[record(&wire("a"), TYPE_A, u32::MAX, &[192, 0, 2, 3])]);
    assert_eq!(parse_answer(&good).unwrap().records[0].ttl, 0);
    for cut in 0..good.len() {
        assert_eq!(parse_answer(&good[..cut]), Err(Malformed), "{cut}");
    }
    let short = answer("a", 0, &[record(&wire("a"), TYPE_AAAA, 1, &[192, 0, 2, 3])]);
    assert_eq!(parse_answer(&short), Err(Malformed));
    let cut = answer("a", TRUNCATED, &[record(&wire("a"), TYPE_A, 1, &[192, 0, 2, 3])]);
    assert!(parse_answer(&cut[..cut.len() - 1]).unwrap().truncated);
    // A name that leads to itself, and one that leads to the front of itself.
    for pointer in [[0xc0, 19], [0xc0, 12]] {
        let looping = answer("a", 0, &[record(&[1, b'x', pointer[0], pointer[1]], TYPE_A, 1, &[192, 0, 2, 3])]);
        assert_eq!(parse_answer(&looping).is_ok(), pointer[1] == 12);
    }
}

#[test]
fn our_own_answers() {
    let bytes = query("a.example", 1, Some(1232));
    let read = parse_query(&bytes).unwrap();
    let refused = refuse(&read, &bytes, Refusal::NameError);
    let answer = parse_answer(&refused).unwrap();
    assert_eq!((answer.id, &answer.question, answer.records.len()), (7, &read.question, 0));
    assert_eq!(refused[2..4], [0x81, 0x83]);
    assert!(parse_answer(&truncate(&read, &bytes)).unwrap().truncated);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), flags in any::<u16>()) {
        let mut message = bytes;
        for form in [flags, RESPONSE, 0] {
            if message.len() > 11 {
                message[2..4].copy_from_slice(&form.to_be_bytes());
                message[4..8].copy_from_slice(&[0, 1, 0, u8::from(form == RESPONSE)]);
            }
            if let Ok(query) = parse_query(&message) {
                prop_assert!(refuse(&query, &message, Refusal::NameError).len() >= 12);
            }
            if let Ok(answer) = parse_answer(&message) {
                prop_assert!(answer.addresses().len() <= answer.records.len());
            }
        }
    }
}

#[test]
fn queries_of_our_own() {
    for name in ["shop.example", "shop.example."] {
        assert_eq!(super::query(7, name, TYPE_AAAA), Some(query("shop.example", TYPE_AAAA, None)));
    }
    let long = ["a"; 128].join(".");
    for name in ["", ".", "a..b", &"a".repeat(64), &long] {
        assert_eq!(super::query(7, name, TYPE_A), None, "{name}");
    }
}
