//! How many files, connections among them, this process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes all that the system allows. What a process begins with is often 1024, less than the connections the server takes; who
/// starts it sets the other limit.
pub fn allow_most() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_may_open_as_many_files_as_it_is_allowed_to() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let few = Rlimit {
            current: Some(64),
            maximum,
        };
        setrlimit(Resource::Nofile, few).unwrap();
        allow_most().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
