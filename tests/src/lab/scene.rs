//! A party to try things on: some homes, a control server, an agent in each home.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::agent::Agent;
use super::control::Control;
use super::home::{Home, HomeSpec};
use super::internet::Lab;
use super::kind::Kind;
use super::link::LinkSpec;

/// One home with an agent that hosts a party, and homes with agents that may join it.
pub struct Scene {
    pub lab: Lab,
    pub control: Control,
    pub host: Player,
    pub host_ip: Ipv4Addr,
    pub guests: Vec<Player>,
    pub invite: String,
}

/// A home and its agent.
pub struct Player {
    pub home: Home,
    pub agent: Agent,
}

/// A home to build, and the link between it and the internet.
#[derive(Debug, Clone)]
pub struct Place {
    pub home: HomeSpec,
    pub link: LinkSpec,
}

impl Scene {
    /// The host lives in a home of the first kind, the guests in homes of the others; every home is `one_way_ms` from the
    /// internet. Nobody has joined yet. None when the lab is turned off.
    pub fn for_test(host: impl Into<Kind>, guests: &[impl Into<Kind> + Copy], one_way_ms: f64) -> Result<Option<Self>> {
        let place = |kind: Kind| Place {
            home: HomeSpec::new(kind),
            link: LinkSpec::delay(one_way_ms),
        };
        let guests = guests.iter().map(|kind| place((*kind).into()));
        let places = std::iter::once(place(host.into())).chain(guests);
        Lab::for_test()?.map(|lab| Self::build(lab, places)).transpose()
    }

    /// The host lives in the first of `places`, the guests in the others. Nobody has joined yet.
    pub fn build(mut lab: Lab, places: impl IntoIterator<Item = Place>) -> Result<Self> {
        let mut homes = Vec::new();
        for place in places {
            let home = lab.home(place.home)?;
            lab.link(&home.router, &place.link)?;
            homes.push(home);
        }
        let control = Control::start(&lab.srv, lab.dir())?;
        let mut players = Vec::new();
        for (index, home) in homes.into_iter().enumerate() {
            let name = if index == 0 {
                "Anna".to_owned()
            } else {
                format!("Ben{index}")
            };
            let agent = Agent::up(&home.host().netns, &name, lab.dir())?;
            players.push(Player { home, agent });
        }
        let guests = players.split_off(1);
        let host = players.pop().context("a scene without a host")?;
        let hosted = host.agent.host(&control.link, "party")?;
        Ok(Self {
            lab,
            control,
            host,
            host_ip: hosted.virtual_ip,
            guests,
            invite: hosted.invite.context("`host` printed no invite")?,
        })
    }

    /// All guests join; their virtual addresses, in the order of the guests.
    pub fn join_all(&self) -> Result<Vec<Ipv4Addr>> {
        std::thread::scope(|scope| {
            let join = |guest| {
                scope.spawn(move || {
                    let guest: &Player = guest;
                    Ok(guest.agent.join(&self.invite)?.virtual_ip)
                })
            };
            let threads: Vec<_> = self.guests.iter().map(join).collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?);
            joined.collect()
        })
    }
}
