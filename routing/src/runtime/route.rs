//! An HTTP mount as a request meets it.

use std::{sync::Arc, time::Duration};

use http::Uri;
use ipnet::IpNet;

use super::{HeaderPolicy, Profile};
use crate::name::Id;

/// An HTTP mount outside `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: Id,
    /// The first path segment that it answers to.
    pub segment: Arc<str>,
    /// Where what is asked for below it goes.
    pub to: RouteTarget,
    /// How its connections are made.
    pub profile: Arc<Profile>,
    /// Headers sent to the target, and those not passed on.
    pub headers: HeaderPolicy,
    /// Whether a client key is asked for.
    pub client_key_required: bool,
    /// Longest wait for the response header.
    pub timeout: Duration,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    /// To one address, which the rest of the path is appended to by [`below`]. It has no query, and its path ends in a slash only
    /// where that is all.
    Fixed(Uri),
    /// To the address that the rest of the path is.
    Universal {
        /// The loopback and private ranges that may be called.
        allowed_ranges: Vec<IpNet>,
    },
}

/// The URL of what is asked for below an address: `rest` is empty or begins with a slash, `query` comes without its `?`.
///
/// # Errors
/// Where the parts do not make a URL.
pub fn below(target: &Uri, rest: &str, query: Option<&str>) -> Result<Uri, http::Error> {
    let base = target.path().trim_end_matches('/');
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(format!("{base}{rest}{mark}{query}").parse()?);
    Ok(Uri::from_parts(parts)?)
}
