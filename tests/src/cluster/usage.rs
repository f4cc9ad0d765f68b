//! What this process uses of what can leak.

use std::fmt;

/// How much this process uses, as far as the system tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tasks of the runtime that this is asked in.
    pub tasks: usize,
    /// Open file descriptors, on Linux.
    pub files: Option<usize>,
    /// Resident memory in bytes, on Linux.
    pub resident: Option<usize>,
}

impl Usage {
    /// What is used now. To be asked within a runtime.
    pub fn now() -> Self {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        Self { tasks, files: files(), resident: resident() }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.tasks)?;
        match (self.files, self.resident) {
            (Some(files), Some(resident)) => {
                write!(f, ", {files} files, {} KiB resident", resident / 1024)
            }
            _ => f.write_str(", files and resident memory are not counted on this system"),
        }
    }
}

#[cfg(target_os = "linux")]
fn files() -> Option<usize> {
    // The directory that is being read is one of them.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}

#[cfg(target_os = "linux")]
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(not(target_os = "linux"))]
fn files() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<usize> {
    None
}
