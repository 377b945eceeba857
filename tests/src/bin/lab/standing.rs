//! A lab that stays when the program ends.

use anyhow::Result;
use lanrage_tests::lab::{HomeSpec, Kind, Lab, LinkSpec, Nat, sweep};

const PREFIX: &str = "lrlab-";

#[expect(clippy::print_stdout, reason = "tells a person how to look around")]
pub(crate) fn up(delay: f64, kinds: &[Kind]) -> Result<()> {
    let mut lab = Lab::with_prefix(PREFIX)?;
    let default = [Kind::from(Nat::PortRestricted); 2];
    for kind in if kinds.is_empty() { &default } else { kinds } {
        let home = lab.home(HomeSpec::new(*kind).hosts(2))?;
        if delay > 0.0 {
            lab.link(&home.router, &LinkSpec::delay(delay))?;
        }
        for host in &home.hosts {
            println!(
                "{:<12} {:<16} behind {} ({kind}, {})",
                host.netns.name(),
                host.address,
                home.router.name(),
                home.wan
            );
        }
    }
    println!("{:<12} 203.0.113.10 and 203.0.113.11", lab.srv.name());
    println!("Run something there with `ip netns exec NAME COMMAND`; `scripts/lab down` removes everything.");
    lab.keep();
    Ok(())
}

pub(crate) fn down() {
    sweep::remove(PREFIX);
}
