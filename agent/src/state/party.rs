//! The party as last seen: enough to come back while the control server is down.
//!
//! The body is signed by the device's identity key, so a file copied from another PC, or planted, is not believed.

use std::path::Path;

use lanrage_agent_core::cache::ConnectionCache;
use lanrage_shared::api::party::{Party, Services};
use lanrage_shared::api::relay::RelayTokens;
use lanrage_shared::ids::MemberId;
use lanrage_shared::invite::ServerLink;
use lanrage_shared::keys::{PartySecret, Signature};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::sealed::{self, Found};
use super::{Identity, StateError};

pub(super) const FILE: &str = "party.json";
const FORMAT: &str = "lanrage party 1";
const SIGNATURE_LABEL: &[u8] = b"lanrage party cache v1\0";

/// What the agent keeps of its party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyCache {
    /// Where the party lives.
    #[serde(with = "link_text")]
    pub server: ServerLink,
    pub secret: PartySecret,
    /// The epoch the secret is of.
    #[serde(default = "first_epoch")]
    pub secret_epoch: u32,
    /// Drawn here as the party's next secret, and perhaps handed out already.
    #[serde(default)]
    pub drawn: Option<DrawnSecret>,
    /// Invites made here that may still be good.
    #[serde(default)]
    pub invites: Vec<OwnInvite>,
    pub party: Party,
    pub me: MemberId,
    /// The stream's last sequence number known.
    pub seq: u64,
    pub services: Services,
    /// What to add to this PC's clock to get the server's, in ms.
    pub clock_offset_ms: i64,
    /// The UDP port used last: keeping it keeps NAT mappings and friends' memories valid.
    pub udp_port: u16,
    /// The ways to peers and relays that were known last.
    #[serde(default)]
    pub connections: ConnectionCache,
    /// What relays let this member in with. Secret, and worth nothing after an hour.
    #[serde(default)]
    pub relay_tokens: Option<RelayTokens>,
}

/// Of a party nobody has left; what is kept by agents before secrets changed.
fn first_epoch() -> u32 {
    1
}

/// A party secret on its way to the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnSecret {
    pub epoch: u32,
    pub secret: PartySecret,
}

/// An invite whose code only this agent and the invited know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnInvite {
    pub invite: String,
    pub expires_at_ms: u64,
}

impl std::fmt::Debug for OwnInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnInvite").finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    signature: Signature,
    cache: Box<RawValue>,
}

enum Read {
    Good(Box<PartyCache>),
    Missing,
    Damaged,
    Foreign,
}

pub(super) fn save(dir: &Path, identity: &Identity, cache: &PartyCache) -> Result<(), StateError> {
    let cache = serde_json::value::to_raw_value(cache)
        .map_err(std::io::Error::other)
        .map_err(StateError::io("encode", &dir.join(FILE)))?;
    let signature = identity.identity.sign(&signed_bytes(&cache));
    sealed::save(dir, FILE, FORMAT, &Signed { signature, cache })
}

pub(super) fn load(
    dir: &Path,
    identity: &Identity,
    notices: &mut Vec<String>,
) -> Result<Option<PartyCache>, StateError> {
    let [main, last] = sealed::places(dir, FILE);
    let mut found = read(&main, identity)?;
    if matches!(found, Read::Foreign) {
        let aside = sealed::set_aside(dir, FILE, &main)?;
        notices.push(format!(
            "{} was written by another device and is not used; it is now {}",
            main.display(),
            aside.display()
        ));
        found = Read::Missing;
    }
    let was = match found {
        Read::Good(cache) => return Ok(Some(*cache)),
        Read::Damaged => "damaged",
        Read::Missing | Read::Foreign => "missing",
    };
    match (read(&last, identity)?, was) {
        (Read::Good(cache), was) => {
            sealed::copy(&last, &main)?;
            notices.push(format!(
                "{} was {was} and has been restored from its copy",
                main.display()
            ));
            Ok(Some(*cache))
        }
        (Read::Foreign, _) => {
            // The copy of what was set aside.
            sealed::set_aside(dir, FILE, &last)?;
            Ok(None)
        }
        (Read::Missing, "missing") => Ok(None),
        (Read::Missing | Read::Damaged, _) => Err(StateError::PartyDamaged(main)),
    }
}

fn read(place: &Path, identity: &Identity) -> Result<Read, StateError> {
    let signed: Signed = match sealed::load(place, FORMAT)? {
        Found::Good(signed) => signed,
        Found::Missing => return Ok(Read::Missing),
        Found::Damaged => return Ok(Read::Damaged),
    };
    if !identity
        .identity
        .public()
        .verifies(&signed_bytes(&signed.cache), &signed.signature)
    {
        return Ok(Read::Foreign);
    }
    Ok(serde_json::from_str(signed.cache.get()).map_or(Read::Damaged, |cache| Read::Good(Box::new(cache))))
}

fn signed_bytes(cache: &RawValue) -> Vec<u8> {
    [SIGNATURE_LABEL, cache.get().as_bytes()].concat()
}

