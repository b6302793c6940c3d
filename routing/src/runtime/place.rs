//! Where the endpoints of an upstream are: each at one URL, or at one for each model. Who may go there is not known here.

use std::{borrow::Cow, sync::Arc};

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Provider, below};
use crate::endpoint::Endpoint;

/// Everything but the unreserved characters of RFC 3986, so that a model's name is one segment of a path, or one value of a query.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this URL, whatever the model.
    Fixed(Uri),
    /// At a URL that the model's name is part of.
    Named {
        /// What comes before the name.
        before: Arc<str>,
        /// What comes after it.
        after: Arc<str>,
    },
}

impl Place {
    fn of(&self, model: &str) -> Option<Uri> {
        match self {
            Self::Fixed(url) => Some(url.clone()),
            // A name that is a dot segment would lead out of the folder that it is meant to be in.
            Self::Named { .. } if matches!(model, "" | "." | "..") => None,
            Self::Named { before, after } => {
                let model: Cow<'_, str> = utf8_percent_encode(model, &RESERVED).into();
                format!("{before}{model}{after}").parse().ok()
            }
        }
    }
}

impl Provider {
    /// Where an endpoint is for one of its models; `None` = it does not have the endpoint, or no URL can name the model.
    #[must_use]
    pub fn url(&self, endpoint: Endpoint, model: &str) -> Option<Uri> {
        self.places.get(&endpoint)?.of(model)
    }

    /// Whether it has an endpoint.
    #[must_use]
    pub fn has(&self, endpoint: Endpoint) -> bool {
        self.places.contains_key(&endpoint)
    }

    /// The URL of what no model is part of, such as `/files/file-abc?limit=1`: a path with a leading slash, and perhaps a query.
    /// `None` = only its chat has an address, or the parts do not make a URL.
    #[must_use]
    pub fn below(&self, path_and_query: &str) -> Option<Uri> {
        let root = self.root.as_ref()?;
        let (path, query) =
            path_and_query.split_once('?').map_or((path_and_query, None), |(path, query)| (path, Some(query)));
        let query = match (root.query(), query) {
            (Some(own), Some(query)) => Some(Cow::from(format!("{own}&{query}"))),
            (own, query) => own.or(query).map(Cow::from),
        };
        below(root, path, query.as_deref()).ok()
    }

    /// Where it lists its models; `None` = it does not.
    #[must_use]
    pub fn models_url(&self) -> Option<Uri> {
        self.below("/models")
    }
}
