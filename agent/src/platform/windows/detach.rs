//! Starting the agent in the background.

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Command, Stdio};

use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS};

/// A command that runs this program again without a console: closing the window does not end it. Standard input is
/// closed, and paths among the arguments must be absolute. The caller adds the arguments, says where the output goes, and
/// spawns it.
pub fn background_command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .stdin(Stdio::null())
        .creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    Ok(command)
}
