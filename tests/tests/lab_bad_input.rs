//! What people do wrong, and what the machine lacks: one sentence that says so, an exit code, and nothing half-done.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::agent::{self, Agent};
use lanrage_tests::lab::clock;
use lanrage_tests::lab::control::Control;
use lanrage_tests::lab::process::{self, Finished};
use lanrage_tests::lab::{HomeSpec, Host, Lab, Nat, Netns, bins, wait};

const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A home whose PC is about to do something wrong.
struct Scene {
    lab: Lab,
    host: Host,
}

impl Scene {
    fn new() -> Result<Option<Self>> {
        let Some(mut lab) = Lab::for_test()? else {
            return Ok(None);
        };
        let host = lab.home(HomeSpec::new(Nat::PortRestricted).hosts(2))?.host().clone();
        Ok(Some(Self { lab, host }))
    }

    fn state(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// Starts the agent in the foreground where that must fail.
    fn refused_up(&self, state: &Path, more: &[&str]) -> Result<Finished> {
        let mut arguments = vec!["up", "--foreground"];
        arguments.extend(more);
        process::run(agent::command(&self.host.netns, state, &arguments)?, COMMAND_LIMIT)
    }

    fn interfaces(&self) -> Result<String> {
        let all = self.host.netns.run("ip", &["-brief", "link", "show"])?;
        Ok(all
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect::<Vec<_>>()
            .join(" "))
    }
}

/// Exit code ≠ 0 and one sentence that contains one of `words`.
fn check(answer: &Finished, words: &[&str]) -> Result<()> {
    let said = answer.stderr.trim();
    ensure!(answer.code != 0, "it succeeded: {answer:?}");
    ensure!(answer.code < 128, "it died: {answer:?}");
    ensure!(
        !said.is_empty() && said.lines().count() == 1,
        "not one sentence: {answer:?}"
    );
    ensure!(said.chars().count() <= 400, "too long for a sentence: {said}");
    let lower = said.to_lowercase();
    ensure!(
        !lower.contains("panicked") && !lower.contains("backtrace"),
        "not for people: {said}"
    );
    ensure!(
        words.iter().any(|word| lower.contains(word)),
        "does not name the problem ({words:?}): {said}"
    );
    Ok(())
}

/// Every file below a directory, by content; sockets and logs aside.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let quiet = |path: &Path| {
        path.extension()
            .is_none_or(|extension| extension != "log" && extension != "sock")
    };
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && quiet(path))
        .filter_map(|path| Some((path.clone(), fs::read(&path).ok()?)))
        .collect()
}

/// A scene with a server and an idle agent.
struct Party {
    scene: Scene,
    control: Control,
    agent: Agent,
}

impl Party {
    fn new() -> Result<Option<Self>> {
        let Some(scene) = Scene::new()? else {
            return Ok(None);
        };
        let control = Control::start(&scene.lab.srv, scene.lab.dir())?;
        let agent = Agent::up(&scene.host.netns, "Clumsy", scene.lab.dir())?;
        Ok(Some(Self { scene, control, agent }))
    }

    /// Runs a command that must be refused and must leave no trace.
    fn refuses(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        let before = (contents(self.agent.state()), self.scene.interfaces()?);
        check(&self.agent.run(arguments)?, words).with_context(|| format!("lanrage {}", arguments.join(" ")))?;
        let after = (contents(self.agent.state()), self.scene.interfaces()?);
        ensure!(before.0 == after.0, "the state directory changed: {:?}", after.0.keys());
        ensure!(
            before.1 == after.1,
            "interfaces before and after: {} / {}",
            before.1,
            after.1
        );
        let status = self.agent.status()?;
        ensure!(
            status.state == "idle" && status.virtual_ip.is_none(),
            "half in a party: {status:?}"
        );
        Ok(())
    }
}

#[test]
fn a_link_or_invite_that_cannot_work_is_refused() -> Result<()> {
    let Some(party) = Party::new()? else { return Ok(()) };
    let link = &party.control.link;
    let (place, pin) = link.split_once('#').context("a link has a pin")?;
    let flipped: String = pin.chars().rev().collect();
    let code = "0123-4567-89AB-CDEF-GHJK";

    party.refuses(&["host", &format!("{place}#{flipped}")], &["key"])?;
    party.refuses(&["join", &format!("{place}/{code}#{flipped}")], &["key"])?;
    party.refuses(&["join", &format!("{place}/{code}#{pin}")], &["invite"])?;
    party.refuses(&["join", link], &["invite"])?;
    party.refuses(&["host", &format!("{place}/{code}#{pin}")], &["invite"])?;
    party.refuses(&["join", "hello"], &["lanrage://"])?;
    party.refuses(
        &["host", &format!("lanrage://203.0.113.20:1#{pin}")],
        &["reach", "refused", "connect"],
    )?;
    party.refuses(&["host", link, "--name", &"😀".repeat(300)], &["40 characters"])?;
    party.refuses(&["host", link, "--party", &"😀".repeat(300)], &["40 characters"])?;
    party.refuses(&["leave"], &["party"])?;
    party.refuses(&["invite"], &["party"])?;
    party.refuses(&["dance"], &["dance"])?;
    party.refuses(&["peers", "--loud"], &["--loud"])?;
    Ok(())
}

