//! Paths that nobody uses for a while must still be there when somebody does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::agent::Agent;
use super::home::HomeSpec;
use super::internet::Lab;
use super::kind::Nat;
use super::link::LinkSpec;
use super::ping::Pinger;
use super::scene::{Place, Scene};
use super::wait;

/// Seconds a mapping lives without a packet: shorter than any router should be (RFC 4787 REQ-5), and some are.
pub const MAPPING_LIFETIME_S: u32 = 25;
/// How late the first packet after the silence may be answered.
pub const LIMIT: Duration = Duration::from_secs(1);
/// The guests' routers; the host's is port-restricted.
const GUESTS: [Nat; 4] = [Nat::PortRestricted, Nat::AddressRestricted, Nat::FullCone, Nat::Linux];
const HOP_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);
/// How often everybody is asked whether the paths are still direct.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks at which a pair may be without a direct path: each side finds out once, by losing it for a moment, that its router forgets
/// sooner than its kind should, and then keeps below that.
const LEARNING: u32 = 4;

/// What became of one pair.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The guest's router.
    pub nat: Nat,
    /// The round trip of the first packet; none when it was lost.
    pub first: Option<Duration>,
    /// Times it was not direct when looked at.
    pub indirect: u32,
    /// Whether it was when looked at last.
    pub direct: bool,
}

/// A party on direct paths that says nothing for `idle`, behind routers that forget a mapping after [`MAPPING_LIFETIME_S`].
pub fn soak(lab: Lab, idle: Duration, say: &dyn Fn(&str)) -> Result<Vec<Pair>> {
    let place = |nat| Place {
        home: HomeSpec::new(nat).mapping_lifetime(MAPPING_LIFETIME_S),
        link: LinkSpec::delay(HOP_MS),
    };
    let places = std::iter::once(Nat::PortRestricted).chain(GUESTS).map(place);
    let scene = Scene::build(lab, places)?;
    let addresses = scene.join_all()?;
    let host = &scene.host.agent;
    for guest in &scene.guests {
        guest.agent.wait_direct(host.name(), SETTLE)?;
        host.wait_direct(guest.agent.name(), SETTLE)?;
    }
    say("all paths are direct; nobody says anything from now on");
    let mut pairs = GUESTS.map(|nat| Pair {
        nat,
        first: None,
        indirect: 0,
        direct: true,
    });
    let (start, mut minutes) = (Instant::now(), 0);
    while start.elapsed() < idle {
        for (guest, pair) in scene.guests.iter().zip(&mut pairs) {
            let both = is_direct(&guest.agent, host.name())? && is_direct(host, guest.agent.name())?;
            pair.indirect += u32::from(!both);
            pair.direct = both;
        }
        if start.elapsed().as_secs() / 60 > minutes {
            minutes += 1;
            say(&format!("{minutes} min"));
        }
        let looked = Instant::now();
        wait::until("the next look", LOOK_EVERY * 2, || {
            (looked.elapsed() >= LOOK_EVERY).then_some(())
        })?;
    }
    // Every other one the other way: a packet would refresh the mapping for the answer's way, too.
    for (index, (guest, address)) in scene.guests.iter().zip(&addresses).enumerate() {
        let mut pinger = if index % 2 == 0 {
            Pinger::new(guest.agent.netns(), scene.host_ip)?
        } else {
            Pinger::new(host.netns(), *address)?
        };
        pairs[index].first = pinger.ping(LIMIT)?;
    }
    Ok(pairs.into())
}

/// An error that names the pairs for which the silence was too long.
pub fn judge(pairs: &[Pair]) -> Result<()> {
    let wrong = |pair: &&Pair| pair.first.is_none() || pair.indirect > LEARNING || !pair.direct;
    let wrong: Vec<&Pair> = pairs.iter().filter(wrong).collect();
    ensure!(
        wrong.is_empty(),
        "not direct any more, or not for too long, or first packet lost: {wrong:?}"
    );
    Ok(())
}

fn is_direct(agent: &Agent, peer: &str) -> Result<bool> {
    let peer = agent.peer(peer)?;
    let seen = peer.with_context(|| format!("{} has lost a peer", agent.name()))?;
    Ok(seen.is_direct())
}
