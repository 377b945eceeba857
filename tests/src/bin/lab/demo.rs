//! What scripts/demo shows: two PCs behind two home routers share a LAN.
#![expect(clippy::print_stdout, reason = "the demo speaks to a person")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lanrage_tests::lab::agent::{Agent, Peer, Status};
use lanrage_tests::lab::control::Control;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::{Home, HomeSpec, Lab, LinkSpec, Nat, sweep, traffic};

const PREFIX: &str = "lrdemo-";
/// One way on each home's link; a round trip between the homes crosses four times.
const LINK_DELAY_MS: f64 = 5.0;
const BULK_BYTES: usize = 20_000_000;

/// What was measured.
struct Measured {
    joined: Duration,
    first_packet: Duration,
    raw: Duration,
    tunnel: Duration,
    there_mbit: f64,
    back_mbit: f64,
}

pub(crate) fn run(keep: bool) -> Result<()> {
    let start = Instant::now();
    let say = |what: &str| println!("[{:5.1} s] {what}", start.elapsed().as_secs_f32());

    say("building a small internet: a server, and two homes behind port-restricted routers, 20 ms apart");
    let mut lab = Lab::with_prefix(PREFIX)?;
    let mut home = || -> Result<Home> {
        let home = lab.home(HomeSpec::new(Nat::PortRestricted))?;
        lab.link(&home.router, &LinkSpec::delay(LINK_DELAY_MS))?;
        Ok(home)
    };
    let (home_anna, home_ben) = (home()?, home()?);

    say("starting the control server with relay services (lanrage-control serve --with-relay)");
    let control = Control::start(&lab.srv, lab.dir())?;
    say("starting an agent on Anna's PC and one on Ben's (lanrage up)");
    let anna = Agent::up(&home_anna.host().netns, "Anna", lab.dir())?;
    let ben = Agent::up(&home_ben.host().netns, "Ben", lab.dir())?;

    say("Anna hosts a party (lanrage host <server-link> --party demo --name Anna)");
    let hosted = anna.host(&control.link, "demo")?;
    let invite = hosted.invite.context("`lanrage host` printed no invite")?;
    say("Ben joins it with Anna's invite (lanrage join <invite> --name Ben)");
    let asked = Instant::now();
    let mut through_tunnel = Pinger::new(ben.netns(), hosted.virtual_ip)?;
    let (joined, first_packet) = std::thread::scope(|scope| {
        let pinger = scope.spawn(|| {
            let answer = through_tunnel.first_answer(Duration::from_millis(25), Duration::from_secs(15));
            answer.map(|_| asked.elapsed())
        });
        let joined = ben.join(&invite).map(|_| asked.elapsed());
        let answered = pinger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (joined, answered)
    });
    let (joined, first_packet) = (
        joined?,
        first_packet.context("no packet came through the tunnel after the join")?,
    );
    let peer = ben.wait_direct("Anna", Duration::from_secs(10))?;

    say("measuring round trips and throughput");
    let anna_ip = IpAddr::from(hosted.virtual_ip);
    let ben_ip = ben
        .status()?
        .virtual_ip
        .map(IpAddr::from)
        .context("Ben has no virtual address")?;
    let measured = Measured {
        joined,
        first_packet,
        raw: Pinger::new(ben.netns(), home_anna.wan)?.median(20)?,
        tunnel: through_tunnel.median(20)?,
        there_mbit: traffic::transfer(ben.netns(), anna.netns(), anna_ip, BULK_BYTES)?,
        back_mbit: traffic::transfer(anna.netns(), ben.netns(), ben_ip, BULK_BYTES)?,
    };
    report(&anna.status()?, &ben.status()?, &peer, &measured);
    if keep {
        let (anna_dir, ben_dir) = (anna.state().to_owned(), ben.state().to_owned());
        look_around(&lab, &[(&anna, &anna_dir), (&ben, &ben_dir)]);
        control.leave_running();
        anna.leave_running();
        ben.leave_running();
        lab.keep();
    } else {
        say("removing everything again (scripts/demo --keep leaves it running)");
    }
    Ok(())
}

pub(crate) fn stop() {
    if sweep::existing(PREFIX).is_empty() {
        println!("No demo is running.");
    }
    sweep::remove(PREFIX);
}

fn report(anna: &Status, ben: &Status, peer: &Peer, measured: &Measured) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let text =
        |address: Option<std::net::SocketAddr>| address.map_or_else(|| "unknown".into(), |address| address.to_string());
    let ip = |status: &Status| status.virtual_ip.map_or_else(|| "none".into(), |ip| ip.to_string());
    let line = |what: &str, found: String| println!("  {what:<28}{found}");
    println!("\nWhat happened");
    for (name, status) in [("Anna", anna), ("Ben", ben)] {
        let nat = &status.nat;
        line(
            &format!("{name}'s router"),
            format!("{}, seen from outside as {}", nat.kind, text(nat.public_address)),
        );
        line("", format!("(mapping {}, filtering {})", nat.mapping, nat.filtering));
        line(
            &format!("{name}'s virtual address"),
            format!("{} on interface {}", ip(status), status.device.tun),
        );
    }
    line(
        "Path from Ben to Anna",
        format!("{}, to {}", peer.path.kind, text(peer.path.address)),
    );
    line(
        "Join to first packet",
        format!(
            "{:.0} ms (`join` itself answered after {:.0} ms)",
            ms(measured.first_packet),
            ms(measured.joined)
        ),
    );
    line(
        "Round trip without LANrage",
        format!("{:.2} ms, Ben's PC to Anna's router", ms(measured.raw)),
    );
    line(
        "Round trip in the tunnel",
        format!("{:.2} ms, Ben's PC to Anna's PC", ms(measured.tunnel)),
    );
    line(
        "Throughput in the tunnel",
        format!(
            "{:.0} Mbit/s Ben to Anna, {:.0} Mbit/s back",
            measured.there_mbit, measured.back_mbit
        ),
    );
    line(
        "",
        format!(
            "(TCP, {} MB each way, checked by SHA-256; this one machine plays both PCs, both routers and the internet)\n",
            BULK_BYTES / 1_000_000
        ),
    );
}

fn look_around(lab: &Lab, agents: &[(&Agent, &std::path::PathBuf)]) {
    println!("Everything is still running. Look around (as root):");
    let program = lanrage_tests::lab::bins::find("lanrage").unwrap_or_else(|_| "lanrage".into());
    for (agent, state) in agents {
        println!(
            "  ip netns exec {} {} --state-dir {} peers",
            agent.netns().name(),
            program.display(),
            state.display()
        );
    }
    println!("  also: status, ping Anna, leave, --json; `ip netns exec NAME bash` is a shell on that PC");
    println!("  PCs, routers, server: {}", sweep::existing(lab.prefix()).join(" "));
    println!("  logs: {}/*.log", lab.dir().display());
    println!("Stop and remove it all: scripts/demo --stop");
}
