//! What a control plane costs with very many client keys: a process of its own, a real database on a real disk, everything over gRPC.
//! Prints a Markdown table with the targets beside; fails only where something is not there that should be.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use signalbox_bench::{
    configuration, disk,
    figures::{Figure, Figures},
    joining,
    latencies::{Latencies, millis},
    program::Program,
    ward,
};
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, ApplyConfigResponse, Config, CreateClientKeyRequest, DeleteClientKeyRequest,
    UpdateClientKeyRequest, apply_config_request::Mode,
};
use signalbox_tests::Admin;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Client keys that are loaded in one document.
const BATCH: usize = 10_000;

/// Providers, and redirects and routes together.
const PROVIDERS: usize = 200;
const REDIRECTS_AND_ROUTES: usize = 1000;

/// Resources of the document that is applied.
const DOCUMENT: usize = 1000;

/// Bare transactions that the disk is asked for.
const BARE: usize = 300;

/// Measures a control plane.
#[derive(Debug, Parser)]
struct Arguments {
    /// Client keys that are there before anything is measured
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Writes one after another, and again as many by several writers at once
    #[arg(long, default_value_t = 3_000)]
    writes: usize,
    /// Writers at once
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Where the database is made, on the disk that is to be measured [default: the system's temporary folder]
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ward::stand_in()?;
    let arguments = Arguments::parse();
    let mut out = io::stdout();
    let load = fs::read_to_string("/proc/loadavg")?;
    writeln!(out, "{} client keys; load average before the run: {load}", arguments.keys)?;
    let mut bench = Bench::start(arguments).await?;
    bench.load().await?;
    bench.one_writer().await?;
    bench.many_writers().await?;
    bench.document().await?;
    bench.join().await?;
    bench.resident("resident memory after all of this, and the most of it ever", "")?;
    bench.restart().await?;
    writeln!(out, "{}", Figures(&bench.figures))?;
    Ok(())
}

/// A control plane, and what was measured of it so far.
struct Bench {
    arguments: Arguments,
    folder: TempDir,
    program: Program,
    admin: Admin,
    /// The median of a bare transaction.
    bare: Duration,
    /// Resources that there must be.
    resources: usize,
    figures: Vec<Figure>,
}

impl Bench {
    async fn start(arguments: Arguments) -> anyhow::Result<Self> {
        let folder = match &arguments.folder {
            Some(folder) => TempDir::new_in(folder)?,
            None => TempDir::new()?,
        };
        let bare = Latencies::of(disk::transactions(folder.path(), BARE).await?);
        let program = serve(folder.path())?;
        let admin = operator(&program, folder.path())?;
        // The settings are there from the beginning.
        let mut bench =
            Self { arguments, folder, program, admin, bare: bare.percentile(50), resources: 1, figures: Vec::new() };
        bench.figures.push(Figure {
            what: "a bare SQLite transaction on this disk, `synchronous=FULL`".to_owned(),
            target: "",
            measured: bare.to_string(),
            cpu: String::new(),
        });
        Ok(bench)
    }

    /// Runs something, and keeps what it came to with the time that the program took for it.
    async fn measure(
        &mut self,
        what: impl Into<String>,
        target: &'static str,
        run: impl AsyncFnOnce(&Admin) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let before = self.program.taken()?.cpu;
        let measured = run(&self.admin).await?;
        let cpu = millis(self.program.taken()?.cpu.saturating_sub(before));
        self.figures.push(Figure { what: what.into(), target, measured, cpu });
        Ok(())
    }

    async fn load(&mut self) -> anyhow::Result<()> {
        let (keys, documents) = (self.arguments.keys, self.arguments.keys.div_ceil(BATCH) + 1);
        self.resources += keys + 2 * PROVIDERS + REDIRECTS_AND_ROUTES;
        let what = format!("load {} resources in {documents} documents", self.resources - 1);
        self.measure(what, "", async |admin| {
            let start = Instant::now();
            apply(admin, merge(configuration::traffic(PROVIDERS, REDIRECTS_AND_ROUTES))).await?;
            for from in (0..keys).step_by(BATCH) {
                apply(admin, merge(configuration::client_keys(from..keys.min(from + BATCH)))).await?;
            }
            Ok(millis(start.elapsed()))
        })
        .await?;
        self.resident("resident memory then, and the most of it until then", "")
    }

