//! Port mapping against a real router program (miniupnpd), in network namespaces of its own: a PC, its router, and a
//! stranger on the internet who must get through.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lanrage::io::portmap::PortMapping;
use rustix::thread::{Pid, UnshareFlags, gettid, unshare_unsafe};
use tokio::sync::watch;
use tokio::time::timeout;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const PC: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
/// miniupnpd refuses the ranges that are reserved for documentation; nothing leaves the namespaces.
const WAN: Ipv4Addr = Ipv4Addr::new(45, 113, 203, 1);
/// How often a stranger knocks until it is heard.
const KNOCK_EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

const PCP_READY: &str = "Listening for NAT-PMP/PCP traffic";
const UPNP_READY: &str = "HTTP listening on port";

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own; programs it starts are in it too.
struct Namespace {
    jobs: mpsc::Sender<Job>,
    thread: Pid,
}

impl Namespace {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the port mapping tests make network namespaces, which needs root: run them with sudo"
        );
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, started) = mpsc::channel();
        thread::spawn(move || {
            // SAFETY: only the network namespace is left behind, and nothing else relies on this thread's.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
            ready.send(gettid()).unwrap();
            for job in queue {
                job();
            }
        });
        let thread = started.recv().unwrap();
        let namespace = Self { jobs, thread };
        namespace.ip("link set lo up");
        namespace
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move || drop(done.send(work())))).unwrap();
        result.recv().expect("the work in the namespace panicked")
    }

    fn ip(&self, arguments: &str) {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        self.run(move || {
            let status = Command::new("ip")
                .args(&arguments)
                .status()
                .expect("iproute2 is installed");
            assert!(status.success(), "ip {}", arguments.join(" "));
        });
    }
}

/// A PC behind a router, and a stranger beyond it.
struct Home {
    pc: Namespace,
    router: Namespace,
    stranger: Namespace,
}

impl Home {
    fn new() -> Self {
        let (pc, router, stranger) = (Namespace::new(), Namespace::new(), Namespace::new());
        for (interface, address, other) in [("lan", ROUTER, &pc), ("wan", WAN, &stranger)] {
            let thread = other.thread.as_raw_nonzero();
            router.ip(&format!("link add {interface} type veth peer name eth0 netns {thread}"));
            router.ip(&format!("addr add {address}/24 dev {interface}"));
            router.ip(&format!("link set {interface} up"));
            let [a, b, c, _] = address.octets();
            other.ip(&format!("addr add {a}.{b}.{c}.2/24 dev eth0"));
            other.ip("link set eth0 up");
        }
        pc.ip(&format!("route add default via {ROUTER}"));
        router.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        Self { pc, router, stranger }
    }

    /// Starts miniupnpd on the router and waits until it says that it is `ready`.
    fn miniupnpd(&self, dir: &Path, options: &str, ready: &str) -> Daemon {
        let rules = dir.join("rules.nft");
        fs::write(
            &rules,
            "table inet upnp {
             chain forward { type filter hook forward priority -10; jump miniupnpd; }
             chain miniupnpd { }
             chain arriving { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
             chain prerouting_miniupnpd { }
             chain leaving { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
             chain postrouting_miniupnpd { }
             }\n",
        )
        .unwrap();
        let config = dir.join("miniupnpd.conf");
        let text = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nsecure_mode=yes\nsystem_uptime=no\nipv6_disable=yes\n\
             min_lifetime=60\nmax_lifetime=86400\nupnp_table_name=upnp\nupnp_nat_table_name=upnp\n\
             upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n\
             upnp_nat_postrouting_chain=postrouting_miniupnpd\nuuid=6c616e72-6167-6520-7465-737400000001\n{options}\n\
             allow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
        );
        fs::write(&config, text).unwrap();
        let (pid, log) = (dir.join("pid"), fs::File::create(dir.join("log")).unwrap());
        let log_path = dir.join("log");
        let mut daemon = self.router.run(move || {
            let loaded = Command::new("nft").arg("-f").arg(&rules).status();
            assert!(loaded.expect("nftables is installed").success());
            let child = Command::new("miniupnpd")
                .arg("-d")
                .arg("-f")
                .arg(&config)
                .arg("-P")
                .arg(&pid)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .expect("miniupnpd is installed");
            Daemon(child)
        });
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log_path).unwrap().contains(ready) {
            assert!(
                daemon.0.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "{}",
                fs::read_to_string(&log_path).unwrap()
            );
            thread::yield_now();
        }
        daemon
    }

    /// Whether a datagram of the stranger to `external` arrives at `socket`.
    fn reaches(&self, external: impl Fn() -> Option<SocketAddrV4>, socket: &UdpSocket, wait: Duration) -> bool {
        let word = b"knock".as_slice();
        let stranger = self
            .stranger
            .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        let until = Instant::now() + wait;
        // Again and again, and where it is by then: a router that renews a mapping takes the old rule out before it puts the new
        // one in, and may give another port.
        while Instant::now() < until {
            if let Some(external) = external() {
                stranger.send_to(word, external).unwrap();
            }
            socket.set_read_timeout(Some(KNOCK_EVERY)).unwrap();
            let mut heard = [0; 16];
            if socket.recv(&mut heard).is_ok_and(|length| heard[..length] == *word) {
                return true;
            }
        }
        false
    }

    /// The port opens, lets a stranger in, and is closed when the agent ends.
    fn opens_and_closes(&self, is_open_on_router: impl Fn() -> bool) {
        let socket = self.pc.run(|| UdpSocket::bind((PC, 0)).unwrap());
        let port = socket.local_addr().unwrap().port();
        let (pc_jobs, external) = self.mapping(port);
        assert_eq!(*external.ip(), WAN);
        assert!(is_open_on_router());
        assert!(self.reaches(|| Some(external), &socket, PATIENCE));

        let started = Instant::now();
        pc_jobs.close();
        assert!(started.elapsed() < Duration::from_millis(1500));
        assert!(!is_open_on_router());
    }

    /// Starts port mapping on the PC and waits for the open port.
    fn mapping(&self, port: u16) -> (Open, SocketAddrV4) {
        let (runtime, mapping, mut external) = self.pc.run(move || {
            // Its threads are made by this one, and so are in this namespace.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let guard = runtime.enter();
            let (mapping, external) = PortMapping::start(port);
            drop(guard);
            (runtime, mapping, external)
        });
        let address = runtime.block_on(opened(&mut external));
        let open = Open {
            runtime,
            mapping,
            external,
        };
        (open, address)
    }
}

