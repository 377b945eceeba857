//! A game starts on one PC: the others hear of it, the tunnel is tuned for it, and its end undoes everything.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::process::Process;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::{Nat, Netns, counter, wait};
use serde_json::{Value, json};

/// A look every 15 s at most, and what follows it.
const SEEN: Duration = Duration::from_secs(30);
const CONNECTED: Duration = Duration::from_secs(20);
/// The user's own profile of a game that nobody else knows.
const PROFILE: &str = r#"
name = "Game of the Lab"
latency_class = "fast"
sources = ["the lab itself"]
[processes]
linux = ["labyrinth-game"]
[tuning]
keepalive_s = 3
mtu = 1000
dscp = 46
"#;
/// Counts what leaves a PC with expedited forwarding (46) on it.
const MARKED: &str = "table inet marks {
    counter marked {}
    chain out { type filter hook postrouting priority 0; meta l4proto udp ip dscp ef counter name marked; }
}";

fn report(agent: &Agent, arguments: &[&str]) -> Result<Value> {
    let answer = agent.run(&[&["--json"], arguments].concat())?;
    ensure!(answer.code == 0, "{arguments:?}: {answer:?}");
    Ok(serde_json::from_str(&answer.stdout)?)
}

/// What the host hears that its only guest plays.
fn heard(host: &Agent) -> Option<Value> {
    Some(report(host, &["peers"]).ok()?["peers"][0]["game"].clone())
}

fn mtu(pc: &Netns, tun: &str) -> Option<u64> {
    let shown = pc.run("ip", &["-json", "link", "show", tun]).ok()?;
    serde_json::from_str::<Value>(&shown).ok()?[0]["mtu"].as_u64()
}

fn addresses(pc: &Netns, tun: &str) -> Result<usize> {
    Ok(pc.run("ip", &["-brief", "address", "show", tun])?.matches('/').count())
}

fn pause(agent: &Agent) -> Option<u64> {
    report(agent, &["status"]).ok()?["keepalive"]["pause_s"].as_u64()
}

#[test]
fn a_renamed_game_is_told_and_tuned_for_until_it_ends() -> Result<()> {
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::PortRestricted], 5.0)? else {
        return Ok(());
    };
    scene.join_all()?;
    let (anna, ben) = (&scene.host.agent, &scene.guests[0].agent);
    let (pc, tun) = (ben.netns(), ben.status()?.device.tun);
    ben.wait_direct("Anna", CONNECTED)?;
    ensure!(heard(anna) == Some(Value::Null), "nobody plays yet");
    let (before, quiet) = (addresses(pc, &tun)?, pause(ben));
    pc.nft(MARKED)?;

    // A copy of a program that waits, under a name that only the profile makes a game of.
    let directory = scene.lab.dir().join("games");
    fs::create_dir_all(&directory)?;
    let exe = directory.join("labyrinth-game-2.1.x86_64");
    fs::copy("/bin/sleep", &exe)?;
    let profiles = ben.state().join("profiles");
    fs::create_dir_all(&profiles)?;
    fs::write(profiles.join("lab.toml"), PROFILE)?;
    let mut command: Command = pc.command(&exe);
    command.arg("600");
    let mut game = Process::spawn(command, "game", scene.lab.dir())?;

    let told = json!({"name": "Game of the Lab", "wording": "probably"});
    wait::until("the host to hear of the game", SEEN, || {
        (heard(anna)? == told).then_some(())
    })
    .with_context(|| format!("{:?}, {:?}", heard(anna), report(ben, &["games"])))?;
    let games = report(ben, &["games"])?;
    ensure!(
        games["games"][0]["pid"] == game.pid() && games["user_profiles"] == 1,
        "{games}"
    );
    ensure!(games["window_titles"] == false && games["note"].is_string(), "{games}");
    let elsewhere = report(anna, &["games"])?;
    ensure!(elsewhere["games"] == json!([]), "it runs on another PC: {elsewhere}");

    ensure!(mtu(pc, &tun) == Some(1000), "{:?}", mtu(pc, &tun));
    ensure!(pause(ben) == Some(3), "{:?} after {quiet:?}", pause(ben));
    let sent = counter::named(pc, "marked")?.packets;
    ensure!(
        ben.run(&["ping", "Anna", "-c", "2"])?.code == 0,
        "the tunnel works with 1,000 bytes"
    );
    let marked = counter::named(pc, "marked")?.packets - sent;
    ensure!(marked >= 2, "{marked} packets marked");

    game.kill();
    wait::until("the host to hear of its end", SEEN, || {
        heard(anna)?.is_null().then_some(())
    })?;
    ensure!(mtu(pc, &tun) == Some(1280), "{:?}", mtu(pc, &tun));
    ensure!(addresses(pc, &tun)? == before, "IPv6 is back");
    ensure!(pause(ben) >= quiet, "{:?} before, {:?} now", quiet, pause(ben));
    let recent = &report(ben, &["games"])?["recent"];
    ensure!(recent[0]["id"] == "lab", "{recent}");
    let sent = counter::named(pc, "marked")?.packets;
    ensure!(
        ben.run(&["ping", "Anna", "-c", "2"])?.code == 0,
        "the tunnel works as before"
    );
    let marked = counter::named(pc, "marked")?.packets - sent;
    ensure!(marked == 0, "{marked} packets are still marked");

    fs::write(profiles.join("lab.toml"), "name = \"Lab\"\nlatency = 3\n")?;
    wait::until("the mistake to be told", SEEN, || {
        let problem = report(ben, &["games"]).ok()?["problems"][0].clone();
        (problem["file"] == "lab.toml" && problem["line"] == 2).then_some(())
    })
}
