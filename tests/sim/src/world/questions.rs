//! Which probes are questions and which are answers. It is sealed, but the world has everybody's keys.

use lanrage_shared::pair::PairKeys;
use lanrage_shared::wire::probe::{self, Probe, ProbeKind};

use super::World;

impl World {
    /// Whether a probe that a PC sends asks.
    pub(super) fn is_question(&mut self, pc: usize, data: &[u8]) -> bool {
        let Some(tag) = probe::tag_of(data) else { return false };
        if !self.probe_keys.contains_key(&tag) {
            self.learn_keys_of(pc);
        }
        let opened = self.probe_keys.get(&tag).and_then(|key| Probe::open(data, key).ok());
        opened.is_some_and(|probe| probe.kind == ProbeKind::Ping)
    }

    fn learn_keys_of(&mut self, pc: usize) {
        let guessed = self.pcs.iter().filter_map(|pc| Some(&pc.cache.as_ref()?.secret));
        let secrets = self.control.secrets.iter().map(|(_, secret)| secret).chain(guessed);
        for secret in secrets {
            for other in &self.pcs {
                let keys = PairKeys::derive(secret, &self.pcs[pc].device, &other.device.public());
                self.probe_keys.insert(keys.probe_send.tag, keys.probe_send.clone());
            }
        }
    }
}
