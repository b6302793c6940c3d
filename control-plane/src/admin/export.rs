//! The configuration as a document that ApplyConfig takes: what operators said, in a stable order, and nothing that only the control
//! plane sets.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use signalbox_proto::admin::v1::{
    Config, ExportConfigRequest, ExportConfigResponse, Role, export_config_request::SecretMode,
};
use tokio::task::spawn_blocking;

use super::{
    error::{Error, Violation},
    rights::Who,
    sealed,
    verbs::{Call, Verbs},
};
use crate::{
    audit::Deed,
    ledger,
    message::Message,
    state::{State, Stored},
    store::audit,
};

impl Verbs {
    /// The configuration as a document. Who asks for its secrets must be an administrator, and is given them once that is written down.
    pub(super) async fn export(
        &self,
        role: Role,
        call: Call,
        request: ExportConfigRequest,
    ) -> Result<ExportConfigResponse, Error> {
        let ExportConfigRequest { revision, secrets, labels } = request;
        let sealed = match SecretMode::try_from(secrets) {
            Ok(SecretMode::Unspecified | SecretMode::Omit) => false,
            Ok(SecretMode::Sealed) => true,
            Err(_) => {
                let rule = format!("{secrets} is no mode: SECRET_MODE_OMIT or SECRET_MODE_SEALED");
                return Err(Violation::new("secrets", "INVALID_ENUM", rule).into());
            }
        };
        if sealed && !Who::Admin.includes(role) {
            return Err(Error::RoleTooLow { role, needed: Who::Admin });
        }
        let state = self.state_at(revision).await?;
        let current = self.ledger().state().position.revision;
        if sealed && state.position.revision != current {
            return Err(Error::SecretsOfThePast { revision, current });
        }
        let ledger = self.ledger().clone();
        let written = move || {
            let document = Document { state: &state, labels: &labels };
            let secrets = if sealed { document.seal(ledger.export_key()) } else { Bytes::new() };
            ExportConfigResponse {
                config: Some(document.config()),
                epoch: state.position.epoch.as_ref().to_owned(),
                revision: state.position.revision.get(),
                sealed: secrets,
            }
        };
        // A hundred thousand client keys take a while to write out.
        let exported = spawn_blocking(written).await?;
        if sealed {
            self.write_down(call.entry(false)?.done(String::new(), None, SystemTime::now())).await?;
        }
        Ok(exported)
    }

    /// Adds an entry to the audit that is of no change.
    async fn write_down(&self, deed: Deed) -> Result<(), ledger::Error> {
        let written = self.ledger().maintain::<_, ledger::Error, _, _>(
            move |connection| {
                async move {
                    audit::add(connection, &deed).await?;
                    Ok(deed)
                }
                .boxed()
            },
            Deed::log,
        );
        written.await.map(drop)
    }
}

/// A configuration that is to be written out.
struct Document<'a> {
    state: &'a State,
    labels: &'a BTreeMap<String, String>,
}

impl Document<'_> {
    fn config(&self) -> Config {
        let mut config = Config::default();
        self.resources().for_each(|stored| add(&mut config, stored.message().unstamped()));
        config
    }

    fn seal(&self, key: &crate::seal::ExportKey) -> Bytes {
        sealed::seal(key, self.resources().map(|stored| &**stored))
    }

    fn resources(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.state.resources().filter(|stored| self.labels.is_empty() || self.carries(&stored.message()))
    }

    fn carries(&self, message: &Message) -> bool {
        let carried = message.labels();
        carried.is_some_and(|carried| self.labels.iter().all(|(key, value)| carried.get(key) == Some(value)))
    }
}

/// Adds a resource to a document.
pub(super) fn add(config: &mut Config, message: Message) {
    match message {
        Message::Settings(said) => config.settings = Some(said),
        Message::Provider(said) => config.providers.push(*said),
        Message::Credential(said) => config.credentials.push(said),
        Message::ClientKey(key) => config.client_keys.push(key.said().clone()),
        Message::Redirect(said) => config.redirects.push(said),
        Message::Route(said) => config.routes.push(*said),
    }
}
