//! What the data plane costs beside plain proxies: the same traffic through the upstream itself, nginx, Envoy where it is installed, and
//! Signalbox, round after round in turn. Prints Markdown; fails only where an answer was not as it should be.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use signalbox_bench::proxy::{
    contender::{Contender, Error},
    load::Load,
    report::{Figures, Report},
    scenario::Scenario,
    upstream::{KEY as UPSTREAM_KEY, Upstream},
};
use signalbox_proto::admin::v1::ClientKey;
use signalbox_tests::{CLIENT_KEY, Client, Draft, Setup, System, draft, wait::eventually};
use tokio::time::{interval, sleep};

/// Connections of the scenarios that go as fast as they can.
const CONNECTIONS: usize = 64;

/// Streams of the paced scenario at once.
const STREAMS: usize = 100;

/// Client keys in one call: more would be more than a request may hold.
const KEYS_AT_ONCE: usize = 20_000;

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
    /// Client keys that the gateway holds besides the one that is used
    #[arg(long, default_value_t = 0)]
    keys: usize,
    /// Revisions that reach the gateway in each second
    #[arg(long, default_value_t = 0)]
    revisions: u32,
    /// Only these contenders, by how their names begin
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let clock = Instant::now();
    let upstream = Upstream::start(clock).await?;
    let system = configured(&upstream, arguments.keys).await?;
    let contenders = contenders(&system, &upstream, &arguments.only).await?;
    let changing = (arguments.revisions > 0).then(|| tokio::spawn(change(system.admin().clone(), arguments.revisions)));

    let mut report = Report::default();
    // First, as long as nobody's memory has seen anything else.
    for contender in &contenders {
        let figures = idle(contender, arguments.idle, clock).await?;
        report.add(contender.name, Scenario::Idle, figures);
    }
    for round in 0..arguments.rounds {
        for scenario in Scenario::ALL.into_iter().filter(|scenario| *scenario != Scenario::Idle) {
            for contender in &contenders {
                let figures = measure(contender, scenario, arguments.seconds, clock).await?;
                report.add(contender.name, scenario, figures);
            }
        }
        writeln!(io::stderr(), "round {} of {} is done", round + 1, arguments.rounds)?;
    }
    if let Some(changing) = changing {
        changing.abort();
    }
    writeln!(io::stdout(), "{report}")?;
    Ok(if report.bad("Signalbox") == 0.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A control plane whose one provider is the upstream, with a redirect for each model.
async fn configured(upstream: &Upstream, keys: usize) -> anyhow::Result<System> {
    let system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    let url = format!("http://{}/v1", upstream.addr());
    let provider = draft::provider("bench", &url);
    let mut draft = Draft::new().provider(provider).credential("bench", "main", UPSTREAM_KEY);
    for model in ["chat", "embeddings", "paced", "burst", "idle"] {
        draft = draft.redirect(model, &format!("bench-{model}"), &[("bench", model)]);
    }
    system.apply(draft).await;
    for from in (0..keys).step_by(KEYS_AT_ONCE) {
        let mut draft = Draft::new();
        for number in from..keys.min(from + KEYS_AT_ONCE) {
            draft = draft.client_key(other_key(number));
        }
        system.apply(draft).await;
    }
    Ok(system)
}

fn other_key(number: usize) -> ClientKey {
    draft::client_key(&format!("other-{number}"), &format!("sb_other-key-{number}"))
}

/// Changes a key that nobody uses, so many times a second, until it is stopped.
async fn change(admin: signalbox_tests::Admin, per_second: u32) {
    let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
    for number in 0_u64.. {
        ticks.tick().await;
        let key = ClientKey { display_name: format!("change {number}"), ..other_key(0) };
        admin.apply(Draft::new().client_key(key).0).await;
    }
}

async fn contenders(system: &System, upstream: &Upstream, only: &[String]) -> anyhow::Result<Vec<Contender>> {
    let dir = system.dir();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()));
    let mut contenders = vec![Contender::direct(upstream.addr())];
    if wanted("nginx") {
        contenders.extend(present(Contender::nginx(upstream.addr(), dir).await)?);
    }
    if wanted("Envoy") {
        contenders.extend(present(Contender::envoy(upstream.addr(), dir).await)?);
    }
    if wanted("Signalbox") {
        contenders.push(gateway(system, dir).await?);
    }
    Ok(contenders)
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

async fn gateway(system: &System, dir: &Path) -> anyhow::Result<Contender> {
    let joining = system.control_plane.joining();
    let token = dir.join("token");
    std::fs::write(&token, &joining.token)?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("the temporary folder is no text");
    let arguments = [
        "--data-dir".to_owned(),
        path(&dir.join("data"))?,
        "--control-plane".to_owned(),
        joining.url,
        "--join-token-file".to_owned(),
        path(&token)?,
    ];
    let gateway = Contender::gateway(&arguments, dir).await?;
    let client = Client::new(gateway.addr, CLIENT_KEY);
    eventually("the gateway to serve", async || (client.chat("bench-chat").await.status == 200).then_some(())).await;
    Ok(gateway)
}

fn load(contender: &Contender, scenario: Scenario, clock: Instant) -> Load {
    let host = contender.addr.to_string();
    let request = if contender.is_gateway {
        scenario.request(&host, CLIENT_KEY, &scenario.client_model())
    } else {
        scenario.request(&host, UPSTREAM_KEY, scenario.upstream_model())
    };
    Load { addr: contender.addr, scenario, request, clock }
}

async fn measure(contender: &Contender, scenario: Scenario, seconds: u64, clock: Instant) -> anyhow::Result<Figures> {
    let load = load(contender, scenario, clock);
    let duration = Duration::from_secs(seconds);
    let before = contender.taken()?;
    let mut answers = match scenario {
        Scenario::Steady => load.open(1_000, duration).await,
        Scenario::Paced => load.closed(STREAMS, duration).await,
        _ => load.closed(CONNECTIONS, duration).await,
    };
    Ok(Figures::of(&mut answers, duration, before, contender.taken()?))
}

#[expect(clippy::cast_precision_loss, reason = "no memory of a process reaches 2^53 KiB")]
async fn idle(contender: &Contender, streams: usize, clock: Instant) -> anyhow::Result<Figures> {
    let before = contender.taken()?.resident_kib as f64;
    let held = load(contender, Scenario::Idle, clock).hold(streams).await;
    let held = held.with_context(|| format!("{} does not hold {streams} streams", contender.name))?;
    sleep(Duration::from_secs(1)).await;
    let during = contender.taken()?.resident_kib as f64;
    drop(held);
    Ok(Figures {
        stream_kib: (during - before) / streams.max(1) as f64,
        start_mib: before / 1024.0,
        ..Figures::default()
    })
}
