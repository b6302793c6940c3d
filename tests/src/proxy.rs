//! Forward proxies of both kinds: each notes where it was told to go and with which login, and carries the bytes there.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running proxy. Dropped, it stops listening; connections under way go on.
#[derive(Debug)]
pub struct ForwardProxy {
    url: String,
    told: Arc<Mutex<Vec<Told>>>,
    server: JoinHandle<()>,
}

/// What a proxy was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The first line of HTTP's request, or `CONNECT` and where SOCKS was told to go.
    pub what: String,
    /// `Proxy-Authorization`, or SOCKS's `user:password`; empty = none.
    pub login: String,
}

impl ForwardProxy {
    /// An HTTP proxy.
    pub async fn http() -> Self {
        Self::start("http").await
    }

    /// A SOCKS5 proxy that asks for a login.
    pub async fn socks5() -> Self {
        Self::start("socks5").await
    }

    async fn start(scheme: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let url = format!("{scheme}://{}", listener.local_addr().expect("a listener has an address"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&told);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let notes = Arc::clone(&notes);
                // A connection that breaks off is the story's business.
                tokio::spawn(async move {
                    if scheme == "http" { http(client, &notes).await } else { socks5(client, &notes).await }
                });
            }
        });
        Self { url, told, server }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no story panics in here").clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn note(notes: &Mutex<Vec<Told>>, what: String, login: String) {
    notes.lock().expect("no story panics in here").push(Told { what, login });
}

async fn http(mut client: TcpStream, notes: &Mutex<Vec<Told>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let (first, rest) = head.split_once("\r\n").unwrap_or_default();
    let login = rest.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    note(notes, first.to_owned(), login.unwrap_or_default());
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "CONNECT" {
        let mut upstream = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut upstream).await?;
        return Ok(());
    }
    let address = target.strip_prefix("http://").unwrap_or(target);
    let (address, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let mut upstream = TcpStream::connect(address).await?;
    upstream.write_all(format!("{method} {path} HTTP/1.1\r\n{rest}").as_bytes()).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// RFC 1928 with the login of RFC 1929.
async fn socks5(mut client: TcpStream, notes: &Mutex<Vec<Told>>) -> io::Result<()> {
    let [_, methods] = read(&mut client).await?;
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered).await?;
    let mut login = String::new();
    if offered.contains(&2) {
        client.write_all(&[5, 2]).await?;
        let [_version] = read(&mut client).await?;
        let user = text(&mut client).await?;
        login = format!("{user}:{}", text(&mut client).await?);
        client.write_all(&[1, 0]).await?;
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let [_, _connect, _, kind] = read(&mut client).await?;
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(&mut client).await?).to_string(),
        3 => text(&mut client).await?,
        other => return Err(io::Error::other(format!("no address of kind {other}"))),
    };
    let port = u16::from_be_bytes(read(&mut client).await?);
    note(notes, format!("CONNECT {host}:{port}"), login);
    let mut upstream = TcpStream::connect((host, port)).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A text behind its length.
async fn text(client: &mut TcpStream) -> io::Result<String> {
    let [length] = read(client).await?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
