//! What the compiler does not check: layering, file size, and that the documents speak of what is there.
#![expect(clippy::expect_used, clippy::panic, reason = "a check that cannot look fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest file, without the tests in it.
const MAX_LINES: usize = 400;
const CRATES: [&str; 8] = ["proto", "routing", "logs", "control-plane", "data-plane", "cli", "tests", "bench"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this crate").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder of the workspace, with its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("the folder is readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file is text");
                let name = path.strip_prefix(root()).expect("it is below the root").display().to_string();
                found.push((name, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]")
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for (name, text) in CRATES.iter().flat_map(|folder| sources(folder)) {
        assert!(text.starts_with("//! "), "{name} does not open with a `//!` line");
    }
}

#[test]
fn no_file_is_longer_than_one_room() {
    for (name, text) in CRATES.iter().flat_map(|folder| sources(folder)) {
        let lines = product_lines(&text).count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines without its tests; {MAX_LINES} are allowed");
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for (name, _) in CRATES.iter().flat_map(|folder| sources(folder)) {
        let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str()).expect("names are text").to_owned();
        for empty in ["mod", "common", "util", "utils", "core", "helpers", "manager", "misc"] {
            assert_ne!(stem, empty, "{name}");
        }
    }
}

#[test]
fn the_planes_know_nothing_of_each_other_and_routing_does_no_io() {
    let depends = |folder: &str, on: &str| {
        let manifest = read(format!("{folder}/Cargo.toml"));
        let product = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        product.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(on))
    };
    for (folder, never) in [
        ("data-plane", "signalbox-control-plane"),
        ("data-plane", "sqlx"),
        ("control-plane", "signalbox-data-plane"),
        ("control-plane", "reqwest"),
        ("routing", "tokio"),
        ("routing", "reqwest"),
        ("routing", "sqlx"),
        ("proto", "signalbox-routing"),
    ] {
        assert!(!depends(folder, never), "{folder} depends on {never}");
    }
    assert!(depends("data-plane", "signalbox-routing"), "the check itself sees dependencies");
}

#[test]
fn only_the_rooms_that_receive_configuration_name_the_wire_types_in_the_data_plane() {
    for (name, text) in sources("data-plane/src") {
        let receives =
            ["sync", "cache", "received"].iter().any(|room| name.starts_with(&format!("data-plane/src/{room}")));
        assert!(
            receives || name.contains("/tests") || !product_lines(&text).any(|line| line.contains("signalbox_proto")),
            "{name} names wire types"
        );
    }
}

#[test]
fn only_the_store_and_its_migrations_speak_sql() {
    for (name, text) in sources("control-plane/src") {
        let store = ["store", "migrate"].iter().any(|room| name.starts_with(&format!("control-plane/src/{room}")));
        let speaks = product_lines(&text).any(|line| line.contains("sqlx::query"));
        assert!(store || name.contains("/tests") || !speaks, "{name} speaks SQL");
    }
}

#[test]
fn a_request_loads_the_live_snapshot_in_one_place() {
    let loads = |text: &str| product_lines(text).filter(|line| line.contains("live.load()")).count();
    let loaders: Vec<(String, usize)> = sources("data-plane/src")
        .into_iter()
        .filter(|(name, _)| {
            !["app.rs", "discovery", "live.rs", "sync"]
                .iter()
                .any(|room| name.starts_with(&format!("data-plane/src/{room}")))
        })
        .map(|(name, text)| (name, loads(&text)))
        .filter(|(_, loads)| *loads > 0)
        .collect();
    assert_eq!(loaders, [("data-plane/src/http.rs".to_owned(), 1)]);
}

#[test]
fn the_architecture_speaks_of_rooms_that_exist() {
    let text = read("ARCHITECTURE.md");
    for heading in ["## The crates", "## A change's path", "## A request's path", "## Invariants", "## Walk-through"] {
        assert!(text.contains(heading), "ARCHITECTURE.md has lost `{heading}`");
    }
    let mut plane = "control-plane";
    for line in text.lines() {
        if line.starts_with("## ") {
            plane = if line.contains("control plane") { "control-plane" } else { "data-plane" };
        }
        let Some(files) = line.strip_prefix("| ").and_then(|row| row.split('|').nth(1)) else { continue };
        for file in files.split('`').filter(|word| word.ends_with(".rs") || word.ends_with('/')) {
            let path = root().join(plane).join("src").join(file);
            assert!(path.exists(), "ARCHITECTURE.md speaks of {}, which is not there", path.display());
        }
    }
}

#[test]
fn the_readme_keeps_its_chapters() {
    let text = read("README.md");
    for heading in [
        "## Start",
        "## First request",
        "## First change",
        "## Separate processes",
        "## Configuration",
        "## Defaults",
        "## Test",
    ] {
        assert!(text.lines().any(|line| line.starts_with(heading)), "README.md has lost `{heading}`");
    }
    assert!(text.contains("cargo run --release -- up") && text.contains("cargo test --workspace"));
}

#[test]
fn the_images_are_built_from_every_crate_there_is() {
    let (manifest, context) = (read("Cargo.toml"), read(".dockerignore"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = "));
    assert_eq!(members, Some(format!("{CRATES:?}").as_str()));
    for folder in CRATES {
        assert!(context.lines().any(|line| line == format!("!{folder}")), "{folder} is not in the images' context");
    }
}
