//! Measures a look of the [`Detector`]: 500 processes against every profile that came with the program. A tenth of them are games
//! under names of their own; the rest is called as programs are, each by another name, so that nothing is found out twice.
#![expect(clippy::print_stdout, reason = "the result is what this program is for")]

use std::time::{Duration, Instant};

use lanrage_agent_core::games::{Detector, GameLibrary, Process};

const PROCESSES: usize = 500;
const LOOKS: usize = 200;
/// One process in so many is a game.
const GAMES: usize = 10;

/// Parts of ordinary names.
const FIRST: [&str; 12] = [
    "gnome", "kworker", "system", "update", "network", "audio", "open", "web", "session", "quick", "super", "war",
];
const SECOND: [&str; 10] = [
    "manager", "daemon", "helper", "settings", "renderer", "control", "portal", "monitor", "zone", "kart",
];

fn main() {
    let began = Instant::now();
    let library = GameLibrary::bundled();
    let read = began.elapsed();
    let began = Instant::now();
    let detector = Detector::new(&library);
    let indexed = began.elapsed();
    let processes = processes(&library);

    let mut looks: Vec<Duration> = (0..LOOKS).map(|_| look(&detector, &processes)).collect();
    looks.sort();
    println!(
        "{} profiles, read in {} and indexed in {}",
        library.len(),
        ms(read),
        ms(indexed)
    );
    println!(
        "{} processes, {} games found: median {}, 99th percentile {}, longest {}",
        processes.len(),
        detector.detect(&processes).len(),
        ms(looks[LOOKS / 2]),
        ms(looks[LOOKS * 99 / 100]),
        ms(looks[LOOKS - 1]),
    );
}

/// As the driver does it: which may be games, and then, with their ports, which are.
fn look(detector: &Detector, processes: &[Process]) -> Duration {
    let began = Instant::now();
    let suspects = detector.suspects(processes);
    let few: Vec<Process> = processes
        .iter()
        .filter(|process| suspects.contains(&process.pid))
        .cloned()
        .collect();
    std::hint::black_box(detector.detect(&few));
    began.elapsed()
}

fn processes(library: &GameLibrary) -> Vec<Process> {
    let games: Vec<&String> = library
        .games()
        .filter_map(|game| game.processes.windows.first())
        .collect();
    let process = |number: usize| {
        let name = if number.is_multiple_of(GAMES) {
            format!("{}_launcher", games[number % games.len()].trim_end_matches(".exe"))
        } else {
            let (first, second) = (FIRST[number % FIRST.len()], SECOND[number / 3 % SECOND.len()]);
            format!("{first}{second}-{number}")
        };
        let exe = format!("/opt/program {number}/bin/{name}");
        Process {
            pid: number as u32,
            argv: vec![exe.clone(), "--option".to_owned(), "/home/a/file.txt".to_owned()],
            titles: if number.is_multiple_of(5) {
                vec![format!("{name} – document {number}")]
            } else {
                Vec::new()
            },
            exe: Some(exe),
            name,
            ..Process::default()
        }
    };
    (0..PROCESSES).map(process).collect()
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
