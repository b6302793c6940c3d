//! The end-to-end stories: what a client saw, what the upstream saw, and what was recorded, with both planes in this process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story that does not go as it should ends there, also in what several stories share"
)]

mod answers;
mod attempts;
mod bodies;
mod byo;
mod changes;
mod chat;
mod config_file;
mod conversation;
mod cors;
mod departures;
mod dialects;
mod discovery;
mod docs;
mod documents;
mod errors;
mod explaining;
mod failover;
mod faults;
mod hostile;
mod https;
mod import;
mod kept;
mod keys;
mod limits;
mod models;
mod moving;
mod multipart;
mod operators;
mod outages;
mod pages;
mod patience;
mod providers;
mod refusal;
mod routes;
mod secrets;
mod stopping;
mod storage;
mod streams;
mod sync;
mod universal;
mod up;
mod usage;
mod websocket;
mod words;
