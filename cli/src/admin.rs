//! The operator's side of the admin API: calls that carry the admin token, and errors in words. It knows no resource in particular.

use std::{net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::admin::v1::{
    client_key_service_client::ClientKeyServiceClient, config_service_client::ConfigServiceClient,
    credential_service_client::CredentialServiceClient, provider_service_client::ProviderServiceClient,
    settings_service_client::SettingsServiceClient,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::connection::Target;

/// Longest wait for a connection, and for the answer to a call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong between the operator and the control plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token holds characters that no header can carry.
    #[error("the admin token is not visible ASCII")]
    Token,
    /// The address is no URL.
    #[error("{address} is no address of a control plane")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The control plane said no.
    #[error("the control plane refused a call: {}", in_words(.0))]
    Refused(Box<Status>),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// The message, and each field that is wrong where the message does not say it.
pub(crate) fn in_words(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let unsaid = violations.iter().filter(|violation| !status.message().contains(&violation.description));
    let fields: Vec<String> =
        unsaid.map(|violation| format!("{}: {}", violation.field, violation.description)).collect();
    if fields.is_empty() {
        status.message().to_owned()
    } else {
        format!("{} ({})", status.message(), fields.join("; "))
    }
}

/// Puts the admin token on every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Somebody with this token; `None` = a client certificate says it all.
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn new(token: Option<&SecretString>) -> Result<Self, Error> {
        token.map(Self::header).transpose().map(Self)
    }

    fn header(token: &SecretString) -> Result<MetadataValue<Ascii>, Error> {
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {}", token.expose_secret()).parse().map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

/// A control plane, as operators reach it. It connects with the first call.
#[derive(Clone)]
pub struct Admin(Service);

impl Admin {
    /// The control plane at a plain-text address.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Address`].
    pub fn new(address: SocketAddr, token: &SecretString) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|source| Error::Address { address, source })?
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT);
        Ok(Self(InterceptedService::new(endpoint.connect_lazy(), Bearer::new(Some(token))?)))
    }

    /// The control plane that an operator means.
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn at(target: Target) -> Result<Self, Error> {
        let Target { address: _, endpoint, token, ca: _ } = target;
        let bearer = Bearer::new(token.as_ref())?;
        Ok(Self(InterceptedService::new(endpoint.timeout(TIMEOUT).connect_lazy(), bearer)))
    }

    /// Whole configurations.
    #[must_use]
    pub fn config(&self) -> ConfigServiceClient<Service> {
        ConfigServiceClient::new(self.0.clone())
    }

    /// Providers.
    #[must_use]
    pub fn providers(&self) -> ProviderServiceClient<Service> {
        ProviderServiceClient::new(self.0.clone())
    }

    /// Credentials.
    #[must_use]
    pub fn credentials(&self) -> CredentialServiceClient<Service> {
        CredentialServiceClient::new(self.0.clone())
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> SettingsServiceClient<Service> {
        SettingsServiceClient::new(self.0.clone())
    }

    /// Client keys.
    #[must_use]
    pub fn client_keys(&self) -> ClientKeyServiceClient<Service> {
        ClientKeyServiceClient::new(self.0.clone())
    }
}

/// What a get answers, with NOT_FOUND as `None`.
///
/// # Errors
/// [`Error::Refused`] for every other refusal.
pub fn found<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Error> {
    match answer {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_names_each_field_that_is_wrong() {
        let mut details = ErrorDetails::with_bad_request_violation("provider.base_url", "is no URL");
        details.add_bad_request_violation("provider.dialect", "is missing");
        let error = Error::from(Status::with_error_details(Code::InvalidArgument, "2 fields break a rule", details));
        let text = error.to_string();
        assert!(
            text.ends_with("2 fields break a rule (provider.base_url: is no URL; provider.dialect: is missing)"),
            "{text}"
        );
    }

    #[test]
    fn what_the_message_says_is_said_once() {
        let details = ErrorDetails::with_bad_request_violation("filter", "names no field");
        let error = Error::from(Status::with_error_details(Code::InvalidArgument, "filter: names no field", details));
        assert!(error.to_string().ends_with(": filter: names no field"), "{error}");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        assert!(matches!(Bearer::new(Some(&"a\nb".into())), Err(Error::Token)));
    }

    #[test]
    fn what_is_not_found_is_none_and_nothing_else_is() {
        assert!(matches!(found::<()>(Err(Status::not_found("x"))), Ok(None)));
        assert!(matches!(found::<()>(Err(Status::unauthenticated("x"))), Err(Error::Refused(_))));
    }
}
