//! The operator's client as a process, against a whole system in another process: what it prints, how it ends, and what it never says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story that does not go as it should ends there"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

mod breaking;
mod secured;

const SIGNALBOX: &str = env!("CARGO_BIN_EXE_signalbox");

/// A program of its own home, so that nothing of this machine's user is seen or changed.
fn signalbox(home: &Path) -> Command {
    let mut command = Command::new(SIGNALBOX);
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

/// `signalbox up` as a process. Dropped, it is killed.
struct System {
    home: TempDir,
    up: Child,
    admin: String,
}

impl System {
    fn start() -> Self {
        let home = TempDir::new().unwrap();
        let mut up = signalbox(home.path())
            .args(["up", "--listen", "0", "--admin-listen", "0", "--sync-listen", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(up.stdout.take().unwrap()).lines().map_while(Result::ok);
        let admin = lines.filter_map(|line| Some(line.trim().strip_prefix("Admin gRPC")?.trim().to_owned())).next();
        Self { home, up, admin: admin.expect("the block says where operators connect") }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = signalbox(self.home.path());
        command.args(words).env("SIGNALBOX_ADDR", &self.admin);
        command
    }

    fn run(&self, words: &[&str]) -> Run {
        Run::of(&mut self.command(words))
    }

    fn run_with(&self, words: &[&str], input: &str) -> Run {
        let mut child =
            self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever does not read it has something else to say.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap().into()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // A system that has gone already is gone.
        drop(self.up.kill());
        drop(self.up.wait());
    }
}

/// What a command came to.
#[derive(Debug)]
struct Run {
    out: String,
    err: String,
    exit: i32,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { out: text(output.stdout), err: text(output.stderr), exit: output.status.code().unwrap() }
    }
}

impl Run {
    fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).output().unwrap().into()
    }

    /// It is done, and this is what it printed.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.exit, 0, "{self:?}");
        self.out
    }

    /// It ended so, and says all of this.
    #[track_caller]
    fn ended(self, exit: i32, words: &[&str]) -> Self {
        assert_eq!(self.exit, exit, "{self:?}");
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word:?} in {self:?}");
        }
        self
    }
}

const DOCUMENT: &str = "
providers:
  - name: providers/local
    dialect: DIALECT_OPENAI
    baseUrl: http://127.0.0.1:11434/v1
    models: [llama3.2]
---
redirects:
  - name: redirects/fast
    from: fast
    targets:
      - {provider: local, model: llama3.2, priority: 1}
      - {provider: demo, model: echo}
";

#[test]
fn a_document_is_looked_at_applied_once_changed_and_exported() {
    let system = System::start();
    let file = system.file("config.yaml", DOCUMENT);
    system.run(&["diff", "-f", &file]).ended(3, &["+ providers/local", "+ redirects/fast"]);
    system.run(&["apply", "-f", &file, "--dry-run"]).ended(0, &["nothing is changed", "+ redirects/fast"]);
    let applied = system.run(&["apply", "-f", &file, "--owner", "team=a", "--comment", "first", "--wait"]);
    applied.ended(0, &["Applied as revision", "+ providers/local", "in force on 1 of 1 data planes"]);
    system.run(&["apply", "-f", &file, "--owner", "team=a"]).ended(0, &["Everything is so already"]);
    assert_eq!(system.run(&["get", "redirects", "-o", "name"]).done(), "redirects/fast\n");
    let table = system.run(&["get", "providers"]).done();
    assert!(table.lines().any(|line| line.contains("local") && line.contains("team=a")), "{table}");

    let changed = DOCUMENT.replace(":11434", ":11435");
    system
        .run_with(&["diff", "-f", "-", "--owner", "team=a"], &changed)
        .ended(3, &["~ providers/local", "11434", "11435"]);
    let exported = system.run(&["export"]).done();
    system.run_with(&["apply", "-f", "-"], &exported).ended(0, &["Everything is so already"]);
    let json: Value = serde_json::from_str(&system.run(&["export", "-o", "json"]).done()).unwrap();
    assert!(json["redirects"].as_array().unwrap().iter().any(|redirect| redirect["from"] == "fast"), "{json}");

    let less = system.file("less.yaml", DOCUMENT.split("---").next().unwrap());
    let prune = ["apply", "-f", &less, "--owner", "team=a", "--prune"];
    system.run(&prune).ended(5, &["error:"]);
    system.run(&[&prune[..], &["--max-deletes", "1"]].concat()).ended(0, &["- redirects/fast"]);
    system.run(&["get", "redirect", "fast"]).ended(4, &["next: `signalbox get KIND`"]);
}

