//! The load: pairs of ends, one payload after the other to each pair in turn, at a steady rate.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::RunArgs;
use crate::ends::{Receiver, Sender};
use crate::process::own_cpu_s;
use crate::report::Outcome;
use crate::subject::{Subject, Way};

/// How often payloads that are due are sent: they go out in small bursts, as parties' do.
const TICK: Duration = Duration::from_millis(1);
/// What a generator that fell behind makes up for; more would be a burst nobody asked for.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Before anything is counted: paths find out how large their packets may be, caches fill.
const WARM_UP: Duration = Duration::from_secs(1);
/// For what is still on its way at the end, and for handshakes to be done with.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs one count of pairs at one rate through one subject.
pub async fn run(way: Way, core: Option<usize>, pairs: u16, rate: u32, args: &RunArgs) -> Result<Outcome> {
    let subject = Subject::start(way, core).await?;
    let cpu_s = || subject.process().map_or(Ok(0.0), |process| process.cpu_s());
    let resident_kib = || subject.process().map_or(Ok(0.0), |process| process.memory_kib("VmRSS"));

    let kib_before = resident_kib()?;
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let connected = subject.connect(pair, args.size).await;
        let (sender, receiver) = connected.with_context(|| format!("pair {pair} through {}", way.label()))?;
        senders.push(sender);
        receivers.push(receiver);
    }
    sleep(SETTLE).await;
    let sessions = f64::from(pairs) * f64::from(subject.sessions_per_pair());
    let kib_per_session = (resident_kib()? - kib_before) / sessions;

    let began = Instant::now();
    let (from, to) = (began + WARM_UP, began + WARM_UP + Duration::from_secs(args.seconds));
    let measured = us(from - began)..us(to - began);
    let over = CancellationToken::new();
    let receiving: Vec<_> = receivers
        .into_iter()
        .map(|receiver| tokio::spawn(receive(receiver, began, measured.clone(), over.clone())))
        .collect();
    let sending = {
        let measured = measured.clone();
        thread::spawn(move || send(senders, rate, began, &measured))
    };
    sleep_until(from.into()).await;
    let (cpu_before, load_before) = (cpu_s()?, own_cpu_s()?);
    sleep_until(to.into()).await;
    let (cpu_s, load_cpu_s) = (cpu_s()? - cpu_before, own_cpu_s()? - load_before);
    sleep(SETTLE).await;
    over.cancel();
    let mut latency_us = Histogram::new(3)?;
    for receiving in receiving {
        latency_us.add(receiving.await??)?;
    }
    let sent = sending.join().ok().context("the sender panicked")?.1;
    Ok(Outcome {
        way,
        pairs,
        size: args.size,
        seconds: args.seconds as f64,
        sent,
        cpu_s,
        load_cpu_s,
        latency_us,
        kib_per_session,
    })
}

/// Sends until the end of what is measured; gives back the senders, whose end would end their sessions, and how many payloads
/// of what is measured it sent.
fn send(mut senders: Vec<Sender>, rate: u32, began: Instant, measured: &Range<u64>) -> (Vec<Sender>, u64) {
    let rate = f64::from(rate);
    let mut next = 0;
    let (mut begun, mut sent) = (0.0_f64, 0);
    loop {
        let elapsed = began.elapsed();
        if us(elapsed) >= measured.end {
            return (senders, sent);
        }
        let due = elapsed.as_secs_f64() * rate;
        begun = begun.max(due - CATCH_UP.as_secs_f64() * rate);
        while begun < due {
            let now = us(began.elapsed());
            senders[next].send(now);
            next = (next + 1) % senders.len();
            begun += 1.0;
            sent += u64::from(measured.contains(&now));
        }
        thread::sleep(TICK.saturating_sub(began.elapsed() - elapsed));
    }
}

/// How long each payload of what is measured took, in microseconds.
async fn receive(
    mut receiver: Receiver,
    began: Instant,
    measured: Range<u64>,
    over: CancellationToken,
) -> Result<Histogram<u64>> {
    let mut latency_us = Histogram::new(3)?;
    while let Some(Some(stamp)) = over.run_until_cancelled(receiver.next()).await {
        if measured.contains(&stamp) {
            latency_us.record(us(began.elapsed()).saturating_sub(stamp))?;
        }
    }
    Ok(latency_us)
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