#[test]
fn a_used_and_an_expired_invite_are_refused() -> Result<()> {
    let Some(mut party) = Party::new()? else { return Ok(()) };
    let dir = party.scene.lab.dir().to_owned();
    let server = &party.scene.lab.srv2;
    let host = Agent::up(server, "Host", &dir)?;
    host.host(&party.control.link, "small")?;
    let invite = |arguments: &[&str]| -> Result<String> {
        let mut all = vec!["--json", "invite"];
        all.extend(arguments);
        let answer = host.run(&all)?;
        ensure!(answer.code == 0, "{answer:?}");
        let value: serde_json::Value = serde_json::from_str(&answer.stdout)?;
        Ok(value["invite"].as_str().context("no invite")?.to_owned())
    };

    let once = invite(&["--uses", "1"])?;
    let second = Agent::up(&party.scene.lab.srv, "Second", &dir)?;
    second.join(&once)?;
    party.refuses(&["join", &once], &["used"])?;

    let brief = invite(&["--expires", "1m"])?;
    party.control.restart_with_clock(&clock::moved_by(120, &dir)?)?;
    party.refuses(&["join", &brief], &["expired"])
}

#[test]
fn a_full_party_refuses_one_more() -> Result<()> {
    const FULL: usize = 64;
    const PCS: usize = 4;
    let Some(mut party) = Party::new()? else {
        return Ok(());
    };
    let mut pcs = Vec::new();
    for _ in 0..PCS {
        pcs.push(party.scene.lab.home(HomeSpec::new(Nat::Open))?.host().netns.clone());
    }
    let dir = party.scene.lab.dir();
    let host = Agent::up(&party.scene.lab.srv2, "Host", dir)?;
    let invite = host.host(&party.control.link, "full")?.invite.context("no invite")?;
    // Members stay members when their agents die, so each makes room for the next on its PC. A PC runs one agent at a time:
    // the party's network, once it is on one agent's interface, is a network of that PC which another may not overlap.
    let fill = |first: usize, pc: &Netns| -> Result<()> {
        for member in (1..FULL).skip(first).step_by(PCS) {
            let agent = Agent::up(pc, &format!("Member{member}"), dir)?;
            agent
                .join(&invite)
                .with_context(|| format!("member {member} of {FULL}"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let fill = &fill;
        let threads: Vec<_> = pcs
            .iter()
            .enumerate()
            .map(|(first, pc)| scope.spawn(move || fill(first, pc)))
            .collect();
        let mut outcomes = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?);
        outcomes.try_for_each(|outcome| outcome)
    })?;
    party.refuses(&["join", &invite], &["full"])
}

#[test]
fn a_clock_six_hours_off_is_named() -> Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    let control = Control::start(&scene.lab.srv, scene.lab.dir())?;
    let host = Agent::up(&scene.lab.srv2, "Host", scene.lab.dir())?;
    let invite = host.host(&control.link, "party")?.invite.context("no invite")?;
    for (hours, arguments, said) in [
        (6, ["host", &control.link], "is 6 h ahead"),
        (6, ["join", &invite], "is 6 h ahead"),
        (-6, ["host", &control.link], "is 6 h behind"),
        (-6, ["join", &invite], "is 6 h behind"),
    ] {
        let library = clock::moved_by(hours * 3600, scene.lab.dir())?;
        let state = scene.state(&format!("shifted{hours}{}", arguments[0]));
        let mut up = agent::command(&scene.host.netns, &state, &["up", "--foreground"])?;
        up.env("LD_PRELOAD", &library);
        let _agent = process::Process::spawn(up, "shifted", scene.lab.dir())?;
        let ask =
            |arguments: &[&str]| process::run(agent::command(&scene.host.netns, &state, arguments)?, COMMAND_LIMIT);
        wait::until("the agent to answer", Duration::from_secs(15), || {
            ask(&["status"]).ok().filter(|answer| answer.code == 0)
        })?;
        let answer = ask(&arguments)?;
        check(&answer, &["clock"])?;
        ensure!(answer.stderr.contains(said), "does not say {said:?}: {}", answer.stderr);
        ensure!(!state.join("party.json").exists(), "half in a party");
    }
    ensure!(host.peers()?.is_empty(), "a refused guest is in the party");
    Ok(())
}

