//! Moving over from the five systems that Signalbox replaces: each one's own file, imported, and then every habit of its users.

use signalbox_control_plane::import::{Format, Import};
use signalbox_proto::admin::v1::{ApplyConfigRequest, Config};
use signalbox_tests::{System, Upstream};

mod aggregator;
mod leaflet;
mod pool;
mod redirector;
mod router;

/// A system that was given a predecessor's file, whose upstreams are the scripted ones instead of those on the given ports.
async fn moved(format: Format, text: &str, upstreams: &[(u16, &Upstream)]) -> System {
    let text = upstreams.iter().fold(text.to_owned(), |text, (port, upstream)| {
        text.replace(&format!("127.0.0.1:{port}"), &upstream.addr().to_string())
    });
    let imported = Import::read(&text, format).unwrap();
    let system = System::start().await;
    let revision = apply(&system, imported.config.clone()).await.expect("the first import changes something");
    system.in_force(revision).await;
    assert_eq!(apply(&system, imported.config).await, None, "the second import changes nothing");
    system
}

async fn apply(system: &System, config: Config) -> Option<u64> {
    let request = ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() };
    let applied = system.admin().configs().apply_config(request).await.unwrap().into_inner();
    (!applied.unchanged).then_some(applied.revision)
}
