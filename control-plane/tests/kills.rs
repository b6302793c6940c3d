//! The program killed as SIGKILL kills, at any moment, again and again: while it writes, while it migrates, while it copies. What it has
//! acknowledged is there, nothing is there by half, and no number stands for two things. And a disk that fails it.
//!
//! `SIGNALBOX_KILL_ROUNDS=10000` has it killed that often instead of [`ROUNDS`].
#![expect(clippy::expect_used, reason = "a story that fails says where")]

use std::{
    collections::BTreeMap,
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use signalbox_proto::admin::v1::{
    GetRouteRequest, Route, UpdateRouteRequest, route, route_service_client::RouteServiceClient,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{
    task::spawn_blocking,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

/// How often a control plane is killed while it writes.
const ROUNDS: u64 = 200;

/// How often a migration is killed, and a backup.
const SHORT_ROUNDS: u64 = 25;

/// Operators at work at once.
const WRITERS: usize = 3;

/// Anything that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAM: &str = env!("CARGO_BIN_EXE_signalbox-control-plane");

const TOKEN: &str = "admin-token-of-the-kills";
const MASTER_KEY: &str = "Zml4dHVyZXMgYXJlIHNlYWxlZCB1bmRlciB0aGlzISE=";

fn rounds() -> u64 {
    env::var("SIGNALBOX_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

/// A folder with a database, and the address that its control plane is at whenever there is one.
struct Place {
    folder: TempDir,
    admin: SocketAddr,
}

impl Place {
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let admin = free.local_addr().expect("it has an address");
        Self { folder: tempfile::tempdir().expect("there is a temporary folder"), admin }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.file("control.db")
    }

    fn run(&self, words: &[&str]) -> Life {
        self.start(Command::new(PROGRAM), words)
    }

    fn start(&self, mut command: Command, words: &[&str]) -> Life {
        command.args(words).arg("--data-dir").arg(self.folder.path());
        command.env("SIGNALBOX_ADMIN_TOKEN", TOKEN).env("SIGNALBOX_JOIN_TOKEN", "join-token-of-the-kills");
        command.env("SIGNALBOX_MASTER_KEY", MASTER_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Life(command.spawn().expect("the program starts"))
    }

    fn serve(&self) -> Life {
        self.serve_as(Command::new(PROGRAM))
    }

    fn serve_as(&self, command: Command) -> Life {
        let admin = self.admin.to_string();
        let words = ["serve", "--admin-listen", &admin, "--sync-listen", "127.0.0.1:0", "--backup-every", "off"];
        self.start(command, &words)
    }

    /// On a disk on which no file can grow beyond so many blocks: a write there fails as on one that is broken.
    fn serve_on_a_bad_disk(&self, blocks: u32) -> Life {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &blocks.to_string(), PROGRAM]);
        self.serve_as(command)
    }

    async fn succeeds(&self, words: &[&str]) -> bool {
        let mut life = self.run(words);
        let ended = timeout(PATIENCE, spawn_blocking(move || life.0.wait().map(|status| status.success())));
        ended.await.expect("it ends").expect("waiting does not panic").expect("it can be waited for")
    }
}

/// The program at work. Dropped, it is killed.
struct Life(Child);

impl Life {
    /// Ends it as SIGKILL does, and waits until it is gone.
    fn end(&mut self) {
        self.0.kill().expect("it dies");
        self.0.wait().expect("it is gone");
    }

    /// Lets it run for a random time, and kills it if it has not ended by then.
    async fn cut_short(mut self, longest: Duration) {
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

/// Puts a token into each call.
type Bearer = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;

fn routes(admin: SocketAddr) -> RouteServiceClient<InterceptedService<Channel, Bearer>> {
    let channel = Endpoint::try_from(format!("http://{admin}")).expect("an address makes a URL").connect_lazy();
    let token: MetadataValue<Ascii> = format!("Bearer {TOKEN}").parse().expect("a token is ASCII");
    let bearer: Bearer = Box::new(move |mut request| {
        request.metadata_mut().insert("authorization", token.clone());
        Ok(request)
    });
    RouteServiceClient::with_interceptor(channel, bearer)
}

/// One operator, who changes one route over and over and remembers what was said of it.
struct Operator {
    name: String,
    /// How often it was changed, as far as that was acknowledged; and the revision that did it.
    acknowledged: (u64, u64),
    /// A change whose answer never came.
    open: Option<UpdateRouteRequest>,
}

impl Operator {
    fn new(number: usize) -> Self {
        Self { name: format!("routes/r{number}"), acknowledged: (0, 0), open: None }
    }

    fn change(&self, count: u64) -> UpdateRouteRequest {
        let route = Route {
            name: self.name.clone(),
            destination: Some(route::Destination::TargetUrl(target(count))),
            ..Route::default()
        };
        let request_id = Uuid::new_v4().to_string();
        UpdateRouteRequest { route: Some(route), allow_missing: true, request_id, ..UpdateRouteRequest::default() }
    }

    /// Changes it until the control plane is gone. A change that went unanswered is repeated first, under its id.
    async fn work(mut self, admin: SocketAddr, signs: Signs) -> Self {
        let mut client = routes(admin);
        let mut tries = interval(Duration::from_millis(2));
        while !signs.killed.is_cancelled() {
            let count = self.acknowledged.0 + 1;
            let request = self.open.take().unwrap_or_else(|| self.change(count));
            self.open = Some(request.clone());
            let Some(Ok(answer)) = signs.killed.run_until_cancelled(client.update_route(request)).await else {
                // It is not there yet, or not any more.
                tries.tick().await;
                continue;
            };
            let route = answer.into_inner();
            assert_eq!(route.destination, Some(route::Destination::TargetUrl(target(count))), "{}", self.name);
            assert!(route.revision > self.acknowledged.1, "{} is answered by revision {}", self.name, route.revision);
            (self.acknowledged, self.open) = ((count, route.revision), None);
            signs.answered.cancel();
        }
        self
    }
}

/// What operators and whoever kills tell each other in one life.
#[derive(Debug, Clone, Default)]
struct Signs {
    /// The first call was answered.
    answered: CancellationToken,
    /// The process is gone.
    killed: CancellationToken,
}

impl Signs {
    /// The moment to die: mostly soon after the first answer, and one time in four before there can be any.
    async fn moment(&self) {
        if fastrand::u8(..) < 64 {
            return sleep(Duration::from_millis(fastrand::u64(..80))).await;
        }
        timeout(PATIENCE, self.answered.cancelled()).await.expect("a call is answered");
        sleep(Duration::from_millis(fastrand::u64(..40))).await;
    }
}

fn target(count: u64) -> String {
    format!("https://upstream.example/{count}/")
}

/// What is in the file, as the next process will find it.
async fn connect(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.expect("the database opens")
}

/// Everything that must hold of the file, whenever its process died. `known` is what any earlier look has seen.
async fn inspect(database: &Path, operators: &[Operator], known: &mut BTreeMap<i64, Vec<u8>>) {
    let mut connection = connect(database).await;
    let integrity: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.expect("it can be checked");
    assert_eq!(integrity, "ok");
    let revisions: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT revision, digest FROM revisions ORDER BY revision")
        .fetch_all(&mut connection)
        .await
        .expect("it has revisions");
    for (expected, (revision, digest)) in (1..).zip(&revisions) {
        assert_eq!(*revision, expected, "a revision is missing");
        let before = known.entry(*revision).or_insert_with(|| digest.clone());
        assert_eq!(before, digest, "revision {revision} stands for two things");
    }
    assert!(known.len() <= revisions.len(), "a revision that was there is gone");
    let head: (i64, Vec<u8>) =
        sqlx::query_as("SELECT revision, digest FROM head").fetch_one(&mut connection).await.expect("it has a head");
    assert_eq!(revisions.last(), Some(&head));
    for operator in operators {
        let (count, revision) = operator.acknowledged;
        let stored: Option<(i64, String)> =
            sqlx::query_as("SELECT revision, spec ->> 'targetUrl' FROM routes WHERE 'routes/' || id = ?")
                .bind(&operator.name)
                .fetch_optional(&mut connection)
                .await
                .expect("it has routes");
        let Some((stored, found)) = stored else {
            assert_eq!(count, 0, "{} is lost", operator.name);
            continue;
        };
        let is_acknowledged = found == target(count) && stored.cast_unsigned() == revision;
        let is_open = operator.open.is_some() && found == target(count + 1) && stored.cast_unsigned() > revision;
        assert!(is_acknowledged || is_open, "{}: {found} at {stored}, not {count} at {revision}", operator.name);
    }
    connection.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_writes_it_loses_nothing_that_it_acknowledged_and_uses_no_revision_twice() {
    let place = Place::new();
    let mut operators: Vec<Operator> = (0..WRITERS).map(Operator::new).collect();
    let mut known = BTreeMap::new();
    for _ in 0..rounds() {
        let mut life = place.serve();
        let signs = Signs::default();
        let work = |operator: Operator| tokio::spawn(operator.work(place.admin, signs.clone()));
        let work: Vec<_> = operators.drain(..).map(work).collect();
        signs.moment().await;
        life.end();
        signs.killed.cancel();
        for work in work {
            operators.push(work.await.expect("what is answered is right"));
        }
        if place.database().exists() {
            inspect_if_founded(&place, &operators, &mut known).await;
        }
    }
    // Whatever was left open is answered in the end, and only once.
    let mut life = place.serve();
    let end = Instant::now() + PATIENCE;
    for operator in &mut operators {
        let mut client = routes(place.admin);
        while let Some(request) = operator.open.clone() {
            assert!(Instant::now() < end, "{} is never answered", operator.name);
            match client.update_route(request.clone()).await {
                Ok(answer) => {
                    let first = answer.into_inner();
                    let again = client.update_route(request).await.expect("it is answered again").into_inner();
                    assert_eq!(first.revision, again.revision);
                    (operator.acknowledged, operator.open) = ((operator.acknowledged.0 + 1, first.revision), None);
                }
                Err(_) => sleep(Duration::from_millis(2)).await,
            }
        }
    }
    life.end();
    inspect_if_founded(&place, &operators, &mut known).await;
}

#[tokio::test]
async fn a_disk_that_fails_costs_the_write_and_nothing_that_was_acknowledged() {
    let place = Place::new();
    let mut operators = [Operator::new(0)];
    let [operator] = &mut operators;
    let mut client = routes(place.admin);
    let mut life = place.serve_on_a_bad_disk(1000);
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        assert!(Instant::now() < end, "the disk never fails");
        let count = operator.acknowledged.0 + 1;
        match client.update_route(operator.change(count)).await {
            Ok(answer) => operator.acknowledged = (count, answer.into_inner().revision),
            Err(error) if error.code() != Code::Unavailable => break error,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    assert!(matches!(refused.code(), Code::Internal | Code::ResourceExhausted), "{refused:?}");
    assert!(refused.message().contains("nothing has changed"), "{refused:?}");
    let read = client.get_route(GetRouteRequest { name: operator.name.clone() }).await.expect("it can be read");
    assert_eq!(read.into_inner().revision, operator.acknowledged.1);
    life.end();
    inspect(&place.database(), &operators, &mut BTreeMap::new()).await;

    let mut life = place.serve();
    let [operator] = &mut operators;
    let change = operator.change(operator.acknowledged.0 + 1);
    let revision = loop {
        assert!(Instant::now() < end, "it is never answered");
        match client.update_route(change.clone()).await {
            Ok(answer) => break answer.into_inner().revision,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    assert_eq!(revision, operator.acknowledged.1 + 1);
    life.end();
}

/// A process may die before there is a history; then nothing was acknowledged.
async fn inspect_if_founded(place: &Place, operators: &[Operator], known: &mut BTreeMap<i64, Vec<u8>>) {
    let mut connection = connect(&place.database()).await;
    let head = sqlx::query_scalar("SELECT revision FROM head").fetch_optional(&mut connection).await;
    // An error = not even the tables are there.
    let founded: Option<i64> = head.unwrap_or_default();
    connection.close().await.expect("it closes");
    match founded {
        Some(_) => inspect(&place.database(), operators, known).await,
        None => assert!(known.is_empty() && operators.iter().all(|operator| operator.acknowledged.0 == 0)),
    }
}

/// The database as the first schema had it, with a long life behind it.
async fn first_schema(database: &Path) {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let mut connection = options.connect().await.expect("it can be made");
    let fixture = include_str!("fixtures/schema-0001.sql");
    sqlx::raw_sql(fixture).execute(&mut connection).await.expect("the fixture is SQL");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn killed_while_it_migrates_it_leaves_the_old_schema_or_the_new_one_and_a_whole_copy() {
    for _ in 0..SHORT_ROUNDS {
        let place = Place::new();
        first_schema(&place.database()).await;
        place.run(&["migrate"]).cut_short(Duration::from_millis(80)).await;
        assert!(place.succeeds(&["migrate"]).await, "it can be done again");
        assert!(place.succeeds(&["migrate", "--check"]).await);
        for entry in fs::read_dir(place.file("backups")).expect("copies were made").flatten() {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                let from = entry.path().display().to_string();
                assert!(place.succeeds(&["restore", "--from", &from]).await, "{from} is no backup");
            }
        }
    }
}

#[tokio::test]
async fn killed_while_it_copies_it_leaves_a_whole_copy_or_none_of_that_name() {
    let place = Place::new();
    first_schema(&place.database()).await;
    assert!(place.succeeds(&["migrate"]).await);
    let mut made = 0;
    for round in 0..SHORT_ROUNDS {
        let copy = place.file(&format!("copy-{round}.db"));
        let out = copy.display().to_string();
        place.run(&["backup", "--out", &out]).cut_short(Duration::from_millis(80)).await;
        if copy.exists() {
            made += 1;
            assert!(place.succeeds(&["restore", "--from", &out]).await, "{out} is no backup");
        }
    }
    let last = place.file("last.db").display().to_string();
    assert!(place.succeeds(&["backup", "--out", &last]).await, "after {made} copies it still can");
}
