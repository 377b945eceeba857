//! The local API's endpoint: a named pipe that belongs to one state directory.
//!
//! Windows itself turns away everybody but SYSTEM, administrators, the state directory's owner and the user the agent
//! runs as, and every connection over the network.

use std::io;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::time::{Instant, sleep};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY};

use super::security::{self, SecurityDescriptor};

/// The agent opens the next pipe instance as soon as one is taken, so a busy pipe is free again within moments.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// The agent's end of one connection.
pub type LocalServerStream = NamedPipeServer;
/// The command line's end of one connection.
pub type LocalClientStream = NamedPipeClient;

/// Accepts the local API's connections.
#[derive(Debug)]
pub struct LocalListener {
    name: String,
    security: SecurityDescriptor,
    next: NamedPipeServer,
}

impl LocalListener {
    /// Listens for `state_dir`. When another process already does, or has taken the name to listen in our place, that is
    /// [`io::ErrorKind::AddrInUse`].
    pub async fn bind(state_dir: &Path) -> io::Result<Self> {
        let name = pipe_name(state_dir)?;
        let mut sddl = "D:P(A;;GA;;;SY)(A;;GA;;;BA)".to_owned();
        for sid in [security::owner_of(state_dir)?, security::current_user()?] {
            sddl.push_str(&format!("(A;;GA;;;{sid})"));
        }
        let security = SecurityDescriptor::parse(&sddl)?;
        let next = instance(&name, &security, true).map_err(|error| {
            if error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) {
                io::Error::new(io::ErrorKind::AddrInUse, error)
            } else {
                error
            }
        })?;
        Ok(Self { name, security, next })
    }

    /// The next connection. Safe to cancel.
    pub async fn accept(&mut self) -> io::Result<LocalServerStream> {
        self.next.connect().await?;
        let following = instance(&self.name, &self.security, false)?;
        Ok(std::mem::replace(&mut self.next, following))
    }
}

/// Connects to the agent of `state_dir`. [`io::ErrorKind::NotFound`] means that none runs,
/// [`io::ErrorKind::PermissionDenied`] that it belongs to somebody else.
pub async fn connect(state_dir: &Path) -> io::Result<LocalClientStream> {
    let name = pipe_name(state_dir)?;
    let patience = Instant::now() + BUSY_PATIENCE;
    loop {
        match ClientOptions::new().open(&name) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) && Instant::now() < patience => {
                sleep(BUSY_RETRY).await;
            }
            other => return other,
        }
    }
}

fn instance(name: &str, security: &SecurityDescriptor, first: bool) -> io::Result<NamedPipeServer> {
    let mut attributes = security.attributes();
    // SAFETY: the attributes are a valid `SECURITY_ATTRIBUTES` whose descriptor outlives the call.
    unsafe {
        ServerOptions::new()
            .first_pipe_instance(first)
            .reject_remote_clients(true)
            .create_with_security_attributes_raw(name, (&raw mut attributes).cast())
    }
}

/// One name per state directory, however its path is written.
fn pipe_name(state_dir: &Path) -> io::Result<String> {
    let path = std::fs::canonicalize(state_dir)?;
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes().to_ascii_lowercase());
    Ok(format!(r"\\.\pipe\lanrage-{}", HEXLOWER.encode(&digest[..16])))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_owner_reaches_the_agent_through_the_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = LocalListener::bind(dir.path()).await.unwrap();
        for _ in 0..2 {
            let mut client = connect(dir.path()).await.unwrap();
            let mut server = listener.accept().await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            server.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
        }
    }

    #[tokio::test]
    async fn without_an_agent_there_is_nothing_to_connect_to() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(connect(dir.path()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn every_state_directory_has_a_pipe_of_its_own() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(pipe_name(a.path()).unwrap(), pipe_name(b.path()).unwrap());
        assert_eq!(pipe_name(a.path()).unwrap(), pipe_name(&a.path().join(".")).unwrap());
    }
}
