//! Accepts connections and takes each through its requests, one after the other. Every
//! connection is a task of one set: when the server stops, all end with it.

use crate::OriginState;
use crate::connection::{Connection, Gone};
use crate::control;
use crate::counters::Recorded;
use crate::ledger::Entry;
use crate::reply::Reply;
use crate::request::{BodyFraming, Head, ReadError, ReceivedBody};
use crate::respond::{After, Gate, respond};
use crate::routes::Found;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long accepting rests when the system refuses (too many open files, say).
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// Serves until it is aborted.
pub(crate) async fn serve(shared: Arc<OriginState>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(shared.clone(), stream))),
                Err(_) => tokio::time::sleep(ACCEPT_REST).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// All requests of one connection.
async fn converse(shared: Arc<OriginState>, stream: TcpStream) {
    let open = shared.ledger.connect();
    let mut connection = Connection::new(stream);
    loop {
        let head = match connection.read_head().await {
            Ok(Some(head)) => head,
            Ok(None) | Err(ReadError::Cut) => return,
            Err(error) => return refuse(&shared, connection, &error).await,
        };
        let done = if shared.control && head.target.starts_with(control::PREFIX) {
            control_exchange(&shared, &mut connection, &head).await
        } else {
            exchange(&shared, &mut connection, &head, open.number).await
        };
        match done {
            Ok(After::KeepOpen) => {}
            Ok(After::Close) | Err(Ended::Gone) => return,
            Err(Ended::Unread) => return connection.close_unread().await,
            Err(Ended::Refused(error)) => return refuse(&shared, connection, &error).await,
        }
    }
}

/// Why a connection cannot go on.
enum Ended {
    /// The client left.
    Gone,
    /// Answered without reading all of the request.
    Unread,
    /// The request's body is wrong.
    Refused(ReadError),
}

impl From<Gone> for Ended {
    fn from(Gone: Gone) -> Ended {
        Ended::Gone
    }
}

/// One request and its answer.
async fn exchange(
    shared: &OriginState,
    connection: &mut Connection,
    head: &Head,
    number: u64,
) -> Result<After, Ended> {
    let mut entry = shared.ledger.enter(head, number);
    let mut request = head.recorded(number);
    let found = shared.find(&head.target);
    let early = matches!(&found, Found::Scripted { answer, .. } if answer.is_early());
    if !early {
        read_body(shared, connection, head, &mut entry, &mut request).await?;
    }
    let (reply, mut gate) = choose(shared, &request, found).await;
    let keep_alive = head.keeps_alive() && !early;
    let after = respond(connection, &request, &reply, keep_alive, &mut gate, &mut entry).await?;
    entry.answered();
    if early && head.framing != BodyFraming::Length(0) { Err(Ended::Unread) } else { Ok(after) }
}

async fn read_body(
    shared: &OriginState,
    connection: &mut Connection,
    head: &Head,
    entry: &mut Entry,
    request: &mut Recorded,
) -> Result<(), Ended> {
    let mut body = ReceivedBody::default();
    let read = receive_body(connection, head, shared.max_body, &mut body).await;
    entry.body(&body, read.is_ok());
    request.body_complete = read.is_ok();
    request.body_len = body.len;
    request.body = body.kept;
    read.map_err(|error| match error {
        ReadError::Cut => Ended::Gone,
        error => Ended::Refused(error),
    })
}

async fn receive_body(
    connection: &mut Connection,
    head: &Head,
    bound: u64,
    body: &mut ReceivedBody,
) -> Result<(), ReadError> {
    let waits = head.lists("Expect", "100-continue") && head.framing != BodyFraming::Length(0);
    if waits && connection.input.is_empty() {
        let go_on = connection.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        go_on.map_err(|Gone| ReadError::Cut)?;
    }
    connection.read_body(head.framing, bound, body).await
}

/// The reply to `request`, and the gate that holds it if it is held.
async fn choose(shared: &OriginState, request: &Recorded, found: Found) -> (Arc<Reply>, Gate) {
    match found {
        Found::Scripted { answer, gate } => (answer.to(request), gate),
        Found::File => {
            let reply = match &shared.files {
                Some(files) => files.answer(request).await,
                None => not_found(),
            };
            (Arc::new(reply), shared.open_gate())
        }
    }
}

pub(crate) fn not_found() -> Reply {
    crate::reply("no such route\n").status(404).content_type("text/plain")
}

/// A request to the control endpoints, which is not counted.
async fn control_exchange(
    shared: &OriginState,
    connection: &mut Connection,
    head: &Head,
) -> Result<After, Ended> {
    let mut body = ReceivedBody::default();
    let read = receive_body(connection, head, control::MAX_BODY, &mut body).await;
    read.map_err(Ended::Refused)?;
    let answer = control::answer(shared, head, &body.kept);
    connection.send(&answer).await?;
    Ok(if head.keeps_alive() { After::KeepOpen } else { After::Close })
}

/// Tells the client what is wrong with its request, and closes.
async fn refuse(shared: &OriginState, mut connection: Connection, error: &ReadError) {
    let answer: &[u8] = match error {
        ReadError::Cut => return,
        ReadError::TooLarge => {
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
        ReadError::Malformed(what) => {
            shared.ledger.count_malformed();
            let text = format!("malformed request: {what}\n");
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n";
            let rest = format!("Content-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
            let _ = connection.send(format!("{head}{rest}").as_bytes()).await;
            return connection.close_unread().await;
        }
    };
    let _ = connection.send(answer).await;
    connection.close_unread().await;
}
