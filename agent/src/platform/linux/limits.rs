//! How much of the system one process may use.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files as it may have: guessing a NAT's ports takes hundreds of sockets for a moment, and the usual
/// limit, 1,024, is for programs that use select(2).
pub fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}
