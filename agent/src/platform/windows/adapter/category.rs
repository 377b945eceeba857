//! Whether Windows takes the virtual LAN for a public place, where its firewall lets in nobody who was not invited.
//!
//! It decides that some seconds after the adapter has its address, and tells only by COM or PowerShell, which needs a second
//! to start. So a thread asks, and what it learned is there at the next look.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::run;

/// The category of the network behind an adapter.
pub(super) struct Category {
    adapter: String,
    known: Arc<Known>,
    /// Windows refuses it for some networks, for as long as they are there.
    gave_up: bool,
}

#[derive(Debug, Default)]
struct Known {
    is_public: AtomicBool,
    is_asking: AtomicBool,
}

impl Category {
    pub(super) fn of(adapter: &str) -> Self {
        Self {
            adapter: adapter.to_owned(),
            known: Arc::default(),
            gave_up: false,
        }
    }

    /// What was learned last; asks anew for the next time.
    pub(super) fn is_public(&self) -> bool {
        if !self.known.is_asking.swap(true, Ordering::AcqRel) {
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

    /// Declares it a private one: once, because it takes a second.
    pub(super) fn make_private(&mut self) -> io::Result<()> {
        if self.gave_up {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let script = format!(
            "Set-NetConnectionProfile -InterfaceAlias '{}' -NetworkCategory Private -ErrorAction Stop",
            self.adapter
        );
        let outcome = powershell(&script);
        self.gave_up = outcome.is_err();
        if outcome.is_ok() {
            self.known.is_public.store(false, Ordering::Release);
        }
        outcome.map(drop)
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
