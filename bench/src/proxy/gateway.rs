//! A gateway under measurement, with everything on and a control plane of its own: configured as large as one likes, changed while
//! it is measured, and started again from what it keeps. It sends no traffic.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    thread::sleep,
    time::Duration,
};

use signalbox_proto::{admin::v1::Provider, config::v1::Timeouts};
use signalbox_tests::{CLIENT_KEY, Client, Draft, Setup, System, draft, wait::eventually};
use tokio::runtime::Handle;
use tonic::Status;

use super::{
    changing::Changing,
    contender::{self, Contender},
    report::{Revisions, Started},
    scenario::Scenario,
    upstream,
};
use crate::configuration;

/// How long a stream may be silent, in milliseconds: longer than any is held.
const STREAM_IDLE_MS: u64 = 3_600_000;
/// Client keys in one call: more would be more than a request may hold.
const KEYS_AT_ONCE: usize = 20_000;

/// The file that its log goes to.
const LOG: &str = "gateway.log";
/// What its log says where it did not keep up.
pub const LINES_LOST: &str = "log lines lost";

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    /// Who is measured.
    pub contender: Contender,
    system: System,
    changing: Option<Changing>,
}

/// What a gateway has to do besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    /// Client keys that nobody uses; with any, there are 200 providers, and 1,000 redirects and routes each, that nobody uses either.
    pub keys: usize,
    /// Revisions in each second, while it is measured.
    pub revisions: u32,
}

/// Why a gateway does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error(transparent)]
    Contender(#[from] contender::Error),
    /// Its files cannot be written or read, or it has ended.
    #[error("{gateway} cannot be looked after")]
    Files {
        /// Which.
        gateway: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Its control plane takes no revision.
    #[error("{gateway} got a revision refused")]
    Refused {
        /// Which.
        gateway: &'static str,
        /// Why.
        source: Box<Status>,
    },
}

impl Gateway {
    /// Starts a control plane and a data plane before this upstream, and waits until it answers.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn start(name: &'static str, size: Size, upstream: SocketAddr) -> Result<Self, Error> {
        let system = configured(upstream, size.keys).await;
        let joining = system.control_plane.joining();
        let token = fs::write(system.dir().join("token"), &joining.token);
        token.map_err(|source| Error::Files { gateway: name, source })?;
        let path = |name| system.dir().join(name).to_string_lossy().into_owned();
        let arguments = [
            ("--data-dir", path("data")),
            ("--control-plane", joining.url),
            ("--join-token-file", path("token")),
            ("--log-file", path(LOG)),
        ];
        let arguments: Vec<_> = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let contender = Contender::gateway(name, &arguments, system.dir())?;
        let client = Client::new(contender.addr, CLIENT_KEY);
        let model = Scenario::Chat.client_model();
        eventually("the gateway to serve", async || (client.chat(&model).await.status == 200).then_some(())).await;
        let changing = (size.revisions > 0).then(|| Changing::start(system.admin().clone(), size.revisions));
        Ok(Self { contender, system, changing })
    }

    /// Lets revisions come, or not.
    pub fn change(&mut self, on: bool) {
        if let Some(changing) = &mut self.changing {
            changing.switch(on);
        }
    }

    /// What came of the revisions, if there were any.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn end_changes(&mut self, runtime: &Handle) -> Result<Option<Revisions>, Error> {
        let Some(changing) = self.changing.take() else { return Ok(None) };
        let ended = runtime.block_on(changing.end(self.system.admin()));
        let gateway = self.contender.name;
        ended.map(Some).map_err(|status| Error::Refused { gateway, source: Box::new(status) })
    }

    /// How many lines its log says that it lost.
    ///
    /// # Errors
    /// [`Error::Files`]
    pub fn lines_lost(&self) -> Result<u64, Error> {
        let lost = File::open(self.system.dir().join(LOG)).and_then(|log| lines_lost(BufReader::new(log)));
        lost.map_err(|source| Error::Files { gateway: self.contender.name, source })
    }

    /// Ends the control plane, and starts the data plane so many times from what it keeps.
    ///
    /// # Errors
    /// [`Error`]
    pub fn start_again(&mut self, times: usize, runtime: &Handle) -> Result<Vec<Started>, Error> {
        runtime.block_on(self.system.control_plane.stop());
        (0..times).map(|_| self.started()).collect()
    }

    fn started(&mut self) -> Result<Started, Error> {
        let ready = self.contender.start_again()?;
        sleep(Duration::from_secs(1));
        let taken = self.contender.taken();
        let resident_kib = taken.map_err(|source| Error::Files { gateway: self.contender.name, source })?.resident_kib;
        Ok(Started { ready, resident_kib })
    }
}

/// How many lines a log says that it lost.
fn lines_lost(log: impl BufRead) -> io::Result<u64> {
    let mut lost = 0;
    for line in log.lines() {
        let line = line?;
        if let Some((_, told)) = line.split_once(LINES_LOST) {
            // A report that cannot be read still is one.
            lost += told.split_once("lines=").and_then(|(_, lines)| lines.trim().parse().ok()).unwrap_or(1);
        }
    }
    Ok(lost)
}

/// A control plane whose one provider in use is the upstream, with a redirect for each model.
async fn configured(upstream: SocketAddr, keys: usize) -> System {
    let system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    let timeouts = Timeouts { stream_idle: draft::millis(STREAM_IDLE_MS), ..Timeouts::default() };
    let provider = draft::provider("bench", &format!("http://{upstream}/v1"));
    let provider = Provider { timeouts: Some(timeouts), ..provider };
    let mut draft = Draft::new().provider(provider).credential("bench", "main", upstream::KEY);
    for model in ["chat", "embeddings", "paced", "burst", "idle"] {
        draft = draft.redirect(model, &format!("bench-{model}"), &[("bench", model)]);
    }
    system.apply(draft).await;
    if keys > 0 {
        system.apply(Draft(configuration::traffic(200, 2_000))).await;
    }
    for from in (0..keys).step_by(KEYS_AT_ONCE) {
        let numbers = from..keys.min(from + KEYS_AT_ONCE);
        system.apply(Draft(configuration::client_keys(numbers))).await;
    }
    system
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_lost_are_found_in_the_log() {
        let log = "INFO access: status=200\nWARN log lines lost: they could not be written as fast as they came lines=40\n\
                   WARN log lines lost: they could not be written as fast as they came lines=2\n";
        assert_eq!(lines_lost(log.as_bytes()).unwrap(), 42);
        assert_eq!(lines_lost("INFO access: status=200\n".as_bytes()).unwrap(), 0);
    }
}
