//! Removing members, bans and new secrets, over real HTTPS.

use std::time::{Duration, Instant};

use crate::support::{Code, Device, Request, Stream, TestServer};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::{Ban, Party, Removed};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::keys::PartySecret;
use lanrage_shared::stream::{Departure, PartyEvent, ServerMessage};

/// Anna hosts, Ben and Cleo have joined with the code.
struct Three {
    anna: Device,
    ben: Device,
    cleo: Device,
    code: Code,
    id: PartyId,
    ben_id: MemberId,
    cleo_id: MemberId,
}

async fn three(server: &TestServer) -> Three {
    let (anna, ben, cleo) = (
        Device::new(server, 1).await,
        Device::new(server, 2).await,
        Device::new(server, 3).await,
    );
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let ben_id = ben.join(&code, "Ben").await.me;
    server.clock.advance(Duration::from_secs(1));
    let cleo_id = cleo.join(&code, "Cleo").await.me;
    Three {
        anna,
        ben,
        cleo,
        code,
        id,
        ben_id,
        cleo_id,
    }
}

fn next_secret(n: u8) -> PartySecret {
    PartySecret::from_bytes([n; 32])
}

#[tokio::test]
async fn a_removed_member_is_out_at_once_and_everybody_hears_it() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let party = three.anna.party(three.id).await;
    let mut at_ben = three.ben.stream(three.id, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    let mut at_cleo = three.cleo.stream(three.id, None).await;
    at_cleo.welcome().await;
    at_cleo.snapshot().await;

    let asked = Instant::now();
    let after: Party = three.anna.remove(&party, three.ben_id, false).await.ok();
    let left = PartyEvent::MemberLeft {
        member: three.ben_id,
        how: Departure::Kicked,
    };
    assert_eq!(at_ben.event().await.1, left);
    assert_eq!(at_ben.bye().await, (ErrorCode::NotAMember, false));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(at_cleo.event().await.1, left);
    let (_, PartyEvent::Updated { party: settings }) = at_cleo.event().await else {
        panic!("the epoch changed");
    };
    assert_eq!((settings.epoch, settings.secret_epoch), (2, 1));
    assert_eq!(
        (after.epoch, after.version, after.members.len()),
        (2, settings.version, 2)
    );

    let path = format!("/v1/parties/{}", three.id);
    three.ben.get(path).await.refused(404, ErrorCode::NotFound);
    three.ben.relay_tokens(three.id).await.refused(404, ErrorCode::NotFound);
    let mut again = three.ben.stream(three.id, None).await;
    assert_eq!(again.bye().await, (ErrorCode::NotAMember, false));
}

#[tokio::test]
async fn only_the_host_removes_and_only_from_the_party_it_saw() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let eve = Device::new(&server, 9).await;
    let elsewhere = eve.host(&Code::new(9), None).await.party;
    let party = three.anna.party(three.id).await;
    let answer = three.ben.remove(&party, three.cleo_id, false).await;
    assert!(answer.refused(403, ErrorCode::Forbidden).message.contains("Anna"));
    let answer = eve.remove(&party, three.cleo_id, true).await;
    answer.refused(404, ErrorCode::NotFound);
    let answer = three.anna.remove(&elsewhere, elsewhere.host, true).await;
    answer.refused(404, ErrorCode::NotFound);

    let old = Party {
        version: party.version - 1,
        ..party.clone()
    };
    let conflict = three.anna.remove(&old, three.ben_id, false).await;
    let conflict = conflict.refused(409, ErrorCode::VersionConflict);
    assert_eq!(conflict.current_version(), Some(party.version));
    let nobody = three.anna.remove(&party, MemberId(0), false).await;
    let nobody = nobody.refused(404, ErrorCode::NotFound);
    assert!(nobody.message.contains("number 0"), "{}", nobody.message);
    let oneself = three.anna.remove(&party, party.host, true).await;
    oneself.refused(400, ErrorCode::BadRequest);
    for path in ["x", "70000", "1/2"] {
        let path = format!("/v1/parties/{}/members/{path}/remove", three.id);
        let request = Request::new("POST", path).header("if-match", "1").raw_json("{}");
        assert!((400..=404).contains(&three.anna.send(request).await.status.as_u16()));
    }
    let without = Request::new("POST", format!("/v1/parties/{}/members/1/remove", three.id)).raw_json("{}");
    three.anna.send(without).await.refused(428, ErrorCode::BadRequest);
    assert_eq!(three.anna.party(three.id).await, party, "nothing was changed");
}

