//! Which RPC a method and a path mean, by the `google.api.http` annotations of the schemas. It calls nothing.

use std::sync::LazyLock;

use http::{Method, uri::PathAndQuery};
use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, Value};
use signalbox_proto::DESCRIPTORS;

use super::{
    Refused,
    template::{RequestPath, Template},
};
use crate::admin::apply;

/// Whose RPCs are served.
const PACKAGE: &str = "signalbox.admin.v1";

/// The service that takes whole configurations.
const CONFIG_SERVICE: &str = "signalbox.admin.v1.ConfigService";

/// Largest body of any other request; what gRPC takes too.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Paths that are named to whoever asks for one that there is not.
const MAX_NEAR: usize = 3;

/// One way to call an RPC over HTTP.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) method: Method,
    pub(super) template: Template,
    pub(super) rpc: MethodDescriptor,
    pub(super) body: Body,
    /// The RPC's own path, such as `/signalbox.admin.v1.ProviderService/GetProvider`.
    pub(super) path: PathAndQuery,
    /// Largest body in bytes.
    pub(super) max_body: usize,
}

/// What of the request message the body is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// Nothing: all is said by path and query.
    Nothing,
    /// All that the path does not say.
    Whole,
    /// One field; the rest is said by path and query.
    Field(FieldDescriptor),
}

/// Every binding there is.
#[derive(Debug)]
pub(super) struct Table(Vec<Binding>);

/// An annotation that cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} streams")]
    Streams(String),
    #[error("{0} has no path that can be served")]
    Unbound(String),
    #[error("{rpc} has a body or a variable `{field}`, which is no field of its request")]
    Field { rpc: String, field: String },
    #[error("{0} and {1} have a path in common")]
    Clash(String, String),
}

impl Table {
    /// The table of what is compiled in.
    pub(super) fn get() -> &'static Self {
        static TABLE: LazyLock<Table> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "the annotations are compiled in, and a test reads them")]
            Table::read().expect("every RPC has a path of its own")
        });
        &TABLE
    }

    fn read() -> Result<Self, Fault> {
        let mut table = Self(Vec::new());
        for service in DESCRIPTORS.services().filter(|service| service.package_name() == PACKAGE) {
            for rpc in service.methods() {
                let unbound = || Fault::Unbound(rpc.full_name().to_owned());
                let rule = annotation(&rpc).ok_or_else(unbound)?;
                table.add(&rpc, &rule)?;
                for more in messages(&rule, "additional_bindings") {
                    table.add(&rpc, &more)?;
                }
            }
        }
        Ok(table)
    }

    fn add(&mut self, rpc: &MethodDescriptor, rule: &DynamicMessage) -> Result<(), Fault> {
        let name = || rpc.full_name().to_owned();
        if rpc.is_client_streaming() || rpc.is_server_streaming() {
            return Err(Fault::Streams(name()));
        }
        let verbs = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        let said = verbs.into_iter().find_map(|(field, method)| Some((method, text(rule, field)?)));
        let (method, template) = said.ok_or_else(|| Fault::Unbound(name()))?;
        let template = Template::parse(&template).ok_or_else(|| Fault::Unbound(name()))?;
        let body = match text(rule, "body").as_deref() {
            None => Body::Nothing,
            Some("*") => Body::Whole,
            Some(field) => {
                let missing = || Fault::Field { rpc: name(), field: field.to_owned() };
                Body::Field(rpc.input().get_field_by_name(field).ok_or_else(missing)?)
            }
        };
        for field in template.fields() {
            if super::query::field(&rpc.input(), field).is_none() {
                return Err(Fault::Field { rpc: name(), field: field.to_owned() });
            }
        }
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        let path = path.parse().map_err(|_| Fault::Unbound(name()))?;
        if let Some(other) = self.0.iter().find(|other| other.method == method && other.template.clashes(&template)) {
            return Err(Fault::Clash(other.rpc.full_name().to_owned(), name()));
        }
        let max_body =
            if rpc.parent_service().full_name() == CONFIG_SERVICE { apply::MAX_REQUEST_BYTES } else { MAX_BODY };
        self.0.push(Binding { method, template, rpc: rpc.clone(), body, path, max_body });
        Ok(())
    }

    /// Every binding, in the order of the schemas.
    pub(super) fn bindings(&self) -> &[Binding] {
        &self.0
    }

    /// What a method and a path mean; `HEAD` is a `GET` whose answer is kept short.
    pub(super) fn find(&self, method: &Method, path: &RequestPath) -> Result<&Binding, Refused> {
        let fitting = || self.0.iter().filter(|binding| binding.template.fits(path));
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        if let Some(binding) = fitting().find(|binding| binding.method == *wanted) {
            return Ok(binding);
        }
        let mut allowed: Vec<_> = fitting().map(|binding| binding.method.clone()).collect();
        if allowed.is_empty() {
            return Err(Refused::UnknownPath { near: self.near(path) });
        }
        if allowed.contains(&Method::GET) {
            allowed.push(Method::HEAD);
        }
        Err(Refused::Method { allowed })
    }

    /// The paths that may have been meant.
    fn near(&self, path: &RequestPath) -> Vec<String> {
        let mut near: Vec<_> = self
            .0
            .iter()
            .map(|binding| (binding.template.distance(path), binding))
            // Two slips, or an ending that is left off.
            .filter(|(distance, _)| *distance <= 3)
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        near.into_iter().take(MAX_NEAR).map(|(_, binding)| format!("{} {}", binding.method, binding.template)).collect()
    }

    /// How an RPC is called over HTTP, by the RPC's own path.
    pub(super) fn of_rpc(&self, path: &str) -> Option<&Binding> {
        self.0.iter().find(|binding| binding.path.as_str() == path)
    }
}

