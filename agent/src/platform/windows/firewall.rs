//! Whether the Windows firewall lets the agent be reached. What games need of it hangs on the network's category
//! ([`super::adapter`]), and on each game's own rule, which Windows asks about when the game starts.

use std::io;
use std::process::Command;

use super::adapter::run;
use crate::doctor::firewall::Firewall;

/// What our rule is called.
const RULE: &str = "LANrage";

/// What the firewall does with what comes in for this program.
pub async fn firewall(_interface: &str) -> Firewall {
    let asked = tokio::task::spawn_blocking(|| {
        let name = format!("name={RULE}");
        run(Command::new("netsh").args(["advfirewall", "firewall", "show", "rule", &name]))
    });
    match asked.await {
        Ok(Ok(_)) => Firewall::Open("the Windows firewall has its rule for LANrage".to_owned()),
        // That is how it says that there is no such rule.
        Ok(Err(_)) => Firewall::Shut {
            by: "the Windows firewall, which has no rule for LANrage,".to_owned(),
            command: format!(
                "netsh advfirewall firewall add rule name={RULE} dir=in action=allow program=<lanrage.exe>"
            ),
            fixable: true,
        },
        Err(_) => Firewall::Unknown("the Windows firewall cannot be asked".to_owned()),
    }
}

/// Adds the rule for this program.
pub async fn open_firewall(_interface: &str) -> io::Result<()> {
    let added = tokio::task::spawn_blocking(|| {
        let name = format!("name={RULE}");
        let program = format!("program={}", std::env::current_exe()?.display());
        let rule = [
            "advfirewall",
            "firewall",
            "add",
            "rule",
            &name,
            "dir=in",
            "action=allow",
            &program,
        ];
        run(Command::new("netsh").args(rule).args(["enable=yes", "profile=any"]))
    });
    added.await.map_err(io::Error::other)?.map(drop)
}
