//! Programs that end with the one that started them, however that ends: this program stands in for each of them for a moment, asks the
//! system for that, and becomes the other. It never knows what they are for.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::process::{CommandExt as _, parent_id},
    path::Path,
    process::{self, Child, Command},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// How this program is told that it stands in: with the process that it is to end with, and whom it becomes.
const WARD: &str = "--ward";

/// A program that runs. Dropped, it is asked to end, and made to.
#[derive(Debug)]
pub(crate) struct Ward(pub(crate) Child);

/// What starts this program so that it ends with the thread that started it.
///
/// # Errors
/// Where it is not there.
pub(crate) fn command(program: &Path) -> io::Result<Command> {
    if !fs::metadata(program)?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let mut command = Command::new(env::current_exe()?);
    command.arg(WARD).arg(process::id().to_string()).arg(program);
    Ok(command)
}

/// Becomes another program, where this process was started for that, and else does nothing. To be called before anything else.
///
/// # Errors
/// Where the other cannot be started, or there is nobody left to end with.
pub fn stand_in() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != WARD) {
        return Ok(());
    }
    let (Some(owner), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // One that had gone before says nothing any more.
    if owner != *parent_id().to_string() {
        return Err(ErrorKind::BrokenPipe.into());
    }
    Err(Command::new(program).args(arguments).exec())
}

impl Drop for Ward {
    fn drop(&mut self) {
        // nginx leaves its workers behind when it is killed, and takes them along when it is asked; whoever lets what is under way
        // finish first is asked twice.
        for _ in 0..2 {
            // Where it is gone already, there is nothing to ask.
            kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap_or_default();
            for _ in 0..20 {
                if matches!(self.0.try_wait(), Ok(Some(_))) {
                    return;
                }
                sleep(Duration::from_millis(10));
            }
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
