//! Everybody who takes part, started once, and measured in turn: the same traffic through each of them, in another order with each
//! round. What the figures come to is the report's business.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process,
    thread::sleep,
    time::Duration,
};

use anyhow::Context as _;
use signalbox_bench::proxy::{
    contender::{Contender, Error},
    gateway::Gateway,
    load::Load,
    machine,
    report::{Figures, Report},
    scenario::Scenario,
    upstream,
};
use signalbox_tests::CLIENT_KEY;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::arguments::{Arguments, Who};

/// Connections of the scenarios that go as fast as they can.
const CONNECTIONS: usize = 64;

/// Streams of the paced scenario at once.
const STREAMS: usize = 100;

/// Requests of the steady scenario in each second.
const STEADY: u32 = 1_000;

/// Starts from what the gateway keeps.
const STARTS: usize = 5;

/// Until who was started, or has many streams, has done whatever that took.
const SETTLED: Duration = Duration::from_secs(1);

/// What memory grows by in less than this many seconds says nothing.
const LONG_HOLD: u64 = 60;

/// How a shell calls an end by SIGINT, and by SIGTERM.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// Everybody who takes part.
pub(crate) struct Stage {
    gateways: Vec<Gateway>,
    proxies: Vec<Contender>,
    upstream: Contender,
    runtime: Runtime,
    _dir: TempDir,
}

impl Stage {
    pub(crate) fn set(arguments: &Arguments) -> anyhow::Result<Self> {
        let (runtime, dir) = (Runtime::new()?, tempfile::tempdir()?);
        // Whatever is written meanwhile is in one folder.
        drop(tempfile::env::override_temp_dir(dir.path()));
        runtime.spawn(told_to_end(dir.path().to_owned()));
        let upstream = Contender::upstream()?;
        let mut proxies = Vec::new();
        if arguments.wants(Who::Nginx) {
            proxies.extend(present(Contender::nginx(upstream.addr, dir.path()), arguments.may_miss())?);
        }
        if arguments.wants(Who::Envoy) {
            proxies.extend(present(Contender::envoy(upstream.addr, dir.path()), arguments.may_miss())?);
        }
        let mut gateways = Vec::new();
        for (name, size) in arguments.gateways() {
            gateways.push(runtime.block_on(Gateway::start(name, size, upstream.addr))?);
        }
        Ok(Self { gateways, proxies, upstream, runtime, _dir: dir })
    }

    /// An empty report of what is about to be measured, and where.
    pub(crate) fn report(&self, arguments: &Arguments) -> Report {
        let versions = self.proxies.iter().map(|Contender { name, version, .. }| {
            format!("{name} {}, ", version.as_deref().unwrap_or("of an unknown version"))
        });
        let (rounds, seconds) = (arguments.rounds, arguments.seconds);
        let versions: String = versions.collect();
        let rounds = if rounds == 1 { "one round".to_owned() } else { format!("{rounds} rounds") };
        let title = format!("{versions}{rounds} of {seconds} s, on {}.", machine::described());
        Report::new(title, self.contenders().map(|contender| contender.name).collect())
    }

    /// Measures everything, and adds each figure as soon as it is there.
    pub(crate) fn run(&mut self, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
        // First, as long as nobody's memory has seen anything else.
        for round in 0..arguments.idle_rounds() {
            self.idle_round(round, arguments, report)?;
        }
        for round in 0..arguments.rounds {
            for scenario in Scenario::ALL.into_iter().filter(|scenario| *scenario != Scenario::Idle) {
                if arguments.takes(scenario) {
                    self.round(round, scenario, Duration::from_secs(arguments.seconds), report)?;
                }
            }
            writeln!(io::stderr(), "round {} of {} is done", round + 1, arguments.rounds)?;
        }
        for gateway in &mut self.gateways {
            let name = gateway.contender.name;
            if let Some(revisions) = gateway.end_changes(self.runtime.handle())? {
                report.changed(name, revisions);
            }
            report.lost(name, gateway.lines_lost()?);
            for started in gateway.start_again(STARTS, self.runtime.handle())? {
                report.started(name, started);
            }
        }
        Ok(())
    }

