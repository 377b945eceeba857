//! Real games from Debian's packages, on PCs behind different routers: their servers are found by everybody without an address
//! typed, and played on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::discovery::{Asker, Heard};
use lanrage_tests::lab::internet::which;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::process::Process;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::{Nat, Netns, wait};
use std::net::Ipv4Addr;

const ONE_WAY_MS: f64 = 10.0;
const SETTLE: Duration = Duration::from_secs(60);
/// A game's server loads for some seconds, a client draws in software.
const START: Duration = Duration::from_secs(60);
/// How long it is played.
const PLAY: Duration = Duration::from_secs(60);
/// How often a scan is repeated while its server starts.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// One PC with a server, one that reaches it directly, one that reaches it through a relay.
struct Evening {
    scene: Scene,
}

impl Evening {
    fn begin() -> Result<Option<Self>> {
        let guests = [Nat::PortRestricted, Nat::UdpBlocked];
        let Some(scene) = Scene::for_test(Nat::PortRestricted, &guests, ONE_WAY_MS)? else {
            return Ok(None);
        };
        let addresses = scene.join_all()?;
        scene.host.agent.wait_direct("Ben1", SETTLE)?;
        scene.host.agent.wait_relayed("Ben2", SETTLE)?;
        for address in addresses {
            Pinger::new(scene.host.agent.netns(), address)?.first_answer(Duration::from_millis(500), SETTLE)?;
        }
        Ok(Some(Self { scene }))
    }

    fn guests(&self) -> [&Agent; 2] {
        [&self.scene.guests[0].agent, &self.scene.guests[1].agent]
    }

    /// A home directory of its own for a program.
    fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.scene.lab.dir().join(name);
        std::fs::create_dir_all(&home)?;
        Ok(home)
    }

    fn server(&self, name: &str, program: &str, arguments: &[&str]) -> Result<Process> {
        let home = self.home(name)?;
        run(
            self.scene.host.agent.netns(),
            &home,
            name,
            program,
            arguments,
            self.scene.lab.dir(),
        )
    }

    /// Every guest scans as the game does, until the host's server answers: from a socket on all addresses, from one that is
    /// bound to its PC's own network, and to that network's broadcast address.
    fn all_find(&self, scan: &Scan) -> Result<()> {
        for guest in &self.scene.guests {
            let lan = guest.home.host().address;
            let [a, b, c, _] = lan.octets();
            for (at, to) in [
                (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
                (lan, Ipv4Addr::BROADCAST),
                (lan, Ipv4Addr::new(a, b, c, 255)),
            ] {
                let asker = Asker::bind(guest.agent.netns(), at, 0)?;
                let found = scan.answered(&asker, to, self.scene.host_ip);
                found.with_context(|| format!("{} looks for {} from {at} at {to}", guest.agent.name(), scan.name))?;
            }
        }
        Ok(())
    }
}

fn run(netns: &Netns, home: &Path, name: &str, program: &str, arguments: &[&str], logs: &Path) -> Result<Process> {
    let mut command = netns.command(which(program)?);
    command.args(arguments).env("HOME", home).current_dir(home);
    Process::spawn(command, name, logs)
}

