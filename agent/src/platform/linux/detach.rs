//! Starting the agent in the background.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A command that runs this program again, in a session of its own: closing the terminal does not end it. Standard input
/// is closed and the working directory is `/`, so paths among the arguments must be absolute. The caller adds the
/// arguments, says where the output goes, and spawns it.
pub fn background_command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).current_dir("/");
    // SAFETY: `setsid` is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    /// The test program cannot be told to stay alive, so the command's set-up is tried on `sleep`'s place: the child lists
    /// one test and its session is read from its own status line.
    #[test]
    fn a_background_child_leads_its_own_session() {
        let mut command = super::background_command().unwrap();
        let child = command
            .arg0("lanrage-background")
            .arg("--list")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        // Held back by its full or open pipe or already a zombie: its session can be asked for until it is waited for.
        assert_eq!(rustix::process::getsid(Some(pid)).unwrap(), pid);
        assert!(child.wait_with_output().unwrap().status.success());
    }
}
