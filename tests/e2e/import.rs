//! Moving over: one command takes over another gateway's configuration, says what became of it, and changes nothing the second time.

use std::{fs, path::PathBuf};

use clap::Parser as _;
use signalbox::{
    arguments::{Arguments, Command},
    import::{self, Error, Report},
};
use signalbox_proto::admin::v1::{GetSettingsRequest, Settings};
use signalbox_tests::{ADMIN_TOKEN, Draft, System, draft::provider};

const FILES: [(&str, &str); 5] = [
    ("leaflet", "leaflet.env"),
    ("aggregator", "aggregator.config.json"),
    ("redirector", "redirector.config.json"),
    ("router", "router.config.json"),
    ("pool", "pool.env"),
];

/// Every key in those files.
const SECRETS: [&str; 11] = [
    "sk-leaflet-static",
    "zhipu-key",
    "sk-openai-key",
    "sk-admin-123456",
    "client-key-1",
    "sk-upstream-key",
    "sk-openai-xxxx",
    "sk-ant-xxxx",
    "gemini-key",
    "your-api-key-1",
    "token_1",
];

fn shipped(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("predecessors").join(file)
}

/// Runs `signalbox import` with these words against the system's control plane.
async fn import(system: &System, words: &[&str]) -> Result<Report, Error> {
    let token = system.dir().join("token");
    fs::write(&token, ADMIN_TOKEN).unwrap();
    let address = system.control_plane.admin_addr().to_string();
    let fixed = ["--address", &address, "--token-file", token.to_str().unwrap()];
    let line = ["signalbox", "import"].iter().chain(words).chain(&fixed);
    match Arguments::try_parse_from(line).unwrap().command {
        Command::Import(arguments) => Box::pin(import::run(&arguments)).await,
        other => panic!("{other:?}"),
    }
}

async fn settings(system: &System) -> Settings {
    system.admin().settings().get_settings(GetSettingsRequest::default()).await.unwrap().into_inner()
}

#[tokio::test]
async fn each_file_is_one_revision_and_nothing_the_second_time() {
    for (format, file) in FILES {
        let system = System::start().await;
        let before = system.admin().revision().await;
        let path = shipped(file);
        let first = import(&system, &[format, path.to_str().unwrap()]).await.unwrap();
        assert_eq!((first.revision, first.unchanged), (before + 1, false), "{format}");
        assert!(first.conflicts.is_empty(), "{:?}", first.conflicts);
        let second = import(&system, &[format, path.to_str().unwrap()]).await.unwrap();
        assert_eq!((second.revision, second.unchanged), (first.revision, true), "{format}");
        system.in_force(first.revision).await;
        for text in [first.to_string(), second.to_string()] {
            assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
        }
        for name in &first.names {
            assert!(first.to_string().contains(name.as_str()), "{name}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_commits_nothing() {
    let system = System::start().await;
    let before = system.admin().revision().await;
    let path = shipped("redirector.config.json");
    let report = import(&system, &["redirector", path.to_str().unwrap(), "--dry-run"]).await.unwrap();
    assert_eq!((report.revision, report.unchanged, report.changes.len()), (before, false, 7));
    assert!(report.to_string().contains("would be made"), "{report}");
    assert_eq!(system.admin().revision().await, before);
}

#[tokio::test]
async fn settings_that_say_something_else_stay_and_are_reported() {
    let system = System::start().await;
    let mine = Settings { base_path: "/mine".into(), ..Settings::default() };
    system.apply(Draft::new().settings(mine)).await;
    let path = shipped("router.config.json");
    let report = import(&system, &["router", path.to_str().unwrap()]).await.unwrap();
    let [conflict] = &report.conflicts[..] else { panic!("{:?}", report.conflicts) };
    assert_eq!((conflict.field.as_str(), conflict.now.as_str()), ("base_path", "\"/mine\""));
    assert_eq!(conflict.wanted, "\"/api/llm\"");
    assert!(report.to_string().contains("are left as they are"), "{report}");
    let settings = settings(&system).await;
    assert_eq!((settings.base_path.as_str(), settings.request_log), ("/mine", Some(false)), "what was not set is");
}

#[tokio::test]
async fn what_somebody_else_looks_after_is_left_alone() {
    let system = System::start().await;
    let mut theirs = provider("redirector", "http://127.0.0.1:9/v1");
    theirs.labels.insert("managed-by".into(), "config-file".into());
    let before = system.apply(Draft::new().provider(theirs)).await;
    let path = shipped("redirector.config.json");
    let error = import(&system, &["redirector", path.to_str().unwrap()]).await.unwrap_err();
    assert!(error.to_string().contains("providers/redirector"), "{error}");
    assert_eq!(system.admin().revision().await, before);
}

#[tokio::test]
async fn a_file_that_is_none_is_named_with_its_place() {
    let system = System::start().await;
    let before = system.admin().revision().await;
    for (format, text, expected) in [
        ("redirector", "{\"api\": {}}", "is no redirector configuration: `api` (line 1): missing field `url`"),
        ("aggregator", "{\n\"providers\": [\"x\"]}", "`providers[0]`: must be `name|base_url|api_key`"),
        ("router", "{\"routes\": {\"a b\": {\"target_url\": \"http://a\"}}}", "segment"),
        ("leaflet", "nonsense", "line 1, column 1: must be NAME=value, or begin with #"),
        ("pool", "", "it is empty"),
    ] {
        let path = system.dir().join("bad");
        fs::write(&path, text).unwrap();
        let error = import(&system, &[format, path.to_str().unwrap()]).await.unwrap_err();
        assert!(error.to_string().contains(expected) && error.is_configuration(), "{error}");
    }
    let error = import(&system, &["pool", "nowhere.env"]).await.unwrap_err();
    assert!(error.to_string().contains("nowhere.env") && error.is_configuration(), "{error}");
    assert_eq!(system.admin().revision().await, before);
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named_with_its_address() {
    let mut system = System::start().await;
    system.control_plane.stop().await;
    let path = shipped("leaflet.env");
    let error = import(&system, &["leaflet", path.to_str().unwrap()]).await.unwrap_err();
    let address = system.control_plane.admin_addr().to_string();
    assert!(error.to_string().contains(&address) && !error.is_configuration(), "{error}");
}

#[test]
fn only_the_five_are_known_and_only_two_of_them_have_variables() {
    for words in [&["import", "nginx", "x"][..], &["import", "pool"], &["import", "pool", "x", "--from-env"]] {
        let error = Arguments::try_parse_from(["signalbox"].iter().chain(words)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
    assert!(Arguments::try_parse_from(["signalbox", "import", "pool", "--from-env"]).is_ok());
}
