//! The device's two private keys: made once, never replaced.

use std::path::Path;
use std::sync::Arc;

use lanrage_shared::ids::DeviceId;
use lanrage_shared::keys::{DeviceSecret, IdentitySecret};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use super::StateError;
use super::sealed::{self, Found};

const FILE: &str = "identity.json";
const FORMAT: &str = "lanrage identity 1";
/// The device's id, written after the identity. Where it or a party is, an identity has been.
const MARKER: &str = "device";

/// Who this device is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Signs; its public half names the device.
    pub identity: Arc<IdentitySecret>,
    /// WireGuard's private key.
    pub device: DeviceSecret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    identity_secret: IdentitySecret,
    device_secret: DeviceSecret,
}

impl Body {
    fn device(&self) -> DeviceId {
        self.identity_secret.device_id()
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.device() == other.device() && self.device_secret.public() == other.device_secret.public()
    }
}

/// What is where an identity should be.
enum Read {
    Own(Body),
    Foreign,
    Missing,
    Damaged,
}

impl Identity {
    /// Loads the identity, mending what can be mended; makes one only where there never was one.
    pub(super) fn load_or_create(dir: &Path, notices: &mut Vec<String>) -> Result<Self, StateError> {
        let [main, last] = sealed::places(dir, FILE);
        let owner = owner(dir);
        let body = match (read(&main, owner)?, read(&last, owner)?) {
            (Read::Own(body), Read::Own(copy)) if body.is_same_as(&copy) => body,
            (Read::Own(_), Read::Own(_)) => return Err(StateError::IdentitiesDiffer(main)),
            (Read::Own(body), copy) => {
                if matches!(copy, Read::Foreign) {
                    notices.push(set_aside(dir, &last)?);
                }
                sealed::copy(&main, &last)?;
                body
            }
            (found, Read::Own(body)) => {
                let what = match found {
                    Read::Foreign => {
                        notices.push(set_aside(dir, &main)?);
                        "another device's"
                    }
                    Read::Missing => "missing",
                    _ => "damaged",
                };
                sealed::copy(&last, &main)?;
                notices.push(format!(
                    "{} was {what} and has been restored from its copy",
                    main.display()
                ));
                body
            }
            (Read::Foreign, _) => return Err(StateError::IdentityForeign(main)),
            (_, Read::Foreign) => return Err(StateError::IdentityForeign(last)),
            (Read::Missing, Read::Missing) if had_one(dir) => return Err(StateError::IdentityMissing(main)),
            (Read::Missing, Read::Missing) => create(dir)?,
            _ => return Err(StateError::IdentityDamaged(main)),
        };
        keep_private(&[main, last], notices)?;
        if owner.is_none() {
            sealed::write_private(&dir.join(MARKER), body.device().to_string().as_bytes())?;
        }
        Ok(Self {
            identity: Arc::new(body.identity_secret),
            device: body.device_secret,
        })
    }
}

/// Whose directory it is; none before the marker is written, or when it cannot be read.
fn owner(dir: &Path) -> Option<DeviceId> {
    std::fs::read_to_string(dir.join(MARKER)).ok()?.trim().parse().ok()
}

fn read(place: &Path, owner: Option<DeviceId>) -> Result<Read, StateError> {
    Ok(match sealed::load::<Body>(place, FORMAT)? {
        Found::Good(body) if owner.is_some_and(|owner| owner != body.device()) => Read::Foreign,
        Found::Good(body) => Read::Own(body),
        Found::Missing => Read::Missing,
        Found::Damaged => Read::Damaged,
    })
}

/// Moves another device's keys out of the way, and says so.
fn set_aside(dir: &Path, place: &Path) -> Result<String, StateError> {
    let aside = sealed::set_aside(dir, FILE, place)?;
    Ok(format!(
        "{} held another device's keys, which are not used; they are now in {}",
        place.display(),
        aside.display()
    ))
}

fn had_one(dir: &Path) -> bool {
    let [party, party_copy] = sealed::places(dir, super::party::FILE);
    [dir.join(MARKER), party, party_copy].iter().any(|path| path.exists())
}

fn create(dir: &Path) -> Result<Body, StateError> {
    let body = Body {
        identity_secret: IdentitySecret::from_bytes(random()?),
        device_secret: DeviceSecret::from_bytes(random()?),
    };
    sealed::save(dir, FILE, FORMAT, &body)?;
    Ok(body)
}

fn random() -> Result<[u8; 32], StateError> {
    let mut bytes = [0; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| StateError::NoRandomness(error.to_string()))?;
    Ok(bytes)
}

/// Private keys that others could read are made private again, and the user learns that they could be read.
#[cfg(unix)]
fn keep_private(files: &[std::path::PathBuf], notices: &mut Vec<String>) -> Result<(), StateError> {
    use std::os::unix::fs::PermissionsExt;
    for file in files {
        let metadata = std::fs::metadata(file).map_err(StateError::io("read", file))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            crate::platform::restrict_to_owner(file).map_err(StateError::io("protect", file))?;
            notices.push(format!(
                "{} could be read by other users; it is private again, but if they are not trusted, leave the party and \
                 delete this directory to start with new keys",
                file.display()
            ));
        }
    }
    Ok(())
}

