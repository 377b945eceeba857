//! Parties, members and invites, over real HTTPS.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Answer, Code, Device, Request, TestServer, party};
use lanrage_shared::addr::overlap;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::InviteCreated;
use lanrage_shared::api::party::{Joined, Member, Party};
use lanrage_shared::ids::PartyId;
use lanrage_shared::stream::PartyEvent;

async fn patch(device: &Device, party: PartyId, version: &str, body: &str) -> Answer {
    let request = Request::new("PATCH", format!("/v1/parties/{party}"));
    device.send(request.header("if-match", version).raw_json(body)).await
}

#[tokio::test]
async fn host_and_guest_meet_in_a_party() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let hosted = anna.host(&code, None).await;
    assert_eq!((hosted.party.host, hosted.seq), (hosted.me, 0));
    assert!(hosted.invite.is_some() && hosted.sealed_secret.is_none());
    assert_eq!(hosted.services.stun[0].port, 3478);

    let joined = ben.join(&code, "Ben").await;
    assert_ne!(joined.me, hosted.me);
    let sealed = data_encoding::BASE64URL_NOPAD
        .decode(joined.sealed_secret.as_ref().unwrap().as_bytes())
        .unwrap();
    assert_eq!(code.code.open(&sealed).unwrap(), code.secret);

    let id = joined.party.id;
    let party: Party = anna.get(format!("/v1/parties/{id}")).await.ok();
    assert_eq!(party.members.len(), 2);
    assert_eq!(
        anna.get("/v1/parties").await.ok::<Vec<Party>>(),
        std::slice::from_ref(&party)
    );
    let members: Vec<Member> = ben.get(format!("/v1/parties/{id}/members")).await.ok();
    assert_eq!(members, party.members);
    let me = members.iter().find(|member| member.id == joined.me).unwrap();
    assert_eq!(
        (me.device, me.device_key, me.online),
        (ben.id(), ben.secret.public(), false)
    );
    assert_eq!(me.virtual_ip, party.net.member_v4(me.id));

    assert_eq!(ben.leave(id).await.status, 204);
    ben.get(format!("/v1/parties/{id}"))
        .await
        .refused(404, ErrorCode::NotFound);
    ben.leave(id).await.refused(403, ErrorCode::NotAMember);
    let stranger = Device::new(&server, 3).await;
    stranger.leave(id).await.refused(404, ErrorCode::NotFound);
    assert_eq!(anna.leave(id).await.status, 204);
    anna.leave(id).await.refused(404, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_devices_race_for_one_place() {
    let server = TestServer::start().await;
    let code = Code::new(1);
    let anna = Device::new(&server, 1).await;
    let hosted = anna.host(&code, Some(1)).await;
    let mut devices = Vec::new();
    for n in 0..200 {
        devices.push(Device::new(&server, 1000 + n).await);
    }
    let racing: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let code = code.clone();
            tokio::spawn(async move { device.redeem(&code, "Racer").await })
        })
        .collect();
    let mut admitted = 0;
    for racer in racing {
        let answer = racer.await.unwrap();
        if answer.status == 200 {
            admitted += 1;
        } else {
            answer.refused(410, ErrorCode::InviteUsed);
        }
    }
    assert_eq!(admitted, 1);
    let party: Party = anna.get(format!("/v1/parties/{}", hosted.party.id)).await.ok();
    assert_eq!(party.members.len(), 2);
}

#[tokio::test]
async fn everybody_who_joins_at_once_gets_an_address_of_their_own() {
    let server = TestServer::start().await;
    let code = Code::new(1);
    let anna = Device::new(&server, 1).await;
    anna.host(&code, None).await;
    let mut joining = Vec::new();
    for n in 0..40 {
        let device = Device::new(&server, 1000 + n).await;
        let code = code.clone();
        joining.push(tokio::spawn(async move { device.join(&code, "Guest").await }));
    }
    let mut addresses = BTreeSet::new();
    for guest in joining {
        let joined: Joined = guest.await.unwrap();
        addresses.insert(joined.party.net.member_v4(joined.me));
    }
    assert_eq!(addresses.len(), 40);
}