    async fn one_writer(&mut self) -> anyhow::Result<()> {
        let (count, bare) = (self.arguments.writes, self.bare);
        let what = format!("{count} writes of client keys one after another: create, update, delete");
        self.measure(what, "p99 <= 25 ms", async |admin| {
            let took = Latencies::of(write(admin, "one", count).await?);
            let ratio = took.percentile(50).as_secs_f64() / bare.as_secs_f64();
            Ok(format!("{took}; the median is {ratio:.1} bare transactions"))
        })
        .await
    }

    async fn many_writers(&mut self) -> anyhow::Result<()> {
        let Arguments { writes, writers, .. } = self.arguments;
        let what = format!("the same by {writers} writers at once");
        let addr = self.program.addr();
        let token = token(self.folder.path(), "admin-token")?;
        self.measure(what, ">= 200 revisions/s", async |_| {
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for writer in 0..writers {
                let admin = Admin::new(addr, &token);
                tasks.spawn(async move { write(&admin, &format!("w{writer}"), writes.div_ceil(writers)).await });
            }
            let mut took = Vec::new();
            while let Some(done) = tasks.join_next().await {
                took.extend(done??);
            }
            let a_second = took.len() as f64 / start.elapsed().as_secs_f64();
            Ok(format!("{a_second:.0} revisions/s; {}", Latencies::of(took)))
        })
        .await
    }

    async fn document(&mut self) -> anyhow::Result<()> {
        self.resources += DOCUMENT;
        for (what, comment, validate_only, changed) in [
            ("apply a file of 1,000 new resources", "new", false, DOCUMENT),
            ("the same again, unchanged", "new", false, 0),
            ("a dry run that would change all of them", "changed", true, DOCUMENT),
            ("apply it, so that all of them change", "changed", false, DOCUMENT),
        ] {
            self.measure(what, "<= 1 s", async |admin| {
                let start = Instant::now();
                let applied =
                    apply(admin, ApplyConfigRequest { validate_only, ..whole(configuration::document(comment)) })
                        .await?;
                let took = millis(start.elapsed());
                anyhow::ensure!(applied.changes.len() == changed, "{what}: {} changes", applied.changes.len());
                Ok(took)
            })
            .await?;
        }
        Ok(())
    }

    /// Two join one after the other: the second is given what was encoded for the first.
    async fn join(&mut self) -> anyhow::Result<()> {
        let sync = self.program.other_addr("sync").context("the program tells no sync port")?;
        let token = token(self.folder.path(), "join-token")?;
        let expected = self.resources;
        self.measure("encode everything for data planes, and send it to one", "", async |admin| {
            let revision = revision(admin).await?;
            let first = joining::join(sync, &token, "first").await?;
            anyhow::ensure!(
                (first.revision, first.resources) == (revision, expected),
                "of {expected} resources at revision {revision} came {first:?}"
            );
            let second = joining::join(sync, &token, "second").await?;
            let encoding = millis(first.until_begun.saturating_sub(second.until_begun));
            let (whole, again) = (millis(first.until_whole), millis(second.until_whole));
            let [encoded, decoded] = [first.encoded_bytes, first.decoded_bytes].map(|bytes| bytes as f64 / 1e6);
            Ok(format!(
                "{encoded:.1} MB of {decoded:.1} MB; encoded in {encoding}, there in {whole}, the next time in {again}"
            ))
        })
        .await
    }

