//! The machine that measures and is measured: what it is, and whether it lets a process have enough files open.

use std::{fs, thread::available_parallelism};

use rustix::process::{Resource, getrlimit};

/// What a process has open besides the streams that it holds.
const BESIDES: u64 = 512;

/// What is enough for any run without switches.
const ENOUGH: u64 = 20_000;

/// A process may have too few files open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{need} open files are needed and {allowed} are allowed: run `ulimit -n {}` before", (*.need).max(ENOUGH))]
pub struct TooFew {
    need: u64,
    allowed: u64,
}

/// Whether whoever is started from here can hold so many streams: a proxy has two connections for each.
///
/// # Errors
/// [`TooFew`]
pub fn has_room_for(streams: usize) -> Result<(), TooFew> {
    room(streams, getrlimit(Resource::Nofile).current)
}

/// No limit is room enough.
fn room(streams: usize, allowed: Option<u64>) -> Result<(), TooFew> {
    let need = BESIDES.saturating_add(2 * streams as u64);
    match allowed {
        Some(allowed) if allowed < need => Err(TooFew { need, allowed }),
        _ => Ok(()),
    }
}

/// Its cores, their model, and its kernel.
#[must_use]
pub fn described() -> String {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {}, Linux {}", model(&told), kernel.trim())
}

/// The model of the first core. Not every architecture tells it.
fn model(told: &str) -> &str {
    let named = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or("an unnamed model", |(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_refused_with_what_to_do() {
        assert_eq!(room(4_000, Some(20_000)), Ok(()));
        assert_eq!(room(4_000, None), Ok(()));
        assert_eq!(room(200, Some(1024)), Ok(()));
        let refused = |streams| room(streams, Some(1024)).unwrap_err().to_string();
        assert_eq!(refused(4_000), "8512 open files are needed and 1024 are allowed: run `ulimit -n 20000` before");
        assert!(refused(50_000).contains("`ulimit -n 100512`"));
    }

    #[test]
    fn a_model_is_read_where_it_is_told() {
        assert_eq!(
            model("processor\t: 0\nmodel name\t: A Processor @ 2.0GHz\nmodel name\t: B\n"),
            "A Processor @ 2.0GHz"
        );
        assert_eq!(model("processor\t: 0\n"), "an unnamed model");
    }
}
