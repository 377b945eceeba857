//! Titles of windows on a real X server (Debian's package xvfb).
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy knows test functions, but not their helpers"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lanrage::platform::window_titles;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, CreateWindowAux, PropMode, Window, WindowClass};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// An X server without a screen. Dropping it ends it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one and says which display it is.
fn server() -> (Server, String) {
    let mut command = Command::new("Xvfb");
    command.args([
        "-displayfd",
        "1",
        "-screen",
        "0",
        "320x200x24",
        "-nolisten",
        "tcp",
        "-noreset",
    ]);
    let started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = started.expect("this test needs Debian's package xvfb");
    let mut number = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut number)
        .unwrap();
    (Server(child), format!(":{}", number.trim()))
}

struct Desktop {
    connection: RustConnection,
    root: Window,
}

impl Desktop {
    fn atom(&self, name: &str) -> u32 {
        let asked = self.connection.intern_atom(false, name.as_bytes()).unwrap();
        asked.reply().unwrap().atom
    }

    fn window(&self, pid: u32) -> Window {
        let (window, aux) = (self.connection.generate_id().unwrap(), CreateWindowAux::new());
        let created =
            self.connection
                .create_window(0, window, self.root, 0, 0, 9, 9, 0, WindowClass::INPUT_OUTPUT, 0, &aux);
        created.unwrap().check().unwrap();
        let owner = self.atom("_NET_WM_PID");
        let set = self
            .connection
            .change_property32(PropMode::REPLACE, window, owner, AtomEnum::CARDINAL, &[pid]);
        set.unwrap().check().unwrap();
        window
    }

    fn title(&self, window: Window, property: u32, kind: u32, title: &str) {
        let set = self
            .connection
            .change_property8(PropMode::REPLACE, window, property, kind, title.as_bytes());
        set.unwrap().check().unwrap();
    }
}

#[test]
fn windows_are_seen_with_their_titles_where_there_is_a_desktop() {
    // SAFETY: this binary has this one test, and nothing else reads the environment meanwhile.
    unsafe { std::env::remove_var("DISPLAY") };
    assert!(window_titles().unwrap_err().contains("DISPLAY"));
    let (_server, display) = server();
    // SAFETY: as above.
    unsafe { std::env::set_var("DISPLAY", &display) };
    assert!(
        window_titles().unwrap_err().contains("list its windows"),
        "no window manager yet"
    );

    let (connection, screen) = x11rb::connect(Some(&display)).unwrap();
    let root = connection.setup().roots[screen].root;
    let desktop = Desktop { connection, root };
    let (game, old, nameless) = (desktop.window(4711), desktop.window(4711), desktop.window(4712));
    desktop.title(
        game,
        desktop.atom("_NET_WM_NAME"),
        desktop.atom("UTF8_STRING"),
        "Größe 3",
    );
    desktop.title(old, AtomEnum::WM_NAME.into(), AtomEnum::STRING.into(), "Quake");
    // As a window manager does.
    let (list, windows) = (desktop.atom("_NET_CLIENT_LIST"), [game, old, nameless]);
    let set = desktop
        .connection
        .change_property32(PropMode::REPLACE, root, list, AtomEnum::WINDOW, &windows);
    set.unwrap().check().unwrap();

    let titles = window_titles().unwrap();
    assert_eq!(titles[&4711], ["Größe 3", "Quake"]);
    assert!(
        titles
            .get(&4712)
            .is_none_or(|titles| titles.iter().all(String::is_empty))
    );
}
