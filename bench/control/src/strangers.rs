//! What strangers do who mean no good: heads of requests that never end, and a body that never ends.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use hyper::Method;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::agent::{Agent, source};
use crate::http::{Connection, Target};
use crate::report::{Goals, latencies, ms};
use crate::server::{ControlServer, Setup};

/// Clients that mean well, each asking [`ASK_EVERY`]: 100 requests a second.
const CLIENTS: u32 = 20;
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Connections of one address that drip: fewer than it may hold.
const DRIPS_PER_ADDRESS: u32 = 100;
/// Addresses of strangers come after all agents'.
const STRANGERS: u32 = 1000;
/// A byte this often.
const DRIP_EVERY: Duration = Duration::from_millis(500);
const GIB: u64 = 1 << 30;

#[derive(Debug, Clone, clap::Args)]
pub struct SlowHeadersArgs {
    /// Connections that drip
    #[arg(long, default_value_t = 2000)]
    connections: u32,
    /// How long each row is measured
    #[arg(long, default_value_t = 25)]
    seconds: u64,
}

pub async fn slow_headers(args: &SlowHeadersArgs, goals: &mut Goals) -> Result<()> {
    let server = ControlServer::start(Setup::default()).await?;
    let target = &server.target;
    println!("| dripping | client | answers | failed | p50 ms | p99 ms | cut off/s | CPU | resident MiB |");
    println!("| -------: | :----- | ------: | -----: | -----: | -----: | --------: | --: | -----------: |");
    let mut without = Vec::new();
    for connections in [0, args.connections] {
        let cut_off = Arc::new(AtomicU64::new(0));
        let strangers = elsewhere()?;
        for number in 0..connections {
            strangers.spawn(drip(target.clone(), number, Arc::clone(&cut_off)));
        }
        // Until the first of them have been cut off and all are there.
        sleep(Duration::from_secs(8)).await;
        for (which, stays) in [true, false].into_iter().enumerate() {
            let (cut_before, cpu_before) = (cut_off.load(Ordering::Relaxed), server.process.cpu_s()?);
            let (latency, failed) = ask_well(target, args.seconds, stays).await?;
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let cut_off_per_s = (cut_off.load(Ordering::Relaxed) - cut_before) as f64 / args.seconds as f64;
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let cpu = (server.process.cpu_s()? - cpu_before) / args.seconds as f64;
            let (p50, p99) = (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99));
            println!(
                "| {connections} | {} | {} | {failed} | {} | {} | {cut_off_per_s:.0} | {cpu:.2} | {:.0} |",
                if stays { "keeps its connection" } else { "connects anew" },
                latency.len(),
                ms(p50),
                ms(p99),
                server.process.memory_kib("VmRSS")? / 1024.0,
            );
            goals.is(failed == 0, "nobody who means well is refused");
            match without.get(which) {
                Some(before) => goals.is(p99 <= 2 * before, "p99 at most twice as long beside slow headers"),
                None => without.push(p99),
            }
        }
        strangers.shutdown_background();
    }
    Ok(())
}

/// A runtime for strangers, whose own work would be done on machines of their own: its thread has what nobody else wants of the
/// cores, so that whoever means well waits for strangers in the server alone.
fn elsewhere() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(|| {
            let thread = rustix::thread::gettid().to_string();
            let chrt = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
            if !chrt.is_ok_and(|status| status.success()) {
                println!("chrt failed: strangers take time from everybody");
            }
        })
        .enable_all()
        .build()?;
    Ok(runtime)
}

/// What clients that mean well wait, in microseconds, and how often in vain.
async fn ask_well(target: &Target, seconds: u64, stays: bool) -> Result<(Histogram<u64>, u64)> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        // An address each; signing in counts with their own.
        let mut agent = Agent::new(number * 100);
        let mut connection = target.connect(agent.source()).await?;
        agent.sign_in(&mut connection, target.pin).await?;
        let target = target.clone();
        clients.spawn(async move {
            let (mut latency, mut failed) = (latencies()?, 0);
            let mut ticks = interval(ASK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let end = Instant::now() + Duration::from_secs(seconds);
            sleep(ASK_EVERY.mul_f64(rand::random())).await;
            while Instant::now() < end {
                let began = ticks.tick().await.max(Instant::now());
                match ask_once(&target, &agent, &mut connection, stays).await {
                    Ok(()) => latency.saturating_record(began.elapsed().as_micros().try_into()?),
                    Err(_) => failed += 1,
                }
            }
            anyhow::Ok((latency, failed))
        });
    }
    let (mut all, mut failed) = (latencies()?, 0);
    while let Some(client) = clients.join_next().await {
        let (latency, failures) = client??;
        all.add(latency)?;
        failed += failures;
    }
    Ok((all, failed))
}