async fn opened(external: &mut watch::Receiver<Option<SocketAddrV4>>) -> SocketAddrV4 {
    let waited = timeout(PATIENCE, external.wait_for(Option::is_some)).await;
    let address = *waited.expect("the router opens the port in time").unwrap();
    address.unwrap()
}

struct Open {
    runtime: tokio::runtime::Runtime,
    external: watch::Receiver<Option<SocketAddrV4>>,
    mapping: PortMapping,
}

impl Open {
    fn close(self) {
        self.runtime.block_on(self.mapping.deactivate());
    }
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the router's rules send anything to the PC.
fn has_rule(home: &Home) -> bool {
    home.router.run(|| {
        let listed = Command::new("nft")
            .args(["list", "chain", "inet", "upnp", "prerouting_miniupnpd"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&listed.stdout).contains("dnat")
    })
}

#[test]
fn a_router_with_pcp_opens_the_port() {
    let (dir, home) = (tempfile::tempdir().unwrap(), Home::new());
    let _daemon = home.miniupnpd(dir.path(), "enable_natpmp=yes\nenable_upnp=no", PCP_READY);
    home.opens_and_closes(|| has_rule(&home));
}

#[test]
fn a_router_with_upnp_alone_opens_the_port() {
    let (dir, home) = (tempfile::tempdir().unwrap(), Home::new());
    let _daemon = home.miniupnpd(dir.path(), "enable_natpmp=no\nenable_upnp=yes", UPNP_READY);
    home.opens_and_closes(|| has_rule(&home));
}

#[test]
fn a_router_with_nat_pmp_alone_opens_and_closes_the_port() {
    let home = Home::new();
    let router = home.router.run(|| UdpSocket::bind((ROUTER, 5351)).unwrap());
    let (deleted, deletion) = mpsc::channel();
    // A router of the days before PCP, as RFC 6886 describes it.
    thread::spawn(move || {
        let mut room = [0; 1100];
        loop {
            let (length, from) = router.recv_from(&mut room).unwrap();
            let answer: Vec<u8> = match &room[..length] {
                [0, 0] => [&[0, 128, 0, 0, 0, 0, 0, 1], WAN.octets().as_slice()].concat(),
                [0, 1, _, _, in_high, in_low, ext @ .., l0, l1, l2, l3] if ext.len() == 2 => {
                    if [*l0, *l1, *l2, *l3] == [0; 4] {
                        deleted.send(()).unwrap();
                    }
                    vec![
                        0, 129, 0, 0, 0, 0, 0, 1, *in_high, *in_low, 0x4e, 0x20, *l0, *l1, *l2, *l3,
                    ]
                }
                [_, operation, ..] => vec![0, 128 | operation, 0, 1, 0, 0, 0, 1],
                _ => continue,
            };
            router.send_to(&answer, from).unwrap();
        }
    });
    let (open, external) = home.mapping(40_000);
    assert_eq!(external, SocketAddrV4::new(WAN, 20_000));
    open.close();
    deletion.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_port_survives_a_change_of_network() {
    let (dir, home) = (tempfile::tempdir().unwrap(), Home::new());
    let _daemon = home.miniupnpd(dir.path(), "enable_natpmp=yes\nenable_upnp=yes", PCP_READY);
    let socket = home.pc.run(|| UdpSocket::bind((PC, 0)).unwrap());
    let (open, _) = home.mapping(socket.local_addr().unwrap().port());
    open.mapping.network_changed();
    assert!(home.reaches(|| *open.external.borrow(), &socket, PATIENCE));
    open.close();
    assert!(!has_rule(&home));
}

#[test]
fn without_any_such_router_ending_is_quick() {
    let home = Home::new();
    let (runtime, mapping, external) = home.pc.run(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let (mapping, external) = PortMapping::start(40_000);
        drop(guard);
        (runtime, mapping, external)
    });
    assert_eq!(*external.borrow(), None);
    let started = Instant::now();
    Open {
        runtime,
        mapping,
        external,
    }
    .close();
    assert!(started.elapsed() < Duration::from_millis(1500));
}
