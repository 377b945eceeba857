//! Watches which games run, beside everything else: reading the processes takes milliseconds that no packet may wait for.
//!
//! Every two seconds the user's profiles are looked at; when it is time ([`Played`]), or when they changed, the processes are.
//! What was found is published whole as [`GamesNow`], for the loop, the local API and whoever else wants to know.

mod hashes;
mod profiles;
pub mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_agent_core::games::{
    Current, Detector, GameLibrary, GameProfile, Past, Played, Process, ProfileError, Tuning, playing, told,
};
use lanrage_shared::api::game::Playing;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use self::hashes::Hashes;
use self::profiles::ProfileFiles;
use crate::platform;

/// How often the user's profiles are looked at, and the shortest pause between two looks at the processes.
const TICK: Duration = Duration::from_secs(2);

/// What is known of games right now.
#[derive(Debug, Clone)]
pub struct GamesNow {
    /// Every game there is a profile of.
    pub library: Arc<GameLibrary>,
    /// What runs, surest first.
    pub current: Vec<Current>,
    /// What ran, the latest first.
    pub past: Vec<Past>,
    /// How many profiles are the user's, and what is wrong with others.
    pub user_profiles: usize,
    pub problems: Vec<ProfileError>,
    /// Why windows' titles cannot be seen, in words; none when they can, or before the first look.
    pub no_titles: Option<String>,
    /// None before the first look.
    pub looked: Option<Instant>,
}

impl GamesNow {
    /// The games that count as played.
    pub fn playing(&self) -> Vec<Arc<GameProfile>> {
        playing(&self.current)
    }

    /// What they want of the tunnel.
    pub fn tuning(&self) -> Tuning {
        Tuning::of(&self.playing())
    }

    /// What the party is told.
    pub fn told(&self) -> Option<Playing> {
        told(&self.current)
    }
}

/// Starts watching on the current runtime, with the user's profiles in `directory`. Ends when nobody receives any more.
pub fn watch(directory: PathBuf) -> watch::Receiver<Arc<GamesNow>> {
    let watcher = Watcher::new(directory);
    let (publish, now) = watch::channel(Arc::new(watcher.publication(None)));
    tokio::spawn(run(watcher, publish));
    now
}

async fn run(mut watcher: Watcher, publish: watch::Sender<Arc<GamesNow>>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = publish.closed() => return,
        }
        let looked = tokio::task::spawn_blocking(move || {
            let found = watcher.look_if_due(Instant::now());
            (watcher, found)
        });
        // It is cancelled only when the runtime ends.
        let Ok((back, found)) = looked.await else { return };
        watcher = back;
        if let Some(found) = found {
            publish.send_replace(Arc::new(found));
        }
    }
}

struct Watcher {
    bundled: GameLibrary,
    files: ProfileFiles,
    library: Arc<GameLibrary>,
    detector: Detector,
    played: Played,
    hashes: Hashes,
    no_titles: Option<String>,
}

impl Watcher {
    fn new(directory: PathBuf) -> Self {
        let bundled = GameLibrary::bundled();
        Self {
            files: ProfileFiles::new(directory),
            library: Arc::new(bundled.clone()),
            detector: Detector::new(&bundled),
            bundled,
            played: Played::default(),
            hashes: Hashes::default(),
            no_titles: None,
        }
    }

    /// What is known after this look; none when it was not time for one.
    fn look_if_due(&mut self, now: Instant) -> Option<GamesNow> {
        if self.files.look(now) {
            for problem in self.files.user.problems() {
                tracing::warn!(file = %problem.file, line = problem.line, reason = %problem.reason, "a game profile is not used");
            }
            self.library = Arc::new(self.bundled.with(&self.files.user));
            self.detector = Detector::new(&self.library);
            self.played.handle_profiles();
        }
        if self.played.poll_timeout().is_some_and(|due| due > now) {
            return None;
        }
        let processes = self.processes();
        let found = self.detector.detect(&processes);
        if self.played.handle_look(found, now) {
            for current in self.played.current() {
                tracing::info!(game = %current.found.game.id, sure = %current.found.wording, "a game runs");
            }
        }
        Some(self.publication(Some(now)))
    }

    /// The processes that may be games, with all that tells: hashes only where a profile asks for them, ports of few.
    fn processes(&mut self) -> Vec<Process> {
        let mut processes = platform::processes();
        let titles = platform::window_titles();
        let mut titles = match titles {
            Ok(titles) => {
                self.no_titles = None;
                titles
            }
            Err(why) => {
                self.no_titles = Some(why);
                Default::default()
            }
        };
        for process in &mut processes {
            process.titles = titles.remove(&process.pid).unwrap_or_default();
        }
        if self.files.user.have_hashes() {
            self.hashes.add_to(&mut processes);
        }
        let suspects = self.detector.suspects(&processes);
        processes.retain(|process| suspects.contains(&process.pid));
        let mut ports = platform::listening(&suspects);
        for process in &mut processes {
            let listening = ports.remove(&process.pid).unwrap_or_default();
            (process.udp, process.tcp) = (listening.udp, listening.tcp);
        }
        processes
    }

    fn publication(&self, looked: Option<Instant>) -> GamesNow {
        GamesNow {
            library: Arc::clone(&self.library),
            current: self.played.current(),
            past: self.played.past().cloned().collect(),
            user_profiles: self.files.user.len(),
            problems: self.files.user.problems().to_vec(),
            no_titles: self.no_titles.clone(),
            looked,
        }
    }
}

#[cfg(test)]
mod tests;
