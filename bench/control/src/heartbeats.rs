//! Heartbeats a second: what members say of themselves on their streams, next to an empty server that takes as many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::agent::source;
use crate::crowd::Gathered;
use crate::databases::Databases;
use crate::empty::{ECHO, EmptyServer, HANDLER};
use crate::http::{Connection, Target};
use crate::member::{Beat, Crowd, Ticks, carry};
use crate::process::{Process, own_cpu_s};
use crate::report::{Goals, Outcome};
use crate::server::{ControlServer, Setup};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// Agents that connect to the empty server at a time.
const AT_ONCE: usize = 64;
/// Connections of one address.
const PER_ADDRESS: u32 = 100;

/// What takes the heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Through {
    /// An empty axum handler, over HTTP on connections that stay
    Handler,
    /// An axum WebSocket that sends back what comes
    Echo,
    /// The control server on SQLite
    Sqlite,
    /// On PostgreSQL
    Postgres,
    /// On PostgreSQL with Redis
    Redis,
    /// Two of them, with the members of each party on both
    Replicas,
}

#[derive(Debug, Clone, clap::Args)]
pub struct HeartbeatArgs {
    /// What takes the heartbeats, one after the other
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "handler,echo,sqlite,postgres,redis,replicas"
    )]
    through: Vec<Through>,
    /// Agents with a stream each
    #[arg(long, default_value_t = 4000)]
    agents: u32,
    /// Heartbeats a second, all agents together
    #[arg(long, default_value_t = 22_000)]
    rate: u32,
    /// Members of a party
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=254))]
    party_of: u32,
    /// One heartbeat in so many says something new, which the others of the party are told
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    news_in: u32,
    /// How long each row is measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often everything is run
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

pub async fn run(args: &HeartbeatArgs, goals: &mut Goals) -> Result<()> {
    let databases = Databases::default();
    println!("{}", Outcome::head());
    for _ in 0..args.rounds {
        for through in &args.through {
            let outcome = match through {
                Through::Handler | Through::Echo => empty(*through, args).await?,
                _ => streams(*through, &databases, args).await?,
            };
            println!("{outcome}");
            if !matches!(through, Through::Handler | Through::Echo) {
                goals.is(outcome.taken_per_s() >= 20_000.0, "20,000 heartbeats a second");
                goals.is(outcome.lost == 0, "no stream breaks");
                goals.is(
                    outcome.per_write().is_none_or(|ratio| ratio >= 50.0),
                    "50 heartbeats for a write",
                );
            }
        }
    }
    Ok(())
}

async fn streams(through: Through, databases: &Databases, args: &HeartbeatArgs) -> Result<Outcome> {
    let postgres = matches!(through, Through::Postgres | Through::Redis | Through::Replicas);
    let redis = matches!(through, Through::Redis | Through::Replicas);
    let one = ControlServer::start(Setup {
        database: postgres.then(|| databases.postgres()),
        redis: redis.then(|| databases.redis()),
        limits: vec![format!("connections = {}", args.agents + 1000)],
        ..Setup::default()
    });
    let one = one.await?;
    let mut servers = vec![one];
    if through == Through::Replicas {
        let two = servers[0].replica().await?;
        servers.push(two);
    }
    let before_kib = resident_kib(&servers)?;
    let targets: Vec<&Target> = servers.iter().map(|server| &server.target).collect();
    let gathered = Gathered::new(&targets, args.agents, args.party_of).await?;
    settle().await;
    let kib = resident_kib(&servers)? - before_kib;
    gathered.crowd.beat(Some(beat(args, args.news_in)));
    sleep(WARM_UP).await;
    let counted = async || -> Result<(f64, f64)> {
        let (mut taken, mut written) = (0.0, 0.0);
        for server in &servers {
            taken += server.metric("lanrage_control_presence_updates_total", "").await?;
            written += server.metric(DATABASE_OPERATIONS, SOFT_WRITES).await?;
        }
        Ok((taken, written))
    };
    let crowd = &gathered.crowd;
    let processes: Vec<&Process> = servers.iter().map(|server| &server.process).collect();
    let (taken, written) = counted().await?;
    // A server under load takes its time to tell, so what it counts has a time of its own.
    let counting = Instant::now();
    let mut outcome = measure(through, crowd, &processes, args).await?;
    let (taken_then, written_then) = counted().await?;
    let share = outcome.seconds / counting.elapsed().as_secs_f64();
    outcome.taken = (taken_then - taken) * share;
    outcome.writes = Some((written_then - written) * share);
    outcome.kib_per_agent = kib / f64::from(args.agents);
    Ok(outcome)
}

