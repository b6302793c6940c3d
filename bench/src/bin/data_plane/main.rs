//! What the data plane costs beside plain proxies: the same traffic through the upstream itself, nginx, Envoy where it is installed, and
//! Signalbox, round after round in turn. Prints Markdown; fails only where something was not as it should be, and tells the rest all the same.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use signalbox_bench::{
    proxy::{machine, scenario::Scenario, upstream},
    ward,
};

use self::{arguments::Arguments, stage::Stage};

mod arguments;
mod stage;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        drop(writeln!(io::stderr(), "{error:#}"));
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    ward::stand_in()?;
    let arguments = Arguments::parse();
    if arguments.upstream {
        upstream::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    machine::has_room_for(if arguments.takes(Scenario::Idle) { arguments.idle } else { 0 })?;
    let mut stage = Stage::set(&arguments)?;
    let mut report = stage.report(&arguments);
    let ended = stage.run(&arguments, &mut report);
    // Of minutes that came to an early end, too.
    writeln!(io::stdout(), "{report}")?;
    ended?;
    Ok(if report.bad() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
