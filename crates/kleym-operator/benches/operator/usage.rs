//! What a process uses, as the kernel has it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

const MEBIBYTE: f64 = 1024.0;

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) now: f64,
    /// The most that was ever resident.
    pub(crate) peak: f64,
}

/// The memory of a process.
pub(crate) fn memory(process: u32) -> Result<Memory> {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).context("cannot read the memory in use")?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no such field")?;
        Ok(kibibytes.parse::<f64>()? / MEBIBYTE)
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// How long the threads of a process have run so far. Threads that ended are not in it: ask soon.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).context("cannot list the threads")?;
    let mut nanoseconds = 0;
    for task in tasks {
        // One that has just ended has no file any more.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().context("an empty schedstat")?;
        nanoseconds += ran.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