/// Transactions that write what members said, each of up to two statements.
const DATABASE_OPERATIONS: &str = "lanrage_control_database_operation_duration_seconds_count";
const SOFT_WRITES: &str = "operation=\"save_soft\"";

async fn empty(through: Through, args: &HeartbeatArgs) -> Result<Outcome> {
    let server = EmptyServer::start()?;
    let before_kib = server.process.memory_kib("VmRSS")?;
    let crowd = Crowd::new()?;
    let mut tasks = JoinSet::new();
    let connections = (0..args.agents).map(|number| server.target.connect(source(number / PER_ADDRESS)));
    let mut connections = stream::iter(connections).buffer_unordered(AT_ONCE);
    while let Some(connection) = connections.try_next().await? {
        let crowd = Arc::clone(&crowd);
        if through == Through::Handler {
            tasks.spawn(async move {
                // Whoever has no answer is missing in what is counted.
                let _ = ask(connection, &crowd).await;
            });
        } else {
            let socket = connection.upgrade(ECHO, "none").await?;
            tasks.spawn(async move { carry(socket, &crowd).await });
        }
    }
    drop(connections);
    settle().await;
    let kib = server.process.memory_kib("VmRSS")? - before_kib;
    crowd.beat(Some(beat(args, 1)));
    sleep(WARM_UP).await;
    let mut outcome = measure(through, &crowd, &[&server.process], args).await?;
    outcome.taken = outcome.told;
    outcome.kib_per_agent = kib / f64::from(args.agents);
    Ok(outcome)
}

/// Heartbeats as requests, each after the answer to the one before.
async fn ask(mut connection: Connection, crowd: &Crowd) -> Result<()> {
    let mut beats = crowd.beats();
    beats.mark_changed();
    let mut ticks = Ticks::default();
    loop {
        tokio::select! {
            Ok(()) = beats.changed() => ticks = Ticks::of(*beats.borrow_and_update()),
            due = ticks.next() => {
                let text = ticks.says(crowd, due);
                crowd.sent.fetch_add(1, Ordering::Relaxed);
                connection.ask(Method::POST, HANDLER, "", text.into()).await?;
                crowd.arrived(crowd.stamp(due));
            }
        }
    }
}

async fn measure(through: Through, crowd: &Crowd, servers: &[&Process], args: &HeartbeatArgs) -> Result<Outcome> {
    let cpu_s = || servers.iter().map(|server| server.cpu_s()).sum::<Result<f64>>();
    let told = || crowd.told.load(Ordering::Relaxed);
    crowd.latency_us.lock().reset();
    let (began, cpu, load_cpu, told_before) = (Instant::now(), cpu_s()?, own_cpu_s()?, told());
    sleep(Duration::from_secs(args.seconds)).await;
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages")]
    let told = (told() - told_before) as f64;
    Ok(Outcome {
        through: through
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned()),
        agents: args.agents,
        seconds: began.elapsed().as_secs_f64(),
        taken: 0.0,
        told,
        lost: crowd.lost.load(Ordering::Relaxed),
        writes: None,
        cpu_s: cpu_s()? - cpu,
        load_cpu_s: own_cpu_s()? - load_cpu,
        latency_us: crowd.latency_us.lock().clone(),
        kib_per_agent: 0.0,
    })
}

fn beat(args: &HeartbeatArgs, news_in: u32) -> Beat {
    Beat {
        every: Duration::from_secs(1).mul_f64(f64::from(args.agents) / f64::from(args.rate)),
        news_in,
    }
}

fn resident_kib(servers: &[ControlServer]) -> Result<f64> {
    servers.iter().map(|server| server.process.memory_kib("VmRSS")).sum()
}

/// What comes after the beginning of a stream has come.
async fn settle() {
    sleep(Duration::from_secs(1)).await;
}
