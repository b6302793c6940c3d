//! router: mounts that pass everything on, each with headers, a proxy and a policy of its own.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use signalbox_proto::{
    admin::v1::{Route, route::Destination},
    config::v1::{ForwardProxy, HeaderValue, Universal, header_value::Content},
};
use signalbox_routing::RESERVED_SEGMENTS;

use super::{
    Error,
    draft::{self, Draft, address, forward_proxy, wire},
    json,
};

/// What there is where the file does not say.
const PORT: u16 = 3000;

/// From the request to the target's answer.
const TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct File {
    #[serde(default)]
    server: Server,
    global_proxy: Option<String>,
    #[serde(default)]
    force_header_overwrite: bool,
    #[serde(default)]
    headers_to_drop: Vec<String>,
    routes: BTreeMap<String, Mount>,
}

#[derive(Deserialize, Default)]
#[serde(expecting = "an object")]
struct Server {
    host: Option<String>,
    port: Option<u16>,
    log_requests: Option<bool>,
    reload_interval: Option<i64>,
    base_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Mount {
    enabled: Option<bool>,
    target_url: Option<String>,
    #[serde(default)]
    universal_proxy: bool,
    proxy: Option<String>,
    force_header_overwrite: Option<bool>,
    custom_headers: Option<BTreeMap<String, String>>,
}

/// What holds for every mount that does not say otherwise.
struct Shared {
    proxy: ForwardProxy,
    overwrite: bool,
    drop_headers: Vec<String>,
}

pub(super) fn read(text: &str) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let File { server, global_proxy, force_header_overwrite, headers_to_drop, routes } = json::read(text, &mut draft)?;
    let shared = Shared {
        proxy: forward_proxy("global_proxy", global_proxy.as_deref().unwrap_or_default())?,
        overwrite: force_header_overwrite,
        drop_headers: headers_to_drop,
    };
    for (segment, mount) in routes {
        let route = route(segment, mount, &shared, &mut draft)?;
        draft.config.routes.push(route);
    }
    let settings = draft.settings();
    settings.base_path = base_path(server.base_path.as_deref().unwrap_or_default());
    settings.request_log = server.log_requests;
    draft.watch = match server.reload_interval.unwrap_or(-1) {
        -1 => None,
        0 => Some(Duration::from_secs(1)),
        every => Some(Duration::from_secs(
            u64::try_from(every)
                .map_err(|_| Error::key("server.reload_interval", "must be -1, 0 or a number of seconds"))?,
        )),
    };
    draft.note("server.reload_interval", "holds with `--config-file` only: what is imported is not looked at again");
    draft.listen(server.host.as_deref(), server.port.unwrap_or(PORT));
    Ok(draft)
}

fn route(segment: String, mount: Mount, shared: &Shared, draft: &mut Draft) -> Result<Route, Error> {
    let place = format!("routes.{segment}");
    if RESERVED_SEGMENTS.contains(&segment.as_str()) {
        return Err(Error::key(place, "has the name of one of the gateway's own paths: call it something else"));
    }
    let Mount { enabled, target_url, universal_proxy, proxy, force_header_overwrite, custom_headers } = mount;
    let destination = match target_url {
        _ if universal_proxy => {
            draft.note(
                &place,
                "calls public addresses only; `universal.allowed_ranges` of the route lets it call private ones",
            );
            Destination::Universal(Universal::default())
        }
        Some(url) => Destination::TargetUrl(address(&format!("{place}.target_url"), &url)?),
        None => return Err(Error::key(place, "must have a `target_url`, or `universal_proxy`: true")),
    };
    let headers = custom_headers.unwrap_or_default();
    if !headers.is_empty() && enabled.unwrap_or(true) {
        draft.note(
            &place,
            "lends its headers to whoever can reach it, as before; `client_key_required` of the route asks for a key",
        );
    }
    let forward_proxy = match proxy {
        Some(own) => forward_proxy(&format!("{place}.proxy"), &own)?,
        None => shared.proxy.clone(),
    };
    let id = draft::id(&segment);
    Ok(Route {
        name: format!("routes/{id}"),
        segment: if id == segment { String::new() } else { segment },
        destination: Some(destination),
        headers: headers.into_iter().map(|(name, value)| (name, sealed(value))).collect(),
        overwrite_headers: Some(force_header_overwrite.unwrap_or(shared.overwrite)),
        drop_headers: shared.drop_headers.clone(),
        forward_proxy: Some(forward_proxy),
        client_key_required: false,
        timeout: wire(TIMEOUT),
        disabled: !enabled.unwrap_or(true),
        ..Route::default()
    })
}

/// Any of them may be a key.
fn sealed(value: String) -> HeaderValue {
    HeaderValue { content: Some(Content::Secret(value)), overwrite: None }
}

/// The path as it is written here: with a slash in front and none behind.
fn base_path(text: &str) -> String {
    let bare = text.trim_matches('/');
    if bare.is_empty() { String::new() } else { format!("/{bare}") }
}
