//! Whether what was written to standard output has arrived there. Both `lanrage` and `lanrage-control` are made with this file.

use std::io;

/// What a program whose last write to standard output went like this has to report. A reader that has seen enough is no error.
pub(crate) fn arrived(outcome: io::Result<()>) -> io::Result<()> {
    if was_closed() {
        return Err(io::Error::other("it is closed"));
    }
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Whether the program was started without a standard output (`>&-`).
///
/// Before `main`, Rust opens `/dev/null` in place of a closed standard output, and every result would seem to be written. Only
/// what runs before that can tell, and on Linux that is a function in the program's `.init_array`.
#[cfg(target_os = "linux")]
fn was_closed() -> bool {
    linux::CLOSED.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(target_os = "linux"))]
fn was_closed() -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(super) static CLOSED: AtomicBool = AtomicBool::new(false);

    // SAFETY: the C runtime calls the functions in this section once each before `main`, by the C calling convention; the
    // arguments it gives may be ignored.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: F_GETFD reads a flag of the descriptor, and fails when there is none.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        CLOSED.store(flags == -1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_no_error() {
        assert!(arrived(Err(io::ErrorKind::StorageFull.into())).is_err());
        assert!(arrived(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(arrived(Ok(())).is_ok());
    }
}
