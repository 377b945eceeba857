//! Titles of windows, from the X server (EWMH: `_NET_CLIENT_LIST`, `_NET_WM_PID`, `_NET_WM_NAME`).

use std::collections::BTreeMap;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{Atom, AtomEnum, ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

/// Most windows that are asked for their titles.
const MOST_WINDOWS: u32 = 512;
/// Longest title that is read, in 32-bit units.
const TITLE_UNITS: u32 = 64;

/// The titles of each process's windows; otherwise why none can be seen, in words.
pub fn window_titles() -> Result<BTreeMap<u32, Vec<String>>, String> {
    if std::env::var_os("DISPLAY").is_none() {
        return Err("the agent was not started from a desktop (DISPLAY is not set)".to_owned());
    }
    let (connection, screen) =
        x11rb::connect(None).map_err(|error| format!("the desktop refuses the agent: {error}"))?;
    titles(&connection, screen).ok_or_else(|| "the desktop does not list its windows".to_owned())
}

fn titles(connection: &RustConnection, screen: usize) -> Option<BTreeMap<u32, Vec<String>>> {
    let atom = |name: &str| Some(connection.intern_atom(false, name.as_bytes()).ok()?.reply().ok()?.atom);
    let (list, pid, name) = (atom("_NET_CLIENT_LIST")?, atom("_NET_WM_PID")?, atom("_NET_WM_NAME")?);
    let root = connection.setup().roots.get(screen)?.root;
    // Without a window manager there is no such list.
    let windows = property(connection, root, list, MOST_WINDOWS)?;
    let mut titles: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for window in numbers(&windows) {
        let pid = property(connection, window, pid, 1).and_then(|bytes| numbers(&bytes).next());
        let title = property(connection, window, name, TITLE_UNITS)
            .filter(|title| !title.is_empty())
            .or_else(|| property(connection, window, AtomEnum::WM_NAME.into(), TITLE_UNITS));
        if let (Some(pid), Some(title)) = (pid, title) {
            titles
                .entry(pid)
                .or_default()
                .push(String::from_utf8_lossy(&title).into_owned());
        }
    }
    Some(titles)
}

/// None when the window has no such property.
fn property(connection: &RustConnection, window: Window, name: Atom, units: u32) -> Option<Vec<u8>> {
    let asked = connection.get_property(false, window, name, AtomEnum::ANY, 0, units);
    let reply = asked.ok()?.reply().ok()?;
    (reply.type_ != x11rb::NONE).then_some(reply.value)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|&number| u32::from_ne_bytes(number))
}
