//! What every request that changes something has in common, whatever it changes.

use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{Id, ResourceName};

use crate::{admin::auth::Said, tokens};

/// A request that changes something.
pub(crate) trait Mutation: prost::Message {
    /// The caller's own id of it; empty = none.
    fn request_id(&self) -> &str;

    /// Whether everything is to be done but the commit.
    fn is_dry_run(&self) -> bool;

    /// What it is about, in the caller's words; empty = several.
    fn subject(&self) -> String;

    /// What the audit is told of it: of what was sent, only what is a name.
    fn said(&self) -> Said {
        let resource = Some(self.subject()).filter(|name| is_name(name)).unwrap_or_default();
        let id = self.request_id();
        let request_id = if uuid::Uuid::parse_str(id).is_ok() { id.to_owned() } else { String::new() };
        Said { resource, request_id, dry_run: self.is_dry_run() }
    }
}

fn is_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((tokens::COLLECTION, id)) => Id::parse(id).is_ok(),
        Some(("revisions", number)) => number.parse::<u64>().is_ok(),
        _ => ResourceName::parse(text).is_ok(),
    }
}

/// Says of each request what its caller's id of it is, and what it is about.
macro_rules! mutations {
    (|$said:ident| $id:expr; $($request:ident => $subject:expr;)*) => {
        $(impl Mutation for admin::$request {
            fn request_id(&self) -> &str {
                let $said = self;
                _ = $said;
                $id
            }

            fn is_dry_run(&self) -> bool {
                self.validate_only
            }

            fn subject(&self) -> String {
                let $said = self;
                _ = $said;
                $subject
            }
        })*
    };
}

macro_rules! name_of {
    ($resource:expr) => {
        $resource.as_ref().map(|resource| resource.name.clone()).unwrap_or_default()
    };
}

mutations! {
    |said| said.request_id.as_str();
    CreateProviderRequest => format!("providers/{}", said.provider_id);
    UpdateProviderRequest => name_of!(said.provider);
    DeleteProviderRequest => said.name.clone();
    CreateCredentialRequest => format!("{}/credentials/{}", said.parent, said.credential_id);
    UpdateCredentialRequest => name_of!(said.credential);
    DeleteCredentialRequest => said.name.clone();
    CreateClientKeyRequest => format!("clientKeys/{}", said.client_key_id);
    UpdateClientKeyRequest => name_of!(said.client_key);
    DeleteClientKeyRequest => said.name.clone();
    RotateClientKeyRequest => said.name.clone();
    CreateRedirectRequest => format!("redirects/{}", said.redirect_id);
    UpdateRedirectRequest => name_of!(said.redirect);
    DeleteRedirectRequest => said.name.clone();
    CreateRouteRequest => format!("routes/{}", said.route_id);
    UpdateRouteRequest => name_of!(said.route);
    DeleteRouteRequest => said.name.clone();
    UpdateSettingsRequest => ResourceName::settings().as_str().to_owned();
    ApplyConfigRequest => String::new();
    RollbackConfigRequest => said.name.clone();
}

// Admin tokens are in no revision, and their secrets cannot be told twice: nothing of these calls is remembered.
mutations! {
    |said| "";
    CreateAdminTokenRequest => format!("{}/{}", tokens::COLLECTION, said.admin_token_id);
    UpdateAdminTokenRequest => name_of!(said.admin_token);
    DeleteAdminTokenRequest => said.name.clone();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_sent_only_names_are_told() {
        let told = |provider_id: &str, request_id: &str| {
            let (provider_id, request_id) = (provider_id.to_owned(), request_id.to_owned());
            let said = admin::CreateProviderRequest { provider_id, request_id, ..Default::default() }.said();
            (said.resource, said.request_id)
        };
        let uuid = "6b1f0a52-66a2-4e0c-9a34-0e3f4ad6b001";
        assert_eq!(told("a", uuid), ("providers/a".to_owned(), uuid.to_owned()));
        assert_eq!(told("Bearer sk-secret", "sk-secret"), (String::new(), String::new()));
        let rollback = |name: &str| admin::RollbackConfigRequest { name: name.to_owned(), ..Default::default() };
        assert_eq!(rollback("revisions/40").said().resource, "revisions/40");
        assert_eq!(rollback("revisions/sk-secret").said().resource, "");
        let token = admin::DeleteAdminTokenRequest { name: "adminTokens/ci".to_owned(), ..Default::default() };
        assert_eq!(token.said().resource, "adminTokens/ci");
    }
}
