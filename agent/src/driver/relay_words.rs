//! Why a relay is used or not, in words.

use std::time::{Duration, Instant};

use lanrage_agent_core::relays::{KnownRelay, Role, Trouble};

/// Less than this is no difference to anybody.
const EQUAL: Duration = Duration::from_millis(1);

/// Why `relay`, one of `all`, is what it is.
pub fn why(relay: &KnownRelay, all: &[KnownRelay], now: Instant) -> String {
    if let Some(failure) = &relay.failure {
        let age = age(now.saturating_duration_since(failure.since));
        return match &failure.trouble {
            Trouble::Unreachable(why) => format!("not reachable since {age}: {why}"),
            Trouble::Draining => format!("about to stop, said so {age} ago: not used any more"),
        };
    }
    let Some(rtt) = relay.rtt else {
        return match relay.role {
            Role::Unused => "not used: not measured yet".to_owned(),
            Role::Home | Role::Spare | Role::ForPeers | Role::Tried => "connecting".to_owned(),
        };
    };
    let load = relay.relay.load;
    match relay.role {
        Role::Home => format!("home: {}, load {load} %", place(rtt, all)),
        Role::Spare => format!("spare: {}, load {load} %", place(rtt, all)),
        Role::ForPeers => {
            "for peers: it leads to some that home and spare do not lead to, or only by a detour".to_owned()
        }
        Role::Tried => "not used: just being measured again".to_owned(),
        Role::Unused => unused(relay, rtt, all),
    }
}

fn unused(relay: &KnownRelay, rtt: Duration, all: &[KnownRelay]) -> String {
    let home = all
        .iter()
        .find(|other| other.role == Role::Home)
        .and_then(|home| home.rtt);
    match home.map(|home| (rtt.saturating_sub(home), home.saturating_sub(rtt))) {
        Some((farther, _)) if farther >= EQUAL => format!("not used: {} ms farther than home", farther.as_millis()),
        Some((_, nearer)) if nearer >= EQUAL => format!(
            "not used: {} ms nearer than home, which is too little to move for, with a load of {} %",
            nearer.as_millis(),
            relay.relay.load
        ),
        _ => "not used: no nearer than home".to_owned(),
    }
}

/// `nearest (21 ms)`.
fn place(rtt: Duration, all: &[KnownRelay]) -> String {
    let serves = |other: &&KnownRelay| other.failure.is_none();
    let nearer = all
        .iter()
        .filter(serves)
        .filter(|other| other.rtt.is_some_and(|other| other < rtt));
    let place = match nearer.count() {
        0 => "nearest".to_owned(),
        1 => "second nearest".to_owned(),
        2 => "third nearest".to_owned(),
        nearer => format!("{}th nearest", nearer + 1),
    };
    format!("{place} ({} ms)", (rtt.as_secs_f64() * 1000.0).round())
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use lanrage_agent_core::relays::RelayChoice;
    use lanrage_shared::api::relay::Relay;
    use lanrage_shared::ids::{DeviceId, Pin, RelayId};

    use super::*;

    const RELAYS: [(&str, u64, u8); 4] = [("fra-1", 21, 12), ("ams-1", 25, 3), ("lon-1", 69, 0), ("sgp-1", 180, 0)];

    fn id(name: &str) -> RelayId {
        name.parse().unwrap()
    }

    fn choice(now: Instant) -> RelayChoice {
        let mut choice = RelayChoice::new(DeviceId([1; 16]));
        let offer = RELAYS.map(|(name, _, load)| Relay {
            id: id(name),
            region: name[..3].into(),
            host: None,
            port: 443,
            pin: Pin([0; 32]),
            load,
        });
        choice.handle_offer(offer.into(), now);
        choice
    }

    fn sentences(choice: &mut RelayChoice, now: Instant) -> Vec<(String, String)> {
        choice.wanted(&[], now);
        let known = choice.known();
        let say = |relay: &KnownRelay| (relay.relay.id.to_string(), why(relay, &known, now));
        known.iter().map(say).collect()
    }

    fn said(sentences: &[(String, String)], name: &str) -> String {
        let sentence = sentences.iter().find(|(id, _)| id == name);
        sentence.map(|(_, sentence)| sentence.clone()).unwrap_or_default()
    }

    #[test]
    fn each_relay_says_why_it_is_used_or_not() {
        let start = Instant::now();
        let mut choice = choice(start);
        for (name, rtt, _) in &RELAYS[..3] {
            choice.handle_rtt(&id(name), Duration::from_millis(*rtt), start);
        }
        let trouble = Trouble::Unreachable("connection refused".into());
        choice.handle_failure(&id("sgp-1"), trouble.clone(), start);
        let later = start + Duration::from_secs(20);
        choice.handle_failure(&id("sgp-1"), trouble, later);
        let now = start + Duration::from_secs(40);
        // Devices spread over two that are as near as these.
        let all = sentences(&mut choice, now);
        let (near, mid) = (said(&all, "fra-1"), said(&all, "ams-1"));
        assert!(near.ends_with(": nearest (21 ms), load 12 %"), "{near}");
        assert!(mid.ends_with(": second nearest (25 ms), load 3 %"), "{mid}");
        let mut roles = [near, mid].map(|text| text.split(':').next().unwrap_or_default().to_owned());
        roles.sort();
        assert_eq!(roles, ["home", "spare"]);
        let farther = said(&all, "lon-1");
        assert!(
            ["48", "44"]
                .iter()
                .any(|ms| farther == format!("not used: {ms} ms farther than home")),
            "{farther}"
        );
        assert_eq!(said(&all, "sgp-1"), "not reachable since 40 s: connection refused");
    }

    #[test]
    fn a_relay_that_stops_or_was_not_measured_says_so() {
        let start = Instant::now();
        let mut choice = choice(start);
        choice.handle_rtt(&id("fra-1"), Duration::from_millis(21), start);
        choice.handle_failure(&id("fra-1"), Trouble::Draining, start);
        let now = start + Duration::from_secs(300);
        let all = sentences(&mut choice, now);
        assert_eq!(
            said(&all, "fra-1"),
            "about to stop, said so 5 min ago: not used any more"
        );
        assert!(
            ["ams-1", "lon-1", "sgp-1"]
                .iter()
                .all(|name| said(&all, name) == "connecting"),
            "{all:?}"
        );
    }
}
