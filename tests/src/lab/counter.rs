//! What netfilter counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::netns::Netns;

/// A named counter of a firewall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Counted {
    pub packets: u64,
    /// IP headers included.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Listed {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    counter: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    counted: Counted,
}

/// The named counters of a namespace.
pub fn read(netns: &Netns) -> Result<BTreeMap<String, Counted>> {
    let answer = netns.run("nft", &["-j", "list", "counters"])?;
    let listed: Listed = serde_json::from_str(&answer).with_context(|| format!("nft printed {answer:?}"))?;
    let counters = listed.nftables.into_iter().filter_map(|entry| entry.counter);
    Ok(counters.map(|named| (named.name, named.counted)).collect())
}

/// One of them.
pub fn named(netns: &Netns, name: &str) -> Result<Counted> {
    let counter = read(netns)?.remove(name);
    counter.with_context(|| format!("{} counts no {name:?}", netns.name()))
}
