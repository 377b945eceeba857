use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// `[acme]`: certificates of an authority (RFC 8555), for whoever does not know the server by its key. Agents do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// The name to have a certificate for; it has to lead to this machine. Default: none, and then nobody is asked for any.
    pub domain: Option<String>,
    /// Where the authority's question is answered. It comes to port 80 of the name. Default: 0.0.0.0:80.
    pub http_listen: SocketAddr,
    /// The authority's directory. Default: Let's Encrypt's.
    pub directory: String,
    /// Whom the authority writes to: an e-mail address. Default: nobody.
    pub contact: Option<String>,
    /// The root certificate (PEM) of an authority that the system does not know. Default: none.
    pub ca_file: Option<PathBuf>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            domain: None,
            http_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: None,
            ca_file: None,
        }
    }
}