#[test]
fn what_is_wrong_with_a_document_is_said_with_its_place() {
    let system = System::start();
    let folder = system.home.path().join("config");
    fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    for (text, words) in [
        ("providers: [", vec!["bad.yaml:1:"]),
        ("providers:\n  - name: providers/a\n    nonsense: sk-secret\n", vec!["bad.yaml:2:", "nonsense"]),
        ("providers:\n  - name: providers/a\n    priority: sk-secret\n", vec!["bad.yaml:3:", "providers[0].priority"]),
        (
            "providers:\n  - {name: providers/a, dialect: DIALECT_OPENAI, baseUrl: 'no url'}\n",
            vec!["providers/a", "bad.yaml", "base_url"],
        ),
        (
            "redirects:\n  - {name: redirects/a, from: a, targets: [{provider: nobody, model: m}]}\n",
            vec!["redirects/a", "bad.yaml", "targets[0].provider", "does not exist"],
        ),
    ] {
        system.file("config/bad.yaml", text);
        let run = system.run(&["apply", "-f", &folder]).ended(78, &words);
        assert!(!run.err.contains("sk-secret"), "{run:?}");
        assert_eq!(run.out, "", "what is printed is what was asked for, and that is not to be had");
    }
    system.run(&["apply", "-f", "none.yaml"]).ended(78, &["none.yaml cannot be read"]);
}

#[test]
fn a_key_is_shown_once_used_replaced_and_revoked() {
    let system = System::start();
    let key =
        system.run(&["keys", "create", "ci", "--models", "demo/*", "--expire", "30d", "--rpm", "60", "-q"]).done();
    let key = key.trim();
    assert!(key.len() > 20 && !key.contains(char::is_whitespace), "{key}");
    let listed = system.run(&["get", "keys", "ci", "-o", "yaml"]).done();
    assert!(listed.contains("demo/*") && listed.contains("requestsPerMinute: 60") && !listed.contains(key), "{listed}");
    system.run(&["keys", "create", "ci"]).ended(5, &["clientKeys/ci"]);
    system.run(&["keys", "create", "Not An Id"]).ended(2, &["client_key_id"]);

    system.run(&["explain", "--key", "ci", "--model", "demo/echo"]).ended(0, &["demo", "/chat/completions"]);
    system.run(&["explain", "--key", "ci", "--model", "other"]).ended(0, &["It would be refused"]);
    system.run(&["explain", "--key", "nobody", "--model", "x"]).ended(4, &["nobody"]);

    let next = system.run(&["keys", "rotate", "ci", "--overlap", "1h", "--wait"]);
    next.ended(0, &["clientKeys/ci-2", "clientKeys/ci is taken until", "in force on 1 of 1"]);
    system.run(&["keys", "revoke", "ci", "--dry-run"]).ended(0, &["- clientKeys/ci"]);
    system.run(&["keys", "revoke", "ci", "--wait"]).ended(0, &["- clientKeys/ci", "in force on 1 of 1"]);
    assert_eq!(system.run(&["keys", "list", "-o", "name"]).done(), "clientKeys/ci-2\nclientKeys/default\n");
    system.run(&["delete", "clientKeys/ci"]).ended(4, &["clientKeys/ci"]);
}

#[test]
fn history_is_shown_and_leads_back() {
    let system = System::start();
    let file = system.file("config.yaml", DOCUMENT);
    let before: Value = serde_json::from_str(&system.run(&["revisions", "latest", "-o", "json"]).done()).unwrap();
    let before = before["revision"].as_str().unwrap().to_owned();
    system.run(&["apply", "-f", &file, "--comment", "by a story"]).done();
    system.run(&["revisions", "--limit", "1"]).ended(0, &["by a story", "ConfigService/ApplyConfig"]);
    system.run(&["revisions", "latest"]).ended(0, &["+ providers/local", "data planes"]);
    system.run(&["rollback", &before, "--dry-run"]).ended(0, &["nothing is changed", "- providers/local"]);
    system.run(&["rollback", &before, "--wait"]).ended(0, &["now revision", "- redirects/fast", "in force on 1 of 1"]);
    system.run(&["get", "provider", "local"]).ended(4, &[]);
    system.run(&["rollback", "999999"]).ended(4, &["error:"]);
    let was = system.run(&["export", "--revision", &before]).done();
    assert!(was.starts_with(&format!("# Revision {before} of ")) && !was.contains("providers/local"), "{was}");
}

#[test]
fn the_fleet_is_seen_waited_for_and_examined() {
    let system = System::start();
    system.run(&["replicas"]).ended(0, &["synced"]);
    system.run(&["wait", "--timeout", "30s"]).ended(0, &["in force on 1 of 1 data planes"]);
    system.run(&["wait", "--replicas", "2", "--timeout", "0s"]).ended(7, &["fewer than asked for"]);
    let words = ["ok    control plane", "ok    clock", "ok    replicas/", "warn  backups: there is none", "next: "];
    system.run(&["doctor"]).ended(0, &words);
    system.run(&["doctor", "--data-plane", "http://127.0.0.1:1"]).ended(1, &["fail  http://127.0.0.1:1"]);
    let lines: Value = serde_json::from_str(&system.run(&["doctor", "-o", "json"]).done()).unwrap();
    assert!(lines.as_array().unwrap().iter().all(|line| line["level"] != "fail"), "{lines}");
}

