//! Whoever is removed from a party hears and says nothing more, told or not, directly or through a relay.
#![expect(
    clippy::print_stderr,
    reason = "the times measured say more than that they are short enough"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lanrage_tests::lab::address::SERVER2;
use lanrage_tests::lab::relay::Relay;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::traffic::Stream;
use lanrage_tests::lab::{LinkSpec, Nat, fault, wait};

/// One way from a home to the internet, in ms.
const HOP_MS: f64 = 5.0;
/// How far the control server, with the relay in it, is beyond that: the other relay is nearer.
const FAR_MS: f64 = 15.0;
const SETTLE: Duration = Duration::from_secs(20);
/// Packets per second.
const RATE: u32 = 1000;
/// From the command to the last packet that arrives.
const LIMIT: Duration = Duration::from_secs(1);
/// Whoever is silent for this long is taken for silenced: as long as is allowed.
const QUIET: Duration = Duration::from_millis(1000);

/// A host, a guest who is kicked, and one who stays.
struct Party {
    scene: Scene,
    relayed: bool,
}

impl Party {
    fn new(nat: Nat) -> Result<Option<Self>> {
        let scene = Scene::for_test(nat, &[nat; 2], HOP_MS)?;
        Ok(scene.map(|scene| Self {
            scene,
            relayed: nat == Nat::Symmetric,
        }))
    }

    /// Kicks the first guest in the middle of a game; how long packets still arrived. With `told` unset it cannot hear of it
    /// from the control server.
    fn kick(&self, stays: Ipv4Addr, told: bool) -> Result<Duration> {
        let (host, guests) = (&self.scene.host, &self.scene.guests);
        let kicked = &guests[0];
        let address = kicked.agent.join(&self.scene.invite)?.virtual_ip;
        for (agent, peer) in [(&kicked.agent, &host.agent), (&guests[1].agent, &kicked.agent)] {
            if self.relayed {
                agent.wait_relayed(peer.name(), SETTLE)?;
            } else {
                agent.wait_direct(peer.name(), SETTLE)?;
            }
        }
        let [at_host, at_kicked, at_other] = [&host.agent, &kicked.agent, &guests[1].agent].map(|agent| agent.netns());
        let streams = vec![
            Stream::start(at_kicked, at_host, self.scene.host_ip.into(), RATE)?,
            Stream::start(at_kicked, at_other, stays.into(), RATE)?,
            Stream::start(at_host, at_kicked, address.into(), RATE)?,
        ];
        wait::until("packets to flow", SETTLE, || {
            streams.iter().all(Stream::is_flowing).then_some(())
        })?;
        if !told {
            fault::cut_control(&kicked.home)?;
        }
        let start = Instant::now();
        let answer = host.agent.run(&["kick", kicked.agent.name()])?;
        ensure!(answer.code == 0, "kick: {}", answer.stderr);
        let last = wait::until("the packets to stop", SETTLE, || {
            let last = streams.iter().filter_map(Stream::last_arrival).max()?;
            (last.elapsed() > QUIET).then_some(last)
        })?;
        if !told {
            fault::mend_control(&kicked.home)?;
        }
        drop(streams);
        // It may have noticed by itself.
        kicked.agent.run(&["leave"])?;
        wait::until("it to be out", SETTLE, || {
            kicked.agent.status().ok().filter(|status| status.state == "idle")
        })?;
        Ok(last.saturating_duration_since(start))
    }

    fn kick_often(&self, stays: Ipv4Addr, trials: usize) -> Result<()> {
        let mut all = Vec::new();
        for trial in 0..trials {
            all.push(self.kick(stays, trial % 2 == 0)?);
        }
        all.sort();
        eprintln!("last packets after {all:?}");
        let worst = all.last().copied().unwrap_or_default();
        ensure!(worst <= LIMIT, "{all:?}");
        Ok(())
    }
}

#[test]
fn a_kicked_member_is_cut_off_from_direct_paths() -> Result<()> {
    let Some(party) = Party::new(Nat::PortRestricted)? else {
        return Ok(());
    };
    let stays = party.scene.guests[1].agent.join(&party.scene.invite)?.virtual_ip;
    party.kick_often(stays, 6)
}

#[test]
fn a_kicked_member_is_cut_off_from_relays_also_after_their_restart() -> Result<()> {
    let Some(party) = Party::new(Nat::Symmetric)? else {
        return Ok(());
    };
    let lab = &party.scene.lab;
    lab.link(&lab.srv, &LinkSpec::delay(FAR_MS))?;
    let mut relay = Relay::start(&party.scene.control, &lab.srv2, SERVER2, 4443, "near", lab.dir())?;
    let stays = party.scene.guests[1].agent.join(&party.scene.invite)?.virtual_ip;
    party.kick_often(stays, 2)?;
    relay.restart()?;
    party.kick_often(stays, 2)
}
