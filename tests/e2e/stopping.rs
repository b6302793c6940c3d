//! SIGTERM: traffic is turned away, what is under way finishes within its time, and then the program ends well.

use std::time::Duration;

use signalbox_data_plane::Drain;
use signalbox_tests::{
    Draft, Raw, Setup, System, Upstream,
    upstream::{DONE, finish, text},
    wait::{eventually, soon},
};

async fn system(drain: Drain) -> (System, Upstream) {
    let (system, upstream) = (Setup { drain, ..Setup::default() }.start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    (system, upstream)
}

#[tokio::test]
async fn a_data_plane_turns_traffic_away_finishes_its_streams_and_ends() {
    let drain =
        Drain { delay: Duration::from_secs(2), grace: Duration::from_secs(20), hard_stop: Duration::from_secs(1) };
    let (mut system, upstream) = system(drain).await;
    let live = upstream.stream_live();
    live.write(text("m", "one"));
    let mut events = system.client().chat_stream("main/m").await;
    assert_eq!(events.next().await, Some(text("m", "one")));
    let idle = system.data_plane().raw().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.ask_to_stop();
    let client = data_plane.client();
    eventually("it to be no longer ready", async || (client.get("/readyz").await.status == 503).then_some(())).await;
    assert_eq!(client.get("/healthz").await.status, 200, "it is alive while it drains");
    let addr = data_plane.addr();
    eventually("the listener to be closed", async || tokio::net::TcpStream::connect(addr).await.is_err().then_some(()))
        .await;
    idle.closed().await;
    live.write(text("m", "two"));
    assert_eq!(events.next().await, Some(text("m", "two")));
    live.write(finish("m"));
    live.write(DONE);
    live.end();
    assert_eq!(events.rest().await, [finish("m"), DONE.to_owned()]);
    data_plane.ended().await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let drain = Drain { delay: Duration::ZERO, grace: Duration::from_millis(200), hard_stop: Duration::from_secs(5) };
    let (system, upstream) = system(drain).await;
    let live = upstream.stream_live();
    live.write(text("m", "one"));
    let mut events = system.client().chat_stream("main/m").await;
    assert!(events.next().await.is_some());
    system.data_plane().ask_to_stop();
    upstream.abandoned(0, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_kept_connection_is_told_to_go_elsewhere() {
    let drain = Drain { delay: Duration::from_millis(500), ..Drain::default() };
    let (mut system, _upstream) = system(drain).await;
    let mut raw: Raw = system.data_plane().raw().await;
    raw.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200));
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.ask_to_stop();
    soon("an idle connection to be closed", raw.closed()).await;
    data_plane.ended().await;
}

#[tokio::test]
async fn a_control_plane_with_open_watch_streams_stops_in_bounded_time() {
    let mut system = System::with_data_planes(2).await;
    system.control_plane.stop().await;
    for data_plane in &system.data_planes {
        assert_eq!(data_plane.client().get("/readyz").await.status, 200, "it goes on");
    }
}
