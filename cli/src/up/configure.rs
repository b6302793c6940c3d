//! Brings about, over the admin API, the configuration that `up` wants: one call, one revision, and none where all is as wanted. The
//! demo upstream is started on the way, since its address is a part of that.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use secrecy::SecretString;
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, GetClientKeyRequest, GetCredentialRequest, GetProviderRequest, apply_config_request::Mode,
};
use tokio::net::TcpListener;

use super::{
    secrets::Secrets,
    wanted::{self, Upstream, Wanted},
};
use crate::{
    accounts::Account,
    admin::{self, Admin, found},
    demo::Demo,
};

/// Why the configuration was not brought about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane did not take it.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The demo upstream cannot be started.
    #[error("the demo upstream cannot be started (--no-demo leaves it out)")]
    Demo(#[source] io::Error),
}

/// What shall be.
#[derive(Debug)]
pub(super) struct Goal<'a> {
    pub(super) accounts: &'a [Account],
    pub(super) demo: bool,
    pub(super) secrets: &'a Secrets,
    /// Whether a client key that is in the data folder but not in the database has been removed there, and not yet put there.
    pub(super) client_key_may_be_removed: bool,
}

/// What then is.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) revision: u64,
    pub(super) demo: Option<Demo>,
    pub(super) client_key: Option<SecretString>,
}

pub(super) async fn bring_about(admin: &Admin, goal: Goal<'_>) -> Result<Configured, Error> {
    let Goal { accounts, demo, secrets, client_key_may_be_removed } = goal;
    let mut wanted = Wanted::default();
    for account in accounts {
        wanted.account(account, upstream(admin, account.provider).await?);
    }

    let (have, key) = (upstream(admin, wanted::DEMO).await?, secrets.demo_key());
    let demo = if demo { Some(start_demo(have.loopback(), &key).await.map_err(Error::Demo)?) } else { None };
    match &demo {
        Some(demo) => wanted.demo(demo.base_url(), &key, have),
        None => wanted.no_demo(have),
    }

    let request = GetClientKeyRequest { name: wanted::CLIENT_KEY.to_owned() };
    let have = found(admin.client_keys().get_client_key(request).await)?;
    let stays_removed = have.is_none() && client_key_may_be_removed;
    let in_force = !stays_removed && wanted.client_key(&secrets.client_key, have);
    let client_key = in_force.then(|| secrets.client_key.clone());
    Ok(Configured { revision: apply(admin, wanted).await?, demo, client_key })
}

async fn upstream(admin: &Admin, id: &str) -> Result<Upstream, admin::Error> {
    let provider = GetProviderRequest { name: wanted::provider_name(id) };
    let credential = GetCredentialRequest { name: wanted::credential_name(id) };
    Ok(Upstream {
        provider: found(admin.providers().get_provider(provider).await)?,
        credential: found(admin.credentials().get_credential(credential).await)?,
    })
}

/// Where it was before, if that is still free, so that nothing has to be changed.
async fn start_demo(before: Option<SocketAddr>, key: &SecretString) -> io::Result<Demo> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = match TcpListener::bind(before.unwrap_or(anywhere)).await {
        Err(_) if before.is_some() => TcpListener::bind(anywhere).await?,
        bound => bound?,
    };
    Demo::start(listener, key)
}

/// Makes it so. Returns the revision that then holds.
async fn apply(admin: &Admin, wanted: Wanted) -> Result<u64, admin::Error> {
    let request = ApplyConfigRequest {
        config: Some(wanted.into_config()),
        mode: Mode::Merge.into(),
        owner_labels: wanted::owner_labels(),
        comment: "signalbox up".to_owned(),
        ..ApplyConfigRequest::default()
    };
    let applied = admin.config().apply_config(request).await?.into_inner();
    if !applied.unchanged {
        tracing::info!(revision = applied.revision, changes = applied.changes.len(), "configuration applied");
    }
    Ok(applied.revision)
}
