//! What only a party's host can do besides removing members, over real HTTPS.

use std::time::Duration;

use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::{InviteCreated, ListedInvite};
use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::ids::PartyId;
use lanrage_shared::stream::PartyEvent;

use crate::support::{Answer, Code, Device, Request, TestServer};

async fn update(device: &Device, party: &Party, update: &UpdateParty) -> Answer {
    let request = Request::new("PATCH", format!("/v1/parties/{}", party.id));
    let request = request.header("if-match", format!("\"{}\"", party.version));
    device.send(request.json(update)).await
}

async fn invites(host: &Device, party: PartyId) -> Vec<ListedInvite> {
    host.get(format!("/v1/parties/{party}/invites")).await.ok()
}

async fn revoke(device: &Device, party: PartyId, invite: &str) -> Answer {
    let path = format!("/v1/parties/{party}/invites/{invite}");
    device.send(Request::new("DELETE", path)).await
}

#[tokio::test]
async fn invites_are_listed_and_revoked() {
    let server = TestServer::start().await;
    let (anna, ben, cleo) = (
        Device::new(&server, 1).await,
        Device::new(&server, 2).await,
        Device::new(&server, 3).await,
    );
    let (first, second) = (Code::new(1), Code::new(2));
    let id = anna.host(&first, None).await.party.id;
    server.clock.advance(Duration::from_secs(1));
    let request = Request::new("POST", format!("/v1/parties/{id}/invites"));
    let created: InviteCreated = anna.send(request.json(&second.invite(Some(2)))).await.ok();
    ben.join(&second, "Ben").await;
    let listed = invites(&anna, id).await;
    let figures: Vec<_> = listed.iter().map(|invite| (invite.max_uses, invite.uses)).collect();
    assert_eq!(figures, [(None, 0), (Some(2), 1)]);
    assert_eq!(
        (listed[1].id, listed[1].expires_at_ms),
        (created.id, created.expires_at_ms)
    );

    let path = format!("/v1/parties/{id}/invites");
    ben.get(path.clone()).await.refused(403, ErrorCode::Forbidden);
    cleo.get(path).await.refused(404, ErrorCode::NotFound);
    let invite = created.id.to_string();
    revoke(&ben, id, &invite).await.refused(403, ErrorCode::Forbidden);
    revoke(&cleo, id, &invite).await.refused(404, ErrorCode::NotFound);
    revoke(&anna, id, "7").await.refused(400, ErrorCode::BadRequest);
    assert_eq!(revoke(&anna, id, &invite).await.status, 204);
    revoke(&anna, id, &invite).await.refused(404, ErrorCode::NotFound);
    cleo.redeem(&second, "Cleo")
        .await
        .refused(404, ErrorCode::InviteUnknown);
    assert_eq!(ben.party(id).await.members.len(), 2, "who came in with it stays");
    cleo.join(&first, "Cleo").await;
}

#[tokio::test]
async fn an_invite_names_the_secret_that_it_leads_to() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party;
    let invite = async |n, secret_epoch| {
        let mut invite = Code::new(n).invite(None);
        invite.secret_epoch = secret_epoch;
        let request = Request::new("POST", format!("/v1/parties/{}/invites", party.id));
        anna.send(request.json(&invite)).await
    };
    let conflict = invite(2, Some(2)).await.refused(409, ErrorCode::VersionConflict);
    assert_eq!(
        (conflict.current_version(), conflict.current_secret_epoch()),
        (Some(party.version), Some(1))
    );
    for (n, secret_epoch) in [(2, Some(1)), (3, None)] {
        assert_eq!(invite(n, secret_epoch).await.status, 201);
    }
}

#[tokio::test]
async fn a_locked_party_says_so_to_whoever_wants_in() {
    let server = TestServer::start().await;
    let (anna, ben, cleo) = (
        Device::new(&server, 1).await,
        Device::new(&server, 2).await,
        Device::new(&server, 3).await,
    );
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let joined = ben.join(&code, "Ben").await;
    let mut at_ben = ben.stream(id, Some(joined.seq)).await;
    let lock = UpdateParty {
        locked: Some(true),
        ..UpdateParty::default()
    };
    update(&ben, &joined.party, &lock)
        .await
        .refused(403, ErrorCode::Forbidden);
    let locked: Party = update(&anna, &joined.party, &lock).await.ok();
    assert!(locked.locked);
    let (_, PartyEvent::Updated { party }) = at_ben.event().await else {
        panic!("the party was locked");
    };
    assert!(party.locked);
    let refused = cleo.redeem(&code, "Cleo").await.refused(403, ErrorCode::PartyLocked);
    assert!(refused.message.contains("Friday is locked"), "{}", refused.message);
    ben.join(&code, "Ben").await;
    let unlock = UpdateParty {
        locked: Some(false),
        ..UpdateParty::default()
    };
    let _: Party = update(&anna, &locked, &unlock).await.ok();
    cleo.join(&code, "Cleo").await;
}

#[tokio::test]
async fn a_party_passes_to_another_member() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let joined = ben.join(&code, "Ben").await;
    let pass = UpdateParty {
        host: Some(joined.me),
        ..UpdateParty::default()
    };
    update(&ben, &joined.party, &pass)
        .await
        .refused(403, ErrorCode::Forbidden);
    let passed: Party = update(&anna, &joined.party, &pass).await.ok();
    assert_eq!(passed.host, joined.me);
    update(&anna, &passed, &pass).await.refused(403, ErrorCode::Forbidden);

    let end = |version: u64| {
        let request = Request::new("DELETE", format!("/v1/parties/{id}"));
        request.header("if-match", format!("\"{version}\""))
    };
    let refused = ben.send(end(passed.version - 1)).await;
    refused.refused(409, ErrorCode::VersionConflict);
    assert_eq!(ben.send(end(passed.version)).await.status, 204);
    anna.get(format!("/v1/parties/{id}"))
        .await
        .refused(404, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_host_that_stays_away_for_ten_minutes_is_succeeded() {
    let server = TestServer::start().await;
    let (anna, ben, cleo) = (
        Device::new(&server, 1).await,
        Device::new(&server, 2).await,
        Device::new(&server, 3).await,
    );
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let ben_id = ben.join(&code, "Ben").await.me;
    server.clock.advance(Duration::from_secs(1));
    let joined = cleo.join(&code, "Cleo").await;
    let mut at_cleo = cleo.stream(id, Some(joined.seq)).await;
    at_cleo.welcome().await;
    let minutes = async |count: u64| {
        for _ in 0..count {
            server.clock.advance(Duration::from_secs(60));
            lanrage_control::upkeep::once(&server.app).await.unwrap();
        }
        cleo.party(id).await.host
    };
    let host = joined.party.host;
    assert_eq!(minutes(9).await, host);
    assert_eq!(minutes(2).await, joined.me, "Ben, who came first, is not there");
    let (_, PartyEvent::Updated { party }) = at_cleo.event().await else {
        panic!("the host changed");
    };
    assert_eq!(party.host, joined.me);
    assert_ne!(party.host, ben_id);
}
