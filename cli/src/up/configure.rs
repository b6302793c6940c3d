//! Brings about, over the admin API, the configuration that `up` wants: one call, one revision, and none where all is as wanted.

use std::net::SocketAddr;

use secrecy::SecretString;
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, Config, GetClientKeyRequest, GetCredentialRequest, GetProviderRequest,
    apply_config_request::Mode,
};

use super::wanted::{self, Upstream, Wanted};
use crate::{
    accounts::Account,
    admin::{Admin, Error, found},
    demo::Demo,
};

/// A control plane to configure.
pub(super) struct Configure<'a> {
    admin: &'a Admin,
    wanted: Wanted,
}

impl<'a> Configure<'a> {
    pub(super) fn new(admin: &'a Admin) -> Self {
        Self { admin, wanted: Wanted::default() }
    }

    /// Each account becomes a provider.
    pub(super) async fn accounts(&mut self, accounts: &[Account]) -> Result<(), Error> {
        for account in accounts {
            let have = upstream(self.admin, account.provider).await?;
            self.wanted.account(account, have);
        }
        Ok(())
    }

    /// The demo upstream becomes a provider, or that provider rests.
    pub(super) async fn demo(&mut self, demo: Option<&Demo>, key: &SecretString) -> Result<(), Error> {
        let have = upstream(self.admin, wanted::DEMO).await?;
        match demo {
            Some(demo) => self.wanted.demo(demo.base_url(), key, have),
            None => self.wanted.no_demo(have),
        }
        Ok(())
    }

    /// The key becomes the default client key. `None` = it is not there, and `keep_removed` says that this is to stay so.
    pub(super) async fn client_key(
        &mut self,
        key: SecretString,
        keep_removed: bool,
    ) -> Result<Option<SecretString>, Error> {
        let request = GetClientKeyRequest { name: wanted::CLIENT_KEY.to_owned() };
        let have = found(self.admin.client_keys().get_client_key(request).await)?;
        if have.is_none() && keep_removed {
            return Ok(None);
        }
        self.wanted.client_key(&key, have);
        Ok(Some(key))
    }

    /// Makes it so. Returns the revision that then holds.
    pub(super) async fn apply(self) -> Result<u64, Error> {
        let request = request(self.wanted.into_config());
        let applied = self.admin.config().apply_config(request).await?.into_inner();
        if !applied.unchanged {
            tracing::info!(revision = applied.revision, changes = applied.changes.len(), "configuration applied");
        }
        Ok(applied.revision)
    }
}

fn request(config: Config) -> ApplyConfigRequest {
    ApplyConfigRequest {
        config: Some(config),
        mode: Mode::Merge.into(),
        owner_labels: wanted::owner_labels(),
        comment: "signalbox up".to_owned(),
        ..ApplyConfigRequest::default()
    }
}

async fn upstream(admin: &Admin, id: &str) -> Result<Upstream, Error> {
    let provider = GetProviderRequest { name: wanted::provider_name(id) };
    let credential = GetCredentialRequest { name: wanted::credential_name(id) };
    Ok(Upstream {
        provider: found(admin.providers().get_provider(provider).await)?,
        credential: found(admin.credentials().get_credential(credential).await)?,
    })
}

/// Where the demo upstream was when it was last configured.
pub(super) async fn last_demo(admin: &Admin) -> Result<Option<SocketAddr>, Error> {
    let have = upstream(admin, wanted::DEMO).await?;
    Ok(have.provider.and_then(|provider| wanted::loopback(&provider.base_url)))
}
