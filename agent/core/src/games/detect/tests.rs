use proptest::prelude::*;

use super::*;
use crate::games::names::file_name;

/// One line of a table: an id, if it has one, and a process.
fn process(columns: &[&str]) -> Process {
    let [exe, argv, title, ports] = columns else {
        panic!("{columns:?}")
    };
    let mut process = Process {
        pid: 1,
        name: file_name(exe).chars().take(15).collect(),
        exe: Some((*exe).to_owned()),
        argv: argv.split(';').map(|argument| argument.trim().to_owned()).collect(),
        titles: [*title]
            .iter()
            .filter(|title| !title.is_empty())
            .map(|&title| title.to_owned())
            .collect(),
        ..Process::default()
    };
    for port in ports.split_whitespace() {
        let (kind, number) = port.split_at(1);
        let list = if kind == "u" {
            &mut process.udp
        } else {
            &mut process.tcp
        };
        list.push(number.parse().unwrap());
    }
    process
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('|').map(str::trim).collect())
}

fn variants() -> Vec<(&'static str, Process)> {
    rows(include_str!("tests/variants.txt"))
        .map(|row| (row[0], process(&row[1..])))
        .collect()
}

fn ordinary() -> Vec<Process> {
    rows(include_str!("tests/ordinary.txt"))
        .map(|row| process(&row))
        .collect()
}

/// What matching names letter for letter would find.
fn exactly_named(library: &GameLibrary, process: &Process) -> Option<String> {
    let own = [Some(process.name.as_str()), process.exe.as_deref().map(file_name)];
    let is_named = |game: &&Arc<GameProfile>| {
        let names = game.processes.linux.iter().chain(&game.processes.windows);
        names
            .into_iter()
            .any(|name| own.iter().flatten().any(|own| own.eq_ignore_ascii_case(name)))
    };
    library.games().find(is_named).map(|game| game.id.to_string())
}

#[test]
fn renamed_and_wrapped_games_are_found_and_ordinary_programs_are_not() {
    let library = GameLibrary::bundled();
    let detector = Detector::new(&library);
    let variants = variants();
    let (mut hits, mut exact, mut missed) = (0, 0, Vec::new());
    for (id, process) in &variants {
        let found = detector.detect(std::slice::from_ref(process));
        let is_hit = found.first().is_some_and(|found| found.game.id.as_str() == *id);
        hits += usize::from(is_hit);
        exact += usize::from(exactly_named(&library, process).as_deref() == Some(id));
        if !is_hit {
            missed.push((*id, process.exe.clone(), found));
        }
        let wrong = |found: &&Detected| found.game.id.as_str() != *id && found.wording == Wording::Definitely;
        let found = detector.detect(std::slice::from_ref(process));
        assert_eq!(found.iter().find(wrong), None);
    }
    let (mut told, mut sure) = (Vec::new(), Vec::new());
    for process in &ordinary() {
        for found in detector.detect(std::slice::from_ref(process)) {
            let list = if found.wording == Wording::Definitely {
                &mut sure
            } else {
                &mut told
            };
            list.push((
                process.exe.clone(),
                found.game.id.clone(),
                found.confidence,
                found.evidence,
            ));
        }
    }
    println!(
        "{} variants: {hits} found, {exact} by their exact name; missed {missed:#?}",
        variants.len()
    );
    println!("{} ordinary programs: taken for games {told:#?}", ordinary().len());
    assert!(variants.len() >= 40 && ordinary().len() >= 40);
    assert!(hits * 10 >= exact * 14, "{hits} against {exact}");
    assert!(hits * 10 >= variants.len() * 9, "{missed:#?}");
    assert!(sure.is_empty(), "{sure:#?}");
    assert!(told.len() <= 2, "{told:#?}");
}

type Change = fn(&str) -> String;
/// What builds, packagers, launchers and people make of a name, without its extension.
const CHANGES: &[(&str, Change)] = &[
    ("launcher", |stem| format!("{stem}_launcher.exe")),
    ("version", |stem| format!("{stem}-1.2.3.x86_64")),
    ("renderer", |stem| format!("{stem}_dx11.exe")),
    ("word length", |stem| format!("{stem}-x64.exe")),
    ("engine", |stem| format!("{stem}-Win64-Shipping.exe")),
    ("package", |stem| format!("{stem}.real")),
    ("capitals", |stem| format!("{}.EXE", stem.to_uppercase())),
    ("mistyped", |stem| stem.replacen(['a', 'e', 'o'], "i", 1)),
];

