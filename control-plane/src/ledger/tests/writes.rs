//! What makes a revision and what does not.

use signalbox_routing::{Fault, Kind};

use super::*;
use crate::{history::Since, ledger::DifferenceKind};

fn kinds(written: &Written) -> Vec<(&str, DifferenceKind)> {
    written.changes.iter().map(|change| (change.name.as_str(), change.kind)).collect()
}

fn finding(error: Error) -> (String, String, Fault) {
    let Error::Invalid(mut findings) = error else { panic!("{error:?}") };
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = findings.remove(0);
    (finding.resource.to_string(), finding.field, finding.fault)
}

#[tokio::test]
async fn a_new_database_begins_with_revision_1_and_the_settings() {
    let place = Place::new();
    let bench = place.open().await;
    let state = bench.ledger.state();
    assert_eq!((state.position.revision.get(), state.resources().count()), (1, 1));
    assert_eq!(bench.message("settings").revision(), 1);
    assert_eq!(state.position.digest, recomputed(&state));

    let elsewhere = Place::new();
    let other = elsewhere.open().await;
    assert_ne!(other.ledger.state().position.epoch, state.position.epoch);
}

#[tokio::test]
async fn every_effective_write_is_one_revision_and_no_other_is() {
    let place = Place::new();
    let bench = place.open().await;
    let made = bench.put(provider("a")).await.unwrap();
    assert_eq!((made.revision.get(), made.committed), (2, true));
    assert_eq!(kinds(&made), [("providers/a", DifferenceKind::Create)]);

    let same = bench.put(provider("a")).await.unwrap();
    assert_eq!((same.revision.get(), same.committed, same.changes.len()), (2, false, 0));

    let changed = admin::Provider { models: vec!["m".to_owned()], priority: 3, ..provider("a") };
    let written = bench.put(changed).await.unwrap();
    assert_eq!(written.revision.get(), 3);
    assert_eq!(written.changes[0].fields, ["models", "priority"]);

    assert!(!bench.delete("providers/nobody").await.unwrap().committed);
    let gone = bench.delete("providers/a").await.unwrap();
    assert_eq!(kinds(&gone), [("providers/a", DifferenceKind::Delete)]);
    assert_eq!((bench.revision(), bench.ledger.state().range(Kind::Provider, None).count()), (4, 0));
}

#[tokio::test]
async fn output_fields_are_the_control_planes_whatever_the_caller_puts_in_them() {
    let place = Place::new();
    let bench = place.open().await;
    let forged = admin::Provider { etag: "\"9-x\"".to_owned(), revision: 99, ..provider("a") };
    bench.put(forged.clone()).await.unwrap();
    let first = bench.message("providers/a");
    assert_eq!(first.revision(), 2);
    assert!(first.etag().starts_with("\"2-"), "{}", first.etag());
    assert_eq!(first.create_time(), first.update_time());
    assert!(!bench.put(forged).await.unwrap().committed, "they are no difference either");

    bench.put(admin::Provider { disabled: true, ..provider("a") }).await.unwrap();
    let second = bench.message("providers/a");
    assert_eq!((second.revision(), second.create_time()), (3, first.create_time()));
    assert_ne!(second.etag(), first.etag());
}

#[tokio::test]
async fn a_write_of_many_is_one_revision_in_which_all_see_each_other() {
    let place = Place::new();
    let bench = place.open().await;
    let edits = vec![
        Edit::Put(redirect("r", "fast", "providers/a").into()),
        Edit::Put(credential("a", "main", Some("s")).into()),
        Edit::Put(provider("a").into()),
        Edit::Put(settings("a").into()),
        Edit::Put(client_key("k", 1)),
        Edit::Put(route("manual", "").into()),
    ];
    let written = bench.edit(edits).await.unwrap();
    assert_eq!((written.revision.get(), written.changes.len()), (2, 6));
    assert_eq!(written.state.position.digest, recomputed(&written.state));

    // All of it goes in one write too, in whatever order.
    let names = ["providers/a", "providers/a/credentials/main", "redirects/r"];
    let mut edits: Vec<Edit> = names.into_iter().map(|text| Edit::Delete(name(text))).collect();
    edits.push(Edit::Put(settings("").into()));
    assert_eq!(bench.edit(edits).await.unwrap().revision.get(), 3);
}

