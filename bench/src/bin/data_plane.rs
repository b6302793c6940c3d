//! What the data plane costs beside plain proxies: the same traffic through the upstream itself, nginx, Envoy where it is installed, and
//! Signalbox, round after round in turn. Prints Markdown; fails only where an answer was not as it should be.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{self, ExitCode},
    thread::sleep,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use signalbox_bench::{
    proxy::{
        contender::{Contender, Error},
        gateway::{Gateway, Size},
        load::Load,
        report::{Figures, Report},
        scenario::Scenario,
        upstream,
    },
    ward,
};
use signalbox_tests::CLIENT_KEY;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

/// Connections of the scenarios that go as fast as they can.
const CONNECTIONS: usize = 64;

/// Streams of the paced scenario at once.
const STREAMS: usize = 100;

/// Requests of the steady scenario in each second.
const STEADY: u32 = 1_000;

/// Starts from what the gateway keeps.
const STARTS: usize = 5;

/// How a shell calls an end by SIGINT, and by SIGTERM.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// Measures the data plane beside plain proxies.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds; each figure is the median of them
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each scenario for each contender in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Streams that are open and silent
    #[arg(long, default_value_t = 4_000)]
    idle: usize,
    /// How many seconds they are held
    #[arg(long, default_value_t = 1)]
    hold: u64,
    /// Client keys that the gateway holds besides the one that is used, with 1,000 redirects and 200 providers
    #[arg(long, default_value_t = 0)]
    keys: usize,
    /// Revisions that reach the gateway in each second
    #[arg(long, default_value_t = 0)]
    revisions: u32,
    /// Instead of plain proxies, compares Signalbox with itself: with 100,000 keys, and with ten revisions a second
    #[arg(long)]
    configurations: bool,
    /// Only these contenders, by how their names begin
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenarios
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// Is the upstream
    #[arg(long, hide = true)]
    upstream: bool,
}

/// Everybody who takes part.
struct Stage {
    gateways: Vec<Gateway>,
    proxies: Vec<Contender>,
    upstream: Contender,
    runtime: Runtime,
    _dir: TempDir,
}

fn main() -> anyhow::Result<ExitCode> {
    ward::stand_in()?;
    let arguments = Arguments::parse();
    if arguments.upstream {
        upstream::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stage = Stage::set(&arguments)?;
    let mut report = Report::default();
    // First, as long as nobody's memory has seen anything else.
    if arguments.takes(Scenario::Idle) {
        for contender in stage.contenders() {
            report.add(contender.name, Scenario::Idle, idle(contender, arguments.idle, arguments.hold)?);
        }
    }
    for round in 0..arguments.rounds {
        for scenario in Scenario::ALL.into_iter().filter(|scenario| *scenario != Scenario::Idle) {
            if arguments.takes(scenario) {
                stage.round(scenario, Duration::from_secs(arguments.seconds), &mut report)?;
            }
        }
        writeln!(io::stderr(), "round {} of {} is done", round + 1, arguments.rounds)?;
    }
    for gateway in &mut stage.gateways {
        for started in gateway.start_again(STARTS, stage.runtime.handle())? {
            report.started(gateway.contender.name, started);
        }
    }
    writeln!(io::stdout(), "{report}")?;
    Ok(if report.bad() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn takes(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    fn gateways(&self) -> Vec<(&'static str, Size)> {
        let (keys, revisions) = (self.keys, self.revisions);
        if self.configurations {
            let large = Size { keys: 100_000, revisions: 0 };
            let changing = Size { keys: 0, revisions: 10 };
            vec![("Signalbox", Size::default()), ("Signalbox, large", large), ("Signalbox, changing", changing)]
        } else if self.wants("Signalbox") {
            vec![("Signalbox", Size { keys, revisions })]
        } else {
            Vec::new()
        }
    }
}

impl Stage {
    fn set(arguments: &Arguments) -> anyhow::Result<Self> {
        let (runtime, dir) = (Runtime::new()?, tempfile::tempdir()?);
        // Whatever is written meanwhile is in one folder.
        drop(tempfile::env::override_temp_dir(dir.path()));
        runtime.spawn(told_to_end(dir.path().to_owned()));
        let upstream = Contender::upstream()?;
        let mut proxies = Vec::new();
        if !arguments.configurations && arguments.wants("nginx") {
            proxies.extend(present(Contender::nginx(upstream.addr, dir.path()))?);
        }
        if !arguments.configurations && arguments.wants("Envoy") {
            proxies.extend(present(Contender::envoy(upstream.addr, dir.path()))?);
        }
        let mut gateways = Vec::new();
        for (name, size) in arguments.gateways() {
            gateways.push(runtime.block_on(Gateway::start(name, size, upstream.addr))?);
        }
        Ok(Self { gateways, proxies, upstream, runtime, _dir: dir })
    }

    fn contenders(&self) -> impl Iterator<Item = &Contender> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.contender);
        [&self.upstream].into_iter().chain(&self.proxies).chain(gateways)
    }

    /// One after another, and nothing changes but for whom it is measured.
    fn round(&self, scenario: Scenario, duration: Duration, report: &mut Report) -> io::Result<()> {
        for contender in self.contenders() {
            self.gateways.iter().for_each(|gateway| gateway.change(gateway.contender.name == contender.name));
            report.add(contender.name, scenario, measure(contender, scenario, duration)?);
        }
        self.gateways.iter().for_each(|gateway| gateway.change(false));
        Ok(())
    }
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

/// Who is not installed does not take part.
fn present(contender: Result<Contender, Error>) -> anyhow::Result<Option<Contender>> {
    match contender {
        Ok(contender) => Ok(Some(contender)),
        Err(error @ Error::Missing { .. }) => {
            writeln!(io::stderr(), "{error}: measured without it")?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn load(contender: &Contender, scenario: Scenario) -> Load {
    let host = contender.addr.to_string();
    let request = if contender.is_gateway {
        scenario.request(&host, CLIENT_KEY, &scenario.client_model())
    } else {
        scenario.request(&host, upstream::KEY, scenario.upstream_model())
    };
    Load { addr: contender.addr, scenario, request }
}

fn measure(contender: &Contender, scenario: Scenario, duration: Duration) -> io::Result<Figures> {
    let (load, taken) = (load(contender, scenario), || contender.taken());
    let mut answers = match scenario {
        Scenario::Steady => load.open(STEADY, duration, &taken)?,
        Scenario::Paced => load.closed(STREAMS, duration, &taken)?,
        _ => load.closed(CONNECTIONS, duration, &taken)?,
    };
    Ok(Figures::of(&mut answers))
}

#[expect(clippy::cast_precision_loss, reason = "no memory of a process reaches 2^53 KiB")]
fn idle(contender: &Contender, streams: usize, hold: u64) -> anyhow::Result<Figures> {
    let resident = || contender.taken().map(|taken| taken.resident_kib as f64);
    let before = resident()?;
    let held = load(contender, Scenario::Idle).hold(streams);
    let held = held.with_context(|| format!("{} does not hold {streams} streams", contender.name))?;
    sleep(Duration::from_secs(1));
    let opened = resident()?;
    sleep(Duration::from_secs(hold.saturating_sub(1)));
    let during = resident()?;
    // What it holds counts only for as long as there is something to hold.
    let bad = u64::try_from(held.ended())?;
    drop(held);
    Ok(Figures {
        bad,
        stream_kib: (during - before) / streams.max(1) as f64,
        growth_kib: during - opened,
        start_mib: before / 1024.0,
        ..Figures::default()
    })
}