    fn resident(&mut self, what: &str, target: &'static str) -> anyhow::Result<()> {
        let taken = self.program.taken()?;
        let [resident, peak] = [taken.resident_kib, taken.peak_kib].map(|kib| kib * 1024 / 1_000_000);
        self.figures.push(Figure {
            what: what.to_owned(),
            target,
            measured: format!("{resident} MB, {peak} MB"),
            cpu: String::new(),
        });
        Ok(())
    }

    /// Kills it, starts it again, and looks whether everything is there.
    async fn restart(&mut self) -> anyhow::Result<()> {
        let before = revision(&self.admin).await?;
        self.program.kill();
        let start = Instant::now();
        self.program = serve(self.folder.path())?;
        self.admin = operator(&self.program, self.folder.path())?;
        let after = revision(&self.admin).await?;
        let took = millis(start.elapsed());
        anyhow::ensure!(before == after, "revision {before} was committed, and {after} is there");
        let cpu = millis(self.program.taken()?.cpu);
        let what = "start after a kill -9, until the first call is answered".to_owned();
        self.figures.push(Figure { what, target: "<= 1 s", measured: took, cpu });
        self.resident("resident memory then, and the most of it until then", "<= 150 MB")?;
        let sync = self.program.other_addr("sync").context("the program tells no sync port")?;
        let whole = joining::join(sync, &token(self.folder.path(), "join-token")?, "third").await?;
        anyhow::ensure!(whole.resources == self.resources, "{} resources are back", whole.resources);
        Ok(())
    }
}

fn serve(folder: &Path) -> anyhow::Result<Program> {
    let data_dir = folder.to_str().context("the folder is no text")?;
    let arguments = ["serve", "--data-dir", data_dir, "--admin-listen", "0", "--sync-listen", "0"];
    Ok(Program::start("signalbox-control-plane", &arguments, "admin")?)
}

fn token(folder: &Path, file: &str) -> anyhow::Result<String> {
    Ok(fs::read_to_string(folder.join(file))?.trim().to_owned())
}

fn operator(program: &Program, folder: &Path) -> anyhow::Result<Admin> {
    Ok(Admin::new(program.addr(), &token(folder, "admin-token")?))
}

/// On top of what is there.
fn merge(config: Config) -> ApplyConfigRequest {
    ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() }
}

/// As a file that is all that its owner has: whatever else were theirs would go, so that everything there is has to be looked at.
fn whole(config: Config) -> ApplyConfigRequest {
    let owner_labels = [("owner".to_owned(), "bench".to_owned())].into();
    ApplyConfigRequest { mode: Mode::Prune.into(), owner_labels, ..merge(config) }
}

async fn apply(admin: &Admin, request: ApplyConfigRequest) -> anyhow::Result<ApplyConfigResponse> {
    Ok(admin.configs().apply_config(request).await?.into_inner())
}

/// The newest revision.
async fn revision(admin: &Admin) -> anyhow::Result<u64> {
    Ok(apply(admin, merge(Config::default())).await?.revision)
}

/// Makes, changes and removes client keys in turn until so many calls are done, and tells how long each took.
async fn write(admin: &Admin, prefix: &str, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut client_keys = admin.client_keys();
    let mut took = Vec::with_capacity(count);
    for at in 0..count.div_ceil(3) {
        let id = format!("{prefix}-{at}");
        let mut key = configuration::client_key(at);
        (key.name, key.imported) = (format!("clientKeys/{id}"), None);
        let start = Instant::now();
        let create = CreateClientKeyRequest { client_key_id: id, client_key: Some(key.clone()), ..Default::default() };
        client_keys.create_client_key(create).await?;
        let made = start.elapsed();
        key.disabled = true;
        let update = UpdateClientKeyRequest { client_key: Some(key.clone()), ..Default::default() };
        client_keys.update_client_key(update).await?;
        let changed = start.elapsed();
        let delete = DeleteClientKeyRequest { name: key.name, ..Default::default() };
        client_keys.delete_client_key(delete).await?;
        took.extend([made, changed.saturating_sub(made), start.elapsed().saturating_sub(changed)]);
    }
    Ok(took)
}
