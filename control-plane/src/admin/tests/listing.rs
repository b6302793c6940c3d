//! Lists and their pages.

use signalbox_proto::admin::v1::{
    Config, GetReplicaRequest, ListClientKeysRequest, ListCredentialsRequest, ListProvidersRequest,
    ListReplicasRequest, client_key::Imported, replica_service_client::ReplicaServiceClient,
};

use super::*;

#[tokio::test]
async fn a_hundred_and_twenty_keys_come_in_three_pages_by_name() {
    let app = Running::start().await;
    let key = |number: usize| ClientKey {
        name: format!("clientKeys/k{number}"),
        imported: Some(Imported::ImportSecret(format!("secret-{number}"))),
        ..ClientKey::default()
    };
    let config = Config { client_keys: (0..120).map(key).collect(), ..Config::default() };
    app.apply(ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() }).await.unwrap();

    let mut names = Vec::new();
    let mut sizes = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListClientKeysRequest { page_size: 50, page_token, ..ListClientKeysRequest::default() };
        let page = app.client_keys().list_client_keys(request).await.unwrap().into_inner();
        sizes.push(page.client_keys.len());
        names.extend(page.client_keys.into_iter().map(|key| key.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [50, 50, 20]);
    let mut expected: Vec<_> = (0..120).map(|number| format!("clientKeys/k{number}")).collect();
    expected.sort();
    assert_eq!(names, expected);
    app.stop().await;
}

#[tokio::test]
async fn credentials_are_listed_by_provider_or_over_all() {
    let app = Running::start().await;
    for provider in ["a", "a-b"] {
        app.make_provider(provider).await;
        for id in ["x", "y"] {
            app.make_credential(provider, id).await;
        }
    }
    let list = async |parent: &str, page_size, page_token: String| {
        let request = ListCredentialsRequest {
            parent: parent.to_owned(),
            page_size,
            page_token,
            ..ListCredentialsRequest::default()
        };
        app.credentials().list_credentials(request).await.map(tonic::Response::into_inner)
    };
    let names = |page: &[Credential]| page.iter().map(|credential| credential.name.clone()).collect::<Vec<_>>();
    let of_a = list("providers/a", 0, String::new()).await.unwrap();
    assert_eq!(names(&of_a.credentials), ["providers/a/credentials/x", "providers/a/credentials/y"]);
    assert_eq!(list("providers/-", 0, String::new()).await.unwrap().credentials.len(), 4);

    let first = list("providers/a", 1, String::new()).await.unwrap();
    let second = list("providers/a", 1, first.next_page_token.clone()).await.unwrap();
    assert_eq!(names(&second.credentials), ["providers/a/credentials/y"]);
    assert_eq!(second.next_page_token, "", "exactly full, and the last one");

    let status = list("providers/-", 1, first.next_page_token).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned()));
    let status = list("providers/none", 0, String::new()).await.unwrap_err();
    assert_eq!(resource(&status), ("signalbox.dev/Provider".to_owned(), "providers/none".to_owned()));
    assert_eq!(violations(&list("a", 0, String::new()).await.unwrap_err())[0].0, "parent");
    app.stop().await;
}

#[tokio::test]
async fn bad_pages_are_refused_by_field() {
    let app = Running::start().await;
    let list = async |page_size, page_token: &str| {
        let request =
            ListProvidersRequest { page_size, page_token: page_token.to_owned(), ..ListProvidersRequest::default() };
        app.providers().list_providers(request).await.unwrap_err()
    };
    assert_eq!(violations(&list(-1, "").await)[0].0, "page_size");
    assert_eq!(violations(&list(1, "made up").await)[0].0, "page_token");
    app.stop().await;
}

#[tokio::test]
async fn without_data_planes_there_are_no_replicas() {
    let app = Running::start().await;
    let mut client = ReplicaServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    let list = client.list_replicas(ListReplicasRequest::default()).await.unwrap().into_inner();
    assert_eq!((list.replicas.len(), list.next_page_token.as_str()), (0, ""));
    let status = client.get_replica(GetReplicaRequest { name: "replicas/a".to_owned() }).await.unwrap_err();
    assert_eq!(resource(&status), ("signalbox.dev/Replica".to_owned(), "replicas/a".to_owned()));
    let status = client.get_replica(GetReplicaRequest { name: "a".to_owned() }).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "name");
    app.stop().await;
}
