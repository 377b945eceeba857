//! What Windows announces of adapters and routes.

use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;

use tokio::sync::watch;
use tracing::warn;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE, NotifyIpInterfaceChange,
    NotifyRouteChange2,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

use super::succeeded;

/// Passes on that something changed, until nobody listens any more. Without announcements the regular look has to do.
pub async fn announce_changes(changes: watch::Sender<()>) {
    let subscription = match Subscription::start(changes) {
        Ok(subscription) => subscription,
        Err(error) => {
            warn!(%error, "the system does not announce changes of routes");
            return;
        }
    };
    subscription.changes.closed().await;
}

struct Subscription {
    /// At one address for as long as the system calls.
    changes: Box<watch::Sender<()>>,
    handles: Vec<HANDLE>,
}

// SAFETY: the handles are numbers of the system's that any thread may give back; the sender is Send and Sync.
unsafe impl Send for Subscription {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Subscription {}

impl Subscription {
    fn start(changes: watch::Sender<()>) -> io::Result<Self> {
        let mut subscription = Self {
            changes: Box::new(changes),
            handles: Vec::new(),
        };
        let context: *const c_void = (&raw const *subscription.changes).cast();
        let mut handle = null_mut();
        // SAFETY: the context is a sender that outlives the subscription, which ends on drop.
        succeeded(unsafe { NotifyRouteChange2(AF_UNSPEC, Some(route_changed), context, false, &raw mut handle) })?;
        subscription.handles.push(handle);
        // SAFETY: as above.
        succeeded(unsafe {
            NotifyIpInterfaceChange(AF_UNSPEC, Some(interface_changed), context, false, &raw mut handle)
        })?;
        subscription.handles.push(handle);
        Ok(subscription)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for handle in self.handles.drain(..) {
            // SAFETY: the handle is one that the system gave; the call returns when no callback runs any more.
            unsafe { CancelMibChangeNotify2(handle) };
        }
    }
}

unsafe extern "system" fn route_changed(
    context: *const c_void,
    _row: *const MIB_IPFORWARD_ROW2,
    _kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the context is the subscription's sender, which lives until callbacks are over.
    unsafe { announce(context) };
}

unsafe extern "system" fn interface_changed(
    context: *const c_void,
    _row: *const MIB_IPINTERFACE_ROW,
    _kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: as above.
    unsafe { announce(context) };
}

/// # Safety
/// `context` is a sender that is there.
unsafe fn announce(context: *const c_void) {
    // SAFETY: the caller's promise.
    let changes = unsafe { &*context.cast::<watch::Sender<()>>() };
    changes.send_replace(());
}