pub(super) mod link_text {
    use lanrage_shared::invite::ServerLink;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::state) fn serialize<S: Serializer>(link: &ServerLink, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(link)
    }

    pub(in crate::state) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServerLink, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use std::time::Duration;

    use lanrage_agent_core::cache::{Proven, Way};
    use lanrage_shared::addr::PartyNet;
    use lanrage_shared::api::relay::{Relay, RelaySeat, RelayToken};
    use lanrage_shared::ids::{DeviceKey, PartyId, Pin};
    use lanrage_shared::signal::{Candidate, CandidateKind};

    use super::*;
    use crate::state::StateDir;

    fn connections() -> ConnectionCache {
        const NOW: u64 = 1_800_000_000_000;
        let relay = Relay {
            id: "fra-1".parse().unwrap(),
            region: "eu".to_owned(),
            host: None,
            port: 4443,
            pin: Pin([1; 32]),
            load: 3,
        };
        let way = Way {
            key: DeviceKey([2; 32]),
            addresses: vec![Proven {
                candidate: Candidate {
                    kind: CandidateKind::Mapped,
                    address: "203.0.113.7:4000".parse().unwrap(),
                },
                rtt_ms: 20,
                score: 90,
            }],
            relays: vec![RelaySeat {
                relay: relay.id.clone(),
                rtt_ms: 10,
            }],
        };
        let mut connections = ConnectionCache::default();
        connections.handle_offer(std::slice::from_ref(&relay), NOW);
        connections.handle_rtt(&relay.id, Duration::from_millis(12), NOW);
        connections.handle_way(MemberId(2), way, NOW);
        connections
    }

    pub(crate) fn cache() -> PartyCache {
        let id = PartyId("00000000-0000-7000-8000-000000000001".parse().unwrap());
        PartyCache {
            server: ServerLink {
                host: "2001:db8::1".into(),
                port: 8443,
                pin: Pin([9; 32]),
            },
            secret: PartySecret::from_bytes([5; 32]),
            secret_epoch: 1,
            drawn: None,
            invites: Vec::new(),
            party: Party {
                id,
                name: "Friday".parse().unwrap(),
                host: MemberId(1),
                epoch: 1,
                secret_epoch: 1,
                version: 2,
                persistent: false,
                max_members: 64,
                locked: false,
                net: PartyNet::at(7, id),
                created_at_ms: 1,
                members: Vec::new(),
            },
            me: MemberId(1),
            seq: 3,
            services: Services::default(),
            clock_offset_ms: -12,
            udp_port: 41_000,
            connections: connections(),
            relay_tokens: Some(RelayTokens {
                tokens: vec![RelayToken {
                    relay: "fra-1".parse().unwrap(),
                    token: "a token".to_owned(),
                }],
                expires_at: 1_800_000_000,
            }),
        }
    }

    #[test]
    fn a_party_survives_a_restart_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.load_party().unwrap(), None);
        state.save_party(&cache()).unwrap();
        drop(state);

        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.load_party().unwrap(), Some(cache()));
        state.clear_party().unwrap();
        assert_eq!(state.load_party().unwrap(), None);
        assert_eq!(state.take_notices(), Vec::<String>::new());
    }

    #[test]
    fn a_party_of_before_connections_were_kept_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let mut old = serde_json::to_value(cache()).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.remove("connections").unwrap();
        fields.remove("relay_tokens").unwrap();
        fields.insert("last_good".into(), serde_json::json!({"2": ["203.0.113.7:4000"]}));
        let cache_text = serde_json::value::to_raw_value(&old).unwrap();
        let signed = Signed {
            signature: state.identity().identity.sign(&signed_bytes(&cache_text)),
            cache: cache_text,
        };
        sealed::save(dir.path(), FILE, FORMAT, &signed).unwrap();

        let read = state.load_party().unwrap().unwrap();
        assert!(read.connections.is_empty());
        assert_eq!(
            PartyCache {
                connections: connections(),
                relay_tokens: cache().relay_tokens,
                ..read
            },
            cache()
        );
    }

    #[cfg(unix)]
    #[test]
    fn relay_tokens_are_kept_from_other_users_and_out_of_logs() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save_party(&cache()).unwrap();
        for place in sealed::places(dir.path(), FILE) {
            assert_eq!(fs::metadata(place).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!format!("{:?}", cache()).contains("a token"));
    }

    #[test]
    fn a_torn_party_is_restored_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save_party(&cache()).unwrap();
        let file = dir.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for end in (0..whole.len()).step_by(61) {
            fs::write(&file, &whole[..end]).unwrap();
            assert_eq!(state.load_party().unwrap(), Some(cache()));
            assert!(state.take_notices()[0].contains("restored"));
        }
    }

    #[test]
    fn a_party_damaged_twice_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save_party(&cache()).unwrap();
        for place in sealed::places(dir.path(), FILE) {
            fs::write(place, "").unwrap();
        }
        let error = state.load_party().unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
        // Leaving the party is the way out that needs no file manager.
        state.clear_party().unwrap();
        assert_eq!(state.load_party().unwrap(), None);
    }

    #[test]
    fn another_devices_party_is_set_aside_and_not_used() {
        let theirs = tempfile::tempdir().unwrap();
        StateDir::open(theirs.path()).unwrap().save_party(&cache()).unwrap();
        let mine = tempfile::tempdir().unwrap();
        let state = StateDir::open(mine.path()).unwrap();
        for name in ["party.json", "party.json.last"] {
            fs::copy(theirs.path().join(name), mine.path().join(name)).unwrap();
        }

        assert_eq!(state.load_party().unwrap(), None);
        let notices = state.take_notices();
        assert!(notices[0].contains("another device"), "{notices:?}");
        assert!(mine.path().join("party.json.foreign").exists());
        assert_eq!(state.load_party().unwrap(), None);
        assert_eq!(state.take_notices(), Vec::<String>::new());
    }

    #[test]
    fn a_foreign_party_over_an_own_copy_gives_the_own_copy() {
        let theirs = tempfile::tempdir().unwrap();
        StateDir::open(theirs.path()).unwrap().save_party(&cache()).unwrap();
        let mine = tempfile::tempdir().unwrap();
        let state = StateDir::open(mine.path()).unwrap();
        let own = PartyCache { seq: 99, ..cache() };
        state.save_party(&own).unwrap();
        fs::copy(theirs.path().join(FILE), mine.path().join(FILE)).unwrap();
        assert_eq!(state.load_party().unwrap(), Some(own));
    }
}
