//! One connection to the scripted upstream: reads requests, plays answers, and notices when the gateway hangs up.

use std::{io, sync::Arc};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{Answer, DONE, Ending, Exchange, REPLY, Seen, Shared, answer::Step, finish, text};
use crate::http1::{Head, Length, Reader};

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        shared.connections.send_modify(|count| *count += 1);
        tokio::spawn(serve(socket, Arc::clone(&shared)));
    }
}

/// One connection, for as long as its answers leave it open.
async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    // A piece must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true).expect("the socket is open");
    let (read, mut write) = socket.into_split();
    let mut reader = Reader::new(read);
    // A request that breaks off is no request.
    while let Ok(Some(seen)) = receive(&mut reader).await {
        let mut number = 0;
        shared.exchanges.send_modify(|all| {
            number = all.len();
            all.push(Exchange { seen: seen.clone(), ending: Ending::UnderWay });
        });
        let answer =
            page(&shared, &seen).or_else(|| shared.script.lock().expect("no story panics in here").pop_front());
        let ending = play(answer.unwrap_or_else(|| default_answer(&seen)), &mut reader, &mut write).await;
        let (ending, open) = match ending {
            Played::ToTheEnd => (Ending::Played, true),
            Played::Closed => (Ending::Played, false),
            Played::Abandoned => (Ending::Abandoned, false),
        };
        shared.exchanges.send_modify(|all| {
            if let Some(exchange) = all.get_mut(number) {
                exchange.ending = ending;
            }
        });
        if !open {
            return;
        }
    }
}

enum Played {
    ToTheEnd,
    Closed,
    Abandoned,
}

async fn play(mut answer: Answer, reader: &mut Reader<OwnedReadHalf>, write: &mut OwnedWriteHalf) -> Played {
    loop {
        let step = tokio::select! {
            biased;
            step = answer.steps.recv() => step,
            () = reader.closed() => return Played::Abandoned,
        };
        match step {
            None => return Played::ToTheEnd,
            Some(Step::Write(bytes)) => {
                if write.write_all(&bytes).await.is_err() {
                    return Played::Abandoned;
                }
            }
            // Nobody waits for it any more: that is the story's business.
            Some(Step::Tell(tell)) => drop(tell.send(())),
            Some(Step::Hang) => {
                reader.closed().await;
                return Played::Abandoned;
            }
            Some(Step::Close) => {
                // Where the peer is gone already, there is nothing to close.
                drop(write.shutdown().await);
                return Played::Closed;
            }
            Some(Step::Reset) => {
                write.as_ref().set_zero_linger().expect("the socket is open");
                return Played::Closed;
            }
        }
    }
}

async fn receive(reader: &mut Reader<OwnedReadHalf>) -> io::Result<Option<Seen>> {
    let Some(head) = reader.head().await? else { return Ok(None) };
    let body = reader.body(head.length(Length::Known(0))).await?;
    let Head { first_line, headers } = head;
    let mut words = first_line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(Some(Seen { method, target, headers, body }))
}

fn page(shared: &Shared, seen: &Seen) -> Option<Answer> {
    let path = seen.target.split('?').next().unwrap_or_default();
    let pages = shared.pages.lock().expect("no story panics in here");
    let (_, body) = pages.iter().find(|(suffix, _)| seen.method == "GET" && path.ends_with(suffix))?;
    Some(Answer::json(200, body))
}

fn default_answer(seen: &Seen) -> Answer {
    let request: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let model = request.get("model").and_then(Value::as_str).unwrap_or_default();
    if request.get("stream") == Some(&Value::Bool(true)) {
        Answer::stream([&*text(model, "as "), &text(model, "scripted"), &finish(model), DONE])
    } else {
        Answer::chat(model, REPLY)
    }
}