/// The directory's access list, which the files inherit, keeps them private.
#[cfg(not(unix))]
fn keep_private(_files: &[std::path::PathBuf], _notices: &mut Vec<String>) -> Result<(), StateError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::StateDir;

    fn device_of(dir: &Path) -> Result<(String, Vec<String>), StateError> {
        let state = StateDir::open(dir)?;
        Ok((state.identity().identity.device_id().to_string(), state.take_notices()))
    }

    #[test]
    fn a_device_stays_the_same_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let first = device_of(dir.path()).unwrap();
        assert_eq!(device_of(dir.path()).unwrap(), first);
        assert_ne!(device_of(tempfile::tempdir().unwrap().path()).unwrap().0, first.0);
    }

    #[test]
    fn an_identity_torn_at_any_byte_is_restored_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (device, _) = device_of(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for end in (0..whole.len()).step_by(7) {
            fs::write(&file, &whole[..end]).unwrap();
            let (restored, notices) = device_of(dir.path()).unwrap();
            assert_eq!(restored, device);
            assert!(notices.iter().any(|notice| notice.contains("restored")), "{notices:?}");
            assert_eq!(fs::read(&file).unwrap(), whole);
        }
    }

    #[test]
    fn a_lost_copy_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (device, _) = device_of(dir.path()).unwrap();
        let [main, last] = sealed::places(dir.path(), FILE);
        fs::remove_file(&last).unwrap();
        device_of(dir.path()).unwrap();
        fs::remove_file(&main).unwrap();
        assert_eq!(device_of(dir.path()).unwrap().0, device);
    }

    #[test]
    fn with_both_files_damaged_no_new_identity_is_made() {
        let dir = tempfile::tempdir().unwrap();
        device_of(dir.path()).unwrap();
        for place in sealed::places(dir.path(), FILE) {
            fs::write(place, "{").unwrap();
        }
        let error = device_of(dir.path()).unwrap_err();
        assert!(matches!(error, StateError::IdentityDamaged(_)));
        assert!(error.to_string().contains(FILE));
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"{");
    }

    #[test]
    fn with_both_files_gone_no_new_identity_is_made() {
        let dir = tempfile::tempdir().unwrap();
        device_of(dir.path()).unwrap();
        for place in sealed::places(dir.path(), FILE) {
            fs::remove_file(place).unwrap();
        }
        assert!(matches!(device_of(dir.path()), Err(StateError::IdentityMissing(_))));
        assert!(!dir.path().join(FILE).exists());
    }

    /// A directory with a copy of another device's `identity.json` in these places, and whose directory it was.
    fn with_foreign_keys_at(places: &[usize]) -> (tempfile::TempDir, String) {
        let theirs = tempfile::tempdir().unwrap();
        device_of(theirs.path()).unwrap();
        let mine = tempfile::tempdir().unwrap();
        let (device, _) = device_of(mine.path()).unwrap();
        for place in places {
            let name = &sealed::places(Path::new(""), FILE)[*place];
            fs::copy(theirs.path().join(FILE), mine.path().join(name)).unwrap();
        }
        (mine, device)
    }

    #[test]
    fn another_devices_identity_beside_an_own_one_is_set_aside_and_reported() {
        for place in [0, 1] {
            let (mine, device) = with_foreign_keys_at(&[place]);
            let (found, notices) = device_of(mine.path()).unwrap();
            assert_eq!(found, device);
            assert!(notices[0].contains("another device's keys"), "{notices:?}");
            assert!(mine.path().join("identity.json.foreign").exists());
            assert_eq!(device_of(mine.path()).unwrap(), (device, Vec::new()));
        }
    }

    #[test]
    fn a_directory_with_only_another_devices_identity_is_refused_and_left_alone() {
        let (mine, _) = with_foreign_keys_at(&[0, 1]);
        let before = fs::read(mine.path().join(FILE)).unwrap();
        let error = device_of(mine.path()).unwrap_err();
        assert!(matches!(error, StateError::IdentityForeign(_)), "{error}");
        assert_eq!(fs::read(mine.path().join(FILE)).unwrap(), before);

        let (mine, _) = with_foreign_keys_at(&[1]);
        fs::remove_file(mine.path().join(FILE)).unwrap();
        assert!(matches!(device_of(mine.path()), Err(StateError::IdentityForeign(_))));
    }

    #[test]
    fn two_devices_identities_are_refused_when_nothing_says_whose_directory_it_is() {
        for marker in [None, Some("")] {
            let (mine, _) = with_foreign_keys_at(&[0]);
            let file = mine.path().join(MARKER);
            fs::remove_file(&file).unwrap();
            if let Some(text) = marker {
                fs::write(&file, text).unwrap();
            }
            assert!(matches!(device_of(mine.path()), Err(StateError::IdentitiesDiffer(_))));
        }
    }

    #[test]
    fn a_torn_marker_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (device, _) = device_of(dir.path()).unwrap();
        fs::write(dir.path().join(MARKER), &device[..9]).unwrap();
        assert_eq!(device_of(dir.path()).unwrap(), (device.clone(), Vec::new()));
        assert_eq!(fs::read_to_string(dir.path().join(MARKER)).unwrap(), device);
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_could_read_are_made_private_and_reported() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        device_of(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let (_, notices) = device_of(dir.path()).unwrap();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
