//! Messages of the domain name system: what is handed on of a query asks the same and says nothing else, and what an answer says is
//! about what was asked.
#![no_main]

use devbox::sandbox::net::agent::dns::message::{
    Data, Refusal, forwarded, parse_answer, parse_query, refuse, truncate,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(query) = parse_query(bytes) {
        let message = forwarded(&query, bytes);
        let again = parse_query(&message).expect("what is handed on is a query");
        assert_eq!((&again.question, again.id, again.udp_size), (&query.question, query.id, query.udp_size));
        assert_eq!(forwarded(&again, &message), message);
        for answer in [refuse(&query, bytes, Refusal::NameError), truncate(&query, bytes)] {
            let read = parse_answer(&answer).expect("our own answers are answers");
            assert_eq!((read.id, &read.question, read.records.len()), (query.id, &query.question, 0));
        }
    }
    if let Ok(answer) = parse_answer(bytes) {
        let chain = answer.chain();
        assert_eq!(chain[0].0, answer.question.name);
        for (address, ttl) in answer.addresses() {
            let says = |record: &devbox::sandbox::net::agent::dns::message::Record| {
                record.data == Data::Address(address)
                    && record.ttl >= ttl
                    && chain.iter().any(|(name, _)| *name == record.name)
            };
            assert!(answer.records.iter().any(says));
        }
    }
});
