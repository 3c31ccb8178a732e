//! What the kernel says of this process. Nothing is exposed where there is no `/proc`.

use std::fs;

use prometheus_client::registry::Registry;

use super::names;
use super::table::Reading;

/// Ticks in a second in `/proc`: the same on every architecture that Rust supports on Linux.
const TICKS: f64 = 100.0;

/// Registers the process's own metrics.
pub(super) fn register(registry: &mut Registry) {
    Reading::register(&names::CPU_SECONDS, registry, [], || {
        let stat = Stat::read()?;
        Some((stat.user_ticks + stat.system_ticks) / TICKS)
    });
    Reading::register(&names::OPEN_FDS, registry, [], open_files);
    Reading::register(&names::MAX_FDS, registry, [], || {
        limit(&fs::read_to_string("/proc/self/limits").ok()?)
    });
    Reading::register(&names::RESIDENT_BYTES, registry, [], || memory("VmRSS:"));
    Reading::register(&names::VIRTUAL_BYTES, registry, [], || memory("VmSize:"));
    Reading::register(&names::START_TIME, registry, [], || {
        let booted = fs::read_to_string("/proc/stat").ok()?;
        let booted = booted.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(booted.trim().parse::<f64>().ok()? + Stat::read()?.start_ticks / TICKS)
    });
}

/// Some fields of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    user_ticks: f64,
    system_ticks: f64,
    /// Since the machine was started.
    start_ticks: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the program's name in parentheses, and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Counted from the third field of the whole line.
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Self { user_ticks: number(14)?, system_ticks: number(15)?, start_ticks: number(22)? })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a process has no 2^52 open files")]
fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn limit(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn memory(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(kibibytes.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194304 1 0 0 0 123 45 0 0 20 0 3 0 987 1 2";
        let stat = Stat { user_ticks: 123.0, system_ticks: 45.0, start_ticks: 987.0 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("42 (short) S 1"), None);
    }

    #[test]
    fn an_unlimited_number_of_files_is_not_exposed() {
        let line =
            |soft: &str| format!("Limit Soft Hard Units\nMax open files            {soft} 4096 files\n");
        assert_eq!(limit(&line("1024")), Some(1024.0));
        assert_eq!(limit(&line("unlimited")), None);
    }
}
