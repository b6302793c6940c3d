//! Which web pages' scripts may call, from the wire.

use std::{fmt::Display, str::FromStr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use signalbox_proto::config::v1 as config;
use url::Url;

use super::{faults::Faults, value};
use crate::{finding::Fault, runtime::Cors};

/// Most entries in a list.
const MAX_ENTRIES: usize = 100;

const MAX_AGE: Duration = Duration::from_secs(10 * 60);

pub(super) fn compile(wire: config::Cors, faults: &mut Faults) -> Option<Arc<Cors>> {
    let config::Cors { allowed_origins, allowed_methods, allowed_headers, exposed_headers, allow_credentials, max_age } =
        wire;
    let origins = origins(&allowed_origins, allow_credentials, faults);
    let method = "must be a method such as POST";
    let allowed_methods: Vec<Method> = list("allowed_methods", &allowed_methods, method, faults);
    let header = "must be the name of a header";
    let allowed_headers: Vec<HeaderName> = list("allowed_headers", &allowed_headers, header, faults);
    let exposed_headers: Vec<HeaderName> = list("exposed_headers", &exposed_headers, header, faults);
    let max_age = faults.take("cors.max_age", value::duration(max_age, MAX_AGE));
    Some(Arc::new(Cors {
        allowed_origins: origins,
        allowed_methods,
        allowed_headers,
        exposed_headers,
        allow_credentials,
        max_age: max_age?,
    }))
}

/// The origins by name; `None` = every one.
fn origins(wire: &[String], allow_credentials: bool, faults: &mut Faults) -> Option<Vec<HeaderValue>> {
    if wire.is_empty() {
        faults.add("cors.allowed_origins", Fault::Missing);
    }
    if let [only] = wire
        && only == "*"
    {
        if allow_credentials {
            faults.add("cors.allow_credentials", Fault::Meaningless("it needs origins by name, not `*`"));
        }
        return None;
    }
    bounded("allowed_origins", wire, faults);
    let written = wire.iter().enumerate();
    Some(
        written
            .filter_map(|(at, text)| faults.take(format_args!("cors.allowed_origins[{at}]"), origin(text)))
            .collect(),
    )
}

/// An origin as browsers spell it: scheme and host in lower case, and a port only where it is not the scheme's own.
fn origin(text: &str) -> Result<HeaderValue, Fault> {
    let refused = || value::refused(text, "must be an origin such as https://app.example, or `*` alone");
    let spaced = |character: char| character.is_whitespace() || character.is_control();
    if text.contains(spaced) || !text.contains("://") {
        return Err(refused());
    }
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|host| !host.is_empty() && bare && anonymous).ok_or_else(refused)?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme()).parse().map_err(|_| refused())
}

fn list<T: FromStr>(field: &str, wire: &[String], rule: &'static str, faults: &mut Faults) -> Vec<T> {
    bounded(field, wire, faults);
    let read = |text: &String| text.parse().map_err(|_| value::refused(text, rule));
    let written = wire.iter().enumerate();
    written.filter_map(|(at, text)| faults.take(format_args!("cors.{field}[{at}]"), read(text))).collect()
}

fn bounded(field: impl Display, wire: &[String], faults: &mut Faults) {
    if wire.len() > MAX_ENTRIES {
        faults.add(format_args!("cors.{field}"), Fault::OutOfRange("at most 100 entries"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{faults, runtime, settings};

    fn cors(edit: impl FnOnce(&mut config::Cors)) -> Option<config::Cors> {
        let mut wire = config::Cors { allowed_origins: vec!["*".into()], ..config::Cors::default() };
        edit(&mut wire);
        Some(wire)
    }

    #[test]
    fn what_is_not_said_is_allowed_to_every_origin() {
        let runtime = runtime(&[settings(|s| s.cors = cors(|_| {}))]);
        let expected = Cors {
            allowed_origins: None,
            allowed_methods: Vec::new(),
            allowed_headers: Vec::new(),
            exposed_headers: Vec::new(),
            allow_credentials: false,
            max_age: Duration::from_secs(600),
        };
        assert_eq!(runtime.settings().cors.as_deref(), Some(&expected));
    }

    #[test]
    fn what_is_said_is_taken_over() {
        let runtime = runtime(&[settings(|s| {
            s.cors = cors(|c| {
                c.allowed_origins = vec!["https://app.example".into(), "http://localhost:3000".into()];
                c.allowed_methods = vec!["POST".into()];
                c.allowed_headers = vec!["X-A".into()];
                c.exposed_headers = vec!["X-B".into()];
                c.allow_credentials = true;
                c.max_age = Some(prost_types::Duration { seconds: 5, nanos: 0 });
            });
        })]);
        let expected = Cors {
            allowed_origins: Some(vec![
                HeaderValue::from_static("https://app.example"),
                HeaderValue::from_static("http://localhost:3000"),
            ]),
            allowed_methods: vec![Method::POST],
            allowed_headers: vec![HeaderName::from_static("x-a")],
            exposed_headers: vec![HeaderName::from_static("x-b")],
            allow_credentials: true,
            max_age: Duration::from_secs(5),
        };
        assert_eq!(runtime.settings().cors.as_deref(), Some(&expected));
    }

    #[test]
    fn origins_are_spelled_as_browsers_spell_them() {
        for (text, expected) in [
            ("https://app.example", Some("https://app.example")),
            ("HTTPS://App.Example:443/", Some("https://app.example")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("tauri://localhost", Some("tauri://localhost")),
            ("*", None),
            ("", None),
            ("null", None),
            ("app.example", None),
            ("https://app.example/path", None),
            ("https://app.example?q", None),
            ("https://u@app.example", None),
            ("https://*.example.com/*", None),
            ("file:///etc", None),
            ("https://app.example\r\n", None),
        ] {
            let found = origin(text).ok();
            assert_eq!(found.as_ref().and_then(|found| found.to_str().ok()), expected, "{text:?}");
        }
    }

    #[test]
    fn every_fault_is_found() {
        let bad = settings(|s| {
            s.cors = cors(|c| {
                c.allowed_origins = vec!["https://a.example".into(), "*".into()];
                c.allowed_methods = vec!["GE T".into()];
                c.allowed_headers = vec!["X A".into()];
                c.exposed_headers = vec![String::new()];
                c.max_age = Some(prost_types::Duration { seconds: -1, nanos: 0 });
            });
        });
        assert_eq!(
            faults(&[bad]),
            [
                "settings cors.allowed_origins[1] INVALID_TEXT",
                "settings cors.allowed_methods[0] INVALID_TEXT",
                "settings cors.allowed_headers[0] INVALID_TEXT",
                "settings cors.exposed_headers[0] INVALID_TEXT",
                "settings cors.max_age OUT_OF_RANGE",
            ]
        );
        let nobody = settings(|s| s.cors = cors(|c| c.allowed_origins.clear()));
        assert_eq!(faults(&[nobody]), ["settings cors.allowed_origins FIELD_REQUIRED"]);
        let anybody = settings(|s| s.cors = cors(|c| c.allow_credentials = true));
        assert_eq!(faults(&[anybody]), ["settings cors.allow_credentials MEANINGLESS"]);
    }
}
