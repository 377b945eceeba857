//! Whether both servers say the same of a party, and whether all that was acknowledged is in it.

use anyhow::Result;
use hyper::Method;
use lanrage_shared::api::party::Party;
use lanrage_shared::ids::DeviceId;

use super::life::{Lived, party};
use crate::http::Target;

pub struct Verdict {
    pub agrees: bool,
    /// Acknowledged changes that are not there.
    pub lost: usize,
    /// Conflicting writes that the servers tell of.
    pub conflicts: usize,
}

pub async fn judge(lived: &Lived, [one, two]: &[Target; 2]) -> Result<Verdict> {
    let (here, conflicts_here) = ask(lived, one).await?;
    let (there, conflicts_there) = ask(lived, two).await?;
    let is_member = |device: &DeviceId| here.members.iter().any(|member| member.device == *device);
    let absent = lived.members.iter().filter(|device| !is_member(device)).count();
    let present = lived.left.iter().filter(|device| is_member(device)).count();
    let renamed = lived.name.as_ref().is_some_and(|(_, name)| here.name.as_str() != name);
    Ok(Verdict {
        agrees: here == there,
        lost: absent + present + usize::from(renamed),
        conflicts: conflicts_here + conflicts_there,
    })
}

/// The party as this server sees it, and how many conflicting writes it knows.
async fn ask(lived: &Lived, target: &Target) -> Result<(Party, usize)> {
    let mut connection = target.connect(lived.host.source()).await?;
    let mut party = party(&mut connection, &lived.host, lived.id).await?;
    // By the clock of whichever server saw it last.
    party.members.iter_mut().for_each(|member| member.last_seen_ms = 0);
    let path = format!("/v1/parties/{}/conflicts", lived.id);
    let answer = connection
        .ask(Method::GET, &path, &lived.host.token, Default::default())
        .await?;
    let conflicts = serde_json::from_slice::<Vec<serde_json::Value>>(&answer)?;
    Ok((party, conflicts.len()))
}
