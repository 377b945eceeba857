//! Any bytes are a relay frame or refused, and a relay makes no frame bad; any bytes are a control message or refused.
#![no_main]

use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{Frame, FromRelay, Hello, ToRelay, readdress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::parse(bytes) {
        let mut written = Vec::new();
        frame.write(&mut written);
        assert_eq!(written, bytes);
        assert!(readdress(&mut written, MemberId(7)));
        let readdressed = Frame::parse(&written).expect("a relay makes no frame bad");
        assert_eq!((readdressed.member, readdressed.payload), (MemberId(7), frame.payload));
    }
    let _ = serde_json::from_slice::<Hello>(bytes);
    let _ = serde_json::from_slice::<ToRelay>(bytes);
    let _ = serde_json::from_slice::<FromRelay>(bytes);
});
