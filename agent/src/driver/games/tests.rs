use lanrage_shared::api::game::Wording;

use super::*;

fn watcher(profile: &str) -> (Watcher, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), profile).unwrap();
    (Watcher::new(dir.path().to_owned()), dir)
}

fn profile(rest: &str) -> String {
    format!("name = \"My Game\"\nlatency_class = \"fast\"\nsources = [\"me\"]\n{rest}")
}

/// What this test's own process is called.
fn own_name() -> String {
    let exe = std::env::current_exe().unwrap();
    exe.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_users_profile_finds_a_running_process_with_its_port_at_once() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let names = format!(
        "[processes]\nlinux = [\"{0}\"]\nwindows = [\"{0}\"]\n[ports]\nudp = [{port}]\n",
        own_name()
    );
    let (mut watcher, dir) = watcher(&profile(&names));
    let start = Instant::now();
    let found = watcher.look_if_due(start).unwrap();
    let mine = found
        .current
        .iter()
        .find(|current| current.found.game.id.as_str() == "mine")
        .unwrap();
    // Wine names no owner of a port.
    let least = if cfg!(windows) {
        Wording::Probably
    } else {
        Wording::Definitely
    };
    assert!(mine.found.wording >= least, "{:?}", mine.found.evidence);
    assert!(watcher.look_if_due(start).is_none(), "not yet time");

    std::fs::write(dir.path().join("mine.toml"), profile("ports = 3")).unwrap();
    let kept = watcher.look_if_due(start).unwrap();
    assert_eq!(
        (kept.problems.len(), kept.problems[0].line, kept.user_profiles),
        (1, 4, 1)
    );
    std::fs::remove_file(dir.path().join("mine.toml")).unwrap();
    let gone = watcher.look_if_due(start).unwrap();
    assert!(gone.problems.is_empty());
    assert_eq!(gone.past[0].id.as_str(), "mine");
}

#[test]
fn an_executable_is_known_by_its_hash_whatever_it_is_called() {
    use sha2::Digest;
    let exe = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let hash: String = sha2::Sha256::digest(&exe)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (mut watcher, _dir) = watcher(&profile(&format!("hashes = [\"{hash}\"]\n")));
    // What runs beside this is hashed, too, so many bytes in one look.
    let mut now = Instant::now();
    let found = (0..1000).find_map(|_| {
        now += Duration::from_secs(60);
        watcher.look_if_due(now).filter(|found| !found.current.is_empty())
    });
    let found = found.expect("the executable's turn comes");
    let report = report::games(&found, Instant::now());
    assert_eq!(
        report.games[0].evidence,
        ["its program file is the one the profile names"]
    );
}