#[test]
fn a_token_may_do_what_its_role_says_and_audit_tells() {
    let system = System::start();
    let token = system.run(&["tokens", "create", "eve", "--role", "viewer", "--expire", "1h", "-q"]).done();
    let as_eve = |words: &[&str]| Run::of(system.command(words).env("SIGNALBOX_TOKEN", token.trim()));
    as_eve(&["get", "providers"]).ended(0, &["demo"]);
    let refused = as_eve(&["keys", "create", "mine"]).ended(6, &["error:", "next:"]);
    assert!(!refused.err.contains(token.trim()), "{refused:?}");
    system.run(&["tokens", "list"]).ended(0, &["eve", "viewer"]);
    // Refusals are written in batches, a second apart.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !system.run(&["audit", "--filter", "actor = eve"]).done().contains("PERMISSION_DENIED") {
        assert!(Instant::now() < deadline, "the refusal is in no audit entry");
    }
    system.run(&["tokens", "delete", "eve"]).ended(0, &["Removed adminTokens/eve"]);
    as_eve(&["get", "providers"]).ended(6, &["next: check the token"]);
}

#[test]
fn a_context_says_where_and_with_what() {
    let system = System::start();
    let home = system.home.path();
    let token = fs::read_to_string(home.join("signalbox-data/admin-token")).unwrap();
    let alone = |words: &[&str]| Run::of(signalbox(home).args(words).current_dir("/"));
    system.run_with(&["context", "set", "here", "--address", &system.admin, "--token-stdin"], &token).done();
    alone(&["get", "providers"]).ended(0, &["demo"]);
    alone(&["context", "set", "nowhere", "--address", "127.0.0.1:1", "--token-file", "/none"]).done();
    alone(&["context", "list"]).ended(0, &["nowhere", "here", "*"]);
    alone(&["get", "providers", "--context", "nowhere"]).ended(78, &["/none"]);
    alone(&["context", "use", "nobody"]).ended(4, &["there is no context nobody"]);
    alone(&["context", "delete", "here"]).done();
    for (file, there) in [("contexts.yaml", true), ("here.token", false)] {
        let path = home.join(".config/signalbox").join(file);
        assert_eq!(path.exists(), there, "{file}");
        if there {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!fs::read_to_string(&path).unwrap().contains(token.trim()));
        }
    }
}

#[test]
fn wrong_usage_and_nobody_there_are_told_apart() {
    let home = TempDir::new().unwrap();
    let run = |words: &[&str]| Run::of(signalbox(home.path()).env("SIGNALBOX_TOKEN", "t0ken").args(words));
    run(&["get", "providers", "--address", "127.0.0.1:1"])
        .ended(69, &["no control plane answers at http://127.0.0.1:1", "next:"]);
    run(&["doctor", "--address", "127.0.0.1:1"]).ended(1, &["fail  control plane"]);
    run(&["get", "nonsense"]).ended(2, &["providers, credentials, keys"]);
    run(&["get", "providers", "--address", "ftp://x"]).ended(2, &["HOST:PORT"]);
    run(&["apply"]).ended(2, &["--file"]);
    run(&["apply", "-f", "x", "--prune"]).ended(2, &["--owner"]);
    run(&["keys", "create", "a", "--expire", "tomorrow"]).ended(2, &["2027-01-01T00:00:00Z"]);
    run(&["nonsense"]).ended(2, &["nonsense"]);
    Run::of(signalbox(home.path()).args(["get", "providers"]))
        .ended(78, &["admin-token", "next: give the admin token"]);
    run(&["get", "providers", "--address", "http://127.0.0.1:1", "--ca", "x"]).ended(78, &["plain text"]);
}

#[test]
fn help_lists_every_command_and_shells_complete_them() {
    let home = TempDir::new().unwrap();
    let run = |words: &[&str]| Run::of(signalbox(home.path()).args(words)).done();
    let help = run(&["--help"]);
    let commands = [
        "apply",
        "diff",
        "validate",
        "export",
        "get",
        "delete",
        "keys",
        "explain",
        "revisions",
        "rollback",
        "replicas",
        "wait",
        "tokens",
        "audit",
        "doctor",
        "context",
        "completions",
    ];
    for command in commands {
        assert!(help.lines().any(|line| line.trim().starts_with(command)), "{command} in {help}");
        assert!(run(&[command, "--help"]).contains("Usage:"), "{command}");
    }
    assert!(help.contains("Exit codes:") && help.contains("69  no control plane answers"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("rollback"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = TempDir::new().unwrap();
    let mut child = signalbox(home.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    Run::from(child.wait_with_output().unwrap()).ended(0, &[]).err.is_empty().then_some(()).unwrap();
}
