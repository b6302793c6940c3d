//! What each call takes: which roles may make it, and whether it changes anything. The one place that says so.

use signalbox_proto::admin::v1::Role;

/// Which roles may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Every role there is.
    Anyone,
    /// Who may read the configuration.
    Reader,
    /// Who may make client keys.
    KeyIssuer,
    /// Who may change the configuration.
    Operator,
    /// Who may say who may do what.
    Admin,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It looks.
    Look,
    /// It changes something.
    Change,
}

use Does::{Change, Look};
use Who::{Admin, Anyone, KeyIssuer, Operator, Reader};

/// A call of the admin API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// As revisions and audit entries name it.
    pub(crate) name: &'static str,
    /// Who may make it.
    pub(crate) who: Who,
    /// What it does.
    pub(crate) does: Does,
}

const METHODS: [Method; 44] = [
    method("AdminTokenService/CreateAdminToken", Admin, Change),
    method("AdminTokenService/DeleteAdminToken", Admin, Change),
    method("AdminTokenService/GetAdminToken", Admin, Look),
    method("AdminTokenService/ListAdminTokens", Admin, Look),
    method("AdminTokenService/UpdateAdminToken", Admin, Change),
    method("AuditService/ListAuditEntries", Admin, Look),
    method("ClientKeyService/CreateClientKey", KeyIssuer, Change),
    method("ClientKeyService/DeleteClientKey", KeyIssuer, Change),
    method("ClientKeyService/GetClientKey", Anyone, Look),
    method("ClientKeyService/ListClientKeys", Anyone, Look),
    method("ClientKeyService/RotateClientKey", KeyIssuer, Change),
    method("ClientKeyService/UpdateClientKey", KeyIssuer, Change),
    method("ConfigService/ApplyConfig", Operator, Change),
    method("ConfigService/ExplainRoute", Reader, Look),
    method("ConfigService/ExportConfig", Reader, Look),
    method("ConfigService/ValidateConfig", Reader, Look),
    method("CredentialService/CreateCredential", Operator, Change),
    method("CredentialService/DeleteCredential", Operator, Change),
    method("CredentialService/GetCredential", Reader, Look),
    method("CredentialService/ListCredentials", Reader, Look),
    method("CredentialService/UpdateCredential", Operator, Change),
    method("ProviderService/CreateProvider", Operator, Change),
    method("ProviderService/DeleteProvider", Operator, Change),
    method("ProviderService/GetProvider", Reader, Look),
    method("ProviderService/ListProviders", Reader, Look),
    method("ProviderService/UpdateProvider", Operator, Change),
    method("RedirectService/CreateRedirect", Operator, Change),
    method("RedirectService/DeleteRedirect", Operator, Change),
    method("RedirectService/GetRedirect", Reader, Look),
    method("RedirectService/ListRedirects", Reader, Look),
    method("RedirectService/UpdateRedirect", Operator, Change),
    method("ReplicaService/GetReplica", Anyone, Look),
    method("ReplicaService/ListReplicas", Anyone, Look),
    method("ReplicaService/WaitForRevision", Anyone, Look),
    method("RevisionService/GetRevision", Reader, Look),
    method("RevisionService/ListRevisions", Reader, Look),
    method("RevisionService/RollbackConfig", Operator, Change),
    method("RouteService/CreateRoute", Operator, Change),
    method("RouteService/DeleteRoute", Operator, Change),
    method("RouteService/GetRoute", Reader, Look),
    method("RouteService/ListRoutes", Reader, Look),
    method("RouteService/UpdateRoute", Operator, Change),
    method("SettingsService/GetSettings", Reader, Look),
    method("SettingsService/UpdateSettings", Operator, Change),
];

const fn method(name: &'static str, who: Who, does: Does) -> Method {
    Method { name, who, does }
}

impl Method {
    /// The call that a path such as `/signalbox.admin.v1.ProviderService/GetProvider` makes.
    pub(crate) fn at(path: &str) -> Option<&'static Self> {
        let name = path.strip_prefix("/signalbox.admin.v1.")?;
        let at = METHODS.binary_search_by_key(&name, |method| method.name).ok()?;
        METHODS.get(at)
    }
}

impl Who {
    /// The roles, the least of them first.
    pub(crate) const fn roles(self) -> &'static [Role] {
        match self {
            Self::Anyone => &[Role::Viewer, Role::KeyIssuer, Role::Operator, Role::Admin],
            Self::Reader => &[Role::Viewer, Role::Operator, Role::Admin],
            Self::KeyIssuer => &[Role::KeyIssuer, Role::Operator, Role::Admin],
            Self::Operator => &[Role::Operator, Role::Admin],
            Self::Admin => &[Role::Admin],
        }
    }

    /// Whether that role is one of them.
    pub(crate) fn includes(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use signalbox_proto::DESCRIPTORS;

    use super::*;

    #[test]
    fn every_call_of_every_service_says_who_may_make_it() {
        let services = DESCRIPTORS.services().filter(|service| service.package_name() == "signalbox.admin.v1");
        let mut there: Vec<_> = services
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("{}/{}", method.parent_service().name(), method.name()))
            .collect();
        there.sort();
        let said: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(said, there, "the table is of the calls that there are, in order");
        for name in there {
            assert_eq!(Method::at(&format!("/signalbox.admin.v1.{name}")).unwrap().name, name);
        }
    }

    #[test]
    fn what_changes_something_is_what_carries_the_word_for_it() {
        for method in &METHODS {
            let (_, call) = method.name.split_once('/').unwrap();
            let verb = call.split_at(call[1..].find(char::is_uppercase).unwrap() + 1).0;
            let changes = ["Create", "Update", "Delete", "Rotate", "Apply", "Rollback"].contains(&verb);
            assert_eq!(method.does == Change, changes, "{}", method.name);
            let reads = ["Get", "List", "Export", "Validate", "Explain", "Wait"].contains(&verb);
            assert!(changes || reads, "{} is of a new sort: say here what it does", method.name);
        }
    }

    #[test]
    fn nothing_else_is_a_call() {
        for path in ["", "/", "/signalbox.admin.v1.", "/signalbox.admin.v1.ProviderService/", "/v1/providers"] {
            assert_eq!(Method::at(path), None, "{path}");
        }
    }

    #[test]
    fn roles_are_as_the_handbook_says() {
        let may = |role| METHODS.iter().filter(move |method| method.who.includes(role)).map(|method| method.name);
        assert_eq!(may(Role::Unspecified).count(), 0);
        assert_eq!(may(Role::Admin).count(), METHODS.len());
        let hidden =
            |name: &str| ["AdminTokenService/", "AuditService/"].iter().any(|service| name.starts_with(service));
        let everything_else = METHODS.iter().filter(|method| !hidden(method.name));
        assert!(may(Role::Operator).eq(everything_else.clone().map(|method| method.name)));
        assert!(may(Role::Viewer).eq(everything_else.filter(|method| method.does == Look).map(|method| method.name)));
        let issuer = |name: &&str| name.starts_with("ClientKeyService/") || name.starts_with("ReplicaService/");
        assert!(may(Role::KeyIssuer).eq(METHODS.iter().map(|method| method.name).filter(issuer)));
    }
}
