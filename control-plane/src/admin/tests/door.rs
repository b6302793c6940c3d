//! Who is let in, and what answers to everybody.

use signalbox_proto::admin::v1::ListProvidersRequest;
use tokio_stream::StreamExt as _;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use super::*;

#[tokio::test]
async fn without_the_token_nothing_is_told_but_where_it_is() {
    let app = Running::start().await;
    let list = ListProvidersRequest::default();
    let missing = ProviderServiceClient::new(app.channel()).list_providers(list.clone()).await.unwrap_err();
    assert_eq!(refusal(&missing), (Code::Unauthenticated, "ADMIN_TOKEN_MISSING".to_owned()));
    let mut wrong = ProviderServiceClient::with_interceptor(app.channel(), Running::bearer("the-wrong-token"));
    let wrong = wrong.list_providers(list).await.unwrap_err();
    assert_eq!(refusal(&wrong), (Code::Unauthenticated, "ADMIN_TOKEN_WRONG".to_owned()));
    for status in [missing, wrong] {
        assert!(status.message().contains("--admin-token-file"), "{}", status.message());
        assert!(!status.message().contains("the-wrong-token") && !status.message().contains(TOKEN));
    }
    app.stop().await;
}

#[tokio::test]
async fn health_says_when_the_end_is_near_and_holds_nothing_up() {
    let app = Running::start().await;
    let mut client = HealthClient::new(app.channel());
    let request = HealthCheckRequest::default();
    let check = client.check(request.clone()).await.unwrap().into_inner();
    assert_eq!(check.status(), ServingStatus::Serving);
    let mut watch = client.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    app.stop.cancel();
    let next = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert!(timeout(PATIENCE, watch.message()).await.unwrap().unwrap().is_none(), "who watches is let go");
    app.stop().await;
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_services_and_know_their_errors() {
    let app = Running::start().await;
    let services = |names: Vec<String>| {
        for service in ["ClientKey", "Config", "Credential", "Provider", "Redirect", "Replica", "Route", "Settings"] {
            let name = format!("signalbox.admin.v1.{service}Service");
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(names.contains(&"grpc.health.v1.Health".to_owned()));
        assert!(!names.iter().any(|name| name.contains("ConfigSync")), "it is on another port");
    };
    macro_rules! list {
        ($version:ident) => {{
            use $version::{
                ServerReflectionRequest as Ask, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let ask = |message| Ask { host: String::new(), message_request: Some(message) };
            let questions = [
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("google.rpc.BadRequest".to_owned())),
                ask(MessageRequest::FileContainingSymbol("signalbox.admin.v1.ProviderService".to_owned())),
            ];
            let mut client = ServerReflectionClient::new(app.channel());
            let answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
            let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
            assert_eq!(answers.len(), 3);
            for answer in answers {
                match answer {
                    MessageResponse::ListServicesResponse(list) => {
                        services(list.service.into_iter().map(|service| service.name).collect());
                    }
                    MessageResponse::FileDescriptorResponse(file) => assert!(!file.file_descriptor_proto.is_empty()),
                    other => panic!("{other:?}"),
                }
            }
        }};
    }
    list!(v1);
    list!(v1alpha);
    app.stop().await;
}
