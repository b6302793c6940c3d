//! What a process and all that it started have taken of the processor and of memory so far, as the system tells it.

use std::{fs, io, path::Path, time::Duration};

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
/// Where the process is gone, or the system does not say what its main thread has taken and started: nothing is not a figure.
pub fn taken(pid: u32) -> io::Result<Taken> {
    let mut sum = Taken { processor: Duration::ZERO, resident_kib: resident_kib(pid)? };
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let (processor, children) = match of_thread(&thread.path()) {
            Ok(told) => told,
            Err(error) if *thread.file_name() == *pid.to_string() => return Err(error),
            // Any other may end between the listing and the look at it.
            Err(_) => continue,
        };
        sum.processor += processor;
        for child in children {
            // So may a child.
            let Taken { processor, resident_kib } = taken(child).unwrap_or_default();
            sum.processor += processor;
            sum.resident_kib += resident_kib;
        }
    }
    Ok(sum)
}

/// How long a thread has run, and which processes it has started.
fn of_thread(thread: &Path) -> io::Result<(Duration, Vec<u32>)> {
    let read = |name: &str| {
        let path = thread.join(name);
        let text = fs::read_to_string(&path);
        text.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let schedule = read("schedstat")?;
    let nanos = schedule.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    let nanos = nanos.ok_or_else(|| io::Error::other("schedstat does not begin with a number"))?;
    let children = read("children")?.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    Ok((Duration::from_nanos(nanos), children))
}

fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    resident.and_then(|kib| kib.parse().ok()).ok_or_else(|| io::Error::other(format!("process {pid} has ended")))
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

    #[test]
    fn a_system_that_does_not_tell_is_an_error_and_not_a_process_that_takes_nothing() {
        let thread = tempfile::tempdir().unwrap();
        let refused = |thread: &Path| of_thread(thread).unwrap_err().to_string();
        assert!(refused(thread.path()).contains("schedstat"));
        fs::write(thread.path().join("schedstat"), "7000 1 1\n").unwrap();
        assert!(refused(thread.path()).contains("children"));
        fs::write(thread.path().join("children"), "12 13 ").unwrap();
        assert_eq!(of_thread(thread.path()).unwrap(), (Duration::from_micros(7), vec![12, 13]));
        fs::write(thread.path().join("schedstat"), "\n").unwrap();
        assert!(refused(thread.path()).contains("schedstat"));
    }
}
