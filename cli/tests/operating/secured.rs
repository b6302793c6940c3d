//! A control plane that speaks TLS, and operators who have a certificate instead of a token.

use std::{
    fs,
    path::{Path, PathBuf},
};

use signalbox_control_plane::{
    app::{App, Options},
    audit,
    certificate::{self, ClientFiles, Files, Outcome},
    ledger::Retention,
    seal::MasterKey,
    tls::AdminTls,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{Run, signalbox};

const TOKEN: &str = "the-admin-token";

/// A control plane with TLS on its admin port, and what operators need to reach it. Dropped, it is gone.
struct Secured {
    home: TempDir,
    runtime: Runtime,
    address: String,
    ca: PathBuf,
    alice: ClientFiles,
}

impl Secured {
    fn start() -> Self {
        let home = TempDir::new().unwrap();
        let Outcome::Made(Files { ca, cert, key }) = certificate::make(home.path(), &["127.0.0.1".to_owned()]).unwrap()
        else {
            panic!("the folder was empty");
        };
        let alice = certificate::make_clients(home.path(), &["alice.test".to_owned()]).unwrap().remove(0);
        let tls = AdminTls { cert, key, client_ca: Some(alice.ca.clone()) };
        let runtime = Runtime::new().unwrap();
        let app = runtime.block_on(Box::pin(App::build(options(home.path(), tls)))).unwrap();
        let address = format!("https://{}", app.admin_addr());
        runtime.spawn(Box::pin(app.run(CancellationToken::new())));
        Self { home, runtime, address, ca, alice }
    }

    /// A command of somebody who trusts the control plane's authority.
    fn run(&self, words: &[&str], also: &[(&str, &Path)]) -> Run {
        let mut command = signalbox(self.home.path());
        command.args(words).env("SIGNALBOX_ADDR", &self.address).env("SIGNALBOX_CA", &self.ca);
        Run::of(command.envs(also.iter().copied()))
    }

    fn as_admin(&self, words: &[&str]) -> Run {
        self.run(words, &[("SIGNALBOX_TOKEN", Path::new(TOKEN))])
    }

    fn as_alice(&self, words: &[&str]) -> Run {
        let ClientFiles { ca: _, cert, key } = &self.alice;
        self.run(words, &[("SIGNALBOX_CLIENT_CERT", cert), ("SIGNALBOX_CLIENT_CERT_KEY", key)])
    }

    fn end(self) {
        self.runtime.shutdown_background();
    }
}

fn options(home: &Path, tls: AdminTls) -> Options {
    Options {
        database: home.join("control.db"),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        sync_listen: "127.0.0.1:0".parse().unwrap(),
        sync_tls: None,
        admin_tls: Some(tls),
        admin_token: TOKEN.into(),
        audit: audit::Keep::default(),
        join_token: "the-join-token".into(),
        master_key: MasterKey::generate(),
        source: None,
        auto_migrate: false,
        retention: Retention::default(),
        max_database_bytes: None,
        backups: None,
    }
}

#[test]
fn over_tls_it_speaks_to_whom_it_trusts_and_to_nobody_else() {
    let secured = Secured::start();
    secured.as_admin(&["get", "settings"]).ended(0, &["REVISION"]);
    secured.as_admin(&["doctor"]).ended(0, &["ok    TLS: the control plane's certificate holds for", "ok    clock"]);

    let other = TempDir::new().unwrap();
    certificate::make(other.path(), &["127.0.0.1".to_owned()]).unwrap();
    let stranger = other.path().join("ca.pem").display().to_string();
    let run = secured.as_admin(&["get", "settings", "--ca", &stranger]);
    let run = run.ended(69, &["no control plane answers at https://", "certificate"]);
    assert!(!run.err.contains(TOKEN), "{run:?}");
    secured.as_admin(&["doctor", "--ca", &stranger]).ended(1, &["fail  TLS", "--ca", "fail  control plane"]);

    let key = secured.alice.key.display().to_string();
    secured.as_admin(&["get", "settings", "--ca", &key]).ended(78, &["holds no PEM certificate (--ca)"]);

    let plain = secured.address.replace("https", "http");
    let run = Run::of(
        signalbox(secured.home.path()).args(["get", "settings", "--address", &plain]).env("SIGNALBOX_TOKEN", TOKEN),
    );
    run.ended(69, &["no control plane answers at http://", "https:// where it speaks TLS"]);
    secured.end();
}

#[test]
fn a_certificate_is_enough_to_say_who_calls() {
    let secured = Secured::start();
    secured.as_alice(&["get", "settings"]).ended(6, &["alice.test", "CERTIFICATE_UNKNOWN"]);
    let make = ["tokens", "create", "alice", "--role", "operator", "--certificate-name", "alice.test"];
    secured.as_admin(&make).ended(0, &["adminTokens/alice"]);
    secured.as_alice(&["keys", "create", "ci", "-q"]).done();
    secured.as_admin(&["audit", "--filter", "resource = clientKeys/ci"]).ended(0, &["alice"]);
    secured.as_alice(&["tokens", "list"]).ended(6, &["ROLE_TOO_LOW"]);
    secured.end();
}

#[test]
fn a_context_remembers_whom_to_trust_and_what_to_show() {
    let secured = Secured::start();
    let ClientFiles { ca: _, cert, key } = &secured.alice;
    let files = [&secured.ca, cert, key].map(|path| path.display().to_string());
    let [ca, cert, key] = &files;
    let alone = |words: &[&str]| Run::of(signalbox(secured.home.path()).args(words));
    let set = ["context", "set", "prod", "--address", &secured.address, "--ca", ca, "--client-cert", cert];
    alone(&[&set[..], &["--client-key", key]].concat()).done();
    secured.as_admin(&["tokens", "create", "alice", "--role", "viewer", "--certificate-name", "alice.test"]).done();
    alone(&["get", "settings"]).ended(0, &["REVISION"]);

    fs::remove_file(key).unwrap();
    alone(&["get", "settings"]).ended(78, &[key, "cannot be read"]);
    fs::write(key, "no key").unwrap();
    alone(&["get", "settings"]).ended(78, &["the certificates for https://", "cannot be used"]);
    secured.end();
}
