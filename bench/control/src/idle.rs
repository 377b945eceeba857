//! Memory of a server whose agents have their streams and say nothing, and the return of all of them after it was killed.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::crowd::Gathered;
use crate::process::own_cpu_s;
use crate::report::Goals;
use crate::server::{ControlServer, Setup};

/// So that pings have gone both ways.
const SETTLE: Duration = Duration::from_secs(8);
const MIB: f64 = 1024.0;

#[derive(Debug, Clone, clap::Args)]
pub struct CrowdArgs {
    /// Agents with a stream each
    #[arg(long, default_value_t = 10_000)]
    agents: u32,
    /// Members of a party
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=254))]
    party_of: u32,
}

pub async fn run(args: &CrowdArgs, goals: &mut Goals) -> Result<()> {
    let (server, gathered) = crowded(args).await?;
    let mib = server.process.memory_kib("VmRSS")? / MIB;
    let peak_mib = server.process.memory_kib("VmHWM")? / MIB;
    let CrowdArgs { agents, party_of } = args;
    println!("| idle streams | parties of | resident MiB | KiB/agent | at most MiB |");
    println!("| -----------: | ---------: | -----------: | --------: | ----------: |");
    let kib_per_agent = mib * MIB / f64::from(*agents);
    println!("| {agents} | {party_of} | {mib:.0} | {kib_per_agent:.1} | {peak_mib:.0} |");
    let allowed = 400.0 * f64::from(*agents) / 10_000.0;
    goals.is(mib <= allowed, "400 MiB for 10,000 idle streams");
    drop(gathered);
    Ok(())
}

pub async fn reconnect(args: &CrowdArgs, goals: &mut Goals) -> Result<()> {
    let (mut server, gathered) = crowded(args).await?;
    let steady_mib = server.process.memory_kib("VmRSS")? / MIB;
    let (killed, load_cpu_s) = (Instant::now(), own_cpu_s()?);
    server.kill_and_start().await?;
    let up_s = killed.elapsed().as_secs_f64();
    // Whoever has not heard of it yet is still counted.
    sleep(Duration::from_millis(100)).await;
    gathered.online(args.agents / 2).await?;
    let half_s = killed.elapsed().as_secs_f64();
    gathered.online(args.agents - args.agents / 100).await?;
    let most_s = killed.elapsed().as_secs_f64();
    gathered.all_online().await?;
    let all_s = killed.elapsed().as_secs_f64();
    let (cpu_s, load_cpu_s) = (server.process.cpu_s()?, own_cpu_s()? - load_cpu_s);
    sleep(SETTLE).await;
    let mib = server.process.memory_kib("VmRSS")? / MIB;
    let peak_mib = server.process.memory_kib("VmHWM")? / MIB;
    println!(
        "| agents | server up after s | half back | 99 % | all | CPU s | load CPU s | steady MiB | at most MiB | then MiB |"
    );
    println!(
        "| -----: | ----------------: | --------: | ---: | --: | ----: | ---------: | ---------: | ----------: | -------: |"
    );
    let agents = args.agents;
    println!(
        "| {agents} | {up_s:.1} | {half_s:.1} | {most_s:.1} | {all_s:.1} | {cpu_s:.1} | {load_cpu_s:.1} | {steady_mib:.0} \
         | {peak_mib:.0} | {mib:.0} |"
    );
    let refusals = gathered.crowd.refusals.lock();
    for (why, times) in refusals.iter() {
        println!("refused: {times} times: {why}");
    }
    goals.is(all_s <= 60.0, "all are back within 60 s");
    goals.is(peak_mib <= 2.0 * steady_mib, "at most twice the steady memory");
    let is_status = |why: &String| why.parse::<u16>().is_ok();
    let mut statuses = refusals.keys().filter(|why| is_status(why));
    goals.is(
        statuses.all(|status| status == "429" || status == "503"),
        "refused only with 429 or 503",
    );
    Ok(())
}

async fn crowded(args: &CrowdArgs) -> Result<(ControlServer, Gathered)> {
    let server = ControlServer::start(Setup {
        limits: vec![format!("connections = {}", args.agents + 1000)],
        ..Setup::default()
    });
    let server = server.await?;
    let gathered = Gathered::new(&[&server.target], args.agents, args.party_of).await?;
    sleep(SETTLE).await;
    Ok((server, gathered))
}
