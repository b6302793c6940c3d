//! One long life of a configuration: every kind of resource, secrets that come, change and go, and deletes. The fixtures of earlier
//! schemas have been through it, so that what became of them can be told.

use super::*;

/// What the fixtures' secrets are sealed under.
pub(super) const MASTER_KEY: &str = "Zml4dHVyZXMgYXJlIHNlYWxlZCB1bmRlciB0aGlzISE=";

/// Revisions that the story makes, the founding one included.
pub(super) const REVISIONS: u64 = 24;

fn with_password(id: &str, password: &str) -> admin::Provider {
    let forward_proxy = config::ForwardProxy {
        url: "http://proxy.example:3128".to_owned(),
        username: "signalbox".to_owned(),
        password: password.to_owned(),
    };
    admin::Provider { forward_proxy: Some(forward_proxy), ..provider(id) }
}

/// Everything that happens, in order.
pub(super) fn edits() -> Vec<Vec<Edit>> {
    let put = |message: Message| vec![Edit::Put(message)];
    let delete = |text: &str| vec![Edit::Delete(name(text))];
    vec![
        put(provider("a").into()),
        put(credential("a", "main", Some("sk-first")).into()),
        put(with_password("b", "p-first").into()),
        put(credential("b", "main", Some("sk-b")).into()),
        put(credential("b", "spare", Some("sk-spare")).into()),
        put(client_key("ci", 1)),
        put(client_key("leaked", 2)),
        put(redirect("fast", "fast", "a").into()),
        put(route("manual", "Manual").into()),
        put(settings("a").into()),
        put(credential("a", "main", Some("sk-second")).into()),
        put(with_password("b", "p-second").into()),
        delete("clientKeys/leaked"),
        put(redirect("fast", "fast", "b").into()),
        put(client_key("ops", 3)),
        delete("providers/b/credentials/spare"),
        put(route("manual", "handbook").into()),
        put(admin::Provider { disabled: true, ..provider("c") }.into()),
        put(credential("c", "main", Some("sk-c")).into()),
        vec![Edit::Delete(name("providers/c/credentials/main")), Edit::Delete(name("providers/c"))],
        put(route("short-lived", "").into()),
        delete("routes/short-lived"),
        put(settings("b").into()),
    ]
}

impl Place {
    /// A place whose secrets are sealed under the fixtures' key.
    pub(super) fn of_fixtures() -> Self {
        Self { master_key: MASTER_KEY.to_owned(), ..Self::new() }
    }
}

impl Bench {
    /// Goes through the whole story.
    pub(super) async fn live_through(&self) {
        for edits in edits() {
            self.edit(edits).await.unwrap();
        }
        assert_eq!(self.revision(), REVISIONS);
    }
}