#[tokio::test]
async fn of_several_edits_of_one_resource_the_last_counts() {
    let place = Place::new();
    let bench = place.open().await;
    let edits = vec![
        Edit::Put(route("a", "one").into()),
        Edit::Delete(name("routes/a")),
        Edit::Put(route("b", "two").into()),
        Edit::Put(route("b", "three").into()),
    ];
    let written = bench.edit(edits).await.unwrap();
    assert_eq!(kinds(&written), [("routes/b", DifferenceKind::Create)]);
    assert_eq!(bench.served::<config::Route>("routes/b").segment, "three");
}

#[tokio::test]
async fn validate_only_does_everything_but_commit() {
    let place = Place::new();
    let bench = place.open().await;
    let try_it = |message: Message| {
        let entry = Entry { validate_only: true, ..entry() };
        bench.ledger.write(entry, move |_| Ok(vec![Edit::Put(message)]))
    };
    let written = try_it(route("a", "").into()).await.unwrap();
    assert_eq!((written.revision.get(), written.committed), (1, false));
    assert_eq!(kinds(&written), [("routes/a", DifferenceKind::Create)]);
    assert!(written.state.get(&name("routes/a")).is_some());
    assert!(bench.ledger.state().get(&name("routes/a")).is_none());
    assert!(matches!(try_it(route("v1", "").into()).await, Err(Error::Invalid(_))));

    assert_eq!(bench.put(route("a", "")).await.unwrap().revision.get(), 2);
}

#[tokio::test]
async fn what_data_planes_could_not_serve_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let bench = place.open().await;
    let before = content(&bench.ledger.state());
    let bad = admin::Provider { base_url: "nonsense".to_owned(), ..provider("a") };
    let (resource, field, _) = finding(bench.put(bad).await.unwrap_err());
    assert_eq!((resource.as_str(), field.as_str()), ("providers/a", "base_url"));

    let error = bench.put(redirect("r", "fast", "nobody")).await.unwrap_err();
    let (resource, field, fault) = finding(error);
    assert_eq!((resource.as_str(), field.as_str()), ("redirects/r", "targets[0].provider"));
    assert_eq!(fault, Fault::Dangling(name("providers/nobody")));

    let error = bench.put(credential("nobody", "main", Some("s"))).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert!(matches!(bench.delete("settings").await, Err(Error::Invalid(_))));
    assert!(matches!(bench.put(admin::Route::default()).await, Err(Error::Name(_))));
    assert_eq!(content(&bench.ledger.state()), before);
}

#[tokio::test]
async fn every_finding_of_a_write_is_told_at_once() {
    let place = Place::new();
    let bench = place.open().await;
    let bad = |id| admin::Provider { base_url: "nonsense".to_owned(), ..provider(id) };
    let error = bench.edit(vec![Edit::Put(bad("a").into()), Edit::Put(bad("b").into())]).await.unwrap_err();
    let Error::Invalid(findings) = error else { panic!("{error:?}") };
    let resources: Vec<_> = findings.iter().map(|finding| finding.resource.as_str()).collect();
    assert_eq!(resources, ["providers/a", "providers/b"]);
}

#[tokio::test]
async fn a_provider_in_use_stays_and_whoever_uses_it_is_named() {
    let place = Place::new();
    let bench = place.open().await;
    let edits = vec![
        Edit::Put(provider("a").into()),
        Edit::Put(credential("a", "main", Some("s")).into()),
        Edit::Put(redirect("r", "fast", "a").into()),
        Edit::Put(settings("providers/a").into()),
    ];
    bench.edit(edits).await.unwrap();
    let error = bench.delete("providers/a").await.unwrap_err();
    let Error::Referenced(referenced) = error else { panic!("{error:?}") };
    assert_eq!(
        referenced[0].to_string(),
        "`providers/a` is in use by `settings`, `providers/a/credentials/main`, `redirects/r`"
    );
    assert_eq!(bench.revision(), 2);
}

