//! Processes from a Toolhelp snapshot, and the ports that some of them listen on from the IP Helper's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

use lanrage_agent_core::games::Process;
use windows_sys::Win32::Foundation::{CloseHandle, ERROR_INSUFFICIENT_BUFFER, HANDLE, INVALID_HANDLE_VALUE, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, MIB_UDP6ROW_OWNER_PID,
    MIB_UDPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

use crate::platform::Listening;

/// Longest path that Windows has, in UTF-16 units.
const LONGEST_PATH: usize = 32_768;
/// A table that grows between the question for its size and the one for itself is asked for again, this often at most.
const TABLE_TRIES: usize = 4;

/// A handle that is closed when nothing holds it any more.
struct Owned(HANDLE);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody else's.
        unsafe { CloseHandle(self.0) };
    }
}

/// The processes there are. Their command lines are another process's memory, and are left alone.
pub fn processes() -> Vec<Process> {
    // SAFETY: takes two numbers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Vec::new();
    }
    let snapshot = Owned(snapshot);
    let mut entry = PROCESSENTRY32W {
        dwSize: size_of::<PROCESSENTRY32W>() as u32,
        ..Default::default()
    };
    let mut processes = Vec::new();
    // SAFETY: the snapshot is open and the entry says its own size.
    let mut more = unsafe { Process32FirstW(snapshot.0, &mut entry) };
    while more != 0 {
        processes.push(Process {
            pid: entry.th32ProcessID,
            name: text(&entry.szExeFile),
            exe: executable(entry.th32ProcessID),
            ..Process::default()
        });
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.0, &mut entry) };
    }
    processes
}

fn executable(pid: u32) -> Option<String> {
    // SAFETY: takes numbers.
    let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if handle.is_null() {
        return None;
    }
    let handle = Owned(handle);
    let mut path = vec![0_u16; LONGEST_PATH];
    let mut length = path.len() as u32;
    // SAFETY: the buffer has the length that is told.
    let found = unsafe { QueryFullProcessImageNameW(handle.0, PROCESS_NAME_WIN32, path.as_mut_ptr(), &mut length) };
    (found != 0).then(|| String::from_utf16_lossy(&path[..length as usize]))
}

fn text(wide: &[u16]) -> String {
    let end = wide.iter().position(|&unit| unit == 0).unwrap_or(wide.len());
    String::from_utf16_lossy(&wide[..end])
}

/// The ports that these processes listen on.
pub fn listening(pids: &BTreeSet<u32>) -> BTreeMap<u32, Listening> {
    let mut found: BTreeMap<u32, Listening> = pids.iter().map(|pid| (*pid, Listening::default())).collect();
    let mut note = |pid: u32, port: u32, udp: bool| {
        if let Some(listening) = found.get_mut(&pid) {
            // In network order, in the lower half.
            let port = u16::from_be(port as u16);
            let ports = if udp { &mut listening.udp } else { &mut listening.tcp };
            ports.push(port);
        }
    };
    rows(udp_table, AF_INET.into(), |row: &MIB_UDPROW_OWNER_PID| {
        note(row.dwOwningPid, row.dwLocalPort, true)
    });
    rows(udp_table, AF_INET6.into(), |row: &MIB_UDP6ROW_OWNER_PID| {
        note(row.dwOwningPid, row.dwLocalPort, true)
    });
    rows(tcp_table, AF_INET.into(), |row: &MIB_TCPROW_OWNER_PID| {
        note(row.dwOwningPid, row.dwLocalPort, false)
    });
    rows(tcp_table, AF_INET6.into(), |row: &MIB_TCP6ROW_OWNER_PID| {
        note(row.dwOwningPid, row.dwLocalPort, false)
    });
    found
}

fn udp_table(to: *mut c_void, size: &mut u32, family: u32) -> u32 {
    // SAFETY: `to` has room for `size` bytes.
    unsafe { GetExtendedUdpTable(to, size, 0, family, UDP_TABLE_OWNER_PID, 0) }
}

fn tcp_table(to: *mut c_void, size: &mut u32, family: u32) -> u32 {
    // SAFETY: `to` has room for `size` bytes.
    unsafe { GetExtendedTcpTable(to, size, 0, family, TCP_TABLE_OWNER_PID_LISTENER, 0) }
}

/// Every row of a table: a count, then that many rows.
fn rows<R>(ask: fn(*mut c_void, &mut u32, u32) -> u32, family: u32, mut each: impl FnMut(&R)) {
    let mut buffer: Vec<u64> = vec![0; 1024];
    for _ in 0..TABLE_TRIES {
        let mut size = (buffer.len() * size_of::<u64>()) as u32;
        match ask(buffer.as_mut_ptr().cast(), &mut size, family) {
            NO_ERROR => {
                let room = buffer.len() * size_of::<u64>() - size_of::<u32>();
                let start = buffer.as_ptr().cast::<u32>();
                // SAFETY: the buffer begins with the count, which is a u32 for every table.
                let count = (unsafe { start.read() } as usize).min(room / size_of::<R>());
                // SAFETY: rows are made of u32 and bytes, follow the count without a gap, and as many as fit were written.
                let rows = unsafe { std::slice::from_raw_parts(start.add(1).cast::<R>(), count) };
                rows.iter().for_each(&mut each);
                return;
            }
            ERROR_INSUFFICIENT_BUFFER => buffer.resize(size as usize / size_of::<u64>() + 1024, 0),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn this_process_is_seen_with_its_ports() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = std::process::id();
        let processes = processes();
        let seen = processes.iter().find(|process| process.pid == own).unwrap();
        assert!(seen.name.ends_with(".exe"), "{seen:?}");
        // Wine lists the ports and names nobody as their owner.
        let ports = listening(&BTreeSet::from([0, own]));
        let port = udp.local_addr().unwrap().port();
        assert!(
            ports.values().any(|listening| listening.udp.contains(&port)),
            "{ports:?}"
        );
    }
}
