//! Whatever the edits, the file tells the same story as the memory, and what was compiled write by write answers like what is
//! compiled from nothing.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use proptest::{collection::vec, prelude::*};
use signalbox_routing::{Caller, Change, Endpoint, Request, Runtime};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Provider(u8, bool),
    Credential(u8, u8, Option<u8>),
    ClientKey(u8, u8, bool),
    Redirect(u8, u8, bool),
    Route(u8, u8),
    Settings(Option<u8>),
    Delete(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, any::<bool>()).prop_map(|(id, disabled)| Step::Provider(id, disabled)),
        (0..3_u8, 0..2_u8, proptest::option::of(0..3_u8)).prop_map(|(of, id, secret)| Step::Credential(of, id, secret)),
        (0..4_u8, 0..6_u8, any::<bool>()).prop_map(|(id, digest, team)| Step::ClientKey(id, digest, team)),
        (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(id, to, team)| Step::Redirect(id, to, team)),
        (0..3_u8, 0..4_u8).prop_map(|(id, segment)| Step::Route(id, segment)),
        proptest::option::of(0..3_u8).prop_map(Step::Settings),
        (0..5_u8, 0..3_u8).prop_map(|(kind, id)| Step::Delete(kind, id)),
    ]
}

fn edit(step: &Step) -> Edit {
    match *step {
        Step::Provider(id, disabled) => Edit::Put(admin::Provider { disabled, ..provider(&format!("p{id}")) }.into()),
        Step::Credential(of, id, secret) => {
            let secret = secret.map(|secret| format!("secret {secret}"));
            Edit::Put(credential(&format!("p{of}"), &format!("c{id}"), secret.as_deref()).into())
        }
        Step::ClientKey(id, digest, team) => {
            let mut key = client_key(&format!("k{id}"), digest);
            key.labels_mut().unwrap().extend(labels(team));
            Edit::Put(key)
        }
        Step::Redirect(id, to, team) => {
            let redirect = redirect(&format!("r{id}"), &format!("model-{id}"), &format!("p{to}"));
            Edit::Put(admin::Redirect { client_key_labels: labels(team), ..redirect }.into())
        }
        Step::Route(id, segment) => Edit::Put(route(&format!("o{id}"), &format!("s{segment}")).into()),
        Step::Settings(to) => Edit::Put(settings(&to.map(|to| format!("p{to}")).unwrap_or_default()).into()),
        Step::Delete(kind, id) => Edit::Delete(name(&match kind {
            0 => format!("providers/p{id}"),
            1 => format!("providers/p{id}/credentials/c0"),
            2 => format!("clientKeys/k{id}"),
            3 => format!("redirects/r{id}"),
            _ => format!("routes/o{id}"),
        })),
    }
}

fn labels(team: bool) -> BTreeMap<String, String> {
    team.then(|| ("team".to_owned(), "a".to_owned())).into_iter().collect()
}

/// What can be seen from outside of a configuration that such edits made.
fn answers(runtime: &Runtime) -> String {
    let mut answers = format!("{:?}\n{:?}\n", runtime.settings(), runtime.findings().collect::<Vec<_>>());
    runtime.providers().for_each(|provider| writeln!(answers, "{provider:?}").unwrap());
    runtime.routes().for_each(|route| writeln!(answers, "{route:?}").unwrap());
    let keys = (0..6_u8).filter_map(|digest| runtime.client_key(&[digest; 32])).map(|key| Caller::Key(key));
    for caller in [Caller::Operator, Caller::Stranger].into_iter().chain(keys) {
        writeln!(answers, "{caller:?} {:?}", runtime.models(caller)).unwrap();
        for model in ["model-0", "model-1", "model-2", "p0/m", "p1/model-0", "m"] {
            let request = Request { caller, model, endpoint: Endpoint::ChatCompletions, seed: 1 };
            writeln!(answers, "{model} {:?}", runtime.plan(&request)).unwrap();
        }
    }
    answers
}

/// The state's resources, compiled all at once.
fn compiled_from_nothing(state: &State) -> Runtime {
    let changes: Vec<Change> = state.resources().map(|stored| Change::Upsert(stored.resource.clone())).collect();
    Runtime::default().apply(&changes).runtime
}

/// The tables as the history of changes says they must be.
async fn replayed(connection: &mut SqliteConnection) -> BTreeMap<String, String> {
    let changes: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT name, spec FROM changes ORDER BY revision").fetch_all(connection).await.unwrap();
    let mut specs = BTreeMap::new();
    for (name, spec) in changes {
        match spec {
            Some(spec) => specs.insert(name, spec),
            None => specs.remove(&name),
        };
    }
    specs
}

async fn tell(writes: Vec<Vec<Step>>) {
    let place = Place::new();
    let bench = place.open().await;
    let mut states = vec![bench.ledger.state()];
    for write in writes {
        let before = bench.ledger.state();
        let outcome = bench.edit(write.iter().map(edit).collect()).await;
        let after = bench.ledger.state();
        match outcome {
            Ok(written) if written.committed => {
                assert_eq!(after.position.revision, before.position.revision.next());
                assert_ne!(content(&after).1, content(&before).1);
                states.push(Arc::clone(&after));
            }
            Ok(_) | Err(Error::Invalid(_) | Error::Referenced(_)) => assert_eq!(content(&after), content(&before)),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(after.position.digest, recomputed(&after));
        assert_eq!(answers(&after.runtime), answers(&compiled_from_nothing(&after)));
    }
    undo(&bench.ledger, &states).await;
    restore(&bench, &states).await;
    let before = bench.ledger.state();
    bench.close().await;

    let mut intruder = place.intrude().await;
    let rows = crate::store::resources::all(&mut intruder).await.unwrap();
    let stored: BTreeMap<String, String> = rows.into_iter().map(|row| (row.name, row.spec)).collect();
    assert_eq!(replayed(&mut intruder).await, stored);
    let bench = place.open().await;
    let loaded = bench.ledger.state();
    assert_eq!(content(&loaded), content(&before));
    assert_eq!(answers(&loaded.runtime), answers(&before.runtime));
    assert_eq!(loaded.commit_time, before.commit_time);
    undo(&bench.ledger, &states).await;
}

/// The state in the middle comes back as it was, secrets included.
async fn restore(bench: &Bench, states: &[Arc<State>]) {
    let Some(was) = states.get(states.len() / 2) else { return };
    let revision = was.position.revision;
    let past = bench.ledger.at(revision.get()).await.unwrap();
    let old = past.resources().map(|stored| Edit::Restore(stored.message(), revision));
    let present = bench.ledger.state();
    let new = present.resources().filter(|stored| past.get(&stored.resource.name).is_none());
    let edits = old.chain(new.map(|stored| Edit::Delete(stored.resource.name.clone()))).collect();
    bench.edit(edits).await.unwrap();
    let now = bench.ledger.state();
    assert_eq!(now.position.digest, was.position.digest);
    assert_eq!(answers(&now.runtime), answers(&was.runtime));
}

/// Undoing what came later gives every state there was.
async fn undo(ledger: &Ledger, states: &[Arc<State>]) {
    for was in states {
        let past = ledger.at(was.position.revision.get()).await.unwrap();
        assert_eq!((&past.position, past.commit_time), (&was.position, was.commit_time));
        assert_eq!(messages(&past), messages(was));
        assert_eq!(answers(&past.runtime), answers(&compiled_from_nothing(&past)));
    }
}

fn messages(state: &State) -> Vec<Message> {
    state.resources().map(|stored| stored.message()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_tables_and_history_agree(writes in vec(vec(step(), 1..5), 1..15)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(tell(writes));
    }
}