    fn contenders(&self) -> impl Iterator<Item = &Contender> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.contender);
        [&self.upstream].into_iter().chain(&self.proxies).chain(gateways)
    }

    /// One after another, and nothing changes but for whom it is measured. Another one is the first with each round.
    fn round(
        &mut self,
        round: usize,
        scenario: Scenario,
        duration: Duration,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        for at in turns(round, self.contenders().count()) {
            let Some(name) = self.contenders().nth(at).map(|contender| contender.name) else { continue };
            self.gateways.iter_mut().for_each(|gateway| gateway.change(gateway.contender.name == name));
            let Some(contender) = self.contenders().nth(at) else { continue };
            let figures = measure(contender, scenario, duration);
            report.add(name, scenario, figures.with_context(|| format!("{name}, {scenario}"))?);
        }
        self.gateways.iter_mut().for_each(|gateway| gateway.change(false));
        Ok(())
    }

    /// Everybody is started for it, the upstream beside the one that the others talk to.
    fn idle_round(&mut self, round: usize, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
        for at in turns(round, self.contenders().count()) {
            let fresh = if at == 0 { Some(Contender::upstream()?) } else { None };
            let gateways = self.gateways.iter_mut().map(|gateway| &mut gateway.contender);
            if let Some(contender) = at.checked_sub(1).and_then(|at| self.proxies.iter_mut().chain(gateways).nth(at)) {
                contender.start_again()?;
            }
            let Some(contender) = fresh.as_ref().or_else(|| self.contenders().nth(at)) else { continue };
            let figures = idle(contender, arguments.idle, arguments.hold);
            let figures = figures.with_context(|| format!("{}, {}", contender.name, Scenario::Idle))?;
            report.add(contender.name, Scenario::Idle, figures);
        }
        Ok(())
    }
}

/// So many in turn, another one first with each round.
fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round) % count)
}

/// Leaves nothing behind when it is told to end: the folder goes here, and whoever was started goes with this process.
async fn told_to_end(folder: PathBuf) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let code = tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    };
    drop(fs::remove_dir_all(folder));
    process::exit(code)
}

/// Who is not installed does not take part, unless it was asked for.
fn present(contender: Result<Contender, Error>, may_miss: bool) -> anyhow::Result<Option<Contender>> {
    match contender {
        Ok(contender) => Ok(Some(contender)),
        Err(error @ Error::Missing { .. }) if may_miss => {
            writeln!(io::stderr(), "{error}: measured without it")?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn load(contender: &Contender, scenario: Scenario) -> Load {
    let host = contender.addr.to_string();
    let (key, model) = if contender.is_gateway {
        (CLIENT_KEY, scenario.client_model())
    } else {
        (upstream::KEY, scenario.upstream_model().to_owned())
    };
    let request = scenario.request(&host, key, &model);
    // The gateway's clients read of the model that they asked for.
    let length = scenario.answer(&model).len() as u64;
    Load { addr: contender.addr, scenario, request, length }
}

fn measure(contender: &Contender, scenario: Scenario, duration: Duration) -> io::Result<Figures> {
    let (load, taken) = (load(contender, scenario), || contender.taken());
    let mut answers = match scenario {
        Scenario::Steady => load.open(STEADY, duration, &taken)?,
        Scenario::Paced => load.closed(STREAMS, duration, &taken)?,
        _ => load.closed(CONNECTIONS, duration, &taken)?,
    };
    if let Some(why) = &answers.first_bad {
        writeln!(io::stderr(), "{}, {scenario}: {} bad answers, the first: {why}", contender.name, answers.bad)?;
    }
    Ok(Figures::of(&mut answers))
}

#[expect(clippy::cast_precision_loss, reason = "no memory of a process reaches 2^53 KiB")]
fn idle(contender: &Contender, streams: usize, hold: u64) -> anyhow::Result<Figures> {
    let resident = || contender.taken().map(|taken| taken.resident_kib as f64);
    sleep(SETTLED);
    let before = resident()?;
    let held = load(contender, Scenario::Idle).hold(streams);
    let held = held.with_context(|| format!("{streams} streams are not held"))?;
    sleep(SETTLED);
    let opened = resident()?;
    sleep(Duration::from_secs(hold).saturating_sub(SETTLED));
    let during = resident()?;
    // What it holds counts only for as long as there is something to hold.
    let bad = u64::try_from(held.ended())?;
    if bad > 0 {
        writeln!(io::stderr(), "{}, idle: {bad} of {streams} streams have ended", contender.name)?;
    }
    drop(held);
    Ok(Figures {
        bad,
        stream_kib: Some((during - before) / streams as f64),
        growth_kib: (hold >= LONG_HOLD).then_some(during - opened),
        start_mib: Some(before / 1024.0),
        ..Figures::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_first_in_every_round_or_left_out_of_any() {
        assert_eq!(turns(0, 3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(turns(1, 3).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(turns(5, 3).collect::<Vec<_>>(), [2, 0, 1]);
    }
}
