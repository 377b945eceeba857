//! Whether Windows takes the virtual LAN for a public place, where its firewall lets in nobody who was not invited.
//!
//! It decides that some seconds after the adapter has its address, and tells only by COM or PowerShell, which needs a second
//! to start. So a thread asks, and what it learned is there at the next look.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::run;

/// A question starts a program that takes a second of a core.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// The category of the network behind an adapter.
pub(super) struct Category {
    adapter: String,
    known: Arc<Known>,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Known {
    is_public: AtomicBool,
    is_asking: AtomicBool,
    /// Windows refuses it for some networks, for as long as they are there.
    refused: AtomicBool,
}

impl Category {
    pub(super) fn of(adapter: &str) -> Self {
        Self {
            adapter: adapter.to_owned(),
            known: Arc::default(),
            asked: None,
        }
    }

    /// What was learned last; asks anew for the next time, once a minute at most.
    pub(super) fn is_public(&mut self) -> bool {
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() > ASK_EVERY);
        if is_due && !self.known.is_asking.swap(true, Ordering::AcqRel) {
            self.asked = Some(Instant::now());
            let (known, adapter) = (Arc::clone(&self.known), self.adapter.clone());
            thread::spawn(move || {
                // Before Windows has decided there is no profile, and no answer.
                let is_public = ask(&adapter).unwrap_or(false);
                known.is_public.store(is_public, Ordering::Release);
                known.is_asking.store(false, Ordering::Release);
            });
        }
        self.known.is_public.load(Ordering::Acquire)
    }

    /// Declares it a private one, in a thread: that takes a second. Whether it worked shows at a later look.
    pub(super) fn make_private(&mut self) -> io::Result<()> {
        if self.known.refused.load(Ordering::Acquire) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if !self.known.is_asking.swap(true, Ordering::AcqRel) {
            let script = format!(
                "Set-NetConnectionProfile -InterfaceAlias '{}' -NetworkCategory Private -ErrorAction Stop",
                self.adapter
            );
            let known = Arc::clone(&self.known);
            thread::spawn(move || {
                let outcome = powershell(&script);
                known.refused.store(outcome.is_err(), Ordering::Release);
                known.is_public.store(outcome.is_err(), Ordering::Release);
                known.is_asking.store(false, Ordering::Release);
            });
        }
        Ok(())
    }
}

fn ask(adapter: &str) -> io::Result<bool> {
    let script = format!("(Get-NetConnectionProfile -InterfaceAlias '{adapter}' -ErrorAction Stop).NetworkCategory");
    Ok(says_public(&powershell(&script)?))
}

fn says_public(printed: &str) -> bool {
    printed.trim().eq_ignore_ascii_case("public")
}

/// The adapter's name has neither quotes nor blanks ([`crate::io::tun::TunDevice::create`] checks it).
fn powershell(script: &str) -> io::Result<String> {
    run(Command::new("powershell").args(["-NoProfile", "-NonInteractive", "-Command", script]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_network_is_public() {
        assert!(says_public("Public\r\n"));
        for other in ["Private\r\n", "DomainAuthenticated\r\n", ""] {
            assert!(!says_public(other));
        }
    }
}
