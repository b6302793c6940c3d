//! Both planes on loopback, joined through the real watch stream, as several processes would be: each can be killed, stopped and
//! started again on the address and in the folder that it had.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    process,
    sync::atomic::{AtomicU8, Ordering},
};

use signalbox_data_plane::{Drain, Limits};
use tempfile::TempDir;

use crate::{
    admin::Admin,
    client::Client,
    draft::{Draft, client_key},
    logs,
    wait::eventually,
};

mod control_plane;
mod data_plane;

pub use control_plane::{ADMIN_TOKEN, ControlPlane, JOIN_TOKEN, Joining};
pub use data_plane::DataPlane;

/// The client key that every system knows.
pub const CLIENT_KEY: &str = "sb_client-key-of-the-stories";

/// How a system is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many data planes it has.
    pub data_planes: usize,
    /// What each data plane takes from its clients.
    pub limits: Limits,
    /// How each data plane takes its leave.
    pub drain: Drain,
    /// Whether the sync port speaks TLS.
    pub tls: bool,
    /// How many workers each data plane has, each with connections to upstreams of its own; `None` = one a core.
    pub workers: Option<NonZeroUsize>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { data_planes: 1, limits: Limits::default(), drain: data_plane::quick_drain(), tls: false, workers: None }
    }
}

/// A control plane and its data planes.
#[derive(Debug)]
pub struct System {
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The data planes, in the order of their start.
    pub data_planes: Vec<DataPlane>,
    admin: Admin,
    setup: Setup,
    host: IpAddr,
    dir: TempDir,
}

impl Setup {
    /// Starts the system and waits until the client key is in force at every data plane.
    pub async fn start(self) -> System {
        logs::keep();
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let host = own_host();
        let control_plane = ControlPlane::start_in(dir.path().join("control"), host, self.tls).await;
        let admin = Admin::new(control_plane.admin_addr(), ADMIN_TOKEN);
        let data_planes = Vec::with_capacity(self.data_planes);
        let count = self.data_planes;
        let mut system = System { control_plane, data_planes, admin, setup: self, host, dir };
        for _ in 0..count {
            system.add_data_plane().await;
        }
        system.apply(Draft::new().client_key(client_key("stories", CLIENT_KEY))).await;
        system
    }
}

impl System {
    /// A control plane and one data plane.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// A control plane and this many data planes.
    pub async fn with_data_planes(count: usize) -> Self {
        Setup { data_planes: count, ..Setup::default() }.start().await
    }

    /// Starts a further data plane; it need not be ready yet.
    pub async fn add_data_plane(&mut self) {
        // Unlike any other in this process, so that log lines tell them apart.
        let id = format!("replica-{}-{}", self.host, self.data_planes.len());
        let dir = self.dir.path().join(&id);
        let to = self.control_plane.joining();
        self.data_planes.push(DataPlane::start_in(dir, id, self.host, to, &self.setup).await);
    }

    /// The operator.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The first data plane.
    ///
    /// # Panics
    /// Where there is none.
    pub fn data_plane(&self) -> &DataPlane {
        self.data_planes.first().expect("there is a data plane")
    }

    /// A client of the first data plane.
    pub fn client(&self) -> Client {
        self.data_plane().client()
    }

    /// Merges a configuration and waits until it is in force at every running data plane; returns the revision.
    pub async fn apply(&self, draft: Draft) -> u64 {
        let revision = self.admin.apply(draft.0).await;
        self.in_force(revision).await;
        revision
    }

    /// Waits until every running data plane answers from this revision, or a newer one.
    pub async fn in_force(&self, revision: u64) {
        for data_plane in self.data_planes.iter().filter(|data_plane| data_plane.is_running()) {
            let name = format!("replicas/{}", data_plane.id());
            eventually(&format!("revision {revision} in force at {name}"), async || {
                let replicas = self.admin.list_replicas().await.ok()?;
                replicas.into_iter().find(|replica| replica.name == name && replica.serving_revision >= revision)
            })
            .await;
        }
    }

    /// The folder that everything is in.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

/// A loopback address that nobody else here listens on, so that a port that was given up can be had again.
fn own_host() -> IpAddr {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // Other systems than Linux answer on 127.0.0.1 only, and there a story rarely but possibly loses its port to another.
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, number.wrapping_add(1).max(1)).into()
}
