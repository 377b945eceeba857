//! What people and the cache get to see of the peers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lanrage_shared::api::party::Member;
use lanrage_shared::ids::MemberId;

use super::Engine;
use super::reason::{self, Circumstances};
use crate::path::Selected;

/// A peer as `peers` shows it.
#[derive(Debug, Clone)]
pub struct PeerView {
    pub member: Member,
    pub online: bool,
    pub path: Option<Selected>,
    /// Why there is no path; none while there is one.
    pub reason: Option<String>,
}

impl Engine {
    /// The peers, by number.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> + '_ {
        self.peers.values().map(|peer| {
            let path = peer.paths.selected();
            let online = peer.member.online && self.server_reachable == Some(true) || path.is_some();
            let reason = path.is_none().then(|| {
                reason::no_path(Circumstances {
                    peer_name: peer.member.name.as_str(),
                    peer_online: peer.signalling.is_online(),
                    server_reachable: self.server_reachable,
                    has_stun: self.has_stun(),
                    first_attempt: peer.paths.is_first_attempt(),
                    same_public_ip: peer.is_seen_at(self.own.mapped),
                    mine: self.nat_summary(),
                    theirs: peer.nat,
                })
            });
            PeerView {
                member: peer.member.clone(),
                online,
                path,
                reason,
            }
        })
    }

    /// Addresses worth remembering for the next run, best first.
    pub fn proven_addresses(&self) -> BTreeMap<MemberId, Vec<SocketAddr>> {
        let proven = self.peers.iter().map(|(member, peer)| (*member, peer.paths.proven()));
        proven.filter(|(_, addresses)| !addresses.is_empty()).collect()
    }
}
