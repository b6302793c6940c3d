//! AIP-163: `validate_only` does everything but commit, and fails exactly where the call itself would.

use super::*;

/// A mutation, and whether it can be done.
struct Case {
    method: String,
    request: Value,
}

/// Good calls and bad ones of every kind; each is made on a control plane where `there` exists and `missing` does not.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in &KINDS {
        let mut add = |verb: &str, request: Value| cases.push(Case { method: kind.method(verb), request });
        let named = |id: &str, more: Value| with(json!({"name": kind.name(id)}), more);
        add("Create", kind.create("new", (kind.sound)()));
        add("Create", kind.create("there", (kind.sound)()));
        add("Create", kind.create("Bad Id", (kind.sound)()));
        add("Create", kind.create("new", (kind.unsound)()));
        add("Create", kind.create("new", with((kind.sound)(), json!({"labels": {"": "no key"}}))));
        add("Update", kind.rename("there", "another"));
        add("Update", kind.rename("there", &"long".repeat(100)));
        add("Update", kind.rename("missing", "another"));
        add("Update", with(kind.rename("missing", "another"), json!({"allowMissing": true})));
        add("Update", with(kind.rename("there", "another"), json!({"updateMask": "nonsense"})));
        add("Update", json!({kind.field: named("there", (kind.unsound)())}));
        add("Update", with(kind.rename("there", "another"), json!({kind.field: {"etag": "\"stale\""}})));
        add("Delete", named("there", json!({})));
        add("Delete", named("missing", json!({})));
        add("Delete", named("missing", json!({"allowMissing": true})));
        add("Delete", named("there", json!({"etag": "\"stale\""})));
        add("Delete", named("Bad Id", json!({})));
    }
    let mut add = |method: &str, request: Value| cases.push(Case { method: method.to_owned(), request });
    add("ProviderService/DeleteProvider", json!({"name": "providers/base"}));
    add(
        "RedirectService/CreateRedirect",
        json!({"redirectId": "new", "redirect": {"from": "x", "targets": [{"provider": "missing", "model": "m"}]}}),
    );
    add("SettingsService/UpdateSettings", json!({"settings": {"name": "settings", "defaultProvider": "base"}}));
    add("SettingsService/UpdateSettings", json!({"settings": {"name": "settings", "defaultProvider": "missing"}}));
    for request in [
        json!({"name": "clientKeys/there"}),
        json!({"name": "clientKeys/missing"}),
        json!({"name": "clientKeys/there", "successorId": "there"}),
        json!({"name": "clientKeys/there", "successorId": "Bad Id"}),
        json!({"name": "clientKeys/there", "overlap": "7776001s"}),
        json!({"name": "clientKeys/there", "overlap": "-1s"}),
    ] {
        add("ClientKeyService/RotateClientKey", request);
    }
    for config in [
        json!({"providers": [{"name": "providers/new", "dialect": "DIALECT_OPENAI", "baseUrl": "https://new.test"}]}),
        json!({"providers": [{"name": "providers/new", "dialect": "DIALECT_OPENAI", "baseUrl": "no url"}]}),
        json!({"redirects": [{"name": "redirects/new", "from": "x", "targets": [{"provider": "missing"}]}]}),
        json!({"routes": [{"name": "routes/new"}, {"name": "routes/new"}]}),
    ] {
        add("ConfigService/ApplyConfig", json!({"config": config}));
        add("ConfigService/ApplyConfig", json!({"config": config, "expectedRevision": "1"}));
    }
    add("ConfigService/ApplyConfig", json!({"config": {}, "mode": "MODE_PRUNE"}));
    cases
}

async fn furnished() -> Running {
    let app = Running::with_base().await;
    for kind in &KINDS {
        kind.made(&app, "there").await;
    }
    app
}

/// Code and reason of a refusal, and the fields that it names; nothing where it was done.
fn verdict(answer: &Result<Value, Status>) -> Option<((Code, String), String)> {
    let status = answer.as_ref().err()?;
    Some((refusal(status), status.message().to_owned()))
}

#[tokio::test]
async fn a_dry_run_fails_exactly_where_the_call_would_and_changes_nothing() {
    let mut app = furnished().await;
    let (mut done, mut refused) = (0, 0);
    for Case { method, request } in cases() {
        let before = app.revision().await;
        let dry = app.call(&method, with(request.clone(), json!({"validateOnly": true}))).await;
        assert_eq!(app.revision().await, before, "{method} {request}");
        let live = app.call(&method, request.clone()).await;
        assert_eq!(verdict(&dry), verdict(&live), "{method} {request}");
        if live.is_err() {
            refused += 1;
            assert_eq!(app.revision().await, before, "{method} {request}");
        } else {
            done += 1;
            // Every case begins in the same place.
            app.stop().await;
            app = furnished().await;
        }
    }
    assert!(done >= 15 && refused >= 40, "{done} done, {refused} refused");
    app.stop().await;
}

#[test]
fn every_mutation_has_a_dry_run() {
    let reads = ["Get", "List", "Validate", "Export", "Explain", "Wait"];
    for method in methods().iter().filter(|method| !reads.iter().any(|read| method.name().starts_with(read))) {
        assert!(method.input().get_field_by_name("validate_only").is_some(), "{}", method.full_name());
    }
}
