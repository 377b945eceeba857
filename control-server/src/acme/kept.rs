//! What is kept between orders, in the data directory: the account, and the certificate of each name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use instant_acme::AccountCredentials;
use lanrage_tls::file::replace;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::schedule::Validity;

const ACCOUNT: &str = "acme-account.json";

/// The account's key, and the authority it is at.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    pub(super) directory: String,
    pub(super) credentials: AccountCredentials,
}

pub(super) struct Kept {
    dir: PathBuf,
    chain: String,
}

impl Kept {
    /// For certificates of `domain`.
    pub(super) fn new(data_dir: &Path, domain: &str) -> Self {
        Self {
            dir: data_dir.to_owned(),
            chain: format!("certificate-{}.pem", domain.to_ascii_lowercase()),
        }
    }

    /// None when there is none, or it cannot be read: then there will be another one.
    pub(super) fn account(&self) -> Option<KeptAccount> {
        serde_json::from_slice(&fs::read(self.dir.join(ACCOUNT)).ok()?).ok()
    }

    pub(super) fn keep_account(&self, account: &KeptAccount) -> io::Result<()> {
        replace(&self.dir.join(ACCOUNT), &serde_json::to_vec(account)?)
    }

    /// The certificate (PEM, with those above it), and from when to when it holds.
    pub(super) fn chain(&self) -> Option<(Vec<u8>, Validity)> {
        let chain = fs::read(self.dir.join(&self.chain)).ok()?;
        let certificate = CertificateDer::from_pem_slice(&chain).ok()?;
        let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
        let validity = certificate.validity();
        let validity = Validity {
            from: time(validity.not_before),
            until: time(validity.not_after),
        };
        Some((chain, validity))
    }

    pub(super) fn keep_chain(&self, chain: &str) -> io::Result<()> {
        replace(&self.dir.join(&self.chain), chain.as_bytes())
    }
}

fn time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}
