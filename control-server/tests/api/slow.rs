//! A database that answers, but slowly: somebody else holds its tables.

use std::time::{Duration, Instant};

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::InviteCreated;
use lanrage_shared::api::party::Party;
use lanrage_store::PATIENCE;
use tokio::time::timeout;

use crate::faults::{Watched, Writers, until_ready};
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Request, Sql, TestServer};

/// Longest wait for a refusal: each transaction that still begins, as the next beat does, is an answer to all who wait.
const REFUSED: Duration = Duration::from_secs(3);

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
async fn what_waits_for_one_slow_table_while_others_are_answered_is_given_up_with_its_request() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("table");
    let limits = LimitsConfig {
        request_timeout_s: Within::clamped(2),
        ..LimitsConfig::default()
    };
    let server = TestServer::limited_replica(&url, "one", None, None, limits)
        .await
        .unwrap();
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
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(answer.headers["retry-after"], "1");
    answer.refused(503, ErrorCode::Unavailable);
    let answer = anna.get(format!("/v1/parties/{id}")).await;
    assert!(!answer.headers.contains_key("age"));
    answer.ok::<Party>();

    let mut waiting = std::pin::pin!(invite(2));
    assert!(timeout(PATIENCE, &mut waiting).await.is_err());
    drop(other);
    waiting.await.ok::<InviteCreated>();
    server.stop().await;
}
