//! The end-to-end stories: what a client saw, what the upstream saw, and what was recorded, with both planes in this process.

mod bodies;
mod changes;
mod chat;
mod departures;
mod errors;
mod failover;
mod hostile;
mod keys;
mod models;
mod operators;
mod outages;
mod pages;
mod routes;
mod secrets;
mod stopping;
mod streams;
mod sync;
