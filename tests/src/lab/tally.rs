//! Counts what a home's link loses, at its two ends: what a tunnel loses beyond that is the tunnel's own.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use anyhow::Result;

use super::counter;
use super::home::Home;
use super::internet::Lab;
use super::netns::Netns;

/// Counters on both ends of a link that [`Lab::link`] made.
///
/// They sit where frames are received, behind the device that cuts super-packets, so that each frame counts once.
#[derive(Debug)]
pub struct Tally {
    segment: Netns,
    router: Netns,
    link: String,
}

/// Packets of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossed {
    pub entered: u64,
    pub left: u64,
}

impl Crossed {
    /// The share that was lost, 0 to 1.
    pub fn loss(self) -> f64 {
        1.0 - self.left as f64 / self.entered.max(1) as f64
    }
}

impl Tally {
    /// Counts from now on the UDP packets of `payload` bytes between a home and the public address `peer`.
    pub fn start(lab: &Lab, home: &Home, peer: Ipv4Addr, payload: RangeInclusive<usize>) -> Result<Self> {
        let port = lab.short(&home.router);
        let (least, most) = (payload.start() + 8, payload.end() + 8);
        let link = format!("{port}_{least}");
        let counting = |counter: &str, device: &str, end: &str| {
            format!(
                "counter {counter}_{link} {{ }}
chain {counter}_{link} {{
  type filter hook ingress device \"{device}\" priority 0;
  ip {end} {peer} udp length {least}-{most} counter name {counter}_{link}
}}
"
            )
        };
        let [away, in_between, bridge] = ["p", "t", "s"].map(|end| format!("{end}-{port}"));
        lab.inet.nft(&format!(
            "table netdev tally_{link} {{\n{}{}{}}}\n",
            counting("leaving", &away, "daddr"),
            counting("gone", &bridge, "daddr"),
            counting("arriving", &in_between, "saddr"),
        ))?;
        home.router.nft(&format!(
            "table netdev tally_{link} {{\n{}}}\n",
            counting("arrived", "wan", "saddr")
        ))?;
        Ok(Self {
            segment: lab.inet.clone(),
            router: home.router.clone(),
            link,
        })
    }

    /// What crossed the link on its way from the home.
    pub fn leaving(&self) -> Result<Crossed> {
        Ok(Crossed {
            entered: self.count(&self.segment, "leaving")?,
            left: self.count(&self.segment, "gone")?,
        })
    }

    /// What crossed the link on its way to the home.
    pub fn arriving(&self) -> Result<Crossed> {
        Ok(Crossed {
            entered: self.count(&self.segment, "arriving")?,
            left: self.count(&self.router, "arrived")?,
        })
    }

    fn count(&self, at: &Netns, what: &str) -> Result<u64> {
        Ok(counter::named(at, &format!("{what}_{}", self.link))?.packets)
    }
}
