//! An HTTP server that records form requests and gives the answers it was told, in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens to a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// An answer with status and body.
    Http(u16, String),
    /// An answer that breaks off before its end.
    Cut(String),
    /// The connection is closed after the request was read.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Fields of the form, in order, without `Version`.
    pub(super) form: Vec<(String, String)>,
    /// Header lines.
    pub(super) head: String,
}

#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub(super) struct Canned {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

impl Canned {
    pub(super) async fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies = replies.into_iter().collect();
        let script = Arc::new(Mutex::new(Script { replies, requests: Vec::new() }));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&script);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, script, _tasks: tasks }
    }

    /// One that answers each request with the next of `bodies` and status 200.
    pub(super) async fn answering(bodies: impl IntoIterator<Item = String>) -> Self {
        Self::with(bodies.into_iter().map(|body| Reply::Http(200, body))).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.script.lock().unwrap().requests.clone()
    }

    /// The forms of the requests.
    pub(super) fn forms(&self) -> Vec<Vec<(String, String)>> {
        self.requests().into_iter().map(|request| request.form).collect()
    }
}

async fn serve(stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let reply = {
            let mut script = script.lock().unwrap();
            script.requests.push(request);
            script.replies.pop_front().expect("more requests than answers")
        };
        match reply {
            Reply::Close => return,
            Reply::Hang => std::future::pending().await,
            Reply::Cut(body) => {
                stream.write_all(http(200, body.len() + 1, &body).as_bytes()).await.unwrap();
                return;
            }
            Reply::Http(status, body) => {
                let text = http(status, body.len(), &body);
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn http(status: u16, length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: text/xml\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?.lines().next()?.trim().parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).ok()?;
    let form = body
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.to_owned(), decode(value)))
        .filter(|(key, _)| key != "Version")
        .collect();
    Some(Request { form, head })
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
}
