//! The process, under the names every Prometheus client gives it.

use std::fmt;
use std::fs;
use std::sync::LazyLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Looked up at every scrape. What `/proc` does not tell is left out.
#[derive(Debug)]
pub struct Process;

/// Clock ticks a second in `/proc`: 100 on every Linux that Rust runs on (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process started, in seconds since 1970. Worked out once: the kernel moves its own start as the clock is set, and that
/// would look like a restart.
static STARTED: LazyLock<Option<f64>> = LazyLock::new(started);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = Stat::read();
        if let (Some(user), Some(system)) = (stat.field(14), stat.field(15)) {
            let counter = ConstCounter::new((user + system) / TICKS_PER_SECOND);
            let help = "User and system CPU time";
            let descriptor = encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?;
            counter.encode(descriptor)?;
        }
        if let Some(started) = *STARTED {
            let gauge = ConstGauge::new(started);
            let help = "When the process started, in seconds since 1970";
            gauge.encode(encoder.encode_descriptor(
                "process_start_time_seconds",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", resident_bytes()),
            ("process_open_fds", "Open file descriptors", open_fds()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// What is in `/proc/self/stat`.
struct Stat(String);

impl Stat {
    fn read() -> Self {
        Self(fs::read_to_string("/proc/self/stat").unwrap_or_default())
    }

    /// One of its numbers, counted as proc(5) counts them, from 3 on.
    fn field(&self, number: usize) -> Option<f64> {
        // After the program's name, which may hold anything.
        let (_, fields) = self.0.rsplit_once(") ")?;
        fields.split(' ').nth(number - 3)?.parse().ok()
    }
}

fn started() -> Option<f64> {
    let after_boot = Stat::read().field(22)? / TICKS_PER_SECOND;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()?;
    Some(boot + after_boot)
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn open_fds() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::SystemTime;

    use prometheus_client::registry::Registry;

    use super::super::text;
    use super::*;

    fn start_in(text: &str) -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("process_start_time_seconds "));
        line.unwrap().parse().unwrap()
    }

    #[test]
    fn a_process_started_a_moment_ago_and_at_every_scrape_at_the_same_time() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let started = start_in(&text(&registry).unwrap());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        // The kernel gives the boot in whole seconds.
        assert!((now - started).abs() < 60.0, "{started} is not about {now}");
        assert!((start_in(&text(&registry).unwrap()) - started).abs() < f64::EPSILON);
    }
}