#[tokio::test]
async fn what_must_be_unique_is_and_can_be_traded() {
    let place = Place::new();
    let bench = place.open().await;
    let edits = [route("a", "one"), route("b", "two")].map(|route| Edit::Put(route.into()));
    bench.edit(edits.into()).await.unwrap();
    let edits = [route("a", "two"), route("b", "one")].map(|route| Edit::Put(route.into()));
    assert_eq!(bench.edit(edits.into()).await.unwrap().changes.len(), 2);

    bench.put(client_key("k", 1)).await.unwrap();
    bench.put(provider("p")).await.unwrap();
    bench.put(redirect("r", "fast", "p")).await.unwrap();
    let taken: [(Message, &str); 4] = [
        (route("c", "one").into(), "routes/b"),
        (client_key("l", 1), "clientKeys/k"),
        (admin::Provider { model_prefix: "p".to_owned(), ..provider("q") }.into(), "providers/p"),
        (redirect("s", "fast", "p").into(), "redirects/r"),
    ];
    for (message, by) in taken {
        let (_, _, fault) = finding(bench.put(message).await.unwrap_err());
        assert_eq!(fault, Fault::Taken(name(by)));
    }
    assert_eq!(bench.revision(), 6);
}

#[tokio::test]
async fn the_edit_sees_the_state_that_it_is_on_top_of_and_may_refuse() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    let refused = bench.ledger.write(entry(), |state| {
        let name = name("routes/a");
        match state.get(&name) {
            Some(_) => Err(Refused::AlreadyExists(name)),
            None => Ok(Vec::new()),
        }
    });
    assert!(matches!(refused.await, Err(Error::Refused(Refused::AlreadyExists(name))) if name.as_str() == "routes/a"));
    assert_eq!(bench.revision(), 2);
}

#[tokio::test]
async fn writes_at_once_come_one_after_the_other() {
    let place = Place::new();
    let bench = place.open().await;
    let writes = (0..20).map(|number| bench.put(route(&format!("r{number}"), "")));
    let written = futures_util::future::join_all(writes).await;
    let mut revisions: Vec<u64> = written.into_iter().map(|written| written.unwrap().revision.get()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..22).collect::<Vec<_>>());
}

#[tokio::test]
async fn followers_wake_with_each_revision_and_can_be_told_what_it_touched() {
    let place = Place::new();
    let bench = place.open().await;
    let mut following = bench.ledger.subscribe();
    let first = following.borrow_and_update().position.clone();
    bench.put(route("a", "")).await.unwrap();
    bench.put(route("b", "")).await.unwrap();
    following.changed().await.unwrap();
    assert_eq!(following.borrow_and_update().position.revision.get(), 3);
    let touched = Since::Names([name("routes/a"), name("routes/b")].into());
    assert_eq!(bench.ledger.since(&first), touched);

    bench.put(route("a", "")).await.unwrap();
    assert!(!following.has_changed().unwrap(), "nothing happened, so nobody is woken");
    drop(following);
    bench.close().await;
    assert_eq!(place.open().await.ledger.since(&first), touched);
}

#[tokio::test]
async fn a_revision_says_who_made_it() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    bench.close().await;
    let row: (String, String, String, String) =
        sqlx::query_as("SELECT actor, source_ip, method, comment FROM revisions WHERE revision = 2")
            .fetch_one(&mut place.intrude().await)
            .await
            .unwrap();
    assert_eq!(row, ("tester".into(), "127.0.0.1".into(), "Test/Write".into(), "a comment".into()));
}

#[tokio::test]
async fn a_write_to_a_ledger_whose_writer_is_gone_says_so() {
    let place = Place::new();
    let Bench { ledger, writing } = place.open().await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    assert!(matches!(ledger.write(entry(), |_| Ok(Vec::new())).await, Err(Error::Closed)));
}
