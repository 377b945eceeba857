//! A newer version takes over from the former one while everybody goes on: it adds its columns, and replicas are replaced one after the
//! other.

use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::ids::PartyId;
use lanrage_shared::stream::PartyEvent;

use crate::faults::Writers;
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Replicas, Request, Sql, Stream, Target, TestServer};

/// What a migration may do, to every table.
const COLUMNS: &str = "SELECT format('ALTER TABLE %I ADD COLUMN of_tomorrow TEXT, ADD COLUMN given BIGINT NOT NULL DEFAULT 7', tablename) \
                       FROM pg_tables WHERE schemaname = 'public' \\gexec";

/// A guest that streams, and the host of its party.
struct Listening {
    host: Device,
    guest: Device,
    party: PartyId,
    stream: Stream,
    seq: u64,
}

impl Listening {
    async fn begin(server: &TestServer, n: u32) -> Self {
        let (host, guest) = (Device::new(server, n).await, Device::new(server, n + 1).await);
        let code = Code::numbered(n);
        host.host(&code, None).await;
        let party = guest.join(&code, "Ben").await.party.id;
        let mut stream = guest.stream(party, None).await;
        stream.welcome().await;
        let (seq, _) = stream.snapshot().await;
        Self {
            host,
            guest,
            party,
            stream,
            seq,
        }
    }

    /// What the host changes, at any replica, is the next that the guest hears.
    async fn hear_of_a_change_at(&mut self, target: Target) {
        let host = Device {
            target,
            ..self.host.clone()
        };
        let party: Party = host.party(self.party).await;
        let update = UpdateParty {
            name: Some(format!("Version {}", party.version).parse().unwrap()),
            ..UpdateParty::default()
        };
        let request = Request::new("PATCH", format!("/v1/parties/{}", self.party));
        let request = request.header("if-match", format!("\"{}\"", party.version));
        let changed: Party = host.send(request.json(&update)).await.ok();
        let (seq, event) = self.stream.event().await;
        assert_eq!(seq, self.seq + 1, "nothing is left out");
        assert!(matches!(event, PartyEvent::Updated { party } if party.name == changed.name));
        self.seq = seq;
    }

    /// Its server is about to stop, and says so: it goes on at another one, where it was.
    async fn go_over(&mut self, target: Target) {
        let (_, retry) = self.stream.bye().await;
        assert!(retry);
        self.guest.target = target;
        self.stream = self.guest.stream(self.party, Some(self.seq)).await;
        self.stream.welcome().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_costs_no_acknowledged_change() {
    let postgres = PostgresServer::start();
    let Replicas { one, two, url } = Replicas::start(&postgres, "upgrade").await;
    let (mut at_one, mut at_two) = (Listening::begin(&one, 10).await, Listening::begin(&two, 20).await);
    let targets = [one.target(), two.target()];
    let first = Writers::begin(&targets).await;
    let second = Writers::numbered(10..13, &[targets[1], targets[0]]).await;

    Sql::connect(&url).run(COLUMNS);
    first.get_on().await;
    second.get_on().await;
    for target in targets {
        at_one.hear_of_a_change_at(target).await;
        at_two.hear_of_a_change_at(target).await;
    }

    tokio::join!(one.stop(), at_one.go_over(targets[1]));
    first.get_on().await;
    at_one.hear_of_a_change_at(targets[1]).await;
    let new = TestServer::replica(&url, "one", Some(&two), None).await.unwrap();
    let third = Writers::numbered(20..23, &[new.target(), targets[1]]).await;
    at_one.hear_of_a_change_at(new.target()).await;
    at_two.hear_of_a_change_at(new.target()).await;

    let target = targets[1];
    tokio::join!(first.check(target), second.check(new.target()), third.check(target));
    two.stop().await;
    new.stop().await;
}