#[tokio::test]
async fn a_banned_device_stays_out_with_a_fresh_invite_until_the_ban_is_lifted() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let bans = format!("/v1/parties/{}/bans", three.id);
    let lift = format!("{bans}/{}", three.ben.id());
    let party = three.anna.party(three.id).await;
    let _: Party = three.anna.remove(&party, three.ben_id, true).await.ok();

    let fresh = Code::new(7);
    let invites = format!("/v1/parties/{}/invites", three.id);
    let created = three
        .anna
        .send(Request::new("POST", invites).json(&fresh.invite(Some(1))))
        .await;
    assert_eq!(created.status, 201);
    let error = three.ben.redeem(&fresh, "Ben").await.refused(403, ErrorCode::Banned);
    assert!(error.message.contains("Friday") && error.message.contains("banned"));

    for stranger in [&three.cleo, &three.ben, &Device::new(&server, 9).await] {
        assert!((403..=404).contains(&stranger.get(&bans).await.status.as_u16()));
        let answer = stranger.send(Request::new("DELETE", &lift)).await;
        assert!((403..=404).contains(&answer.status.as_u16()));
    }
    let listed: Vec<Ban> = three.anna.get(&bans).await.ok();
    assert_eq!((listed.len(), listed[0].device), (1, three.ben.id()));
    assert_eq!(listed[0].name.as_str(), "Ben");
    let no_device = three.anna.send(Request::new("DELETE", format!("{bans}/me"))).await;
    no_device.refused(400, ErrorCode::BadRequest);
    assert_eq!(three.anna.send(Request::new("DELETE", &lift)).await.status, 204);
    let again = three.anna.send(Request::new("DELETE", &lift)).await;
    again.refused(404, ErrorCode::NotFound);
    three.ben.join(&fresh, "Ben").await;
}

#[tokio::test]
async fn who_is_banned_does_not_come_back_as_another_device_by_the_same_invite() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let party = three.anna.party(three.id).await;
    let removed: Removed = three.anna.remove(&party, three.ben_id, true).await.ok();
    assert_eq!(removed.ended_invite, Some(three.code.invite(None).auth_hash));
    let fresh = Device::new(&server, 20).await;
    let answer = fresh.redeem(&three.code, "Ben").await;
    answer.refused(404, ErrorCode::InviteUnknown);
    // Anna's agent has not forgotten the code yet.
    let new = three
        .anna
        .seal(&removed.party, &three.code.secret, &next_secret(2), &[&three.code]);
    let _: Party = three.anna.renew(&removed.party, &new).await.ok();
    let answer = fresh.redeem(&three.code, "Ben").await;
    answer.refused(404, ErrorCode::InviteUnknown);
    assert_eq!(three.cleo.party(three.id).await.members.len(), 2);
}

#[tokio::test]
async fn a_new_secret_reaches_each_remaining_member_and_nobody_else() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let mut at_anna = three.anna.stream(three.id, None).await;
    at_anna.welcome().await;
    at_anna.snapshot().await;
    let mut at_cleo = three.cleo.stream(three.id, None).await;
    at_cleo.welcome().await;
    at_cleo.snapshot().await;
    let party = three.anna.party(three.id).await;
    let party: Party = three.anna.remove(&party, three.ben_id, false).await.ok();
    // Dora joins with the invite that still leads to the former secret: she is sealed the next one, too.
    let dora = Device::new(&server, 4).await;
    let dora_id = dora.join(&three.code, "Dora").await.me;
    let mut at_dora = dora.stream(three.id, None).await;
    at_dora.welcome().await;
    at_dora.snapshot().await;
    let new = three.anna.seal(&party, &three.code.secret, &next_secret(2), &[]);
    let late = three.anna.renew(&party, &new).await;
    late.refused(409, ErrorCode::VersionConflict);

    let party = three.anna.party(three.id).await;
    let new = three
        .anna
        .seal(&party, &three.code.secret, &next_secret(2), &[&three.code]);
    let after: Party = three.anna.renew(&party, &new).await.ok();
    assert_eq!((after.epoch, after.secret_epoch), (2, 2));
    assert_eq!(at_anna.new_secret().await, (2, vec![]), "she made it");
    for (device, stream, id) in [
        (&three.cleo, &mut at_cleo, three.cleo_id),
        (&dora, &mut at_dora, dora_id),
    ] {
        let (epoch, secrets) = stream.new_secret().await;
        assert_eq!((epoch, secrets.len(), secrets[0].to), (2, 1, id));
        assert_eq!(device.open(&secrets[0], &three.code.secret).unwrap(), next_secret(2));
        assert!(three.ben.open(&secrets[0], &three.code.secret).is_err());
    }
    let mut at_ben = Stream::open(&three.ben, three.id, Some(0), 1).await;
    assert_eq!(at_ben.bye().await, (ErrorCode::NotAMember, false));
    assert!(!at_ben.heard.concat().contains("sealed"));
    // Whoever comes with the invite comes to the new secret.
    let joined = Device::new(&server, 5).await.join(&three.code, "Emil").await;
    let sealed = data_encoding::BASE64URL_NOPAD
        .decode(joined.sealed_secret.unwrap().as_bytes())
        .unwrap();
    assert_eq!(three.code.code.open(&sealed).unwrap(), next_secret(2));
    assert_eq!(joined.party.secret_epoch, 2);
}

