//! Names that stand for this and that, and proxies that are told addresses only.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    vec,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tower::service_fn;

use super::*;

/// A name that stands for each of these lists in turn.
fn name_server(
    answers: &'static [&'static [&'static str]],
) -> impl Service<Name, Response = vec::IntoIter<SocketAddr>, Error = Infallible, Future: Send> + Clone {
    let asked = Arc::new(AtomicUsize::new(0));
    service_fn(move |_: Name| {
        let addresses = answers[asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
        let addresses: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        async { Ok(addresses.into_iter()) }
    })
}

fn dialler<R>(resolver: R, allowed: &[&str], way: Way) -> Dialler<R> {
    let allowed = allowed.iter().map(|range| range.parse().unwrap()).collect();
    Dialler { resolver, allowed, way }
}

fn way(proxy: Option<&Proxy>) -> Way {
    Way::new(proxy, &tls().unwrap()).unwrap()
}

fn is_refusal(error: &BoxError) -> bool {
    matches!(error.downcast_ref(), Some(destination::Error::NotAllowed { host }) if host == "rebound.example")
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_that_is_dialled_each_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to: Uri = format!("http://rebound.example:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let resolver = name_server(&[&["127.0.0.1"], &["169.254.169.254"], &["10.0.0.1", "::ffff:169.254.169.254"]]);
    let mut dialler = dialler(resolver, &["127.0.0.0/8"], way(None));
    assert!(dialler.call(to.clone()).await.is_ok(), "it is what may be called");
    listener.accept().await.unwrap();
    for _ in 0..2 {
        let refused = dialler.call(to.clone()).await.unwrap_err();
        assert!(is_refusal(&refused), "{refused:?}");
    }
}

#[tokio::test]
async fn of_a_names_addresses_only_those_are_dialled_that_may_be_called() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to: Uri = format!("http://rebound.example:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let resolver = name_server(&[&["169.254.169.254", "10.0.0.1", "127.0.0.1"]]);
    let stream = dialler(resolver, &["127.0.0.1/32"], way(None)).call(to).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    let MaybeHttpsStream::Http(stream) = stream else { panic!("it is no TLS") };
    assert_eq!(stream.inner().local_addr().unwrap(), peer);
}

#[tokio::test]
async fn a_literal_is_judged_without_being_resolved() {
    let never = name_server(&[&["127.0.0.1"]]);
    for host in ["169.254.169.254", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fd00:ec2::254]"] {
        let to: Uri = format!("http://{host}:9/").parse().unwrap();
        let refused = dialler(never.clone(), &[], way(None)).call(to).await.unwrap_err();
        assert!(refused.is::<destination::Error>(), "{host}: {refused:?}");
    }
}

#[tokio::test]
async fn a_proxy_is_told_the_address_that_was_checked_and_never_the_name() {
    for (scheme, expected) in [
        ("http", &b"CONNECT 10.0.0.7:8443 HTTP/1.1\r\n"[..]),
        ("socks5", b"\x05\x01\x00"),
        ("socks5h", b"\x05\x01\x00"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::new(&format!("{scheme}://{}", listener.local_addr().unwrap()), "", "");
        let resolver = name_server(&[&["10.0.0.7"], &["169.254.169.254"]]);
        let mut dialler = dialler(resolver, &["10.0.0.0/8"], way(Some(&proxy)));
        let dialling = tokio::spawn(dialler.call("https://rebound.example:8443/".parse().unwrap()));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = vec![0; expected.len()];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said, expected, "{scheme}");
        if scheme.starts_with("socks5") {
            stream.write_all(b"\x05\x00").await.unwrap();
            let mut request = [0; 10];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, *b"\x05\x01\x00\x01\x0a\x00\x00\x07\x20\xfb", "{scheme}");
        }
        dialling.abort();
        let refused = dialler.call("https://rebound.example:8443/".parse().unwrap()).await.unwrap_err();
        assert!(is_refusal(&refused), "{refused:?}");
    }
}
