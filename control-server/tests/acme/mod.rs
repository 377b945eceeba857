//! A certificate from a real ACME authority: Debian's `pebble`, which asks at the port it is told and finds every name here.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_shared::invite::ServerLink;
use lanrage_tls::pinned::client_config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::program::{Serving, printed};

const DOMAIN: &str = "lan.example.test";
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().expect("pebble is installed: apt-get install pebble"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority whose own certificate is signed by `dir`/root.pem; its directory, and the port it asks at.
fn authority(dir: &Path) -> (Vec<Running>, String, u16) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    std::fs::write(dir.join("root.pem"), root_certificate.pem()).unwrap();
    std::fs::write(dir.join("authority.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("authority.key"), key.serialize_pem()).unwrap();
    let [listen, management, http, names] = [(); 4].map(|()| free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{listen}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": dir.join("authority.pem"),
        "privateKey": dir.join("authority.key"),
        "httpPort": http,
        "tlsPort": 1,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    let file = dir.join("pebble.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let name_server = format!("127.0.0.1:{names}");
    let running = vec![
        Running::start(
            Command::new("pebble-challtestsrv")
                .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-dns01", &name_server, "-management", "127.0.0.1:0"]),
        ),
        Running::start(
            Command::new("pebble")
                .args(["-dnsserver", &name_server, "-config"])
                .arg(&file)
                .env("PEBBLE_VA_NOSLEEP", "1")
                // Otherwise it refuses some messages on purpose, and the next attempt is in a quarter of an hour.
                .env("PEBBLE_WFE_NONCEREJECT", "0"),
        ),
    ];
    wait_for("pebble", || std::net::TcpStream::connect(("127.0.0.1", listen)).is_ok());
    (running, format!("https://127.0.0.1:{listen}/dir"), http)
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The certificate that a client is shown by the server of this link; its key is the pinned one.
fn shown(address: &str, link: &ServerLink) -> Vec<u8> {
    let config = Arc::new(client_config(link.pin, &[b"http/1.1"]));
    let name = DOMAIN.try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    connection.peer_certificates().unwrap()[0].to_vec()
}

fn is_for_the_domain(certificate: &[u8]) -> bool {
    certificate
        .windows(DOMAIN.len())
        .any(|window| window == DOMAIN.as_bytes())
}

#[test]
fn with_a_domain_clients_are_shown_a_certificate_of_the_servers_own_key() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (authority, directory, http) = authority(dir.path());
    let config = dir.path().join("control.toml");
    let text = format!(
        "[acme]\ndomain = \"{DOMAIN}\"\nhttp_listen = \"127.0.0.1:{http}\"\ndirectory = \"{directory}\"\nca_file = {:?}\n",
        dir.path().join("root.pem")
    );
    std::fs::write(&config, text).unwrap();
    let data = dir.path().join("data");
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "--public-address",
        "vps.example:443",
    ];
    let serving = Serving::start(&data, &arguments);
    let link: ServerLink = printed(&["link", "--data-dir", data.to_str().unwrap()])
        .parse()
        .unwrap();
    wait_for("a certificate", || is_for_the_domain(&shown(serving.address(), &link)));
    let first = shown(serving.address(), &link);
    serving.terminate();
    // It is kept: the next start shows it, with nobody to ask for another.
    drop(authority);
    let serving = Serving::start(&data, &arguments);
    wait_for("the kept certificate", || {
        is_for_the_domain(&shown(serving.address(), &link))
    });
    assert_eq!(shown(serving.address(), &link), first);
    serving.terminate();
}
