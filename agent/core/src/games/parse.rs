//! From a file's text to a [`GameProfile`], or to the line and what is wrong there.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use lanrage_shared::api::game::{GameId, GameName};
use serde::Deserialize;
use toml::Spanned;

use super::probe;
use super::profile::{
    Discovery, GameProfile, LatencyClass, Method, Ports, Processes, Sender, Sha256, TomlPorts, Tuning,
};

/// Longest file in bytes: the longest that came with this program has some 3 KiB.
pub const MAX_PROFILE: usize = 64 * 1024;

/// Why a profile is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {reason}")]
pub struct ProfileError {
    /// The file's name, without its directory.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there, in words.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlProfile {
    name: GameName,
    latency_class: LatencyClass,
    sources: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    window_titles: Vec<Spanned<String>>,
    #[serde(default)]
    hashes: Vec<Spanned<String>>,
    #[serde(default)]
    processes: TomlProcesses,
    #[serde(default)]
    ports: TomlPortLists,
    #[serde(default)]
    discovery: Vec<Spanned<TomlDiscovery>>,
    #[serde(default)]
    tuning: TomlTuning,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TomlProcesses {
    linux: Vec<Spanned<String>>,
    windows: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TomlPortLists {
    udp: Vec<TomlPorts>,
    tcp: Vec<TomlPorts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlDiscovery {
    method: TomlMethod,
    group: Option<Spanned<IpAddr>>,
    port: TomlPorts,
    sender: Sender,
    source: Spanned<String>,
    probe: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum TomlMethod {
    Broadcast,
    Multicast,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TomlTuning {
    keepalive_s: Option<Spanned<i64>>,
    mtu: Option<Spanned<i64>>,
    dscp: Option<Spanned<i64>>,
}

/// What is wrong, and where in the text.
type Wrong = (Range<usize>, String);

/// Reads the profile in a file of this name (`<id>.toml`).
pub fn parse(file: &str, text: &str) -> Result<GameProfile, ProfileError> {
    let error = |at: usize, reason: String| ProfileError {
        file: file.to_owned(),
        line: line_of(text, at),
        reason,
    };
    let id = file.strip_suffix(".toml").unwrap_or(file);
    let id: GameId = id
        .parse()
        .map_err(|wrong| error(0, format!("the file's name, {file}: {wrong}")))?;
    if text.len() > MAX_PROFILE {
        return Err(error(0, format!("the file is longer than {} KiB", MAX_PROFILE / 1024)));
    }
    let profile = toml::from_str::<TomlProfile>(text)
        .map_err(|wrong| error(wrong.span().map_or(0, |span| span.start), in_a_line(wrong.message())))?;
    checked(id, profile).map_err(|(span, reason)| error(span.start, reason))
}

fn checked(id: GameId, toml: TomlProfile) -> Result<GameProfile, Wrong> {
    if toml.sources.get_ref().is_empty() {
        return Err((toml.sources.span(), "a profile names at least one source".to_owned()));
    }
    let ranges = |ports: Vec<TomlPorts>| ports.into_iter().map(|ports| ports.0).collect();
    Ok(GameProfile {
        id,
        name: toml.name,
        latency_class: toml.latency_class,
        processes: Processes {
            linux: texts(toml.processes.linux)?,
            windows: texts(toml.processes.windows)?,
        },
        window_titles: texts(toml.window_titles)?,
        ports: Ports {
            udp: ranges(toml.ports.udp),
            tcp: ranges(toml.ports.tcp),
        },
        discovery: toml.discovery.into_iter().map(discovery).collect::<Result<_, _>>()?,
        tuning: tuning(toml.tuning)?,
        hashes: toml.hashes.into_iter().map(hash).collect::<Result<_, _>>()?,
        sources: texts(toml.sources.into_inner())?,
    })
}

fn discovery(toml: Spanned<TomlDiscovery>) -> Result<Discovery, Wrong> {
    let (span, toml) = (toml.span(), toml.into_inner());
    let method = match (toml.method, toml.group) {
        (TomlMethod::Broadcast, None) => Method::Broadcast,
        (TomlMethod::Broadcast, Some(group)) => {
            return Err((group.span(), "a broadcast has no group".to_owned()));
        }
        (TomlMethod::Multicast, None) => return Err((span, "multicast wants its `group`".to_owned())),
        (TomlMethod::Multicast, Some(group)) if !group.get_ref().is_multicast() => {
            return Err((group.span(), format!("{} is no multicast group", group.get_ref())));
        }
        (TomlMethod::Multicast, Some(group)) => Method::Multicast(group.into_inner()),
    };
    let probe = toml
        .probe
        .map(|text| probe::bytes(text.get_ref()).map_err(|wrong| (text.span(), wrong)));
    Ok(Discovery {
        method,
        ports: toml.port.0,
        sender: toml.sender,
        probe: probe.transpose()?,
        source: one_text(toml.source)?,
    })
}

fn tuning(toml: TomlTuning) -> Result<Tuning, Wrong> {
    Ok(Tuning {
        keepalive: within("keepalive_s", toml.keepalive_s, 1, 60)?.map(Duration::from_secs),
        mtu: within("mtu", toml.mtu, 576, 1280)?,
        dscp: within("dscp", toml.dscp, 0, 63)?,
    })
}

fn within<T: TryFrom<i64>>(name: &str, value: Option<Spanned<i64>>, min: i64, max: i64) -> Result<Option<T>, Wrong> {
    let Some(value) = value else { return Ok(None) };
    let allowed = Some(*value.get_ref()).filter(|value| (min..=max).contains(value));
    match allowed.and_then(|value| T::try_from(value).ok()) {
        Some(value) => Ok(Some(value)),
        None => Err((
            value.span(),
            format!("{name} is from {min} to {max}, not {}", value.get_ref()),
        )),
    }
}

fn hash(text: Spanned<String>) -> Result<Sha256, Wrong> {
    let digit = |at: usize| {
        text.get_ref()
            .get(at..=at)
            .and_then(|digit| u8::from_str_radix(digit, 16).ok())
    };
    let byte = |at: usize| Some(digit(2 * at)? * 16 + digit(2 * at + 1)?);
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    match bytes.and_then(|bytes| Sha256::try_from(bytes).ok()) {
        Some(hash) if text.get_ref().len() == 64 => Ok(hash),
        _ => Err((text.span(), "a hash is SHA-256 in 64 hexadecimal digits".to_owned())),
    }
}

fn texts(list: Vec<Spanned<String>>) -> Result<Vec<String>, Wrong> {
    list.into_iter().map(one_text).collect()
}

fn one_text(text: Spanned<String>) -> Result<String, Wrong> {
    if text.get_ref().trim().is_empty() || text.get_ref().chars().any(char::is_control) {
        return Err((text.span(), "an empty or unprintable text".to_owned()));
    }
    Ok(text.into_inner())
}

/// Counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

fn in_a_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
