//! AIP-158 and AIP-160: pages that are of one revision however much is written meanwhile, and filters.

use super::*;

/// The names on a page, and the token of the next.
async fn page(app: &Running, kind: &KindOf, request: Value) -> Result<(Vec<String>, String), Status> {
    let parent = if kind.parent.is_empty() { json!({}) } else { json!({"parent": kind.parent}) };
    let list = app.call(&kind.list(), with(parent, request)).await?;
    let resources = list[format!("{}s", kind.field)].as_array().cloned().unwrap_or_default();
    let names = resources.iter().map(|resource| text(resource, "name").to_owned()).collect();
    Ok((names, text(&list, "nextPageToken").to_owned()))
}

fn names(kind: &KindOf, ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| kind.name(id)).collect()
}

async fn delete(app: &Running, kind: &KindOf, id: &str) {
    app.call(&kind.method("Delete"), json!({"name": kind.name(id)})).await.unwrap();
}

#[tokio::test]
async fn later_pages_are_of_the_revision_of_the_first() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        for id in ["zb", "zd", "zf"] {
            kind.made(&app, id).await;
        }
        let filter = json!({"filter": "name:/z"});
        let asked = |more: Value| with(with(filter.clone(), json!({"pageSize": 1})), more);
        let (first, token) = page(&app, kind, asked(json!({}))).await.unwrap();
        assert_eq!(first, names(kind, &["zb"]));
        let revision = app.revision().await;
        delete(&app, kind, "zd").await;
        for id in ["zc", "ze"] {
            kind.made(&app, id).await;
        }
        app.call(&kind.method("Update"), kind.rename("zf", "renamed")).await.unwrap();

        let (second, token) = page(&app, kind, asked(json!({"pageToken": token}))).await.unwrap();
        let (third, end) = page(&app, kind, asked(json!({"pageToken": token}))).await.unwrap();
        assert_eq!((second, third), (names(kind, &["zd"]), names(kind, &["zf"])), "{}", kind.message);
        assert_eq!(end, "");
        let (now, _) = page(&app, kind, filter.clone()).await.unwrap();
        assert_eq!(now, names(kind, &["zb", "zc", "ze", "zf"]));
        let then = with(filter.clone(), json!({"atRevision": revision.to_string()}));
        assert_eq!(page(&app, kind, then).await.unwrap().0, names(kind, &["zb", "zd", "zf"]));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_token_is_good_for_the_list_that_gave_it() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        for id in ["a", "b"] {
            kind.made(&app, id).await;
        }
        let (_, token) = page(&app, kind, json!({"pageSize": 1})).await.unwrap();
        for other in [json!({"filter": "name:a"}), json!({"atRevision": "1"})] {
            let request = with(json!({"pageSize": 1, "pageToken": token}), other);
            let status = page(&app, kind, request).await.unwrap_err();
            assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned()));
            assert_eq!(violations(&status)[0].0, "page_token");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_revision_that_is_not_kept_is_said_to_be_none() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let ahead = app.revision().await + 1;
        let status = page(&app, kind, json!({"atRevision": ahead.to_string()})).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert_eq!(resource(&status), ("signalbox.dev/Revision".to_owned(), format!("revisions/{ahead}")));
    }
    app.stop().await;
}

#[tokio::test]
async fn lists_of_every_kind_are_filtered() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        for (id, team) in [("a1", "red"), ("a2", "blue"), ("a3", "red")] {
            let resource = with((kind.sound)(), json!({"labels": {"team": team}, "displayName": format!("The {id}")}));
            app.call(&kind.method("Create"), kind.create(id, resource)).await.unwrap();
        }
        for (filter, ids) in [
            ("labels.team = red", &["a1", "a3"][..]),
            ("labels:team AND labels.team != red", &["a2"]),
            ("displayName:\"The a3\"", &["a3"]),
            ("display_name = 'The a1' AND labels.team:*", &["a1"]),
            ("labels.team = red AND revision > 999", &[]),
        ] {
            let (found, token) = page(&app, kind, json!({"filter": filter})).await.unwrap();
            assert_eq!((found, token.as_str()), (names(kind, ids), ""), "{} {filter}", kind.message);
        }
        let red = json!({"filter": "labels.team = red", "pageSize": 1});
        let (first, token) = page(&app, kind, red.clone()).await.unwrap();
        let (second, end) = page(&app, kind, with(red, json!({"pageToken": token}))).await.unwrap();
        assert_eq!((first, second, end.as_str()), (names(kind, &["a1"]), names(kind, &["a3"]), ""));
        let status = page(&app, kind, json!({"filter": "colour = red"})).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_FILTER".to_owned()));
        assert!(violations(&status)[0].1.starts_with("at character 1: `colour` is not in"), "{status}");
    }
    app.stop().await;
}
