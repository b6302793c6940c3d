//! A gateway under measurement, with everything on and a control plane of its own: configured as large as one likes, changed while
//! it is measured, and started again from what it keeps. It sends no traffic.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signalbox_proto::{
    admin::v1::{ClientKey, Provider},
    config::v1::Timeouts,
};
use signalbox_tests::{Admin, CLIENT_KEY, Client, Draft, Setup, System, draft, wait::eventually};
use tokio::{runtime::Handle, task::JoinHandle, time::interval};

use super::{
    contender::{Contender, Error},
    report::Started,
    scenario::Scenario,
    upstream,
};
use crate::configuration;

/// How long a stream may be silent, in milliseconds: longer than any is held.
const STREAM_IDLE_MS: u64 = 3_600_000;
/// Client keys in one call: more would be more than a request may hold.
const KEYS_AT_ONCE: usize = 20_000;

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    /// Who is measured.
    pub contender: Contender,
    arguments: Vec<String>,
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

/// Commits while it is told to.
#[derive(Debug)]
struct Changing {
    on: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Gateway {
    /// Starts a control plane and a data plane before this upstream, and waits until it answers.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn start(name: &'static str, size: Size, upstream: SocketAddr) -> Result<Self, Error> {
        let system = configured(upstream, size.keys).await;
        let joining = system.control_plane.joining();
        let start = |source| Error::Start { program: name.to_owned(), source };
        fs::write(system.dir().join("token"), &joining.token).map_err(start)?;
        let path = |name| system.dir().join(name).to_string_lossy().into_owned();
        let arguments = [
            ("--data-dir", path("data")),
            ("--control-plane", joining.url),
            ("--join-token-file", path("token")),
            ("--log-file", path("gateway.log")),
        ];
        let arguments: Vec<_> = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let contender = Contender::gateway(name, &arguments, system.dir())?;
        let client = Client::new(contender.addr, CLIENT_KEY);
        let model = Scenario::Chat.client_model();
        eventually("the gateway to serve", async || (client.chat(&model).await.status == 200).then_some(())).await;
        let changing = (size.revisions > 0).then(|| Changing::start(system.admin().clone(), size.revisions));
        Ok(Self { contender, arguments, system, changing })
    }

    /// Lets revisions come, or not.
    pub fn change(&self, on: bool) {
        if let Some(changing) = &self.changing {
            changing.on.store(on, Ordering::Relaxed);
        }
    }

    /// Ends the control plane, and starts the data plane so many times from what it keeps.
    ///
    /// # Errors
    /// [`Error`]
    pub fn start_again(&mut self, times: usize, runtime: &Handle) -> Result<Vec<Started>, Error> {
        self.changing = None;
        runtime.block_on(self.system.control_plane.stop());
        (0..times).map(|_| self.contender.start_again(&self.arguments)).collect()
    }
}

impl Changing {
    fn start(admin: Admin, per_second: u32) -> Self {
        let on = Arc::<AtomicBool>::default();
        let told = Arc::clone(&on);
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
            for number in 0_u64.. {
                ticks.tick().await;
                if told.load(Ordering::Relaxed) {
                    let key = ClientKey { display_name: format!("change {number}"), ..configuration::client_key(0) };
                    admin.apply(Draft::new().client_key(key).0).await;
                }
            }
        });
        Self { on, task }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.task.abort();
    }
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
