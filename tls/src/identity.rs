//! The server's key and certificate: one file, so that they are never torn apart.
//!
//! The key is the server: every invite and every agent pins it. So it is made when there is none, and whatever is wrong with an
//! existing file is an error for the operator, never a reason to make a new one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use lanrage_shared::ids::Pin;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::file::written_beside;

/// The file in the data directory.
pub const FILE: &str = "identity.pem";
/// The name in the certificate. Nobody checks it: agents check the key.
const NAME: &str = "lanrage";

/// Who the server is.
#[derive(Clone)]
pub struct ServerIdentity {
    /// What links and invites pin.
    pub pin: Pin,
    certified: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
    shown: Arc<Shown>,
}

/// What clients in general are shown: the server's own certificate, or what an authority has made of the same key.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // It is replaced in one step: a panic elsewhere leaves nothing half-done.
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Why the server cannot be itself.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read {file}: {why}")]
    Unreadable { file: PathBuf, why: io::Error },
    #[error("{file} is not this user's: repeat this with sudo, or name another directory with --data-dir")]
    Forbidden { file: PathBuf },
    #[error("cannot write {file}: {why}")]
    Unwritable { file: PathBuf, why: io::Error },
    #[error(
        "{file} is damaged or not a server identity ({why}): restore it from a backup, or move it away to start as a new server whose old invites no longer work"
    )]
    Damaged { file: PathBuf, why: String },
    #[error("a key and certificate cannot be made: {0}")]
    Generation(String),
}

impl ServerIdentity {
    /// The identity kept in `data_dir`, made and kept when there is none.
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let file = data_dir.join(FILE);
        let pem = match std::fs::read(&file) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&file)?,
            Err(why) => return Err(unreadable(file, why)),
        };
        parse(&pem).map_err(|why| IdentityError::Damaged { file, why })
    }

    /// The identity kept in `data_dir`; none is made.
    pub fn read(data_dir: &Path) -> Result<Self, IdentityError> {
        let file = data_dir.join(FILE);
        let pem = std::fs::read(&file).map_err(|why| unreadable(file.clone(), why))?;
        parse(&pem).map_err(|why| IdentityError::Damaged { file, why })
    }

    /// Shows the server's own certificate to clients that speak one of these application protocols, over TLS 1.3.
    pub fn tls(&self, protocols: &[&[u8]]) -> ServerConfig {
        tls(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified))), protocols)
    }

    /// As [`ServerIdentity::tls`], but shows what [`ServerIdentity::show`] was given last.
    pub fn public_tls(&self, protocols: &[&[u8]]) -> ServerConfig {
        tls(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>, protocols)
    }

    /// Has clients shown these certificates (PEM) from now on, on every [`ServerIdentity::public_tls`] of this server. The first
    /// must be of the server's key, which everybody knows it by.
    pub fn show(&self, chain: &[u8]) -> Result<(), NotOurs> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|error| NotOurs(error.to_string()))?;
        if certificates.is_empty() {
            return Err(NotOurs("there is no certificate".into()));
        }
        let certified = CertifiedKey::new(certificates, Arc::clone(&self.certified.key));
        certified.keys_match().map_err(|error| NotOurs(error.to_string()))?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(())
    }

    /// Asks for a certificate of the server's key under this name (PKCS #10, DER).
    pub fn request(&self, name: &str) -> Result<Vec<u8>, IdentityError> {
        let request = || {
            let pair = KeyPair::try_from(&*self.key)?;
            let mut params = CertificateParams::new(vec![name.to_owned()])?;
            params.distinguished_name = DistinguishedName::new();
            Ok(params.serialize_request(&pair)?.der().to_vec())
        };
        request().map_err(|error: rcgen::Error| IdentityError::Generation(error.to_string()))
    }
}

/// Certificates that cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("these are not certificates of the server's key: {0}")]
pub struct NotOurs(String);

fn tls(certificates: Arc<dyn ResolvesServerCert>, protocols: &[&[u8]]) -> ServerConfig {
    #[expect(clippy::expect_used, reason = "aws-lc-rs provides TLS 1.3")]
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider supports TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn unreadable(file: PathBuf, why: io::Error) -> IdentityError {
    match why.kind() {
        io::ErrorKind::PermissionDenied => IdentityError::Forbidden { file },
        _ => IdentityError::Unreadable { file, why },
    }
}

fn parse(pem: &[u8]) -> Result<ServerIdentity, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("its key: {error}"))?;
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| format!("its certificate: {error}"))?;
    let pair = KeyPair::try_from(&key).map_err(|error| format!("its key: {error}"))?;
    // It refuses a certificate that is not of this key.
    let certified = CertifiedKey::from_der(vec![certificate], key.clone_key(), &aws_lc_rs::default_provider())
        .map_err(|error| error.to_string())?;
    let certified = Arc::new(certified);
    Ok(ServerIdentity {
        pin: Pin::of_spki(&pair.subject_public_key_info()),
        shown: Arc::new(Shown(RwLock::new(Arc::clone(&certified)))),
        certified,
        key: Arc::new(key),
    })
}

/// Writes a new identity, complete or not at all, and never over another: of two processes that start at once one makes it and
/// both use it.
fn create(file: &Path) -> Result<Vec<u8>, IdentityError> {
    let unwritable = |why| IdentityError::Unwritable {
        file: file.to_owned(),
        why,
    };
    let pem = generate().map_err(|error| IdentityError::Generation(error.to_string()))?;
    let temporary = written_beside(file, pem.as_bytes()).map_err(unwritable)?;
    match temporary.persist_noclobber(file) {
        Ok(_) => Ok(pem.into_bytes()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::read(file).map_err(|why| unreadable(file.to_owned(), why))
        }
        Err(error) => Err(unwritable(error.error)),
    }
}

fn generate() -> Result<String, rcgen::Error> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
    // Agents trust the key, not a date; a PC with a wrong clock gets in too.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2125, 1, 1);
    params.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let certificate = params.self_signed(&pair)?;
    Ok(format!("{}{}", certificate.pem(), pair.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServerIdentity::open(dir.path()).unwrap();
        let again = ServerIdentity::open(dir.path()).unwrap();
        assert_eq!(first.pin, again.pin);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_torn_or_foreign_file_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        ServerIdentity::open(dir.path()).unwrap();
        ServerIdentity::open(other.path()).unwrap();
        let (mine, theirs) = (
            std::fs::read_to_string(dir.path().join(FILE)).unwrap(),
            std::fs::read_to_string(other.path().join(FILE)).unwrap(),
        );
        let key_at = mine.find("-----BEGIN PRIVATE KEY").unwrap();
        let their_key = &theirs[theirs.find("-----BEGIN PRIVATE KEY").unwrap()..];
        let mixed = format!("{}{their_key}", &mine[..key_at]);
        for wrong in ["", "hello", &mine[..mine.len() / 2], &mine[..key_at], &mixed] {
            std::fs::write(dir.path().join(FILE), wrong).unwrap();
            let error = ServerIdentity::open(dir.path()).err().expect("it is damaged");
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), wrong);
        }
    }

    #[test]
    fn only_certificates_of_the_servers_own_key_are_shown() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mine, theirs] = dirs.each_ref().map(|dir| ServerIdentity::open(dir.path()).unwrap());
        let certificate_of = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(FILE)).unwrap();
        assert!(mine.show(&certificate_of(&dirs[0])).is_ok());
        assert!(mine.show(&certificate_of(&dirs[1])).is_err());
        assert!(theirs.show(b"").is_err());
        assert!(!mine.request("lan.example").unwrap().is_empty());
    }
}
