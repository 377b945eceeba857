//! What `/proc` says of the processes, and of the ports that some of them listen on.
//!
//! Only processes in this one's network namespace: what runs in another one, such as a container's, cannot reach the virtual LAN.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use lanrage_agent_core::games::Process;

use crate::platform::Listening;

/// Longest command line that is looked at, in bytes: Java's class paths go on for ever.
const MOST_ARGV: usize = 16 * 1024;
/// States in `/proc/net`: a UDP socket that is connected to nobody, a TCP socket that listens.
const UDP_OPEN: &str = "07";
const TCP_LISTEN: &str = "0A";

/// The processes there are, kernel threads aside. One that ends meanwhile is left out.
pub fn processes() -> Vec<Process> {
    let own_network = network(Path::new("/proc/self"));
    let Ok(listed) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| process(pid, own_network.as_deref())).collect()
}

fn process(pid: u32, own_network: Option<&Path>) -> Option<Process> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let exe = fs::read_link(directory.join("exe")).ok();
    let line = fs::read(directory.join("cmdline")).ok()?;
    if exe.is_none() && line.is_empty() {
        return None;
    }
    // Of a process of somebody else's, without root, it is not told.
    if network(&directory).is_some_and(|network| own_network.is_some_and(|own| own != network)) {
        return None;
    }
    let line = &line[..line.len().min(MOST_ARGV)];
    let arguments = line.split(|&byte| byte == 0).filter(|argument| !argument.is_empty());
    Some(Process {
        pid,
        name: fs::read_to_string(directory.join("comm")).ok()?.trim_end().to_owned(),
        exe: exe.map(|exe| plain_path(&exe)),
        argv: arguments
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
        ..Process::default()
    })
}

fn network(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}

/// The kernel marks an executable that was replaced while it runs, as by an update.
fn plain_path(exe: &Path) -> String {
    let path = exe.to_string_lossy();
    path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
}

/// The ports that these processes listen on.
pub fn listening(pids: &BTreeSet<u32>) -> BTreeMap<u32, Listening> {
    let udp = sockets(["udp", "udp6"], UDP_OPEN);
    let tcp = sockets(["tcp", "tcp6"], TCP_LISTEN);
    let of = |pid: &u32| {
        let inodes: Vec<u64> = own_sockets(*pid);
        let ports = |table: &HashMap<u64, u16>| inodes.iter().filter_map(|inode| table.get(inode).copied()).collect();
        let listening = Listening {
            udp: ports(&udp),
            tcp: ports(&tcp),
        };
        (*pid, listening)
    };
    pids.iter().map(of).collect()
}

/// Local ports by inode of the sockets in this state.
fn sockets(tables: [&str; 2], state: &str) -> HashMap<u64, u16> {
    let mut ports = HashMap::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        ports.extend(text.lines().skip(1).filter_map(|line| socket(line, state)));
    }
    ports
}

/// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …`
fn socket(line: &str, wanted: &str) -> Option<(u64, u16)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = columns[..] else {
        return None;
    };
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == wanted).then_some((inode.parse().ok()?, port))
}

fn own_sockets(pid: u32) -> Vec<u64> {
    let Ok(listed) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let targets = listed.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |target: PathBuf| {
        target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    targets.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn this_process_is_seen_with_its_ports() {
        let (udp, tcp) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("[::]:0").unwrap(),
        );
        let own = std::process::id();
        let processes = processes();
        let seen = processes.iter().find(|process| process.pid == own).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(seen.exe.as_deref(), exe.to_str());
        assert!(!seen.argv.is_empty());
        let ports = &listening(&BTreeSet::from([own]))[&own];
        assert!(ports.udp.contains(&udp.local_addr().unwrap().port()), "{ports:?}");
        assert!(ports.tcp.contains(&tcp.local_addr().unwrap().port()), "{ports:?}");
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let line = "  12: 0100007F:6D38 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 4711 2 0 0";
        assert_eq!(socket(line, UDP_OPEN), Some((4711, 0x6d38)));
        assert_eq!(socket(line, TCP_LISTEN), None);
        assert_eq!(socket("sl local", UDP_OPEN), None);
    }
}
