//! Do replicas agree in the end? Parties are changed at random at two servers at once, whose clocks are ten minutes apart (by
//! libfaketime) and whose Redis is frozen meanwhile. Two seconds after it thaws, what the public API says of every party must be the
//! same at both, and have in it every change that was acknowledged.

mod life;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::life::{gather, live};
use self::verdict::{Verdict, judge};
use crate::databases::Databases;
use crate::report::Goals;
use crate::server::{ControlServer, Setup};

/// How far each server's clock is from the true time, in opposite directions.
const SKEW_S: i64 = 300;
/// How long replicas may take to agree once nothing is in their way.
const AGREE: Duration = Duration::from_secs(2);
/// Parties that are made, and judged, at a time.
const AT_ONCE: usize = 16;

#[derive(Debug, Clone, clap::Args)]
pub struct ConvergeArgs {
    /// Parties that are changed at once
    #[arg(long, default_value_t = 1000)]
    parties: u32,
    /// Has everybody decide as in the run that had this number; chance draws one by default
    #[arg(long)]
    seed: Option<u64>,
}

pub async fn run(args: &ConvergeArgs, goals: &mut Goals) -> Result<()> {
    let databases = Databases::default();
    let (database, redis) = (databases.postgres(), databases.redis());
    let setup = |skew_s| Setup {
        database: Some(database.clone()),
        redis: Some(redis.clone()),
        limits: vec![format!("connections = {}", args.parties * 6 + 1000)],
        skew_s,
    };
    let one = ControlServer::start(setup(SKEW_S)).await?;
    let two = one.replica_with(setup(-SKEW_S)).await?;
    let targets = [one.target.clone(), two.target.clone()];
    let seed = args.seed.unwrap_or_else(rand::random);

    let parties: Vec<_> = stream::iter((0..args.parties).map(|n| gather(n, &targets)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    databases.freeze_redis();
    let began = Instant::now();
    let mut lives = JoinSet::new();
    for party in parties {
        let targets = targets.clone();
        lives.spawn(async move { live(party, &targets, seed).await });
    }
    let mut lived = Vec::new();
    while let Some(party) = lives.join_next().await {
        lived.push(party??);
    }
    let took_s = began.elapsed().as_secs_f64();
    databases.thaw_redis();
    sleep(AGREE).await;

    let verdicts: Vec<Verdict> = stream::iter(lived.iter().map(|party| judge(party, &targets)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let count = |what: fn(&Verdict) -> usize| verdicts.iter().map(what).sum::<usize>();
    let (agree, lost) = (count(|verdict| verdict.agrees.into()), count(|verdict| verdict.lost));
    let conflicts = count(|verdict| verdict.conflicts);
    let (acknowledged, refused) = lived.iter().fold((0, 0), |(acknowledged, refused), party| {
        (acknowledged + party.acknowledged, refused + party.refused)
    });
    println!(
        "| parties | seed | changed for s | membership changes acknowledged | refused | lost | conflicting writes | agree after 2 s |"
    );
    println!(
        "| ------: | ---: | ------------: | ------------------------------: | ------: | ---: | -----------------: | --------------: |"
    );
    let all = verdicts.len();
    println!("| {all} | {seed} | {took_s:.1} | {acknowledged} | {refused} | {lost} | {conflicts} | {agree} |");
    goals.is(
        agree == all,
        "every party is the same at both servers two seconds later",
    );
    goals.is(lost == 0, "no acknowledged change of a membership is lost");
    goals.is(conflicts > 0, "there are conflicts to resolve");
    Ok(())
}
