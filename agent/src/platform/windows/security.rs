//! Security descriptors and the identities in them, as text (SDDL and SID strings).

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{CloseHandle, ERROR_SUCCESS, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetTokenInformation, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, TOKEN_ELEVATION, TOKEN_QUERY,
    TOKEN_USER, TokenElevation, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Room for a `TOKEN_USER` and the longest SID behind it (8 + 15 × 4 bytes), in words so that it is aligned.
const TOKEN_USER_WORDS: usize = 16;

/// A security descriptor made from its textual form.
#[derive(Debug)]
pub(super) struct SecurityDescriptor(PSECURITY_DESCRIPTOR);

// SAFETY: the descriptor is immutable memory owned by this value alone until it is freed on drop.
unsafe impl Send for SecurityDescriptor {}
// SAFETY: as above; all uses read it.
unsafe impl Sync for SecurityDescriptor {}

impl SecurityDescriptor {
    /// Parses the security descriptor definition language, e.g. `D:P(A;;GA;;;SY)`.
    pub(super) fn parse(sddl: &str) -> io::Result<Self> {
        let text = wide(sddl.encode_utf16());
        let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
        // SAFETY: `text` ends with a zero; `descriptor` receives memory that we free on drop.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                null_mut(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(descriptor))
    }

    /// The attributes to pass when making a kernel object. They borrow the descriptor.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    /// Replaces the access control list of a file or directory and cuts what it inherited.
    pub(super) fn apply_to(&self, path: &Path) -> io::Result<()> {
        let (mut present, mut defaulted, mut dacl) = (0, 0, null_mut());
        // SAFETY: the descriptor is valid; the list it returns lives as long as the descriptor.
        if unsafe { GetSecurityDescriptorDacl(self.0, &mut present, &mut dacl, &mut defaulted) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let name = wide(path.as_os_str().encode_wide());
        // SAFETY: `name` ends with a zero and `dacl` is valid for the call; owner, group and audit list stay untouched.
        let code = unsafe {
            SetNamedSecurityInfoW(
                name.as_ptr(),
                SE_FILE_OBJECT,
                DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                null_mut(),
                null_mut(),
                dacl,
                null(),
            )
        };
        win32(code)
    }
}

impl Drop for SecurityDescriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by the conversion, freed once.
        unsafe { LocalFree(self.0) };
    }
}

/// The owner of a file or directory, as a SID string.
pub(super) fn owner_of(path: &Path) -> io::Result<String> {
    let name = wide(path.as_os_str().encode_wide());
    let mut owner: PSID = null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: `name` ends with a zero; `owner` points into `descriptor`, which is freed at the end of this function.
    let code = unsafe {
        GetNamedSecurityInfoW(
            name.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &mut descriptor,
        )
    };
    win32(code)?;
    let _descriptor = SecurityDescriptor(descriptor);
    // SAFETY: `owner` is valid while the descriptor is.
    unsafe { sid_text(owner) }
}

/// The user this process runs as, as a SID string.
pub(super) fn current_user() -> io::Result<String> {
    let mut room = [0_usize; TOKEN_USER_WORDS];
    process_token_information(
        TokenUser,
        room.as_mut_ptr().cast(),
        size_of::<[usize; TOKEN_USER_WORDS]>() as u32,
    )?;
    // SAFETY: the call filled the aligned room with a `TOKEN_USER` whose SID lies behind it in the same room.
    unsafe { sid_text((*room.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// Whether this process runs with administrator rights.
pub(super) fn is_elevated() -> io::Result<bool> {
    let mut elevation = TOKEN_ELEVATION { TokenIsElevated: 0 };
    process_token_information(
        TokenElevation,
        (&raw mut elevation).cast(),
        size_of::<TOKEN_ELEVATION>() as u32,
    )?;
    Ok(elevation.TokenIsElevated != 0)
}

fn process_token_information(class: i32, room: *mut c_void, size: u32) -> io::Result<()> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the pseudo handle of the current process needs no closing; `token` is closed below.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut written = 0;
    // SAFETY: callers pass room of `size` bytes that is theirs to write.
    let done = unsafe { GetTokenInformation(token, class, room, size, &mut written) };
    let result = if done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    // SAFETY: opened above, closed once.
    unsafe { CloseHandle(token) };
    result
}

/// # Safety
/// `sid` must point to a valid SID.
unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text: *mut u16 = null_mut();
    // SAFETY: the caller vouches for `sid`; `text` receives memory that is freed below.
    if unsafe { ConvertSidToStringSidW(sid, &mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut length = 0;
    // SAFETY: the text ends with a zero.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: `length` words were just read.
    let result = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    // SAFETY: allocated by the conversion, freed once.
    unsafe { LocalFree(text.cast()) };
    Ok(result)
}

fn win32(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code as i32))
    }
}

fn wide(text: impl Iterator<Item = u16>) -> Vec<u16> {
    text.chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_by_their_sid() {
        assert!(current_user().unwrap().starts_with("S-1-"));
        assert!(owner_of(&std::env::temp_dir()).unwrap().starts_with("S-1-"));
    }

    #[test]
    fn nonsense_is_no_security_descriptor() {
        assert!(SecurityDescriptor::parse("D:(nonsense").is_err());
    }
}
