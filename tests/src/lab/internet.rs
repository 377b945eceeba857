//! The lab as a whole: the segment, the public hosts, the providers, and what runs in them.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::address::{
    self, ISP_GATEWAY, MAX_ISPS, ROUTER, ROUTER6, SERVER, SERVER_SECOND, SERVER2, SERVER6, UPNP_ROUTER,
};
use super::home::{Home, HomeSpec};
use super::kind::Nat;
use super::link::{self, LinkSpec};
use super::netns::{Netns, wire};
use super::process::Process;
use super::{rules, sweep};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A small internet. Dropping it ends everything that runs in it and removes it.
pub struct Lab {
    prefix: String,
    keep: bool,
    pub(super) inet: Netns,
    /// The server: [`SERVER`], [`SERVER_SECOND`], [`SERVER6`].
    pub srv: Netns,
    /// A second public host: [`SERVER2`].
    pub srv2: Netns,
    homes: u8,
    pub(super) open_homes: u8,
    isps: u8,
    /// Daemons that belong to the lab itself: shims and miniupnpd.
    daemons: Mutex<Vec<Process>>,
    dir: TempDir,
}

/// A provider that puts homes behind its NAT.
#[derive(Debug, Clone)]
pub struct Isp {
    pub(super) netns: Netns,
}

impl Lab {
    /// An internet with its servers and no homes.
    pub fn new() -> Result<Self> {
        sweep::sweep_dead();
        Self::with_prefix(&sweep::owned_prefix(COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A lab for a test. None when `LANRAGE_SKIP_LAB=1` turned the lab off, which is said; what this machine lacks is an error.
    #[expect(
        clippy::print_stderr,
        reason = "a test that did not run must not look like one that passed"
    )]
    pub fn for_test() -> Result<Option<Self>> {
        if std::env::var_os("LANRAGE_SKIP_LAB").is_some_and(|value| value == "1") {
            eprintln!("NOT RUN: LANRAGE_SKIP_LAB=1 turned the namespace lab off");
            return Ok(None);
        }
        Self::new().map(Some)
    }

    /// A lab whose namespaces begin with `prefix`, replacing an earlier one of that name.
    pub fn with_prefix(prefix: &str) -> Result<Self> {
        check_capabilities()?;
        sweep::remove(prefix);
        let node = |name: &str| Netns::create(format!("{prefix}{name}"));
        let lab = Self {
            prefix: prefix.to_owned(),
            keep: false,
            inet: Netns::named(format!("{prefix}inet")),
            srv: Netns::named(format!("{prefix}srv")),
            srv2: Netns::named(format!("{prefix}srv2")),
            homes: 0,
            open_homes: 0,
            isps: 0,
            daemons: Mutex::default(),
            dir: tempfile::Builder::new()
                .prefix(&sweep::directory_name(prefix))
                .tempdir()?,
        };
        sweep::watch(prefix);
        node("inet")?.ip(&format!(
            "link add br0 type bridge\nlink set br0 up\naddr add {ROUTER}/24 dev br0\naddr add {UPNP_ROUTER}/24 dev br0\n\
             addr add {ROUTER6}/64 dev br0 nodad\n"
        ))?;
        lab.inet.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/br0/send_redirects", "0"),
        ])?;
        node("srv")?;
        lab.attach(&lab.srv, "eth0")?;
        lab.srv.ip(&format!(
            "addr add {SERVER}/24 dev eth0\naddr add {SERVER_SECOND}/24 dev eth0\nroute add default via {ROUTER}\n\
             addr add {SERVER6}/64 dev eth0 nodad\nroute add default via {ROUTER6}\n"
        ))?;
        node("srv2")?;
        lab.attach(&lab.srv2, "eth0")?;
        lab.srv2.ip(&format!(
            "addr add {SERVER2}/24 dev eth0\nroute add default via {ROUTER}\n"
        ))?;
        Ok(lab)
    }

    /// Adds a home.
    pub fn home(&mut self, spec: HomeSpec) -> Result<Home> {
        ensure!(
            self.homes < address::MAX_HOMES,
            "a lab has at most {} homes",
            address::MAX_HOMES
        );
        self.homes += 1;
        Home::build(self, self.homes, spec)
    }

    /// Adds a provider.
    pub fn isp(&mut self, nat: Nat) -> Result<Isp> {
        ensure!(self.isps < MAX_ISPS, "a lab has at most {MAX_ISPS} providers");
        ensure!(nat != Nat::Open, "a provider without NAT is no provider NAT");
        self.isps += 1;
        let netns = self.node(&format!("isp{}", self.isps))?;
        let public = address::isp_wan(self.isps);
        self.attach(&netns, "wan")?;
        netns.ip(&format!(
            "addr add {public}/24 dev wan\nroute add default via {ROUTER}\nlink add lan type bridge\nlink set lan up\n\
             addr add {ISP_GATEWAY}/10 dev lan\n"
        ))?;
        become_router(&netns, rules::MAPPING_LIFETIME_S)?;
        netns.nft(&rules::nat(nat, public, rules::MAPPING_LIFETIME_S))?;
        Ok(Isp { netns })
    }

    /// Puts delay, loss and the like on the link between a node (a home's router, a provider, a server) and the segment.
    pub fn link(&self, node: &Netns, spec: &LinkSpec) -> Result<()> {
        let shim = link::insert(self, node, spec)?;
        self.adopt(shim);
        Ok(())
    }

    /// Where this lab keeps the logs and the state of what runs in it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the names of this lab's namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Leaves the lab, all that runs in it and its directory in place; whoever asks for that removes it with
    /// [`sweep::remove`]. Gives the directory.
    pub fn keep(mut self) -> std::path::PathBuf {
        self.keep = true;
        sweep::forget(&self.prefix);
        for daemon in std::mem::take(&mut *self.lock_daemons()) {
            daemon.leave_running();
        }
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }

    pub(super) fn node(&self, name: &str) -> Result<Netns> {
        Netns::create(format!("{}{name}", self.prefix))
    }

    /// Plugs a node into the segment.
    pub(super) fn attach(&self, node: &Netns, interface: &str) -> Result<()> {
        let port = self.port(node);
        wire(node, interface, &self.inet, &port)?;
        self.inet.ip(&format!("link set {port} master br0\n"))
    }

    /// The segment's end of a node's link.
    pub(super) fn port(&self, node: &Netns) -> String {
        format!("p-{}", self.short(node))
    }

    /// A node's name without the lab's prefix.
    pub(super) fn short<'a>(&self, node: &'a Netns) -> &'a str {
        node.name().strip_prefix(&self.prefix).unwrap_or(node.name())
    }

    pub(super) fn adopt(&self, daemon: Process) {
        self.lock_daemons().push(daemon);
    }

    fn lock_daemons(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.daemons.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep {
            self.lock_daemons().clear();
            keep_logs(self.dir.path());
            sweep::remove(&self.prefix);
            sweep::forget(&self.prefix);
        }
    }
}

