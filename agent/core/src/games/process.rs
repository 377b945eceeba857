//! What runs on this PC, as the driver saw it, and what a process may be called.
//!
//! A game is often not the program that the system names: Wine shows the loader, `mangohud game` the wrapper, `java -jar game.jar`
//! the interpreter. Their command lines say what they run.

use super::names::{file_name, plain};
use super::profile::Sha256;

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// As the system names it; Linux cuts it after 15 bytes.
    pub name: String,
    /// Its executable, if the system tells.
    pub exe: Option<String>,
    /// Its command line, the program first; may be empty.
    pub argv: Vec<String>,
    /// Ports it listens on. Need not be known of a process that [`super::Detector::suspects`] does not name.
    pub udp: Vec<u16>,
    pub tcp: Vec<u16>,
    /// Of its windows.
    pub titles: Vec<String>,
    /// Of its executable, where a profile asks for it.
    pub hash: Option<Sha256>,
}

/// Where Linux cuts a process's name.
const COMM_LEN: usize = 15;
/// Arguments of a wrapper that are looked at: Steam's take some twenty.
const MOST_ARGUMENTS: usize = 64;

/// Programs that only start the program their arguments name.
const WRAPPERS: &[&str] = &[
    "box64",
    "box86",
    "bwrap",
    "env",
    "fexinterpreter",
    "firejail",
    "flatpak",
    "gamemoderun",
    "gamescope",
    "ldlinuxx86",
    "lutris",
    "mangohud",
    "nice",
    "nohup",
    "obsgamecapture",
    "optirun",
    "pressurevesselwrap",
    "prime",
    "primerun",
    "primusrun",
    "proton",
    "pvbwrap",
    "qemux86",
    "reaper",
    "setsid",
    "srtbwrap",
    "stdbuf",
    "steam",
    "steamlaunch",
    "steamruntime",
    "strace",
    "strangle",
    "sudo",
    "taskset",
    "timeout",
    "umurun",
    "unshare",
    "wine",
    "winepreloader",
    "wineloader",
    "wine64preloader",
    "xvfbrun",
    "systemdrun",
    "lutriswrapper",
];
/// Programs that run the program in a file.
const INTERPRETERS: &[&str] = &[
    "bash", "dash", "dosbox", "dotnet", "electron", "java", "javaw", "lua", "love", "mono", "node", "nw", "perl",
    "python", "python2", "python3", "ruby", "scummvm", "sh", "zsh",
];
/// Words of their own that wrappers take before the program.
const VERBS: &[&str] = &[
    "run",
    "waitforexitandrun",
    "steamlaunch",
    "exec",
    "start",
    "rungame",
    "unix",
];

/// One name of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessName<'a> {
    /// With its directory, where that is known.
    pub path: &'a str,
    /// Without what builds and launchers add, as [`plain`] writes it.
    pub plain: String,
    /// Only the command line of another program says so.
    pub is_wrapped: bool,
}

impl<'a> ProcessName<'a> {
    /// With its extension, without its directory.
    pub fn name(&self) -> &'a str {
        file_name(self.path)
    }

    /// The directories it lies in.
    pub fn directories(&self) -> impl Iterator<Item = &'a str> {
        let directories = &self.path[..self.path.len() - self.name().len()];
        directories.split(['/', '\\']).filter(|part| !part.is_empty())
    }
}

impl Process {
    /// What it may be called, likeliest first.
    pub(super) fn names(&self) -> Vec<ProcessName<'_>> {
        let first = self.argv.first().map(|first| first.trim());
        // Wine's process has the Windows program as its first argument, whatever loads it.
        let windows = first.filter(|first| is_windows_path(first));
        let own = [windows, self.exe.as_deref(), first, self.whole_name()];
        let mut names: Vec<ProcessName<'_>> = Vec::with_capacity(2);
        let mut starters: Vec<ProcessName<'_>> = Vec::new();
        for path in own.into_iter().flatten() {
            let is_known = |known: &ProcessName<'_>| known.name().eq_ignore_ascii_case(file_name(path));
            if file_name(path).is_empty() || names.iter().chain(&starters).any(is_known) {
                continue;
            }
            let plain = plain(path);
            let list = if is_starter(&plain) { &mut starters } else { &mut names };
            list.push(ProcessName {
                path,
                plain,
                is_wrapped: false,
            });
        }
        let starter = starters
            .iter()
            .find(|starter| first == Some(starter.path))
            .or(starters.first());
        names.extend(starter.and_then(|starter| self.wrapped(&starter.plain)));
        names
    }

    fn whole_name(&self) -> Option<&str> {
        let may_be_cut = self.name.len() >= COMM_LEN && (self.exe.is_some() || !self.argv.is_empty());
        Some(self.name.as_str()).filter(|_| !may_be_cut)
    }

    /// The program that a wrapper or interpreter was told to run.
    fn wrapped(&self, starter: &str) -> Option<ProcessName<'_>> {
        let mut starter = starter.to_owned();
        let mut rest = self.argv.get(1..)?;
        rest = &rest[..rest.len().min(MOST_ARGUMENTS)];
        loop {
            let at = program_at(&starter, rest)?;
            let path = rest[at].trim();
            let plain = plain(path);
            if !is_starter(&plain) {
                return Some(ProcessName {
                    path,
                    plain,
                    is_wrapped: true,
                });
            }
            (starter, rest) = (plain, &rest[at + 1..]);
        }
    }
}