/// What `google.api.http` says of an RPC.
fn annotation(rpc: &MethodDescriptor) -> Option<DynamicMessage> {
    let extension = DESCRIPTORS.get_extension_by_name("google.api.http")?;
    let options = rpc.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned()).flatten()
}

fn text(rule: &DynamicMessage, field: &str) -> Option<String> {
    let value = rule.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn messages(rule: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    let list = rule.get_field_by_name(field);
    let list = list.as_deref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(Value::as_message).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: Method, path: &str) -> Result<&'static str, Refused> {
        let path = RequestPath::parse(path).unwrap();
        Table::get().find(&method, &path).map(|binding| binding.path.as_str().rsplit('/').next().unwrap())
    }

    #[test]
    fn every_rpc_of_the_admin_api_has_a_path_of_its_own() {
        let table = Table::read().unwrap();
        let services = DESCRIPTORS.services().filter(|service| service.package_name() == PACKAGE);
        let rpcs: Vec<_> = services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
        assert!(rpcs.len() >= 40, "{}", rpcs.len());
        for rpc in rpcs {
            assert!(table.0.iter().any(|binding| binding.rpc == rpc), "{}", rpc.full_name());
        }
    }

    #[test]
    fn method_and_path_say_which_rpc_is_meant() {
        for (method, path, rpc) in [
            (Method::GET, "/v1/providers/a", "GetProvider"),
            (Method::HEAD, "/v1/providers/a", "GetProvider"),
            (Method::PATCH, "/v1/providers/a/credentials/b", "UpdateCredential"),
            (Method::DELETE, "/v1/clientKeys/ci", "DeleteClientKey"),
            (Method::POST, "/v1/clientKeys/ci:rotate", "RotateClientKey"),
            (Method::POST, "/v1/config:apply", "ApplyConfig"),
            (Method::POST, "/v1/revisions/7:rollback", "RollbackConfig"),
            (Method::GET, "/v1/settings", "GetSettings"),
            (Method::POST, "/v1/replicas:waitForRevision", "WaitForRevision"),
        ] {
            assert_eq!(find(method, path).unwrap(), rpc, "{path}");
        }
    }

    #[test]
    fn another_method_is_told_which_there_are() {
        let Err(Refused::Method { allowed }) = find(Method::PUT, "/v1/providers/a") else { unreachable!() };
        assert_eq!(allowed, [Method::GET, Method::PATCH, Method::DELETE, Method::HEAD]);
        let Err(Refused::Method { allowed }) = find(Method::GET, "/v1/config:apply") else { unreachable!() };
        assert_eq!(allowed, [Method::POST]);
    }

    #[test]
    fn another_path_is_told_what_is_near() {
        for (path, near) in [
            ("/v1/provider", "GET /v1/providers"),
            ("/v1/clientkeys/a", "GET /v1/clientKeys/{client_key}"),
            ("/v1/config:aply", "POST /v1/config:apply"),
            ("/v1/providers/", "GET /v1/providers"),
        ] {
            let Err(Refused::UnknownPath { near: named }) = find(Method::GET, path) else { unreachable!() };
            assert!(named.iter().any(|named| named == near), "{path}: {named:?}");
        }
        let Err(Refused::UnknownPath { near }) = find(Method::GET, "/wp-admin/setup.php") else { unreachable!() };
        assert!(near.is_empty(), "{near:?}");
    }

    #[test]
    fn only_whole_configurations_may_be_large() {
        for binding in Table::get().bindings() {
            let whole = binding.path.as_str().starts_with("/signalbox.admin.v1.ConfigService/");
            assert_eq!(binding.max_body > MAX_BODY, whole, "{}", binding.path);
        }
    }
}