/// With `LANRAGE_LAB_LOGS=DIR` the logs of every lab are copied there before they go.
fn keep_logs(dir: &Path) {
    let Some(target) = std::env::var_os("LANRAGE_LAB_LOGS").map(std::path::PathBuf::from) else {
        return;
    };
    let target = target.join(dir.file_name().unwrap_or_default());
    // The logs are a convenience: not getting them must not hide what the lab was used for.
    let _ = std::fs::create_dir_all(&target);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            let _ = std::fs::copy(entry.path(), target.join(entry.file_name()));
        }
    }
}

/// Makes a node forward packets and forget idle UDP flows after this many seconds.
pub(super) fn become_router(netns: &Netns, mapping_lifetime_s: u32) -> Result<()> {
    let life = mapping_lifetime_s.to_string();
    netns.sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("netfilter/nf_conntrack_udp_timeout", &life),
        ("netfilter/nf_conntrack_udp_timeout_stream", &life),
    ])
}

/// Says in one sentence what this machine lacks for the lab.
pub fn check_capabilities() -> Result<()> {
    // SAFETY: plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        bail!("the lab needs root: it makes network namespaces");
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        which(program).with_context(|| format!("the lab needs `{program}`: apt-get install {package}"))?;
    }
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "the lab needs /dev/net/tun: `modprobe tun`, or start the container with --device /dev/net/tun"
    );
    Ok(())
}

/// The full path of an installed program.
pub fn which(program: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is not installed"))
}
