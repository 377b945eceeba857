//! What Windows tells without being asked.

use std::time::Duration;

use crate::io::netwatch::Router;

/// Not looked at: Windows takes an interface's addresses away while it is between two networks.
pub fn routers() -> Vec<Router> {
    Vec::new()
}

/// None: [`std::time::Instant`] goes on in sleep (QueryPerformanceCounter does).
pub fn uptime() -> Option<Duration> {
    None
}
