//! Errors that no code of ours makes, over raw frames: each has a reason all the same.

use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::*;

const GET_PROVIDER: &str = "/signalbox.admin.v1.ProviderService/GetProvider";

/// What a call with these bytes as its body ends with.
async fn status(app: &Running, path: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> Status {
    let request = ::http::Request::post(format!("http://{}{path}", app.admin))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {TOKEN}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let response = client.request(request.body(Full::new(bytes::Bytes::from(body))).unwrap());
    let (parts, body) = timeout(PATIENCE, response).await.unwrap().unwrap().into_parts();
    let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    let headers = body.trailers().filter(|_| !parts.headers.contains_key("grpc-status")).unwrap_or(&parts.headers);
    Status::from_header_map(headers).expect("every call ends with a status")
}

fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    [&[compressed], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), message].concat()
}

#[tokio::test]
async fn a_method_that_there_is_not_is_unknown_and_one_near_it_is_named() {
    let app = Running::start().await;
    for path in ["/signalbox.admin.v1.ProviderService/GetProviders", "/signalbox.admin.v1.ProvidrService/GetProvider"] {
        let unknown = status(&app, path, &[], frame(0, b"")).await;
        assert_eq!(refusal(&unknown), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
        assert!(unknown.message().contains("`/signalbox") && unknown.message().contains(GET_PROVIDER), "{unknown:?}");
    }
    let nothing = status(&app, "/x.Y/Z", &[], frame(0, b"")).await;
    assert_eq!(refusal(&nothing), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_undecodable() {
    let app = Running::start().await;
    for (body, what) in [
        (frame(0, b"\x0a\xff"), "no protobuf"),
        (frame(7, b""), "an unknown flag"),
        (frame(1, b"x"), "compressed without saying how"),
        (vec![0, 0, 0, 0, 9, 1], "cut off"),
        (Vec::new(), "empty"),
    ] {
        let undecodable = status(&app, GET_PROVIDER, &[], body).await;
        assert_eq!(refusal(&undecodable), (Code::Internal, "REQUEST_UNDECODABLE".to_owned()), "{what}");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_too_large_or_compressed_is_said_to_be() {
    let app = Running::start().await;
    let large = status(&app, GET_PROVIDER, &[], frame(0, &vec![0; 5 << 20])).await;
    assert_eq!(refusal(&large), (Code::OutOfRange, "REQUEST_TOO_LARGE".to_owned()));
    let zipped = status(&app, GET_PROVIDER, &[("grpc-encoding", "gzip")], frame(1, b"x")).await;
    assert_eq!(refusal(&zipped), (Code::Unimplemented, "COMPRESSION_UNSUPPORTED".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_has_a_reason() {
    let app = Running::start().await;
    let late = status(&app, GET_PROVIDER, &[("grpc-timeout", "1n")], frame(0, b"")).await;
    assert_eq!(refusal(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn the_health_and_reflection_services_errors_have_reasons_too() {
    let app = Running::start().await;
    let unknown = status(&app, "/grpc.health.v1.Health/Check", &[], frame(0, b"\x0a\x01x")).await;
    assert_eq!(refusal(&unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
    let symbol = frame(0, b"\x22\x01x");
    let unknown = status(&app, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[], symbol).await;
    assert_eq!(refusal(&unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
    app.stop().await;
}
