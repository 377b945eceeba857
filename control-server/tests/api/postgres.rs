//! The program itself on a real PostgreSQL, over real HTTPS.

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "the program's own tests use all of it")]
pub mod program;

use lanrage_shared::api::party::Party;
use lanrage_shared::invite::ServerLink;

use self::program::{Serving, printed};
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Request, Target};

#[tokio::test(flavor = "multi_thread")]
async fn a_party_on_postgresql_outlives_the_program() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("control");
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--public-address", "vps.example:443", "--database-url", &url];

    let serving = Serving::start(dir.path(), &arguments);
    assert!(serving.first_line.contains("PostgreSQL") && !serving.first_line.contains(&url));
    let link: ServerLink = printed(&["link", "--data-dir", dir.path().to_str().unwrap()])
        .parse()
        .unwrap();
    let target = |serving: &Serving| Target {
        address: serving.address().parse().unwrap(),
        pin: link.pin,
    };
    let ready = |serving: &Serving| Request::new("GET", "/readyz").send(target(serving));
    let mut anna = Device::at(target(&serving), 1).await;
    let mut ben = Device::at(target(&serving), 2).await;
    let code = Code::new(1);
    let id = anna.host(&code, Some(1)).await.party.id;
    ben.join(&code, "Ben").await;
    let before: Party = anna.get(format!("/v1/parties/{id}")).await.ok();
    assert_eq!(before.members.len(), 2);
    assert_eq!(serving.terminate().code(), Some(0));

    let serving = Serving::start(dir.path(), &arguments);
    assert_eq!(ready(&serving).await.status, 200);
    (anna.target, ben.target) = (target(&serving), target(&serving));
    // With the tokens of before: the key that signs them is in the database.
    let after: Party = anna.get(format!("/v1/parties/{id}")).await.ok();
    assert_eq!(after.members.len(), 2);
    assert_eq!(after.version, before.version);
    assert_eq!(ben.leave(id).await.status, 204);
    drop(postgres);
    assert_eq!(ready(&serving).await.status, 503);
    assert_eq!(serving.terminate().code(), Some(0));
}