#[tokio::test]
async fn each_reason_not_to_be_admitted_has_its_own_code() {
    let server = TestServer::start().await;
    let (anna, ben, cleo) = (
        Device::new(&server, 1).await,
        Device::new(&server, 2).await,
        Device::new(&server, 3).await,
    );
    let code = Code::new(1);
    let hosted = anna.host(&code, Some(1)).await;
    let id = hosted.party.id;
    ben.redeem(&Code::new(9), "Ben")
        .await
        .refused(404, ErrorCode::InviteUnknown);

    let net = hosted.party.net.v4;
    let around = ipnet::Ipv4Net::new(net.network(), 23).unwrap().trunc().to_string();
    let error = ben.redeem_from(&code, "Ben", &["192.168.7.0/24", &around]).await;
    let error = error.refused(409, ErrorCode::AddressConflict);
    assert!(
        error.message.contains(&around) && error.message.contains(&net.to_string()),
        "{}",
        error.message
    );
    let error = ben.redeem_from(&code, "Ben", &[&net.to_string()]).await;
    let error = error.refused(409, ErrorCode::AddressConflict);
    assert!(error.message.contains("another agent"), "{}", error.message);

    patch(&anna, id, "\"1\"", r#"{"max_members": 1}"#).await.ok::<Party>();
    let full = ben.redeem(&code, "Ben").await.refused(409, ErrorCode::PartyFull);
    assert!(full.message.contains("Friday"), "{}", full.message);
    patch(&anna, id, "\"2\"", r#"{"max_members": 8}"#).await.ok::<Party>();

    // None of the refusals used the invite up.
    let joined = ben.join(&code, "Ben").await;
    cleo.redeem(&code, "Cleo").await.refused(410, ErrorCode::InviteUsed);
    let again = ben.join(&code, "Benjamin").await;
    assert_eq!(again.me, joined.me);
    assert!(
        again
            .party
            .members
            .iter()
            .any(|member| member.name.as_str() == "Benjamin")
    );

    let late = Code::new(2);
    let invites = format!("/v1/parties/{id}/invites");
    let created: InviteCreated = anna
        .send(Request::new("POST", &invites).json(&late.invite(None)))
        .await
        .ok();
    assert_eq!(created.expires_at_ms, 1_700_000_000_000 + 3_600_000);
    server.clock.advance(Duration::from_secs(3600));
    let mut cleo = cleo;
    cleo.sign_in().await;
    cleo.redeem(&late, "Cleo").await.refused(410, ErrorCode::InviteExpired);
}

#[tokio::test]
async fn a_party_avoids_its_hosts_networks_and_a_network_of_every_address_is_in_nobodys_way() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let mut request = party(&Code::new(1), None);
    request.lans = vec!["10.0.0.0/9".parse().unwrap()];
    let hosted: Joined = anna.send(Request::new("POST", "/v1/parties").json(&request)).await.ok();
    assert!(!overlap(&hosted.party.net.v4, &request.lans[0]));
    request.lans = vec!["10.0.0.0/8".parse().unwrap()];
    request.invite = Code::new(2).invite(None);
    let _: Joined = anna.send(Request::new("POST", "/v1/parties").json(&request)).await.ok();
    let ben = Device::new(&server, 2).await;
    let joined = ben.redeem_from(&Code::new(1), "Ben", &["10.0.0.0/8"]).await;
    joined.ok::<Joined>();
}

#[tokio::test]
async fn only_the_host_changes_the_party_and_only_the_version_it_saw() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let version = ben.join(&code, "Ben").await.party.version;
    let rename = r#"{"name": "Saturday"}"#;
    let forbidden = patch(&ben, id, &format!("\"{version}\""), rename)
        .await
        .refused(403, ErrorCode::Forbidden);
    assert!(forbidden.message.contains("Anna"), "{}", forbidden.message);
    let conflict = patch(&anna, id, "\"1\"", rename)
        .await
        .refused(409, ErrorCode::VersionConflict);
    assert_eq!(conflict.current_version(), Some(version));
    let changed: Party = patch(&anna, id, &version.to_string(), rename).await.ok();
    assert_eq!((changed.name.as_str(), changed.version), ("Saturday", version + 1));

    patch(&anna, id, "abc", rename)
        .await
        .refused(400, ErrorCode::BadRequest);
    let without = Request::new("PATCH", format!("/v1/parties/{id}")).raw_json(rename);
    anna.send(without).await.refused(428, ErrorCode::BadRequest);
    for body in [r#"{"max_members": 0}"#, r#"{"max_members": 255}"#] {
        patch(&anna, id, "3", body).await.refused(400, ErrorCode::BadRequest);
    }
    for body in [r#"{"epoch": 3}"#, r#"{"name": ""}"#] {
        patch(&anna, id, "3", body).await.refused(400, ErrorCode::BadRequest);
    }

    let invites = format!("/v1/parties/{id}/invites");
    let guests = ben
        .send(Request::new("POST", &invites).json(&Code::new(2).invite(None)))
        .await;
    assert!(guests.refused(403, ErrorCode::Forbidden).message.contains("Anna"));
    let delete = || Request::new("DELETE", format!("/v1/parties/{id}"));
    ben.send(delete()).await.refused(403, ErrorCode::Forbidden);
    assert_eq!(anna.send(delete()).await.status, 204);
    anna.send(delete()).await.refused(404, ErrorCode::NotFound);
    ben.redeem(&code, "Ben").await.refused(404, ErrorCode::InviteUnknown);
}

