//! A link that behaves like a real one: a shim between a node's port and the segment.

use std::time::Duration;

use anyhow::Result;

use super::bins;
use super::internet::Lab;
use super::netns::Netns;
use super::process::Process;

/// What a link does to packets, the same in both directions. The default does nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkSpec {
    /// One way, in ms.
    pub delay_ms: f64,
    /// Up to this much more, in ms, without changing the order.
    pub jitter_ms: f64,
    /// Packets lost at random, in percent; never ARP and its like.
    pub loss: f64,
    /// Bursts of loss: chance per packet that one begins and that it ends, in percent.
    pub burst: Option<(f64, f64)>,
    /// Packets that arrive twice, in percent.
    pub duplicate: f64,
    /// Packets that overtake the others, in percent.
    pub reorder: f64,
    /// Mbit/s; what would wait longer than 50 ms is dropped.
    pub rate_mbit: Option<f64>,
}

impl LinkSpec {
    /// A link that only takes time: `ms` one way.
    pub fn delay(ms: f64) -> Self {
        Self {
            delay_ms: ms,
            ..Self::default()
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--delay={}", self.delay_ms),
            format!("--jitter={}", self.jitter_ms),
            format!("--loss={}", self.loss),
            format!("--duplicate={}", self.duplicate),
            format!("--reorder={}", self.reorder),
        ];
        if let Some((begins, ends)) = self.burst {
            arguments.push(format!("--burst={begins},{ends}"));
        }
        if let Some(rate) = self.rate_mbit {
            arguments.push(format!("--rate={rate}"));
        }
        arguments
    }
}

/// Takes the node's port off the segment and puts a shim in between.
///
/// A frame must be one packet for loss and delay to mean anything, so the devices on both sides may not hand on
/// super-packets: with one segment at most the kernel cuts them before they get here.
pub(super) fn insert(lab: &Lab, node: &Netns, spec: &LinkSpec) -> Result<Process> {
    let (port, short) = (lab.port(node), lab.short(node));
    let (bridge_end, shim_end) = (format!("s-{short}"), format!("t-{short}"));
    let uplink = if short.starts_with("srv") { "eth0" } else { "wan" };
    node.ip(&format!("link set {uplink} gso_max_segs 1\n"))?;
    lab.inet.ip(&format!(
        "link set {port} nomaster\nlink add {bridge_end} type veth peer name {shim_end}\nlink set {bridge_end} gso_max_segs 1\n\
         link set {shim_end} up\nlink set {bridge_end} up master br0\n"
    ))?;
    let mut command = lab.inet.command(bins::find("lab-shim")?);
    command.arg(&port).arg(&shim_end).args(spec.arguments());
    let mut shim = Process::spawn(command, &format!("shim-{short}"), lab.dir())?;
    shim.wait_for_line("ready", Duration::from_secs(5))?;
    Ok(shim)
}