/// How a game looks for servers, here from an ordinary socket.
struct Scan {
    name: &'static str,
    ports: std::ops::RangeInclusive<u16>,
    question: Vec<u8>,
    /// Where in the answer these bytes stand.
    answer: (usize, &'static [u8]),
}

impl Scan {
    fn answered(&self, asker: &Asker, to: Ipv4Addr, server: Ipv4Addr) -> Result<Heard> {
        let (mut heard, mut asked) = (Vec::new(), None::<Instant>);
        let found = wait::until("its server to be found", START, || {
            if asked.is_none_or(|at| at.elapsed() > SCAN_EVERY) {
                asked = Some(Instant::now());
                for port in self.ports.clone() {
                    asker.send(to, port, &self.question).ok()?;
                }
            }
            heard.extend(asker.hear().ok()?);
            let (at, bytes) = self.answer;
            let is_it =
                |heard: &&Heard| heard.from.ip() == server && heard.payload.get(at..at + bytes.len()) == Some(bytes);
            heard.iter().find(is_it).cloned()
        });
        found.with_context(|| format!("what came: {heard:?}"))
    }
}

fn openarena() -> Scan {
    Scan {
        name: "OpenArena",
        ports: 27960..=27963,
        question: b"\xff\xff\xff\xffgetinfo xxx".to_vec(),
        answer: (0, b"\xff\xff\xff\xffinfoResponse\n"),
    }
}

#[test]
fn openarena_is_found_by_its_own_client_and_played_for_a_minute() -> Result<()> {
    let Some(evening) = Evening::begin()? else {
        return Ok(());
    };
    let mut server = evening.server(
        "openarena-server",
        "/usr/games/openarena-server",
        &["+set", "dedicated", "1", "+set", "net_port", "27960", "+map", "oa_dm1"],
    )?;
    evening.all_find(&openarena())?;
    let address = format!("{}:27960", evening.scene.host_ip);
    for guest in evening.guests() {
        // Talkative, it says of each answer where it came from, and why it is not listed when it is not.
        let scan = ["+set", "developer", "1", "+localservers"];
        let mut client = client(&evening, guest, "scan", &scan)?;
        client
            .wait_for_line(&format!("CL packet {address}: infoResponse"), START)
            .with_context(|| client.log())?;
        ensure!(!client.log().contains("info packet"), "{}", client.log());
        client.kill();
    }
    let mut clients = Vec::new();
    for guest in evening.guests() {
        let name = guest.name();
        clients.push(client(
            &evening,
            guest,
            "play",
            &["+set", "name", name, "+connect", &address],
        )?);
        server
            .wait_for_line(&format!("{name}^7 entered the game"), START)
            .with_context(|| server.log())?;
    }
    let began = Instant::now();
    // The server counts who is there, with their round trips, until the minute is over.
    let status = Asker::bind(evening.guests()[0].netns(), Ipv4Addr::UNSPECIFIED, 0)?;
    while began.elapsed() < PLAY {
        status.send(evening.scene.host_ip, 27960, b"\xff\xff\xff\xffgetstatus xxx")?;
        let players = wait::until("the server's status", SETTLE, || {
            let heard = status.hear().ok()?.pop()?;
            let text = String::from_utf8_lossy(&heard.payload).into_owned();
            Some(
                evening
                    .guests()
                    .iter()
                    .filter(|guest| text.contains(&format!("\"{}\"", guest.name())))
                    .count(),
            )
        })?;
        ensure!(
            players == 2,
            "{players} of 2 play on after {:?}: {}",
            began.elapsed(),
            server.log()
        );
        std::thread::sleep(SCAN_EVERY);
    }
    for mut client in clients {
        if let Some(error) = client.died() {
            return Err(error);
        }
    }
    ensure!(!server.log().contains("timed out"), "{}", server.log());
    Ok(())
}

/// The game itself, drawn for nobody.
fn client(evening: &Evening, guest: &Agent, what: &str, arguments: &[&str]) -> Result<Process> {
    let name = format!("openarena-{what}-{}", guest.name());
    let settings = [
        ["s_initsound", "0"],
        ["r_mode", "-1"],
        ["r_customwidth", "160"],
        ["r_customheight", "120"],
        ["r_fullscreen", "0"],
        ["r_picmip", "8"],
        ["com_maxfps", "10"],
        ["in_nograb", "1"],
    ];
    let mut all = vec!["-a", "-s", "-screen 0 160x120x24", "/usr/games/openarena"];
    for [setting, value] in &settings {
        all.extend(["+set", setting, value]);
    }
    all.extend(arguments);
    let home = evening.home(&name)?;
    run(guest.netns(), &home, &name, "xvfb-run", &all, evening.scene.lab.dir())
}

#[test]
fn teeworlds_and_openttd_are_found() -> Result<()> {
    let Some(evening) = Evening::begin()? else {
        return Ok(());
    };
    let _teeworlds = evening.server(
        "teeworlds",
        "/usr/games/teeworlds-server",
        &["sv_name lab", "sv_register 0", "sv_port 8303"],
    )?;
    // The first thing a client of version 0.7 sends is a request for a token, 512 bytes long so that nobody gains by its answer.
    let mut question = vec![0x04, 0, 0, 0xff, 0xff, 0xff, 0xff, 5, 1, 2, 3, 4];
    question.resize(7 + 1 + 512, 0);
    evening.all_find(&Scan {
        name: "Teeworlds",
        ports: 8303..=8310,
        question,
        // Addressed to the client's token, and a token in turn.
        answer: (3, &[1, 2, 3, 4, 5]),
    })?;
    let _openttd = evening.server("openttd", "/usr/games/openttd", &["-D", "0.0.0.0:3979", "-g"])?;
    evening.all_find(&Scan {
        name: "OpenTTD",
        ports: 3979..=3979,
        question: vec![3, 0, 0],
        answer: (2, &[1]),
    })
}
