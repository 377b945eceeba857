//! What two servers said of one member at once, as members can look at it.

use lanrage_control::presence::Sitting;
use lanrage_shared::api::conflict::SoftConflict;
use lanrage_shared::hlc::{ReplicaId, Stamp, time_at};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_store::{SoftKey, SoftWrite};

use crate::logs::listen;
use crate::support::{Code, Device, Request, Stream, TestServer};

/// Anna, connected to the server.
struct Host {
    anna: Device,
    party: PartyId,
    member: MemberId,
    _stream: Stream,
}

impl Host {
    async fn begin(server: &TestServer) -> Self {
        let anna = Device::new(server, 1).await;
        let hosted = anna.host(&Code::new(1), None).await;
        let mut stream = anna.stream(hosted.party.id, None).await;
        stream.welcome().await;
        stream.snapshot().await;
        Self {
            anna,
            party: hosted.party.id,
            member: hosted.me,
            _stream: stream,
        }
    }

    /// What a replica that has not heard of Anna's stream says of an earlier one.
    fn said_elsewhere(&self, server: &TestServer, at_ms: u64) {
        let stamp = Stamp {
            time: time_at(at_ms),
            replica: ReplicaId(1000 + at_ms),
        };
        let sitting = Sitting {
            began: stamp,
            online: true,
            presence: None,
        };
        server.app.take_in(&[SoftWrite {
            key: SoftKey::Member(self.party, self.member),
            stamp,
            seen: None,
            gone: false,
            value: serde_json::to_string(&sitting).unwrap(),
        }]);
    }
}

#[tokio::test]
async fn conflicts_come_in_pages_the_newest_first_and_only_when_there_are_more() {
    let server = TestServer::start().await;
    let host = Host::begin(&server).await;
    for at_ms in 1..=5 {
        host.said_elsewhere(&server, at_ms);
    }
    let first = format!("/v1/parties/{}/conflicts?limit=2", host.party);
    let (mut seen, mut path) = (Vec::new(), first.clone());
    for _ in 0..3 {
        let answer = host.anna.get(&path).await;
        let link = answer.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Vec<SoftConflict> = answer.ok();
        seen.extend(page.iter().map(|conflict| conflict.loser.at_ms));
        let Some(link) = link else { break };
        let (next, _) = link.trim_start_matches('<').split_once('>').unwrap();
        next.clone_into(&mut path);
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let tag = host.anna.get(&first).await.headers["etag"].to_str().unwrap().to_owned();
    let again = async || {
        let request = Request::new("GET", &first).header("if-none-match", &tag);
        host.anna.send(request).await.status
    };
    assert_eq!(again().await, 304);
    host.said_elsewhere(&server, 6);
    assert_eq!(again().await, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn conflicts_of_one_member_are_logged_once() {
    let (log, _guard) = listen();
    let server = TestServer::start().await;
    let host = Host::begin(&server).await;
    for at_ms in 1..=3 {
        host.said_elsewhere(&server, at_ms);
    }
    let text = log.text();
    assert_eq!(
        text.matches("two replicas wrote of one member at once").count(),
        1,
        "{text}"
    );
    assert!(text.contains(&format!("party={}", host.party)) && text.contains("holds=") && text.contains("yields=1001"));
}
