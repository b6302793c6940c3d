//! Whether the data plane's memory stays flat: many streamed requests one after another, then many slow streams at once, with its
//! resident memory read from `/proc`. Prints a Markdown table; fails only where a stream was lost.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use signalbox_bench::{
    figures::{Sample, Table, slope},
    load::{Chats, Tally},
    program::Program,
    ward,
};
use signalbox_tests::{CLIENT_KEY, Client, Draft, Setup, System, wait::eventually};
use tokio::time::sleep;

/// The upstream's key.
const UPSTREAM_KEY: &str = "sk-soak";

/// Words of a quick stream.
const WORDS: usize = 8;

/// Until connections that were closed are gone.
const SETTLED: Duration = Duration::from_secs(5);

/// Soaks a data plane in streams.
#[derive(Debug, Parser)]
struct Arguments {
    /// Streamed requests one after another
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// How many of them are under way at a time
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// Slow streams, all at once
    #[arg(long, default_value_t = 2_000)]
    streams: usize,
    /// Words of a slow stream; the upstream takes 200 ms for each
    #[arg(long, default_value_t = 150)]
    words: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    ward::stand_in()?;
    let arguments = Arguments::parse();
    let scene = Scene::start().await?;
    let mut out = io::stdout();

    let (samples, quick) = scene.quick(&arguments).await?;
    let rows: Vec<_> = samples.iter().map(|sample| ("one after another", *sample)).collect();
    writeln!(out, "{}", Table(&rows))?;
    writeln!(out, "{} streams came whole, {} did not.", quick.whole, quick.lost)?;
    // The first fifth is of a process that still warms up.
    if let Some(slope) = samples.get(samples.len() / 5..).and_then(slope) {
        writeln!(out, "Memory grows by {slope:+.2} KiB over 1,000 streams.\n")?;
    }

    let Slow { before, during, after, tally: slow } = scene.slow(&arguments).await?;
    writeln!(out, "{}", Table(&[("before", before), ("all at once", during), ("when they are over", after)]))?;
    let each = during.resident_kib.saturating_sub(before.resident_kib) / u64::try_from(arguments.streams.max(1))?;
    writeln!(out, "{} slow streams came whole, {} did not.", slow.whole, slow.lost)?;
    writeln!(out, "Each takes {each} KiB.")?;
    Ok(if quick.lost + slow.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A control plane in this process, and in processes of their own what is measured and the upstream behind it.
struct Scene {
    /// There to the end, as it would be.
    _control_plane: System,
    data_plane: Program,
    _upstream: Program,
}

/// Looks at the data plane before, amid and after slow streams.
struct Slow {
    before: Sample,
    during: Sample,
    after: Sample,
    tally: Tally,
}

impl Scene {
    async fn start() -> anyhow::Result<Self> {
        let system = Setup { data_planes: 0, ..Setup::default() }.start().await;
        let (join_token, upstream_key) = (system.dir().join("token"), system.dir().join("upstream-key"));
        let joining = system.control_plane.joining();
        std::fs::write(&join_token, &joining.token)?;
        std::fs::write(&upstream_key, UPSTREAM_KEY)?;
        let path = |path: &std::path::Path| path.to_str().map(str::to_owned).context("the temporary folder is no text");

        let key_file = path(&upstream_key)?;
        let upstream = Program::start("signalbox", &["demo", "--listen", "0", "--key-file", &key_file], "base_url")?;
        let base_url = format!("http://{}/v1", upstream.addr());
        let draft = Draft::new().provider(signalbox_tests::draft::provider("demo", &base_url));
        system.apply(draft.credential("demo", "main", UPSTREAM_KEY)).await;

        let (data_dir, token_file) = (path(&system.dir().join("data"))?, path(&join_token)?);
        let arguments = ["serve", "--listen", "0", "--data-dir", &data_dir, "--control-plane", &joining.url];
        let arguments = [&arguments[..], &["--join-token-file", &token_file]].concat();
        let data_plane = Program::start("signalbox-data-plane", &arguments, "clients")?;
        let client = Client::new(data_plane.addr(), CLIENT_KEY);
        eventually("the data plane to serve", async || (client.chat("demo/echo").await.status == 200).then_some(()))
            .await;
        Ok(Self { _control_plane: system, data_plane, _upstream: upstream })
    }

    /// Quick streams, with a look at the start and after every tenth of them.
    async fn quick(&self, arguments: &Arguments) -> anyhow::Result<(Vec<Sample>, Tally)> {
        let chats = Chats::new(self.data_plane.addr(), CLIENT_KEY, "demo/echo", WORDS)?;
        let step = arguments.requests.div_ceil(10).max(1);
        let mut samples = vec![self.data_plane.sample(0)?];
        let mut sum = Tally::default();
        for done in (0..arguments.requests).step_by(step) {
            let count = step.min(arguments.requests - done);
            sum = sum + chats.run(count, arguments.at_once).await;
            samples.push(self.data_plane.sample(u64::try_from(done + count)?)?);
        }
        Ok((samples, sum))
    }

    /// Slow streams, with a look halfway through them and one when they are over.
    async fn slow(&self, arguments: &Arguments) -> anyhow::Result<Slow> {
        let chats = Chats::new(self.data_plane.addr(), CLIENT_KEY, "demo/fault-slow", arguments.words)?;
        let (before, streams) = (self.data_plane.sample(0)?, arguments.streams);
        let running = tokio::spawn(async move { chats.run(streams, streams).await });
        sleep(Duration::from_millis(100) * u32::try_from(arguments.words)?).await;
        let during = self.data_plane.sample(u64::try_from(streams)?)?;
        let tally = running.await?;
        sleep(SETTLED).await;
        let after = self.data_plane.sample(u64::try_from(streams)?)?;
        Ok(Slow { before, during, after, tally })
    }
}
