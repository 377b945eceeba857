//! What running games want of the tunnel, and what the party is told of them. Their end undoes everything.

use lanrage_agent_core::games::Tuning;

use super::Agent;
use crate::driver::dataplane::MTU;
use crate::driver::games::GamesNow;

impl Agent {
    /// Takes what runs now.
    pub(super) fn handle_games(&mut self, games: &GamesNow) {
        let (before, tuning) = (self.tuned, games.tuning());
        self.tuned = tuning;
        let told = games.told();
        self.with_session(|session, _, _| session.engine.handle_game(told, tuning.keepalive));
        if tuning != before {
            tracing::info!(?tuning, "tuned for what is played");
            self.tune(tuning, before);
        }
    }

    fn tune(&self, tuning: Tuning, before: Tuning) {
        if tuning.dscp != before.dscp {
            self.data_plane.network.mark(tuning.dscp.unwrap_or(0));
        }
        if tuning.mtu != before.mtu {
            let mtu = tuning.mtu.unwrap_or(MTU).min(MTU);
            let changed = self.tun.set_mtu(mtu).and_then(|()| match &self.session {
                // Below 1,280 bytes the system takes IPv6 off an interface, and does not put the address back.
                Some(session) if mtu == MTU => self.set_address(&session.cache),
                _ => Ok(()),
            });
            if let Err(error) = changed {
                tracing::warn!(%error, mtu, "the tunnel interface keeps its MTU");
            }
        }
    }
}
