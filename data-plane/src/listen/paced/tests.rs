//! The clocks, in time that passes by itself.

use std::future::poll_fn;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, DuplexStream, duplex},
    time::Instant,
};

use super::{super::protocol::PREFACE, *};

const SECOND: Duration = Duration::from_secs(1);

/// A client, the connection that it has, and the requests on that.
fn connected() -> (DuplexStream, Paced<DuplexStream>, Arc<Requests>) {
    let (client, io) = duplex(64 * 1024);
    let requests = Arc::new(Requests::default());
    (client, Paced::new(io, Arc::clone(&requests), Limits::default()), requests)
}

/// How reading on ends, and after how many seconds.
async fn end_of(connection: &mut Paced<DuplexStream>) -> (Result<(), io::ErrorKind>, u64) {
    let started = Instant::now();
    let ended = loop {
        match connection.read(&mut [0; 64]).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error.kind()),
        }
    };
    (ended, started.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_trickle_of_headers_gains_no_time() {
    let (mut client, mut connection, _) = connected();
    let trickle = async {
        let mut every_second = tokio::time::interval(SECOND);
        loop {
            every_second.tick().await;
            client.write_all(b"G").await.unwrap();
        }
    };
    let ended = tokio::select! { ended = end_of(&mut connection) => ended, () = trickle => unreachable!() };
    assert_eq!(ended, (Err(io::ErrorKind::TimedOut), 10));
    drop(connection);
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_begins_is_closed_without_a_word() {
    let (mut client, mut connection, _) = connected();
    assert_eq!(end_of(&mut connection).await, (Ok(()), 10));
    drop(connection);
    assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_clock_runs_while_a_request_is_under_way_and_then_the_idle_one_does() {
    let (mut client, mut connection, requests) = connected();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 18);
    for _ in 0..2 {
        let under_way = requests.begin();
        assert!(tokio::time::timeout(600 * SECOND, connection.read_u8()).await.is_err(), "nothing runs out");
        drop(under_way);
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        connection.flush().await.unwrap();
    }
    assert_eq!(end_of(&mut connection).await, (Ok(()), 75));
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_an_http_2_connection_begins_with_the_end_of_an_answer_that_is_written_elsewhere() {
    let (mut client, mut connection, requests) = connected();
    client.write_all(PREFACE).await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), PREFACE.len());
    let under_way = requests.begin();
    let finishing = async {
        tokio::time::advance(600 * SECOND).await;
        drop(under_way);
    };
    let (ended, ()) = tokio::join!(end_of(&mut connection), finishing);
    assert_eq!(ended, (Ok(()), 675));
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_is_idle_between_requests_whatever_its_frames() {
    let (mut client, mut connection, _) = connected();
    let (first, rest) = PREFACE.split_at(5);
    client.write_all(first).await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 5);
    let pinging = async {
        client.write_all(rest).await.unwrap();
        let mut often = tokio::time::interval(7 * SECOND);
        while client.write_all(b"ping").await.is_ok() {
            often.tick().await;
        }
    };
    let ended = tokio::select! { ended = end_of(&mut connection) => ended, () = pinging => unreachable!() };
    assert_eq!(ended, (Ok(()), 75));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_given_up_and_one_that_is_taken_slowly_is_not() {
    let (mut client, mut connection, _) = connected();
    let started = Instant::now();
    let writing = async {
        while connection.write_all(&[0; 1024]).await.is_ok() {}
        started.elapsed().as_secs()
    };
    let reading = async {
        tokio::time::sleep(299 * SECOND).await;
        client.read_exact(&mut [0; 64 * 1024]).await.unwrap();
    };
    let (given_up_after, ()) = tokio::join!(writing, reading);
    assert_eq!(given_up_after, 599);
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_below_holds_back_is_given_up_too() {
    let (_client, io) = duplex(1);
    let mut connection = Paced::new(BufWriter::new(io), Arc::default(), Limits::default());
    connection.write_all(b"more than is taken").await.unwrap();
    let started = Instant::now();
    assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(connection.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed().as_secs() <= 600);
}

#[tokio::test(start_paused = true)]
async fn a_close_swallows_what_still_comes_but_not_for_long() {
    let (mut client, mut connection, _) = connected();
    let sending = async {
        while client.write_all(&[0; 1024]).await.is_ok() {
            tokio::task::yield_now().await;
            tokio::time::advance(SECOND / 10).await;
        }
    };
    let started = Instant::now();
    tokio::select! { closed = connection.shutdown() => closed.unwrap(), () = sending => unreachable!() }
    assert_eq!(started.elapsed().as_secs(), 2);

    let (client, mut connection, _) = connected();
    drop(client);
    let started = Instant::now();
    connection.shutdown().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_to_know_the_protocol_is_handed_out_again() {
    for (pieces, protocol) in [
        (&["GET / HTTP/1.1\r\n\r\n"][..], Protocol::Http1),
        (&["P", "OST / HTTP/1.1\r\n\r\n"], Protocol::Http1),
        (&["PRI * HTTP/2.0\r\n", "\r\nSM\r\n\r\n", "more"], Protocol::Http2),
    ] {
        let (mut client, mut connection, _) = connected();
        let writing = async {
            for piece in pieces {
                client.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
        };
        let (known, ()) = tokio::join!(poll_fn(|cx| connection.poll_protocol(cx)), writing);
        assert_eq!(known.unwrap(), protocol, "{pieces:?}");
        drop(client);
        let mut read = String::new();
        connection.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, pieces.concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_nobody_begins_to_speak_is_waited_for_no_longer_than_for_a_head() {
    for (begun, expected) in [("", Ok(Protocol::Unknown(0))), ("PRI", Err(io::ErrorKind::TimedOut))] {
        let (mut client, mut connection, _) = connected();
        client.write_all(begun.as_bytes()).await.unwrap();
        let started = Instant::now();
        let known = poll_fn(|cx| connection.poll_protocol(cx)).await;
        assert_eq!((known.map_err(|error| error.kind()), started.elapsed()), (expected, 10 * SECOND), "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_noticed_by_whoever_only_writes() {
    let (client, mut connection, requests) = connected();
    let under_way = requests.begin();
    connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    connection.flush().await.unwrap();
    drop(client);
    assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    drop(under_way);

    let (mut client, mut connection, requests) = connected();
    let _under_way = requests.begin();
    let started = Instant::now();
    let full = async {
        loop {
            if let Err(error) = connection.write_all(&[0; 1024]).await {
                break error.kind();
            }
        }
    };
    let leaving = async {
        client.read_exact(&mut [0; 1024]).await.unwrap();
        client.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! { ended = full => ended, () = leaving => unreachable!() };
    assert_eq!((ended, started.elapsed()), (io::ErrorKind::ConnectionAborted, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_early_is_handed_out_in_its_order() {
    let (mut client, mut connection, requests) = connected();
    let under_way = requests.begin();
    let early: Vec<u8> = (0..2000_u32).map(|number| number.to_le_bytes()[0]).collect();
    client.write_all(&early).await.unwrap();
    client.shutdown().await.unwrap();
    connection.flush().await.unwrap();
    connection.flush().await.unwrap();
    drop(under_way);
    let mut heard = Vec::new();
    connection.read_to_end(&mut heard).await.unwrap();
    assert!(heard == early);
}

#[tokio::test(start_paused = true)]
async fn after_a_switch_of_protocols_either_side_may_end_by_itself() {
    let (mut client, mut connection, requests) = connected();
    let _under_way = requests.begin();
    requests.switch();
    client.shutdown().await.unwrap();
    connection.flush().await.unwrap();
    connection.write_all(b"more").await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 0);
    let mut said = [0; 4];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"more");
}

#[tokio::test(start_paused = true)]
async fn of_a_body_nothing_is_read_ahead_of_whoever_takes_it() {
    let (mut client, mut connection, requests) = connected();
    client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 4000\r\n\r\n").await.unwrap();
    client.write_all(&[b'x'; 4000]).await.unwrap();
    assert_eq!(connection.read(&mut [0; 1000]).await.unwrap(), 1000);
    let _under_way = requests.begin();
    connection.flush().await.unwrap();
    assert!(connection.read(&mut [0; 2000]).await.unwrap() > 1000, "it comes in large pieces");
}