/// Where in a starter's arguments its program is. The starter is told by its plain name.
fn program_at(starter: &str, rest: &[String]) -> Option<usize> {
    if is_interpreter(starter) {
        let jar = rest.iter().position(|argument| argument == "-jar").map(|at| at + 1);
        let script = || rest.iter().position(|argument| !argument.starts_with('-'));
        // `sh -c` runs a line, not a file.
        let is_line = rest.iter().any(|argument| argument == "-c");
        return jar
            .filter(|&at| at < rest.len())
            .or_else(|| script().filter(|_| !is_line));
    }
    let begin = rest.iter().position(|argument| argument == "--").map_or(0, |at| at + 1);
    let is_program = |argument: &String| {
        let is_setting = argument.contains('=') && !argument.contains(['/', '\\']);
        let has_letters = argument.chars().filter(|c| c.is_alphabetic()).nth(1).is_some();
        !argument.starts_with('-') && !is_setting && has_letters && !VERBS.contains(&argument.to_lowercase().as_str())
    };
    rest[begin..].iter().position(is_program).map(|at| begin + at)
}

fn is_windows_path(text: &str) -> bool {
    text.as_bytes().get(1..3) == Some(b":\\") || text.to_lowercase().ends_with(".exe")
}

/// Whether a program of this plain name only runs another one.
pub(super) fn is_starter(plain: &str) -> bool {
    WRAPPERS.contains(&plain) || is_interpreter(plain)
}

/// Whether a plain name is an interpreter's.
pub(super) fn is_interpreter(plain: &str) -> bool {
    let unnumbered = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    INTERPRETERS.contains(&plain) || INTERPRETERS.contains(&unnumbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(exe: &str, argv: &[&str]) -> Process {
        Process {
            pid: 1,
            name: file_name(exe).chars().take(COMM_LEN).collect(),
            exe: Some(exe.to_owned()),
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            ..Process::default()
        }
    }

    fn first(exe: &str, argv: &[&str]) -> String {
        process(exe, argv)
            .names()
            .first()
            .map(|name| name.name().to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn wine_wrappers_and_interpreters_are_called_what_they_run() {
        for (exe, argv, name) in [
            (
                "/usr/lib/wine/wine64-preloader",
                &["C:\\Games\\Quake\\quake3.exe", "+set"][..],
                "quake3.exe",
            ),
            ("/usr/bin/wine", &["wine", "/home/a/q/quake3.exe"], "quake3.exe"),
            (
                "/usr/bin/python3.11",
                &["python3", "/p/proton", "waitforexitandrun", "/g/Game.exe"],
                "Game.exe",
            ),
            ("/usr/bin/mangohud", &["mangohud", "--dlsym", "openttd"], "openttd"),
            (
                "/usr/bin/bash",
                &["bash", "/usr/bin/gamemoderun", "/g/openttd"],
                "openttd",
            ),
            (
                "/usr/lib/jvm/bin/java",
                &["java", "-Xmx4G", "-jar", "/s/server.jar", "nogui"],
                "server.jar",
            ),
            (
                "/usr/bin/gamescope",
                &["gamescope", "-W", "1920", "--", "factorio"],
                "factorio",
            ),
            ("/usr/bin/env", &["env", "A=b", "factorio"], "factorio"),
            (
                "/s/reaper",
                &[
                    "/s/reaper",
                    "SteamLaunch",
                    "AppId=1",
                    "--",
                    "/s/steam-launch-wrapper",
                    "--",
                    "/g/dota2",
                ],
                "dota2",
            ),
        ] {
            assert_eq!(first(exe, argv), name, "{argv:?}");
        }
    }

    #[test]
    fn what_a_shell_was_told_in_a_line_is_no_name() {
        assert_eq!(first("/bin/sh", &["sh", "-c", "echo quake3"]), "");
        assert_eq!(first("/usr/bin/vim", &["vim", "quake3.cfg"]), "vim");
    }

    #[test]
    fn a_name_that_the_system_cut_counts_only_for_want_of_another() {
        let process = process("/g/supertuxkart-server", &["x"]);
        let names = process.names();
        assert!(names.iter().all(|name| name.name() != "supertuxkart-se"), "{names:?}");
    }
}
