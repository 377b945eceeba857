//! What running games want of the tunnel, all together.

use std::sync::Arc;
use std::time::Duration;

use super::profile::{GameProfile, Tuning};

impl Tuning {
    /// What suits all of these games: the shortest pause, the shortest packets, and the marking of the one that minds delay most.
    pub fn of(games: &[Arc<GameProfile>]) -> Self {
        let keepalive: Option<Duration> = games.iter().filter_map(|game| game.tuning.keepalive).min();
        let mtu = games.iter().filter_map(|game| game.tuning.mtu).min();
        let marked = games.iter().filter(|game| game.tuning.dscp.is_some());
        let dscp = marked
            .min_by_key(|game| game.latency_class)
            .and_then(|game| game.tuning.dscp);
        Self { keepalive, mtu, dscp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::games::parse;

    fn game(class: &str, tuning: &str) -> Arc<GameProfile> {
        let text = format!("name = \"x\"\nlatency_class = \"{class}\"\nsources = [\"x\"]\n[tuning]\n{tuning}");
        Arc::new(parse("x.toml", &text).unwrap())
    }

    #[test]
    fn several_games_get_what_suits_all() {
        assert_eq!(Tuning::of(&[]), Tuning::default());
        let shooter = game("fast", "keepalive_s = 10\ndscp = 46");
        let builder = game("relaxed", "keepalive_s = 5\nmtu = 1000\ndscp = 8");
        let both = Tuning {
            keepalive: Some(Duration::from_secs(5)),
            mtu: Some(1000),
            dscp: Some(46),
        };
        assert_eq!(Tuning::of(&[builder, shooter]), both);
    }
}
