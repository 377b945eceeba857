//! Whether the firewall of this PC lets in what comes by the virtual adapter: ufw, firewalld, or whatever rules nftables has.
//!
//! A rule of ours in a table of ours would not help: a packet has to pass every table. So the firewall's own command has to
//! make the exception, or, where somebody wrote the rules by hand, that somebody.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::nft;
use crate::doctor::firewall::Firewall;

/// Longest a firewall's command may take: firewall-cmd starts Python and asks a service.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where such commands are, whatever PATH the agent was started with.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// What this PC's firewall does with what comes in by an interface.
pub async fn firewall(interface: &str) -> Firewall {
    let shut = |by: &str, command: Vec<String>| Firewall::Shut {
        by: by.to_owned(),
        command: command.join(" "),
        fixable: true,
    };
    match ufw(interface).await {
        Some(true) => return Firewall::Open("the firewall ufw lets members in".to_owned()),
        Some(false) => return shut("the firewall ufw", ufw_command(interface)),
        None => {}
    }
    match firewalld(interface).await {
        Some(true) => return Firewall::Open("the firewall firewalld trusts the virtual adapter".to_owned()),
        Some(false) => return shut("the firewall firewalld", firewalld_command(interface)),
        None => {}
    }
    let Some(ruleset) = run("nft", &["-j", "list", "ruleset"]).await else {
        return Firewall::Unknown("the firewall rules of this PC cannot be read (there is no `nft`)".to_owned());
    };
    let Ok(ruleset) = serde_json::from_str::<Value>(&ruleset) else {
        return Firewall::Unknown("the firewall rules of this PC cannot be understood".to_owned());
    };
    match nft::shut_by(&ruleset, interface) {
        None => Firewall::Open("no firewall rule keeps members out".to_owned()),
        Some(chain) => Firewall::Shut {
            by: format!("the firewall chain `{chain}`"),
            command: format!("nft insert rule {chain} iifname \"{interface}\" accept"),
            fixable: false,
        },
    }
}

/// Has ufw or firewalld let in what comes by an interface.
pub async fn open_firewall(interface: &str) -> io::Result<()> {
    let command = match ufw(interface).await {
        Some(false) => ufw_command(interface),
        _ => firewalld_command(interface),
    };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((program, arguments)) => run(program, arguments).await,
        None => None,
    };
    done.map(drop)
        .ok_or_else(|| io::Error::other("the firewall's command failed"))
}

fn ufw_command(interface: &str) -> Vec<String> {
    ["ufw", "allow", "in", "on", interface].map(str::to_owned).to_vec()
}

fn firewalld_command(interface: &str) -> Vec<String> {
    let interface = format!("--add-interface={interface}");
    ["firewall-cmd", "--zone=trusted", &interface]
        .map(str::to_owned)
        .to_vec()
}

/// Whether ufw lets it in; none when ufw is not active.
async fn ufw(interface: &str) -> Option<bool> {
    let status = run("ufw", &["status", "verbose"]).await?;
    ufw_lets_in(&status, interface)
}

fn ufw_lets_in(status: &str, interface: &str) -> Option<bool> {
    if !status.lines().any(|line| line.trim() == "Status: active") {
        return None;
    }
    let allows_all = status.lines().any(|line| line.starts_with("Default: allow (incoming)"));
    let rule = format!("Anywhere on {interface} ");
    let is_allowed = |line: &str| line.starts_with(&rule) && line.contains("ALLOW");
    Some(allows_all || status.lines().any(is_allowed))
}

/// Whether firewalld lets it in; none when firewalld does not run.
async fn firewalld(interface: &str) -> Option<bool> {
    run("firewall-cmd", &["--state"]).await?;
    let zone = run("firewall-cmd", &[&format!("--get-zone-of-interface={interface}")]).await;
    Some(zone.is_some_and(|zone| zone.trim() == "trusted"))
}

/// What a program of this name prints; none when there is none, or it fails or takes too long.
async fn run(name: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(find(name)?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}

fn find(name: &str) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_is_understood() {
        let active =
            "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing)\n\nTo  Action  From\n";
        assert_eq!(ufw_lets_in("Status: inactive\n", "lanrage0"), None);
        assert_eq!(ufw_lets_in(active, "lanrage0"), Some(false));
        let rule = "Anywhere on lanrage0       ALLOW IN    Anywhere\n";
        assert_eq!(ufw_lets_in(&format!("{active}{rule}"), "lanrage0"), Some(true));
        assert_eq!(ufw_lets_in(&format!("{active}{rule}"), "lanrage1"), Some(false));
        assert_eq!(
            ufw_lets_in(
                "Status: active\nDefault: allow (incoming), allow (outgoing)\n",
                "lanrage0"
            ),
            Some(true)
        );
    }
}
