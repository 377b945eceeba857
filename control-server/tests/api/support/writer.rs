//! A host that changes its party all the time, whatever happens to the server, and knows what was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lanrage_shared::api::invite::{InviteCreated, ListedInvite};
use lanrage_shared::api::party::{Joined, Party, RemoveMember, UpdateParty};
use lanrage_shared::ids::{DeviceId, PartyId};

use super::{Answer, Code, Device, Request, Target, party, redemption};

/// Members a writer leaves in its party before some go.
const CROWD: usize = 4;

/// Keeps writing until it is stopped.
pub struct Writer {
    written: Written,
    /// The host's number; those of everybody else follow.
    base: u32,
    guests: u32,
    newest: Option<Device>,
    /// Servers of one database; the first is used until it is gone.
    targets: Vec<Target>,
}

/// What was acknowledged.
pub struct Written {
    host: Device,
    code: Code,
    party: PartyId,
    joined: BTreeSet<DeviceId>,
    left: BTreeSet<DeviceId>,
    /// The server did not say whether it was done.
    unsure: BTreeSet<DeviceId>,
    invites: BTreeSet<uuid::Uuid>,
    /// Parties made besides, each by a device of its own.
    made: Vec<(Device, PartyId)>,
    /// What the name may be: the last that was acknowledged, and those about which nothing is known.
    names: Vec<String>,
    locked: Vec<bool>,
    /// Refusals, and the longest that anybody waited for one.
    pub refused: usize,
    pub longest: Duration,
    pub acknowledged: usize,
}

impl Writer {
    /// The `n`th of some.
    pub async fn begin(n: u32, targets: Vec<Target>) -> Self {
        let base = 1_000_000 * (n + 1);
        let host = Device::at(targets[0], base).await;
        let code = Code::numbered(base);
        let party = host.host(&code, None).await.party;
        Self {
            base,
            guests: 0,
            newest: None,
            targets,
            written: Written {
                joined: [host.id()].into(),
                left: BTreeSet::new(),
                unsure: BTreeSet::new(),
                invites: BTreeSet::new(),
                made: Vec::new(),
                names: vec![party.name.to_string()],
                locked: vec![false],
                party: party.id,
                refused: 0,
                longest: Duration::ZERO,
                acknowledged: 0,
                host,
                code,
            },
        }
    }

    /// Writes until `stop`, counting what is acknowledged in `done`.
    pub async fn run(mut self, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Written {
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            let before = self.written.acknowledged;
            match round % 5 {
                0 => self.join().await,
                1 => self.rename(round).await,
                2 => self.invite().await,
                3 if self.written.joined.len() > CROWD && round % 2 == 0 => self.remove().await,
                3 if self.written.joined.len() > CROWD => self.leave().await,
                3 => self.found().await,
                _ => self.lock(round % 2 == 0).await,
            }
            done.fetch_add(self.written.acknowledged - before, Ordering::Relaxed);
            round += 1;
        }
        self.written
    }

    async fn join(&mut self) {
        let Some(guest) = self.newcomer().await else { return };
        match self.send(&guest, redemption(&self.written.code, "Guest", &[])).await {
            Some(answer) if answer.status.is_success() => self.written.joined.insert(guest.id()),
            Some(answer) if is_certain(&answer) => return,
            _ => self.written.unsure.insert(guest.id()),
        };
        self.newest = Some(guest);
    }

    /// The newest guest goes by itself, if it is still there.
    async fn leave(&mut self) {
        let Some(guest) = self.newest.take() else { return };
        let path = format!("/v1/parties/{}/members/me", self.written.party);
        match self.send(&guest, Request::new("DELETE", path)).await {
            Some(answer) if answer.status.is_success() => self.written.left.insert(guest.id()),
            Some(answer) if is_certain(&answer) => return,
            _ => self.written.unsure.insert(guest.id()),
        };
        self.written.joined.remove(&guest.id());
    }

    async fn found(&mut self) {
        let Some(founder) = self.newcomer().await else { return };
        let code = Code::numbered(self.number() + 500_000);
        let request = Request::new("POST", "/v1/parties").json(&party(&code, None));
        let answer = self.send(&founder, request).await;
        if let Some(answer) = answer.filter(|answer| answer.status.is_success()) {
            let id = answer.ok::<Joined>().party.id;
            self.written.made.push((founder, id));
        }
    }

    async fn invite(&mut self) {
        self.guests += 1;
        let code = Code::numbered(self.number() + 700_000);
        let path = format!("/v1/parties/{}/invites", self.written.party);
        let request = Request::new("POST", path).json(&code.invite(None));
        let host = self.written.host.clone();
        let answer = self.send(&host, request).await;
        if let Some(answer) = answer.filter(|answer| answer.status.is_success()) {
            self.written.invites.insert(answer.ok::<InviteCreated>().id);
        }
    }

    async fn remove(&mut self) {
        let host = self.written.host.clone();
        let Some(party) = self.look().await else { return };
        let is_guest = |device: &DeviceId| *device != host.id();
        let Some(guest) = self.written.joined.iter().copied().find(is_guest) else {
            return;
        };
        let Some(member) = party.members.iter().find(|member| member.device == guest) else {
            return;
        };
        let path = format!("/v1/parties/{}/members/{}/remove", party.id, member.id);
        let request = Request::new("POST", path).header("if-match", format!("\"{}\"", party.version));
        let request = request.json(&RemoveMember { ban: false });
        match self.send(&host, request).await {
            Some(answer) if answer.status.is_success() => self.written.left.insert(guest),
            Some(answer) if is_certain(&answer) => return,
            _ => self.written.unsure.insert(guest),
        };
        self.written.joined.remove(&guest);
    }

