//! Ctrl-C and SIGTERM remove the lab before the program ends.

use lanrage_tests::lab::sweep;

const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Must be called before any other thread starts: they inherit that these signals are blocked, so that the one thread that
/// waits for them gets them. (A child process starts with none blocked.)
pub(crate) fn clean_up_on_signals() {
    // SAFETY: an empty set is initialised before it is used, and the calls only read or write it.
    let set = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        for signal in SIGNALS {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    };
    std::thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both outlive the call.
        unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        sweep::abandon();
        std::process::exit(128 + signal);
    });
}