#[test]
fn a_server_that_cannot_be_reached_is_given_up_in_time() -> Result<()> {
    /// The agent gives a connection 5 s, and a name the system goes on looking up ends with it.
    const IN_TIME: Duration = Duration::from_secs(10);
    let Some(party) = Party::new()? else { return Ok(()) };
    let (_, pin) = party.control.link.split_once('#').context("a link has a pin")?;
    let server = &party.scene.lab.srv2;
    // Connections are taken by the kernel, and nobody ever answers.
    let mute = server.within(|| TcpListener::bind("0.0.0.0:9001"))??;
    server.nft("table ip silent {\nchain in { type filter hook input priority 0; tcp dport 9002 drop\n}\n}\n")?;
    for (place, words) in [
        ("203.0.113.20:9001", "no answer within 5 s"),
        ("203.0.113.20:9002", "no answer within 5 s"),
        ("no-such-host.invalid:8443", "cannot be reached"),
    ] {
        let asked = Instant::now();
        party.refuses(&["host", &format!("lanrage://{place}#{pin}")], &[words])?;
        ensure!(asked.elapsed() < IN_TIME, "{place} took {:?}", asked.elapsed());
    }
    drop(mute);
    Ok(())
}

#[test]
fn a_machine_that_cannot_run_the_agent_is_told_why() -> Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    let before = scene.interfaces()?;

    let program = bins::find("lanrage")?;
    let nobody = scene.lab.dir().join("nobody");
    fs::create_dir(&nobody)?;
    std::os::unix::fs::chown(&nobody, Some(65534), Some(65534))?;
    // The lab's directory is root's own; nobody must get through to its own part of it.
    fs::set_permissions(scene.lab.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    let copy = nobody.join("lanrage");
    fs::copy(&program, &copy)?;
    let as_nobody = |state: &Path, arguments: &[&str]| {
        let mut command = scene.host.netns.command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&copy)
            .arg("--state-dir")
            .arg(state)
            .args(arguments);
        process::run(command, COMMAND_LIMIT)
    };
    let (own, link) = (
        nobody.join("state"),
        format!("lanrage://203.0.113.10#{}", "A".repeat(43)),
    );
    let invite = link.replace('#', "/0123-4567-89AB-CDEF-GHJK#");
    for arguments in [
        ["up", "--foreground"].as_slice(),
        &["up"],
        &["host", &link],
        &["join", &invite],
    ] {
        check(&as_nobody(&own, arguments)?, &["root", "sudo"])
            .with_context(|| format!("{arguments:?} without root"))?;
    }
    ensure!(!own.join("identity.json").exists(), "an identity was made without root");
    let roots = Agent::up(&scene.host.netns, "Roots", scene.lab.dir())?;
    for command in ["status", "peers", "leave", "invite", "down"] {
        check(&as_nobody(roots.state(), &[command])?, &["sudo"]).with_context(|| format!("{command} without root"))?;
    }
    ensure!(roots.status()?.state == "idle", "nobody did something to root's agent");
    drop(roots);

    let mut command = scene.host.netns.command("unshare");
    command
        .args(["-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh"])
        .arg(&program);
    command
        .arg("--state-dir")
        .arg(scene.state("no-tun"))
        .args(["up", "--foreground"]);
    check(&process::run(command, COMMAND_LIMIT)?, &["/dev/net/tun"]).context("without /dev/net/tun")?;

    ensure!(
        scene.interfaces()? == before,
        "an interface was left behind: {}",
        scene.interfaces()?
    );
    Ok(())
}

#[test]
fn what_is_taken_is_not_taken_over() -> Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    scene.host.netns.ip("tuntap add dev taken0 mode tun\n")?;
    let before = scene.interfaces()?;
    check(
        &scene.refused_up(&scene.state("a"), &["--tun-name", "taken0"])?,
        &["taken0"],
    )
    .context("TUN name taken")?;

    let other = scene.host.netns.within(|| UdpSocket::bind("0.0.0.0:0"))??;
    let port = other.local_addr()?.port().to_string();
    check(
        &scene.refused_up(&scene.state("b"), &["--port", &port])?,
        &[port.as_str()],
    )
    .context("port taken")?;
    ensure!(
        scene.interfaces()? == before,
        "an interface was left behind: {}",
        scene.interfaces()?
    );

    let first = Agent::up(&scene.host.netns, "First", scene.lab.dir())?;
    let files = contents(first.state());
    check(&scene.refused_up(first.state(), &[])?, &["already running"]).context("second up")?;
    ensure!(
        files == contents(first.state()),
        "the second `up` changed the state of the first"
    );
    ensure!(first.status()?.state == "idle", "the first agent no longer answers");
    Ok(())
}

#[test]
fn a_command_without_an_agent_says_how_to_start_one() -> Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    for command in ["status", "peers", "leave", "invite", "down"] {
        let answer = process::run(
            agent::command(&scene.host.netns, &scene.state("none"), &[command])?,
            COMMAND_LIMIT,
        )?;
        check(&answer, &["not running"]).with_context(|| command.to_owned())?;
    }
    Ok(())
}