    async fn rename(&mut self, round: u32) {
        let name = format!("Round {round}");
        let update = UpdateParty {
            name: Some(name.parse().unwrap()),
            ..UpdateParty::default()
        };
        let answer = self.update(&update).await;
        note(&mut self.written.names, name, answer);
    }

    async fn lock(&mut self, locked: bool) {
        let update = UpdateParty {
            locked: Some(locked),
            ..UpdateParty::default()
        };
        let answer = self.update(&update).await;
        note(&mut self.written.locked, locked, answer);
    }

    /// Whether it was done, if that is known.
    async fn update(&mut self, update: &UpdateParty) -> Option<bool> {
        let Some(party) = self.look().await else {
            return Some(false);
        };
        let request = Request::new("PATCH", format!("/v1/parties/{}", party.id));
        let request = request
            .header("if-match", format!("\"{}\"", party.version))
            .json(update);
        let host = self.written.host.clone();
        match self.send(&host, request).await {
            Some(answer) if answer.status.is_success() => Some(true),
            Some(answer) if is_certain(&answer) => Some(false),
            _ => None,
        }
    }

    async fn look(&mut self) -> Option<Party> {
        let path = format!("/v1/parties/{}", self.written.party);
        let request = Request::new("GET", path).token(&self.written.host.token);
        let answer = request.try_send(self.targets[0]).await;
        let Ok(answer) = answer else {
            self.go_over();
            return None;
        };
        let may_be = !answer.status.is_server_error() || answer.headers.contains_key("retry-after");
        assert!(may_be, "{}", answer.status);
        answer.status.is_success().then(|| answer.ok())
    }

    /// That of the newest guest, or of what else is made anew.
    fn number(&self) -> u32 {
        self.base + self.guests
    }

    /// A device that nobody has seen.
    async fn newcomer(&mut self) -> Option<Device> {
        self.guests += 1;
        let device = Device::try_at(self.targets[0], self.number()).await;
        if device.is_err() {
            self.go_over();
        }
        device.ok()
    }

    /// Sends a change. Refusals come soon, and say when to come back.
    async fn send(&mut self, device: &Device, request: Request<'_>) -> Option<Answer> {
        let began = Instant::now();
        let Ok(answer) = request.token(&device.token).try_send(self.targets[0]).await else {
            self.go_over();
            return None;
        };
        if answer.status.is_success() {
            self.written.acknowledged += 1;
        } else if answer.status == 503 {
            assert_eq!(answer.headers["retry-after"], "1");
            self.written.refused += 1;
            self.written.longest = self.written.longest.max(began.elapsed());
        } else {
            let text = String::from_utf8_lossy(&answer.body);
            assert!(answer.status.is_client_error(), "{}: {text}", answer.status);
        }
        Some(answer)
    }

    /// Takes the next server, if there is one.
    fn go_over(&mut self) {
        self.targets.rotate_left(1);
    }
}

impl Written {
    /// Finds again, at a server, all that was acknowledged.
    pub async fn check(&self, target: Target) {
        let host = Device {
            target,
            ..self.host.clone()
        };
        let party = allowed::<Party>(&host, format!("/v1/parties/{}", self.party)).await;
        let members: BTreeSet<DeviceId> = party.members.iter().map(|member| member.device).collect();
        let lost: Vec<_> = self.joined.difference(&members).collect();
        assert!(lost.is_empty(), "joined, and are not there: {lost:?}");
        let lost: Vec<_> = self.left.intersection(&members).collect();
        assert!(lost.is_empty(), "were removed, and are there: {lost:?}");
        let strangers = |device: &&DeviceId| !self.joined.contains(device) && !self.unsure.contains(device);
        assert_eq!(members.iter().find(strangers), None);
        assert!(
            self.names.contains(&party.name.to_string()),
            "{} is not of {:?}",
            party.name,
            self.names
        );
        assert!(self.locked.contains(&party.locked));
        let listed: Vec<ListedInvite> = allowed(&host, format!("/v1/parties/{}/invites", self.party)).await;
        for invite in &self.invites {
            assert!(listed.iter().any(|listed| listed.id == *invite), "an invite is lost");
        }
        for (founder, id) in &self.made {
            let founder = Device {
                target,
                ..founder.clone()
            };
            let parties: Vec<Party> = founder.get("/v1/parties").await.ok();
            assert_eq!(parties.iter().map(|party| party.id).collect::<Vec<_>>(), [*id]);
        }
    }
}

/// What is at `path`, as soon as the device may ask again.
async fn allowed<T: serde::de::DeserializeOwned>(device: &Device, path: String) -> T {
    loop {
        let answer = device.get(path.as_str()).await;
        if answer.status != 429 {
            return answer.ok();
        }
    }
}

/// A refusal that says that nothing was done.
fn is_certain(answer: &Answer) -> bool {
    answer.status.is_client_error()
}

fn note<T>(possible: &mut Vec<T>, value: T, done: Option<bool>) {
    match done {
        Some(true) => *possible = vec![value],
        Some(false) => {}
        None => possible.push(value),
    }
}
