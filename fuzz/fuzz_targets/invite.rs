//! Any text is an invite, a server link, or refused; what is accepted survives being written and read again.
#![no_main]

use lanrage_shared::invite::{Invite, InviteCode, ServerLink};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(invite) = text.parse::<Invite>() {
        assert_eq!(invite.to_string().parse(), Ok(invite));
    }
    if let Ok(link) = text.parse::<ServerLink>() {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
    let _ = text.parse::<InviteCode>();
});