#[test]
fn most_games_are_found_whatever_is_made_of_their_names() {
    let library = GameLibrary::bundled();
    let detector = Detector::new(&library);
    for (what, change) in CHANGES {
        let (mut found, mut exact, mut all) = (0, 0, 0);
        for game in library.games() {
            let Some(name) = game.processes.windows.first().or(game.processes.linux.first()) else {
                continue;
            };
            let stem = name.split('.').next().unwrap_or(name);
            let process = called(&change(stem));
            all += 1;
            found += usize::from(
                detector
                    .detect(std::slice::from_ref(&process))
                    .iter()
                    .any(|found| found.game == *game),
            );
            exact += usize::from(exactly_named(&library, &process).as_deref() == Some(game.id.as_str()));
        }
        println!("{what}: {found} of {all} games, {exact} by their exact name");
        // One wrong letter of a short name makes another word of it.
        let least = if *what == "mistyped" { all / 3 } else { all * 9 / 10 };
        assert!(found >= least, "{what}: {found} of {all}");
    }
}

/// The library of one game, and what a process is taken for.
fn arena() -> Detector {
    let text = "name = \"Example Arena\"\nlatency_class = \"fast\"\nsources = [\"x\"]\nwindow_titles = [\"Example Arena\"]\n\
                hashes = [\"0101010101010101010101010101010101010101010101010101010101010101\"]\n\
                [processes]\nlinux = [\"examplearena\", \"game\", \"java\"]\n[ports]\nudp = [27960]\ntcp = [80]\n";
    let game = crate::games::parse("arena.toml", text).unwrap();
    Detector::new(&GameLibrary::of([Arc::new(game)]))
}

fn called(name: &str) -> Process {
    Process {
        pid: 7,
        name: name.to_owned(),
        ..Process::default()
    }
}

fn wording_of(process: Process) -> Option<Wording> {
    arena().detect(&[process]).first().map(|found| found.wording)
}

#[test]
fn a_name_is_probable_and_with_a_port_sure() {
    let listening = |name| Process {
        udp: vec![5353, 27960],
        ..called(name)
    };
    assert_eq!(wording_of(called("examplearena")), Some(Wording::Probably));
    assert_eq!(wording_of(listening("examplearena")), Some(Wording::Definitely));
    assert_eq!(wording_of(called("examplearenna")), Some(Wording::Probably));
    assert_eq!(wording_of(listening("examplearenna")), Some(Wording::Probably));
    assert_eq!(wording_of(listening("something")), None, "a port alone is anybody's");
}

#[test]
fn a_common_name_is_never_sure_by_itself_and_an_interpreter_says_nothing() {
    assert_eq!(wording_of(called("game")), Some(Wording::Perhaps));
    assert_eq!(wording_of(called("java")), None);
    let titled = Process {
        titles: vec!["Example Arena".to_owned()],
        ..called("java")
    };
    assert_eq!(wording_of(titled), Some(Wording::Probably));
}

#[test]
fn a_title_is_a_guess_and_a_hash_is_proof() {
    let titled = |title: &str| Process {
        titles: vec![title.to_owned()],
        ..called("xyz")
    };
    assert_eq!(wording_of(titled("example arena")), Some(Wording::Probably));
    assert_eq!(wording_of(titled("Example Arena - map 3")), Some(Wording::Perhaps));
    assert_eq!(wording_of(titled("Example Arenas")), None);
    let hashed = Process {
        hash: Some([1; 32]),
        ..called("xyz")
    };
    assert_eq!(wording_of(hashed), Some(Wording::Definitely));
}

#[test]
fn a_game_of_several_processes_is_told_once_by_the_surest() {
    let server = Process {
        pid: 9,
        udp: vec![27960],
        ..called("examplearena")
    };
    let found = arena().detect(&[called("examplearena"), server]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].pid, found[0].wording), (9, Wording::Definitely));
    let words: Vec<String> = found[0].evidence.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        ["a process is called examplearena", "it listens on UDP port 27960"]
    );
}

#[test]
fn only_what_may_be_a_game_is_suspect() {
    let other = Process {
        pid: 8,
        ..called("bash")
    };
    assert_eq!(arena().suspects(&[called("examplearena"), other]), BTreeSet::from([7]));
}

proptest! {
    #[test]
    fn whatever_runs_is_weighed(
        name in "\\PC{0,30}",
        exe in proptest::option::of("(/|C:|\\\\|\\PC){0,30}"),
        argv in prop::collection::vec("(--|-jar|sh|wine|env|run|\\PC){0,3}", 0..8),
        titles in prop::collection::vec("\\PC{0,20}", 0..3),
    ) {
        let process = Process { pid: 1, name, exe, argv, titles, ..Process::default() };
        for found in arena().detect(std::slice::from_ref(&process)) {
            prop_assert!((PERHAPS..=1.0).contains(&found.confidence));
            prop_assert!(!found.evidence.is_empty());
        }
    }

    #[test]
    fn more_evidence_never_makes_a_game_less_likely(name in "examplearen{0,2}a?", port in any::<u16>()) {
        let confidence = |process| arena().detect(&[process]).first().map_or(0.0, |found| found.confidence);
        let listening = Process { udp: vec![port], ..called(&name) };
        prop_assert!(confidence(listening) >= confidence(called(&name)));
    }
}
