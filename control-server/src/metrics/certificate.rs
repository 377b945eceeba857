//! Until when the certificate holds that an authority has made.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use lanrage_observe::metrics::Out;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

/// Of the process, which shows one: it is ordered beside the server, which knows nothing of it. In seconds since 1970; 0: none.
static EXPIRES: AtomicU64 = AtomicU64::new(0);

/// Tells until when the certificate holds that is shown from now on.
pub fn certificate_expires(at: SystemTime) {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    EXPIRES.store(since_epoch.as_secs(), Ordering::Relaxed);
}

/// Left out while none of an authority is shown.
#[derive(Debug)]
pub(super) struct Certificate;

impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match EXPIRES.load(Ordering::Relaxed) {
            0 => Ok(()),
            expires => {
                let help = "When the certificate of an authority expires, in seconds since 1970";
                Out(&mut encoder).gauge("certificate_expires_timestamp_seconds", help, expires as f64)
            }
        }
    }
}
