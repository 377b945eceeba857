//! Builds answers that never outgrow their request.

use std::net::SocketAddr;

use lanrage_shared::wire::stun::{OtherAddress, ResponseOrigin};
use stun_types::attribute::{AttributeType, ErrorCode, UnknownAttributes, XorMappedAddress};
use stun_types::message::{Message, MessageClass, MessageType, MessageWriteVec};
use stun_types::prelude::*;

/// A success response of at most `room` bytes; none when not even the mapped address fits.
pub(super) fn success(
    request: &Message<'_>,
    room: usize,
    mapped: SocketAddr,
    origin: Option<SocketAddr>,
    other: Option<SocketAddr>,
) -> Option<Vec<u8>> {
    let mut answer = Answer::new(request, MessageClass::Success, room);
    answer.must_hold(&XorMappedAddress::new(mapped, request.transaction_id()))?;
    // OTHER-ADDRESS first: clients act on it, RESPONSE-ORIGIN only confirms what they see.
    if let Some(other) = other {
        answer.may_hold(&OtherAddress::new(other));
    }
    if let Some(origin) = origin {
        answer.may_hold(&ResponseOrigin::new(origin));
    }
    Some(answer.message.finish())
}

/// A 420 response (RFC 8489 §6.3.1) of at most `room` bytes, naming what was not understood as far as it fits.
pub(super) fn unknown_attributes(request: &Message<'_>, room: usize, unknown: &[AttributeType]) -> Option<Vec<u8>> {
    let mut answer = Answer::new(request, MessageClass::Error, room);
    // The reason phrase is for people; it costs room and no client reads it.
    answer.must_hold(&ErrorCode::new(420, "").ok()?)?;
    answer.may_hold(&UnknownAttributes::new(unknown));
    Some(answer.message.finish())
}

struct Answer {
    message: MessageWriteVec,
    room: usize,
}

impl Answer {
    fn new(request: &Message<'_>, class: MessageClass, room: usize) -> Self {
        let kind = MessageType::from_class_method(class, request.method());
        let message = MessageWriteVec::with_capacity(room.min(128));
        Self {
            message: Message::builder(kind, request.transaction_id(), message),
            room,
        }
    }

    fn may_hold(&mut self, attribute: &dyn AttributeWrite) -> bool {
        let fits = self.message.data().len() + attribute.padded_len() <= self.room;
        fits && self.message.add_attribute(attribute).is_ok()
    }

    fn must_hold(&mut self, attribute: &dyn AttributeWrite) -> Option<()> {
        self.may_hold(attribute).then_some(())
    }
}
