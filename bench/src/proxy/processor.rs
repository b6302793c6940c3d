//! What a process and all that it started have taken of the processor and of memory so far, as the system tells it.

use std::{fs, io, time::Duration};

/// Processor time and memory of a family of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// User and system time of all threads that still run.
    pub processor: Duration,
    /// Resident memory in KiB; what the members share counts for each.
    pub resident_kib: u64,
}

/// What the process with this id and its descendants have taken.
///
/// # Errors
/// Where the process is gone.
pub fn taken(pid: u32) -> io::Result<Taken> {
    let mut sum = Taken { processor: Duration::ZERO, resident_kib: resident_kib(pid)? };
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // A thread may end between the listing and the look at it.
        let Ok(schedule) = fs::read_to_string(thread.join("schedstat")) else { continue };
        let nanos = schedule.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        sum.processor += Duration::from_nanos(nanos);
        let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let Taken { processor, resident_kib } = taken(child).unwrap_or_default();
            sum.processor += processor;
            sum.resident_kib += resident_kib;
        }
    }
    Ok(sum)
}

fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    resident.and_then(|kib| kib.parse().ok()).ok_or_else(|| io::Error::other("no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_something() {
        let Taken { processor, resident_kib } = taken(std::process::id()).unwrap();
        assert!(processor > Duration::ZERO && resident_kib > 100);
        assert!(taken(u32::MAX).is_err());
    }
}
