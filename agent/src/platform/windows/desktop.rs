//! Titles of windows.

use std::collections::BTreeMap;

use windows_sys::Win32::Foundation::{HWND, LPARAM};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    EnumWindows, GetWindowTextW, GetWindowThreadProcessId, IsWindowVisible,
};
use windows_sys::core::BOOL;

/// Longest title that is read, in UTF-16 units.
const LONGEST_TITLE: usize = 256;

type Titles = BTreeMap<u32, Vec<String>>;

/// The titles of each process's windows; otherwise why none can be seen, in words.
pub fn window_titles() -> Result<Titles, String> {
    let mut titles = Titles::new();
    // SAFETY: the callback gets the pointer to `titles`, which outlives the call, and is called within it only.
    unsafe { EnumWindows(Some(note), (&raw mut titles) as LPARAM) };
    if titles.is_empty() {
        // A service has a desktop of its own, without windows.
        return Err("the agent runs apart from the desktop and sees no windows".to_owned());
    }
    Ok(titles)
}

unsafe extern "system" fn note(window: HWND, titles: LPARAM) -> BOOL {
    // SAFETY: `window_titles` passes a pointer that nothing else uses during the call.
    let titles = unsafe { &mut *(titles as *mut Titles) };
    let mut text = [0_u16; LONGEST_TITLE];
    let mut pid = 0;
    // SAFETY: the window is the one being enumerated; a window that is gone has no title. The buffer has the length told.
    let length = unsafe {
        GetWindowThreadProcessId(window, &mut pid);
        if IsWindowVisible(window) == 0 {
            return 1;
        }
        GetWindowTextW(window, text.as_mut_ptr(), LONGEST_TITLE as i32)
    };
    if let Ok(length @ 1..) = usize::try_from(length) {
        let title = String::from_utf16_lossy(&text[..length]);
        titles.entry(pid).or_default().push(title);
    }
    1
}
