//! A PostgreSQL server of our own: in a temporary directory, on a free loopback port, gone when dropped, also on a panic.
#![allow(dead_code, reason = "shared by tests of which only some do it harm")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub struct PostgresServer {
    binaries: PathBuf,
    dir: TempDir,
    port: u16,
}

impl PostgresServer {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self {
            binaries: installed_binaries(),
            dir: tempfile::Builder::new()
                .prefix("lanrage-pg-")
                .tempdir_in("/tmp")
                .unwrap(),
            port,
        };
        // PostgreSQL does not run as root: everything belongs to, and runs as, the user its package made.
        std::fs::set_permissions(server.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            succeed(
                Command::new("chown")
                    .arg("postgres")
                    .arg(server.dir.path())
                    .output()
                    .unwrap(),
            );
        }
        let data = server.data();
        succeed(server.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "--no-sync"]));
        server.begin();
        server
    }

    /// Starts it again where it was, and waits until it answers.
    pub fn begin(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c fsync=off -c max_connections=60",
            self.port,
            self.dir.path().display()
        );
        let log = self.dir.path().join("log").display().to_string();
        succeed(self.run(
            "pg_ctl",
            &[
                "-D",
                &self.data(),
                "-w",
                "-t",
                "60",
                "-l",
                &log,
                "-o",
                &options,
                "start",
            ],
        ));
    }

    /// Ends it: `fast` breaks connections off and writes all it has, `immediate` is as good as a crash.
    pub fn end(&self, how: &str) {
        succeed(self.run("pg_ctl", &["-D", &self.data(), "-m", how, "-w", "stop"]));
    }

    /// Stops all its processes where they are: connections stand and nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let postmaster = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
        let Some(pid) = postmaster.lines().next() else {
            return;
        };
        let send = |to: &[&str]| {
            // Some of them may have ended by themselves.
            let _ = Command::new("kill").arg(signal).args(to).output();
        };
        // First it, so that it starts no more of them.
        send(&[pid]);
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        send(&children.split_whitespace().collect::<Vec<_>>());
    }

    /// The URL of a new empty database.
    pub fn fresh_database(&self, name: &str) -> String {
        let short: String = name.chars().take(50).collect();
        let host = self.dir.path().display().to_string();
        let port = self.port.to_string();
        succeed(self.run("createdb", &["-h", &host, "-p", &port, "-U", "postgres", &short]));
        format!("postgres://postgres@127.0.0.1:{port}/{short}")
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("PGHOST")
            .stdin(Stdio::null())
            // A server that inherits a pipe keeps whoever reads it waiting.
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.dir.path().join("stderr")).unwrap());
        let status = command.status().unwrap();
        let stderr = std::fs::read(self.dir.path().join("stderr")).unwrap_or_default();
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A test that failed may have left it frozen.
        self.thaw();
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }
}

fn succeed(output: Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Of the newest version installed.
fn installed_binaries() -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's server is installed: apt-get install postgresql");
    let found = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| has(bin, "initdb") && has(bin, "pg_ctl"));
    found
        .max()
        .expect("PostgreSQL's server is installed: apt-get install postgresql")
        .1
}

fn has(bin: &Path, program: &str) -> bool {
    bin.join(program).exists()
}
