//! Where frames go, who waits, and what is dropped.

use std::time::Duration;

use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{Frame, FrameKind, HEADER_LEN, MAX_PAYLOAD, Part};

use crate::relay::testing::*;
use crate::relay::{DropReason, Limits, MAX_QUEUED_FRAMES, MAX_WAIT, Next, Session, Verdict};

fn world() -> World {
    World::new(Limits::default())
}

/// 1 MB/s: a frame of 1,000 bytes is 1 ms.
fn narrow() -> World {
    World::new(Limits {
        egress_bytes_per_s: 1_000_000,
        ..Limits::default()
    })
}

fn frames(session: &Session<Port>, world: &World) -> Vec<bytes::Bytes> {
    std::iter::from_fn(|| match session.next(world.now) {
        Next::Frame(frame) => Some(frame),
        Next::Idle | Next::Egress => None,
    })
    .collect()
}

#[test]
fn a_frame_arrives_with_its_senders_number() {
    let world = world();
    let (one, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let delivery = world.send(&one, 2, b"hello").unwrap();
    assert_eq!(delivery.port, (party(1), MemberId(2)));
    assert_eq!(Frame::parse(&delivery.frame), Ok(Frame::data(MemberId(1), b"hello")));
    assert_eq!(
        (
            world.relay.counters().forwarded(),
            world.relay.counters().forwarded_bytes()
        ),
        (1, 9)
    );
}

#[test]
fn halves_and_frames_whose_bytes_are_shared_arrive_too() {
    let world = world();
    let (one, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let mut bytes = Vec::new();
    let half = Frame {
        part: Part::Second(77),
        ..Frame::data(MemberId(2), b"half")
    };
    half.write(&mut bytes);
    let frame = bytes::Bytes::from(bytes);
    let sibling = frame.clone();
    let Verdict::Pass(delivery) = one.handle_frame(frame, world.now) else {
        panic!("not passed on")
    };
    assert_eq!(
        Frame::parse(&delivery.frame),
        Ok(Frame {
            member: MemberId(1),
            ..half
        })
    );
    assert_eq!(Frame::parse(&sibling).unwrap().member, MemberId(2));
}

#[test]
fn nobody_reaches_another_party_itself_or_the_relay() {
    let world = world();
    let one = world.sit(party(1), 1);
    let _elsewhere = world.sit(party(2), 2);
    assert_eq!(world.send_dropped(&one, 2), (DropReason::NotConnected, true));
    assert_eq!(world.send_dropped(&one, 1), (DropReason::ToSelf, false));
    let mut control = Vec::new();
    Frame {
        kind: FrameKind::Control,
        ..Frame::data(MemberId(2), b"{}")
    }
    .write(&mut control);
    for wrong in [vec![], vec![1], vec![9; 40], control] {
        let Verdict::Drop { reason, .. } = one.handle_frame(wrong.into(), world.now) else {
            panic!("passed on")
        };
        assert_eq!(reason, DropReason::Malformed);
    }
    assert_eq!(world.relay.counters().dropped_total(), 6);
}

#[test]
fn notices_are_rare() {
    let mut world = world();
    let one = world.sit(party(1), 1);
    let told = (0..1000).filter(|_| world.send_dropped(&one, 9).1).count();
    assert_eq!(told, 16);
    world.pass(1000);
    assert!(world.send_dropped(&one, 9).1);
}

#[test]
fn a_member_over_its_rate_is_cut_to_it() {
    let mut world = World::new(Limits {
        member_frames_per_s: 1000,
        ..Limits::default()
    });
    let (loud, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let mut passed = 0;
    for _ in 0..1000 {
        passed += (0..10).filter(|_| world.send(&loud, 2, b"x").is_some()).count();
        world.pass(1);
    }
    assert!((1000..=1100).contains(&passed), "{passed}");
    assert_eq!(
        world.relay.counters().dropped(DropReason::RateLimited),
        10_000 - passed as u64
    );
}

#[test]
fn what_a_port_has_no_room_for_waits_in_order_and_the_newest_win() {
    let mut world = world();
    let (one, two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let first = world.send(&one, 2, b"0").unwrap();
    two.hold(first.frame, world.now);
    assert_eq!(world.relay.counters().forwarded(), 0);
    for number in 1..=MAX_QUEUED_FRAMES + 3 {
        let frame = data(2, number.to_string().as_bytes());
        assert!(matches!(
            one.handle_frame(frame, world.now),
            Verdict::Wait { egress: false }
        ));
        if number % 100 == 0 {
            world.pass(1);
        }
    }
    let got = frames(&two, &world);
    assert_eq!(got.len(), MAX_QUEUED_FRAMES);
    assert_eq!(&got[0][HEADER_LEN..], b"4");
    assert_eq!(world.relay.counters().dropped(DropReason::QueueFull), 4);
    assert!(world.send(&one, 2, b"x").is_some(), "the port is idle again");
}

#[test]
fn nothing_waits_for_longer_than_it_is_worth() {
    let mut world = world();
    let (one, two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    two.hold(world.send(&one, 2, b"old").unwrap().frame, world.now);
    world.pass(30);
    assert!(world.send(&one, 2, b"new").is_none());
    world.now += MAX_WAIT - Duration::from_millis(29);
    assert_eq!(
        frames(&two, &world)
            .iter()
            .map(|frame| &frame[HEADER_LEN..])
            .collect::<Vec<_>>(),
        [b"new"]
    );
    assert_eq!(world.relay.counters().dropped(DropReason::Stale), 1);
}

#[test]
fn a_removed_members_frames_do_not_leave_the_queue_even_if_it_hung_up_before() {
    for hangs_up in [false, true] {
        let world = world();
        let (kicked, two) = (world.sit(party(1), 1), world.sit(party(1), 2));
        two.hold(world.send(&kicked, 2, b"late").unwrap().frame, world.now);
        if hangs_up {
            world.relay.leave(&kicked);
        }
        world.relay.apply(&removal(1, party(1), 2, &[1]), world.now);
        assert_eq!(frames(&two, &world), Vec::<bytes::Bytes>::new());
        assert_eq!(world.relay.counters().dropped(DropReason::Revoked), 1);
    }
}

#[test]
fn a_used_up_egress_lets_frames_go_at_its_rate() {
    let mut world = narrow();
    let (one, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let payload = [0; 1000 - HEADER_LEN];
    let mut passed = 0;
    for _ in 0..100 {
        passed += usize::from(world.send(&one, 2, &payload).is_some());
    }
    assert!((16..=17).contains(&passed), "a burst of 16 KiB: {passed}");
    while let Some(at) = world.relay.poll_egress() {
        world.now = world.now.max(at);
        passed += world.egress().len();
    }
    // 50 ms of 1 MB/s, then the rest is stale.
    assert!((64..=69).contains(&passed), "{passed}");
    assert_eq!(world.relay.counters().dropped(DropReason::Stale), 100 - passed as u64);
}

#[test]
fn a_quiet_party_does_not_wait_behind_a_busy_one() {
    let mut world = narrow();
    let busy: Vec<_> = (1..=10).map(|member| world.sit(party(1), member)).collect();
    let (quiet, _other) = (world.sit(party(2), 1), world.sit(party(2), 2));
    let payload = [0; 1000 - HEADER_LEN];
    let mut waits = Vec::new();
    for ms in 0..1000 {
        for (from, session) in busy.iter().enumerate() {
            world.send(session, (from as u16 + 1) % 10 + 1, &payload);
        }
        let sent_at = world.now;
        let at_once = ms % 10 == 0 && world.send(&quiet, 2, b"move").is_some();
        let mut waiting = ms % 10 == 0 && !at_once;
        if at_once {
            waits.push(Duration::ZERO);
        }
        while waiting {
            world.now = world.now.max(world.relay.poll_egress().unwrap());
            waiting = !world.egress().iter().any(|delivery| delivery.port.0 == party(2));
            if !waiting {
                waits.push(world.now - sent_at);
            }
        }
        world.egress();
        world.pass(1);
    }
    waits.sort();
    assert_eq!(waits.len(), 100);
    // A turn of the busy party is 4 KiB, so 4 ms at this rate.
    assert!(waits[98] <= Duration::from_millis(9), "{:?}", &waits[90..]);
}

#[test]
fn the_longest_frame_gets_its_turn_at_the_moment_the_relay_names() {
    let mut world = narrow();
    let (one, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let mut longest = Vec::new();
    let half = Frame {
        part: Part::First(1),
        ..Frame::data(MemberId(2), &[0; MAX_PAYLOAD])
    };
    half.write(&mut longest);
    while matches!(one.handle_frame(longest.clone().into(), world.now), Verdict::Pass(_)) {}
    world.now = world.relay.poll_egress().unwrap();
    assert_eq!(world.egress().len(), 1);
    assert_eq!(world.relay.poll_egress(), None);
}
