//! What this process has used.

use anyhow::Context;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// Seconds of processor time, with those of children that have ended.
pub(crate) fn cpu() -> anyhow::Result<f64> {
    let secs = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    let mut cpu = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        cpu += secs(usage.user_time()) + secs(usage.system_time());
    }
    Ok(cpu)
}

/// How often a thread has gone to sleep, and so was woken.
pub(crate) fn wake_ups() -> anyhow::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(u64::try_from(usage.voluntary_context_switches())?)
}

/// The most that was ever resident, in MiB.
pub(crate) fn peak() -> anyhow::Result<f64> {
    Ok(status("VmHWM:")? / 1024.0)
}

/// What is resident now, in KiB.
pub(crate) fn resident() -> anyhow::Result<f64> {
    status("VmRSS:")
}

/// A line of what Linux tells, in KiB.
fn status(field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("is this Linux?")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_suffix("kB"));
    Ok(value.with_context(|| format!("no {field}"))?.trim().parse()?)
}
