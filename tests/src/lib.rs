//! What the end-to-end stories stand on: both planes in one process on free ports, a scripted upstream, and clients with and
//! without manners. It asserts nothing of its own about the gateway.
#![expect(clippy::expect_used, clippy::panic, reason = "a harness that fails is a story that fails, and says where")]

mod admin;
mod client;
pub mod draft;
mod http1;
pub mod logs;
mod process;
pub mod proxy;
mod raw;
mod system;
mod tls;
pub mod upstream;
pub mod wait;

pub use admin::{Admin, Authorized, Bearer};
pub use client::{Client, Events, Reply, chat, chat_streamed};
pub use draft::Draft;
pub use proxy::ForwardProxy;
pub use raw::{Raw, RawAnswer};
pub use system::{ADMIN_TOKEN, CLIENT_KEY, ControlPlane, DataPlane, JOIN_TOKEN, Joining, Setup, System};
pub use tls::TlsFront;
pub use upstream::{Answer, Upstream};
