//! What running games want of the tunnel, and what the party is told of them. Their end undoes everything.

use std::sync::Arc;

use lanrage_agent_core::games::Tuning;

use super::Agent;
use crate::driver::dataplane::MTU;
use crate::driver::games::GamesNow;

impl Agent {
    /// Takes what runs now.
    pub(super) fn handle_games(&mut self, games: &GamesNow) {
        if !Arc::ptr_eq(&self.games, &games.library) {
            self.games = Arc::clone(&games.library);
            self.apply_bridge();
        }
        let (before, tuning) = (self.tuned, games.tuning());
        self.tuned = tuning;
        let told = games.told();
        self.with_session(|session, _, _| session.engine.handle_game(told, tuning.keepalive));
        if tuning != before {
            tracing::info!(?tuning, "tuned for what is played");
            self.tune(tuning, before);
        }
    }

    fn tune(&mut self, tuning: Tuning, before: Tuning) {
        if tuning.dscp != before.dscp {
            self.data_plane.network.mark(tuning.dscp.unwrap_or(0));
        }
        if tuning.mtu != before.mtu {
            let mtu = tuning.mtu.unwrap_or(MTU).min(MTU);
            let changed = self.adapter.set_mtu(mtu);
            self.data_plane.forget_groups();
            if let Err(error) = changed {
                tracing::warn!(%error, mtu, "the tunnel interface keeps its MTU");
            }
        }
    }
}