#[tokio::test]
async fn who_was_away_gets_the_secrets_it_missed_whatever_it_remembers() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let mut party = three.anna.party(three.id).await;
    let joined_seq = 4;
    party = three.anna.remove(&party, three.ben_id, false).await.ok();
    let new = three
        .anna
        .seal(&party, &three.code.secret, &next_secret(2), &[&three.code]);
    let _: Party = three.anna.renew(&party, &new).await.ok();
    let dora = Device::new(&server, 4).await;
    dora.join(&three.code, "Dora").await;
    dora.leave(three.id).await;
    party = three.anna.party(three.id).await;
    let new = three.anna.seal(&party, &next_secret(2), &next_secret(3), &[]);
    let _: Party = three.anna.renew(&party, &new).await.ok();

    let opened = |secrets: &[lanrage_shared::api::secret::SealedSecret]| {
        let mut known = three.code.secret.clone();
        for secret in secrets {
            known = three.cleo.open(secret, &known).unwrap();
        }
        known
    };
    // A gap, with the secrets in their events.
    let mut stream = Stream::open(&three.cleo, three.id, Some(joined_seq), 1).await;
    stream.welcome().await;
    let (first, second) = (stream.new_secret().await, stream.new_secret().await);
    assert_eq!((first.0, second.0), (2, 3));
    assert_eq!(opened(&[first.1, second.1].concat()), next_secret(3));
    // A snapshot.
    let mut stream = Stream::open(&three.cleo, three.id, None, 1).await;
    stream.welcome().await;
    assert_eq!(opened(&stream.secrets().await), next_secret(3));
    // Every event is known, but not the secret that came with one of them.
    let last = {
        let mut stream = Stream::open(&three.cleo, three.id, None, 1).await;
        stream.welcome().await;
        stream.snapshot().await.0
    };
    let mut stream = Stream::open(&three.cleo, three.id, Some(last), 1).await;
    stream.welcome().await;
    assert_eq!(stream.secrets().await.len(), 2);
    // What it says it has is not kept for it any longer.
    let mut stream = Stream::open(&three.cleo, three.id, None, 3).await;
    stream.welcome().await;
    assert!(stream.secrets().await.is_empty());
    let mut stream = Stream::open(&three.cleo, three.id, None, 0).await;
    stream.welcome().await;
    assert!(stream.secrets().await.is_empty());
}

#[tokio::test]
async fn a_secret_that_does_not_fit_the_party_is_refused() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let party = three.anna.party(three.id).await;
    let former = three.code.secret.clone();
    let early = three.anna.seal(&party, &former, &next_secret(2), &[]);
    let answer = three.anna.renew(&party, &early).await;
    answer.refused(400, ErrorCode::BadRequest);
    let party: Party = three.anna.remove(&party, three.ben_id, false).await.ok();
    let good = three.anna.seal(&party, &former, &next_secret(2), &[]);
    let refused = async |change: &dyn Fn(&mut lanrage_shared::api::secret::NewSecret)| {
        let mut new = good.clone();
        change(&mut new);
        three.anna.renew(&party, &new).await.refused(400, ErrorCode::BadRequest);
    };
    refused(&|new| new.secrets.clear()).await;
    refused(&|new| new.secrets.push(new.secrets[0].clone())).await;
    refused(&|new| new.secrets[0].to = three.ben_id).await;
    refused(&|new| new.secrets[0].sealed.push('A')).await;
    refused(&|new| new.epoch = 1).await;
    let answer = three.cleo.renew(&party, &good).await;
    answer.refused(403, ErrorCode::Forbidden);
    let answer = three.ben.renew(&party, &good).await;
    answer.refused(404, ErrorCode::NotFound);
    assert_eq!(three.anna.party(three.id).await.secret_epoch, 1);
    let _: Party = three.anna.renew(&party, &good).await.ok();
    let ended = Device::new(&server, 4).await.redeem(&three.code, "Dora").await;
    let ended = ended.refused(410, ErrorCode::InviteExpired);
    assert!(ended.message.contains("has ended"), "{}", ended.message);
}

#[tokio::test]
async fn leaving_starts_an_epoch_and_the_new_host_owes_the_secret() {
    let server = TestServer::start().await;
    let three = three(&server).await;
    let mut at_ben = three.ben.stream(three.id, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    assert_eq!(three.anna.leave(three.id).await.status, 204);
    let settings = at_ben
        .find(|message| match message {
            ServerMessage::Event {
                event: PartyEvent::Updated { party },
                ..
            } => Some(party),
            _ => None,
        })
        .await;
    assert_eq!(
        (settings.host, settings.epoch, settings.secret_epoch),
        (three.ben_id, 2, 1)
    );
    let party = three.ben.party(three.id).await;
    let new = three.ben.seal(&party, &three.code.secret, &next_secret(2), &[]);
    let after: Party = three.ben.renew(&party, &new).await.ok();
    assert_eq!(after.secret_epoch, 2);
}