#[tokio::test]
async fn bad_parties_and_invites_are_refused_and_leave_nothing_behind() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let good = serde_json::to_value(party(&Code::new(1), None)).unwrap();
    let wrong = [
        ("/name", serde_json::json!("😀".repeat(300)), 400),
        ("/member_name", serde_json::json!("a\nb"), 400),
        ("/max_members", serde_json::json!(0), 400),
        ("/lans", serde_json::json!(["10.0.0.0/99"]), 400),
        ("/invite/auth_hash", serde_json::json!("short"), 400),
        ("/invite/sealed_secret", serde_json::json!("AAAA"), 400),
        ("/invite/expires_in_s", serde_json::json!(0), 400),
        ("/invite/expires_in_s", serde_json::json!(u64::MAX), 400),
        ("/invite/max_uses", serde_json::json!(0), 400),
    ];
    for (field, value, status) in wrong {
        let mut body = good.clone();
        *body.pointer_mut(field).unwrap() = value;
        let answer = anna.send(Request::new("POST", "/v1/parties").json(&body)).await;
        answer.refused(status, ErrorCode::BadRequest);
    }
    assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
    let first = anna.host(&Code::new(1), None).await;
    // Whoever repeats it after a lost answer gets the same; anything else needs an invite of its own.
    let again = anna.host(&Code::new(1), None).await;
    assert_eq!((again.party.id, again.invite), (first.party.id, first.invite));
    let mut other = good.clone();
    other["name"] = "Saturday".into();
    let twin = anna.send(Request::new("POST", "/v1/parties").json(&other)).await;
    twin.refused(400, ErrorCode::BadRequest);
    assert_eq!(anna.get("/v1/parties").await.ok::<Vec<Party>>().len(), 1);
    anna.get("/v1/parties/not-a-uuid")
        .await
        .refused(400, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_device_that_asks_without_end_is_slowed_down() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    loop {
        let answer = anna.redeem(&Code::new(7), "Anna").await;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
            break;
        }
        answer.refused(404, ErrorCode::InviteUnknown);
    }
}

#[tokio::test]
async fn a_member_cannot_rename_itself_without_end() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let mut renamed = 0;
    while ben.redeem(&code, &format!("Ben {renamed}")).await.status == 200 {
        renamed += 1;
    }
    // More than a person does, fewer than a device may ask for anything.
    assert!((10..50).contains(&renamed), "{renamed}");
    ben.redeem(&code, "Ben").await.refused(429, ErrorCode::RateLimited);
    assert_eq!(ben.leave(id).await.status, 204);
}

