//! What is kept over revisions, and that what cannot be used is named.

use http_body_util::BodyExt as _;
use signalbox_routing::{AnswerModel, Endpoint, Plan, SecretSource, Target};

use super::*;
use crate::attempt::{
    Trail, run,
    tests::{
        chat, provider,
        upstream::{Upstream, json},
    },
};

fn gather(provider: Provider, previous: Option<&Upstreams>) -> (Arc<Provider>, Upstreams, Vec<Unusable>) {
    let provider = Arc::new(provider);
    let (upstreams, unusable) = Upstreams::gather([&provider].into_iter(), [].iter(), previous);
    (provider, upstreams, unusable)
}

async fn call(upstreams: &Upstreams, provider: &Arc<Provider>) {
    let url = provider.url(Endpoint::ChatCompletions, "m").unwrap();
    let first = Target { provider: Arc::clone(provider), url, model: "m".into() };
    let plan = Plan { first, rest: Vec::new(), answer_model: AnswerModel::Served, attempts: 1 };
    let won = run(upstreams, plan, chat(), &mut Trail::default()).await.expect("an answer is won");
    won.body.collect().await.expect("the answer is whole");
}

#[tokio::test]
async fn connections_are_kept_over_revisions_by_profile() {
    let upstream = Upstream::play([json("200 OK", "{}")]).await;
    let (first, before, _) = gather(provider("a", upstream.address, &[]), None);
    call(&before, &first).await;
    let (same_profile, kept, _) = gather(provider("b", upstream.address, &["a-key"]), Some(&before));
    call(&kept, &same_profile).await;
    assert_eq!(upstream.connections(), 1);

    let mut changed = provider("b", upstream.address, &["a-key"]);
    Arc::make_mut(&mut changed.profile).max_idle += 1;
    let (other_profile, renewed, _) = gather(changed, Some(&kept));
    call(&renewed, &other_profile).await;
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_and_the_others_serve() {
    let upstream = Upstream::play([json("200 OK", "{}")]).await;
    let mut mixed = provider("p", upstream.address, &["lost", "odd", "good"]);
    let sources = [SecretSource::Env("SIGNALBOX_TEST_NOT_SET".into()), SecretSource::Inline("a\nb".to_owned().into())];
    for (credential, source) in mixed.credentials.iter_mut().zip(sources) {
        Arc::make_mut(credential).source = source;
    }
    let (provider, upstreams, unusable) = gather(mixed, None);
    let named: Vec<_> = unusable.iter().map(|unusable| unusable.name.as_str()).collect();
    assert_eq!(named, ["providers/p/credentials/lost", "providers/p/credentials/odd"]);
    assert!(
        matches!(unusable[0].cause, UnusableCause::Variable(_)) && matches!(unusable[1].cause, UnusableCause::Header)
    );
    assert!(!format!("{unusable:?}").contains("a\\nb"));
    call(&upstreams, &provider).await;
    assert_eq!(upstream.seen()[0].header("authorization"), Some("Bearer good"));
}
