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
pub(super) struct ProcessName {
    /// With its extension, without its directory.
    pub name: String,
    /// Only the command line of another program says so.
    pub is_wrapped: bool,
}

impl Process {
    /// What it may be called, likeliest first.
    pub(super) fn names(&self) -> Vec<ProcessName> {
        let mut names: Vec<ProcessName> = Vec::with_capacity(3);
        let mut add = |name: &str, is_wrapped| {
            let name = file_name(name.trim());
            if !name.is_empty() && !names.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
                names.push(ProcessName {
                    name: name.to_owned(),
                    is_wrapped,
                });
            }
        };
        let first = self.argv.first().map(String::as_str);
        // Wine's process has the Windows program as its first argument, whatever loads it.
        let windows = first.filter(|first| is_windows_path(first));
        let own = [windows, self.exe.as_deref(), first, self.whole_name()];
        for name in own.into_iter().flatten().filter(|name| !is_starter(name)) {
            add(name, false);
        }
        if let Some(run) = self.wrapped() {
            add(run, true);
        }
        names
    }

    /// The directories its program lies in, or the one it runs.
    pub(super) fn directories(&self) -> impl Iterator<Item = &str> {
        let first = self.argv.first().map(String::as_str);
        let paths = [self.exe.as_deref(), first, self.wrapped()];
        paths.into_iter().flatten().flat_map(|path| {
            let directories = path.len() - file_name(path).len();
            path[..directories].split(['/', '\\']).filter(|part| !part.is_empty())
        })
    }

    fn whole_name(&self) -> Option<&str> {
        let may_be_cut = self.name.len() >= COMM_LEN && (self.exe.is_some() || !self.argv.is_empty());
        Some(self.name.as_str()).filter(|_| !may_be_cut)
    }

    /// The program that a wrapper or interpreter was told to run.
    fn wrapped(&self) -> Option<&str> {
        let mut starter = self.argv.first().map(String::as_str).filter(|first| is_starter(first));
        starter = starter.or_else(|| self.exe.as_deref().filter(|exe| is_starter(exe)));
        let mut starter = starter?;
        let mut rest = self.argv.get(1..)?;
        rest = &rest[..rest.len().min(MOST_ARGUMENTS)];
        loop {
            let at = program_at(starter, rest)?;
            let program = rest[at].as_str();
            if !is_starter(program) {
                return Some(program);
            }
            (starter, rest) = (program, &rest[at + 1..]);
        }
    }
}

/// Where in a starter's arguments its program is.
fn program_at(starter: &str, rest: &[String]) -> Option<usize> {
    let plain = plain(starter);
    if INTERPRETERS.contains(&plain.as_str()) {
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

/// Whether a program only runs another one.
pub(super) fn is_starter(path: &str) -> bool {
    let plain = plain(path);
    WRAPPERS.contains(&plain.as_str()) || is_interpreter(&plain)
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
            .map(|name| name.name.clone())
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
        let names = process("/g/supertuxkart-server", &["x"]).names();
        assert!(names.iter().all(|name| name.name != "supertuxkart-se"), "{names:?}");
    }
}