#[tokio::test]
async fn the_key_of_another_member_is_refused_and_a_taken_name_gets_a_number() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    anna.host(&code, None).await;
    let mut thief = Device::new(&server, 3).await;
    thief.secret = anna.secret.clone();
    thief.sign_in().await;
    let error = thief.redeem(&code, "Anna").await.refused(409, ErrorCode::KeyTaken);
    assert!(error.message.contains("--state-dir"), "{}", error.message);
    let joined = ben.join(&code, "anna").await;
    let me = joined.party.members.iter().find(|member| member.id == joined.me);
    assert_eq!(me.unwrap().name.as_str(), "anna 2");
}

/// Upkeep, and days on each of which it is done.
async fn spend_days(server: &TestServer, days: u32) {
    for day in 0..=days {
        if day > 0 {
            server.clock.advance(Duration::from_secs(24 * 3600));
        }
        lanrage_control::upkeep::once(&server.app).await.unwrap();
    }
}

#[tokio::test]
async fn a_persistent_party_nobody_was_in_for_half_a_year_is_forgotten() {
    let server = TestServer::start().await;
    let mut anna = Device::new(&server, 1).await;
    let mut request = party(&Code::new(1), None);
    request.persistent = true;
    let _: Joined = anna.send(Request::new("POST", "/v1/parties").json(&request)).await.ok();
    // Half a year without a server says nothing of who was there.
    server.clock.advance(Duration::from_secs(200 * 24 * 3600));
    for (days, kept) in [(0, 1), (179, 1), (2, 0)] {
        spend_days(&server, days).await;
        anna.sign_in().await;
        assert_eq!(anna.get("/v1/parties").await.ok::<Vec<Party>>().len(), kept);
    }
}

#[tokio::test]
async fn members_nobody_saw_for_a_month_are_removed() {
    let server = TestServer::start().await;
    let (mut anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    ben.join(&code, "Ben").await;
    // A month without a server says nothing of who was there.
    server.clock.advance(Duration::from_secs(40 * 24 * 3600));
    spend_days(&server, 20).await;
    anna.sign_in().await;
    let mut stream = anna.stream(id, None).await;
    stream.welcome().await;
    for (days, members) in [(9, 2), (2, 1)] {
        spend_days(&server, days).await;
        anna.sign_in().await;
        let party: Party = anna.get(format!("/v1/parties/{id}")).await.ok();
        assert_eq!(party.members.len(), members, "after {days} days");
    }
    let party: Party = anna.get(format!("/v1/parties/{id}")).await.ok();
    assert_eq!(party.members[0].device, anna.id());
}

#[tokio::test]
async fn the_host_moves_the_party_out_of_the_way_of_a_network() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let hosted = anna.host(&code, None).await;
    let joined = ben.join(&code, "Ben").await;
    let id = hosted.party.id;
    let mut stream = ben.stream(id, Some(joined.seq)).await;
    let move_to = async |device: &Device, version: u64, avoid: &[&str]| {
        let request = Request::new("POST", format!("/v1/parties/{id}/network"));
        let request = request.header("if-match", version.to_string());
        let body = serde_json::json!({ "avoid": avoid }).to_string();
        device.send(request.raw_json(body)).await
    };
    let (before, version) = (joined.party.net, joined.party.version);
    move_to(&ben, version, &[]).await.refused(403, ErrorCode::Forbidden);
    move_to(&anna, version - 1, &[])
        .await
        .refused(409, ErrorCode::VersionConflict);

    let far = "10.128.0.0/9";
    let moved: Party = move_to(&anna, version, &[far]).await.ok();
    assert!(!overlap(&moved.net.v4, &before.v4) && !overlap(&moved.net.v4, &far.parse().unwrap()));
    assert_eq!((moved.check(), moved.version), (Ok(()), version + 1));
    let (seq, event) = stream.event().await;
    let PartyEvent::Updated { party } = event else {
        panic!("the network changed: {event:?}");
    };
    assert_eq!((seq, party.net), (joined.seq + 1, Some(moved.net)));
    let seen: Party = ben.get(format!("/v1/parties/{id}")).await.ok();
    assert_eq!((seen.net, seen.check()), (moved.net, Ok(())));
}
