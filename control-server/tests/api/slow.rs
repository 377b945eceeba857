//! A database that answers, but slowly: somebody else holds its tables.

use std::time::{Duration, Instant};

use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::InviteCreated;
use lanrage_shared::api::party::Party;

use crate::faults::{Watched, Writers, until_ready};
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Request, Sql, TestServer};

/// Longest wait for a refusal.
const REFUSED: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_gets_done_changes_are_refused_and_reads_are_answered_from_memory() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("slow");
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let mut watched = Watched::begin(&server).await;
    let writers = Writers::begin(&[server.target()]).await;
    let mut other = Sql::connect(&url);
    // In the order of whoever takes two of them.
    other.run("BEGIN; LOCK TABLE replicas, soft_writes, parties IN ACCESS EXCLUSIVE MODE;");
    for _ in 0..3 {
        watched.goes_on(&server).await;
    }
    drop(other);
    until_ready(server.target()).await;
    watched.catches_up(&server).await;
    let (longest, refused) = writers.check(server.target()).await;
    assert!(
        refused > 0 && longest <= REFUSED,
        "{refused} refusals, the slowest after {longest:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_one_slow_table_is_refused_and_the_rest_goes_on() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("table");
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let anna = Device::new(&server, 1).await;
    let id = anna.host(&Code::new(1), None).await.party.id;
    let invite = |n| {
        let request = Request::new("POST", format!("/v1/parties/{id}/invites"));
        anna.send(request.json(&Code::new(n).invite(None)))
    };
    let mut other = Sql::connect(&url);
    other.run("BEGIN; LOCK TABLE invites IN ACCESS EXCLUSIVE MODE;");

    let began = Instant::now();
    let answer = invite(2).await;
    assert!(began.elapsed() <= REFUSED, "refused after {:?}", began.elapsed());
    assert_eq!(answer.headers["retry-after"], "1");
    answer.refused(503, ErrorCode::Unavailable);
    let answer = anna.get(format!("/v1/parties/{id}")).await;
    assert!(!answer.headers.contains_key("age"));
    answer.ok::<Party>();

    drop(other);
    invite(2).await.ok::<InviteCreated>();
    server.stop().await;
}
