//! Messages of the kernel, and the packets of hostile programs in them.
#![no_main]

use devbox::sandbox::net::agent::egress::packets::parse;
use devbox::sandbox::net::netlink::{attributes, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut size = 0;
    for message in messages(bytes) {
        size += message.body.len();
        assert!(size <= bytes.len());
        message.errno();
        let all: usize = attributes(message.body).map(|(_, value)| value.len()).sum();
        assert!(all <= message.body.len());
        if let Some((_, packet)) = parse(message.body) {
            assert_eq!(packet.from.is_ipv4(), packet.address.is_ipv4());
        }
    }
    parse(bytes);
});
