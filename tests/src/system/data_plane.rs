//! A data plane that can be killed, stopped and started again.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use secrecy::SecretString;
use signalbox_data_plane::{App, BuildError, CacheOptions, Drain, Options, Tls, cache::CacheKey};

use super::{CLIENT_KEY, Setup, control_plane::Joining};
use crate::{client::Client, process::Process, raw::Raw, wait::eventually};

/// A data plane on an address and in a folder that it keeps.
#[derive(Debug)]
pub struct DataPlane {
    id: String,
    dir: PathBuf,
    addr: SocketAddr,
    setup: Setup,
    /// Where it finds its control plane; a story may mislead it before it starts again.
    pub joining: Joining,
    /// TLS towards its clients; a story may set it before it starts again.
    pub tls: Option<Tls>,
    process: Option<Process>,
}

/// No time is lost to load balancers, which stories do not have.
pub(super) fn quick_drain() -> Drain {
    Drain { delay: Duration::ZERO, grace: Duration::from_secs(10), ..Drain::default() }
}

impl DataPlane {
    pub(super) async fn start_in(dir: PathBuf, id: String, host: IpAddr, joining: Joining, setup: &Setup) -> Self {
        let addr = SocketAddr::new(host, 0);
        let mut plane = Self { id, dir, addr, setup: setup.clone(), joining, tls: None, process: None };
        plane.start().await;
        plane
    }

    /// Starts it on the address that it had. It need not be ready yet.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(&mut self) {
        let (process, addr) = run(self.options()).await.expect("the data plane starts");
        (self.addr, self.process) = (addr, Some(process));
    }

    /// Kills it, as SIGKILL would.
    ///
    /// # Panics
    /// Where it does not run.
    pub async fn kill(&mut self) {
        self.process.take().expect("the data plane runs").kill().await;
    }

    /// Asks it to stop, as SIGTERM would. It goes on until it is done.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn ask_to_stop(&self) {
        self.process.as_ref().expect("the data plane runs").ask_to_stop();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// Where it does not run, or fails.
    pub async fn ended(&mut self) {
        self.process.take().expect("the data plane runs").ended().await;
    }

    /// Whether it was started and neither killed nor stopped since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its id as a replica.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The folder of its sealed cache.
    pub fn cache_dir(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// The file with the key of its cache.
    pub fn cache_key(&self) -> PathBuf {
        self.dir.join("cache.key")
    }

    /// A well-mannered client with the stories' key.
    pub fn client(&self) -> Client {
        Client::new(self.addr, CLIENT_KEY)
    }

    /// A connection without manners.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.addr).await
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        let client = self.client();
        eventually("a data plane to be ready", async || (client.get("/readyz").await.status == 200).then_some(()))
            .await;
    }

    /// A counter or gauge, summed over all that carry these labels, written as in the Prometheus text.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.client().get("/metrics").await;
        let lines = page.text().lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until so many requests have ended in this way.
    pub async fn recorded(&self, outcome: &str, count: u32) {
        let label = format!("outcome=\"{outcome}\"");
        eventually(&format!("{count} requests recorded as {outcome}"), async || {
            let found = self.metric("signalbox_requests_total", &[&label]).await;
            (found >= f64::from(count)).then_some(())
        })
        .await;
    }

    /// How it is started; a story may start another one with it.
    ///
    /// # Panics
    /// Where its cache key cannot be made.
    pub fn options(&self) -> Options {
        let Joining { url, ca, token } = self.joining.clone();
        Options {
            listen: self.addr,
            tls: self.tls.clone(),
            control_plane: url.parse().expect("the URL is one"),
            sync_ca: ca,
            join_token: SecretString::from(token),
            cache: Some(CacheOptions {
                dir: self.cache_dir(),
                key: CacheKey::load_or_create(&self.cache_key()).expect("the key can be made"),
            }),
            replica_id: self.id.clone(),
            workers: self.setup.workers,
            limits: self.setup.limits,
            drain: self.setup.drain,
            log_level: None,
        }
    }

    /// Why it does not start with these options.
    ///
    /// # Panics
    /// Where it does.
    pub async fn refusal(options: Options) -> BuildError {
        run(options).await.expect_err("the data plane refuses to start")
    }
}

async fn run(options: Options) -> Result<(Process, SocketAddr), BuildError> {
    Process::start(async move || {
        let app = App::build(options).await?;
        let addr = app.local_addr();
        Ok((addr, move |stop| app.run(stop)))
    })
    .await
}
