//! Any datagram is a probe or refused, also one whose content is sealed with the right key.
#![no_main]

use lanrage_shared::pair::ProbeKey;
use lanrage_shared::seal;
use lanrage_shared::wire::probe::{LEN, MAGIC, Probe};
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let key = ProbeKey {
        tag: [1; 4],
        key: [2; 32],
    };
    let _ = Probe::open(bytes, &key);
    let mut content = bytes.to_vec();
    content.resize(LEN - HEADER - seal::OVERHEAD, 0);
    let mut datagram = [MAGIC, key.tag].concat();
    let sealed = seal::seal(&key.key, [3; seal::NONCE_LEN], &datagram, &content);
    datagram.extend_from_slice(&sealed);
    let _ = Probe::open(&datagram, &key);
});
