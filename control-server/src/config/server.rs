use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lanrage_shared::invite::DEFAULT_PORT;
use serde::Deserialize;

/// Of the admin API: free of what else is common on a server.
const ADMIN_PORT: u16 = 9127;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and TCP port to listen on. Default: port 8443 of every address, IPv6 included where there is any.
    pub listen: Option<SocketAddr>,
    /// Address and TCP port of the admin API and `/metrics`, without TLS: keep it on loopback. Default: 127.0.0.1:9127.
    pub admin_listen: SocketAddr,
    /// Where the identity, the SQLite database and the public address are kept. Default: `/var/lib/lanrage-control`.
    pub data_dir: PathBuf,
    /// `host:port` under which agents reach this server. Default: what it was last started with.
    pub public_address: Option<String>,
    /// What other servers on the same PostgreSQL know this one by. Default: the machine's name and the port.
    pub replica_name: Option<String>,
    /// Whether `/docs` shows the API in a browser (Swagger UI). Default: no.
    pub swagger_ui: bool,
}

impl ServerConfig {
    /// The name among servers on one database.
    pub fn replica_name(&self) -> String {
        self.replica_name.clone().unwrap_or_else(|| {
            let host = gethostname::gethostname();
            let port = self.listen.map_or(DEFAULT_PORT, |address| address.port());
            format!("{}:{port}", host.to_string_lossy())
        })
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: None,
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)),
            data_dir: PathBuf::from("/var/lib/lanrage-control"),
            public_address: None,
            replica_name: None,
            swagger_ui: false,
        }
    }
}
