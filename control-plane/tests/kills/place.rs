//! The program itself, as a process that can be killed, on a folder of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    task::spawn_blocking,
    time::{Instant, interval, timeout},
};

/// Anything that takes longer never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What operators show.
pub(crate) const TOKEN: &str = "admin-token-of-the-kills";

const PROGRAM: &str = env!("CARGO_BIN_EXE_signalbox-control-plane");

const MASTER_KEY: &str = "Zml4dHVyZXMgYXJlIHNlYWxlZCB1bmRlciB0aGlzISE=";

/// A folder with a database, and the address that its control plane is at whenever there is one.
pub(crate) struct Place {
    folder: TempDir,
    /// Where its control plane is, whenever there is one.
    pub(crate) admin: SocketAddr,
}

/// A loopback address that nobody calls from: who called a port that nobody listens on from its own address could be given that very
/// port, and talk to itself for ever.
fn own_host() -> Ipv4Addr {
    // Other systems than Linux answer on 127.0.0.1 only.
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST;
    }
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 1, high, low.max(1))
}

impl Place {
    pub(crate) fn new() -> Self {
        let free = TcpListener::bind((own_host(), 0)).expect("there is a free port");
        let admin = free.local_addr().expect("it has an address");
        Self { folder: tempfile::tempdir().expect("there is a temporary folder"), admin }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("control.db")
    }

    pub(crate) fn run(&self, words: &[&str]) -> Life {
        self.start(Command::new(PROGRAM), words)
    }

    fn start(&self, mut command: Command, words: &[&str]) -> Life {
        command.args(words).arg("--data-dir").arg(self.folder.path());
        command.env("SIGNALBOX_ADMIN_TOKEN", TOKEN).env("SIGNALBOX_JOIN_TOKEN", "join-token-of-the-kills");
        command.env("SIGNALBOX_MASTER_KEY", MASTER_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Life(command.spawn().expect("the program starts"))
    }

    pub(crate) fn serve(&self) -> Life {
        self.serve_as(Command::new(PROGRAM))
    }

    fn serve_as(&self, command: Command) -> Life {
        let admin = self.admin.to_string();
        let words = ["serve", "--admin-listen", &admin, "--sync-listen", "127.0.0.1:0", "--backup-every", "off"];
        self.start(command, &words)
    }

    /// On a disk on which no file can grow beyond so many blocks: a write there fails as on one that is broken.
    pub(crate) fn serve_on_a_bad_disk(&self, blocks: u32) -> Life {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &blocks.to_string(), PROGRAM]);
        self.serve_as(command)
    }

    pub(crate) async fn succeeds(&self, words: &[&str]) -> bool {
        let mut life = self.run(words);
        let ended = timeout(PATIENCE, spawn_blocking(move || life.0.wait().map(|status| status.success())));
        ended.await.expect("it ends").expect("waiting does not panic").expect("it can be waited for")
    }
}

/// The program at work. Dropped, it is killed.
pub(crate) struct Life(Child);

impl Life {
    /// Ends it as SIGKILL does, and waits until it is gone.
    pub(crate) fn end(&mut self) {
        self.0.kill().expect("it dies");
        self.0.wait().expect("it is gone");
    }

    /// Lets it run for a random time, and kills it if it has not ended by then.
    pub(crate) async fn cut_short(mut self, longest: Duration) {
        let moment = Instant::now() + longest.mul_f64(fastrand::f64());
        let mut looks = interval(Duration::from_millis(1));
        while Instant::now() < moment {
            looks.tick().await;
            if self.0.try_wait().expect("it can be looked at").is_some() {
                return;
            }
        }
        self.end();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