async fn ask_once(target: &Target, agent: &Agent, connection: &mut Connection, stays: bool) -> Result<()> {
    if !stays {
        *connection = target.connect(agent.source()).await?;
    }
    connection
        .ask(Method::GET, "/v1/parties", &agent.token, Bytes::new())
        .await?;
    Ok(())
}

/// A byte of a head now and then, and again when the server has had enough.
async fn drip(target: Target, number: u32, cut_off: Arc<AtomicU64>) {
    let source = source(STRANGERS + number / DRIPS_PER_ADDRESS);
    // Not all at once.
    sleep(Duration::from_secs(5).mul_f64(rand::random())).await;
    loop {
        let Ok(mut tls) = target.dial(source).await else {
            sleep(DRIP_EVERY).await;
            continue;
        };
        let mut bytes = b"GET /v1/parties HTTP/1.1\r\nhost: server\r\nx: "
            .iter()
            .copied()
            .chain(std::iter::repeat(b'y'));
        let mut answer = [0; 512];
        while let Some(byte) = bytes.next()
            && tls.write_all(&[byte]).await.is_ok()
        {
            // The server says nothing until the end.
            if timeout(DRIP_EVERY, tls.read(&mut answer)).await.is_ok() {
                break;
            }
        }
        cut_off.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, clap::Args)]
pub struct HugeBodyArgs {
    /// The body's size, in GiB
    #[arg(long, default_value_t = 10)]
    gib: u64,
    /// How many are sent at once
    #[arg(long, default_value_t = 8)]
    connections: u32,
}

pub async fn huge_body(args: &HugeBodyArgs, goals: &mut Goals) -> Result<()> {
    let server = ControlServer::start(Setup::default()).await?;
    println!(
        "| bodies | client | answered 413 | taken MiB of each, at most | seconds | memory before MiB | at most MiB |"
    );
    println!(
        "| -----: | :----- | -----------: | -------------------------: | ------: | ----------------: | ----------: |"
    );
    for stops in [true, false] {
        let before_kib = server.process.memory_kib("VmRSS")?;
        let began = Instant::now();
        let mut bodies = JoinSet::new();
        for number in 0..args.connections {
            bodies.spawn(send_body(server.target.clone(), number, args.gib * GIB, stops));
        }
        let (mut answered, mut most) = (0, 0);
        while let Some(body) = bodies.join_next().await {
            let (status, taken) = body??;
            answered += u32::from(status.as_deref() == Some("413"));
            most = taken.max(most);
        }
        let peak_kib = server.process.memory_kib("VmHWM")?;
        #[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
        let most = most as f64 / f64::from(1 << 20);
        println!(
            "| {} | {} | {answered} | {most:.2} | {:.1} | {:.1} | {:.1} |",
            args.connections,
            if stops { "stops when refused" } else { "sends on" },
            began.elapsed().as_secs_f64(),
            before_kib / 1024.0,
            peak_kib / 1024.0,
        );
        goals.is(answered == args.connections, "a huge body is answered with 413");
        goals.is(peak_kib - before_kib < 8.0 * 1024.0, "memory stays flat");
    }
    Ok(())
}

/// Sends a body in chunks of 64 KiB; the status it is answered with, and the bytes that were taken.
async fn send_body(target: Target, number: u32, size: u64, stops: bool) -> Result<(Option<String>, u64)> {
    let mut agent = Agent::new(number);
    let mut connection = target.connect(agent.source()).await?;
    agent.sign_in(&mut connection, target.pin).await?;
    drop(connection);
    let (mut source, mut sink) = tokio::io::split(target.dial(agent.source()).await?);
    let head = format!(
        "POST /v1/parties HTTP/1.1\r\nhost: server\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        agent.token
    );
    sink.write_all(head.as_bytes()).await?;
    let answer = tokio::spawn(async move {
        let mut answer = [0; 1024];
        let length = source.read(&mut answer).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        text.split(' ').nth(1).map(str::to_owned)
    });
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b' ');
    chunk.extend(b"\r\n");
    let mut taken = 0;
    while taken < size && !(stops && answer.is_finished()) && sink.write_all(&chunk).await.is_ok() {
        taken += 0x10000;
    }
    let status = timeout(Duration::from_secs(20), answer)
        .await
        .context("there is an answer")??;
    Ok((status, taken))
}
