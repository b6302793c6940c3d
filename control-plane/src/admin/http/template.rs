//! Path templates as `google.api.http` has them, and the paths that fit them. It knows nothing of methods or messages.

use std::{fmt, iter, ops::Range};

use percent_encoding::percent_decode_str;

/// A path template, such as `/v1/{name=providers/*}` or `/v1/config:apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// Exactly one segment, whatever it is.
    Any,
}

/// A run of segments that is the value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// The field's path in the request, such as `provider.name`.
    field: String,
    segments: Range<usize>,
}

/// The path of a request, in decoded segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestPath {
    segments: Vec<String>,
    /// What follows the last colon of the last segment (AIP-136).
    verb: Option<String>,
}

/// A path that means nothing anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// An escape that is no UTF-8, or that hides a slash.
    #[error("segment {0} of the path does not decode to UTF-8 without a slash")]
    Segment(usize),
}

impl RequestPath {
    /// Reads the path of a URL.
    pub(super) fn parse(path: &str) -> Result<Self, BadPath> {
        let path = path.strip_prefix('/').unwrap_or(path);
        // A colon that belongs to a name is written as %3A.
        let (path, verb) = match path.rsplit_once(':') {
            Some((path, verb)) if !verb.contains('/') => (path, Some(verb.to_owned())),
            _ => (path, None),
        };
        let segments = path.split('/').enumerate().map(|(index, segment)| decode(segment, index + 1));
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, verb })
    }
}

/// An escaped slash would be one segment to the router and two to whoever reads the name.
fn decode(segment: &str, number: usize) -> Result<String, BadPath> {
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| BadPath::Segment(number))?;
    if decoded.contains('/') { Err(BadPath::Segment(number)) } else { Ok(decoded.into_owned()) }
}

impl Template {
    /// Reads a template; `None` where it is none, or uses `**`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (path, verb) = match text.rsplit_once(':') {
            Some((path, verb)) if !verb.contains(['/', '}']) => (path, Some(verb.to_owned())),
            _ => (text, None),
        };
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb };
        let mut rest = path;
        while !rest.is_empty() {
            rest = template.take(rest.strip_prefix('/')?)?;
        }
        (!template.segments.is_empty()).then_some(template)
    }

    /// Takes one literal or one variable from the front, and leaves the rest.
    fn take<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(text) = text.strip_prefix('{') {
            let (variable, rest) = text.split_once('}')?;
            let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
            let start = self.segments.len();
            for segment in pattern.split('/') {
                self.segments.push(Segment::parse(segment)?);
            }
            self.variables.push(Variable { field: field.to_owned(), segments: start..self.segments.len() });
            return Some(rest);
        }
        let end = text.find('/').unwrap_or(text.len());
        let (segment, rest) = text.split_at_checked(end)?;
        self.segments.push(Segment::parse(segment)?);
        Some(rest)
    }

    /// Whether a path is one of this template's.
    pub(super) fn fits(&self, path: &RequestPath) -> bool {
        self.verb == path.verb
            && self.segments.len() == path.segments.len()
            && iter::zip(&self.segments, &path.segments).all(|(segment, text)| segment.fits(text))
    }

    /// Whether some path is both this template's and another's.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        self.verb == other.verb
            && self.segments.len() == other.segments.len()
            && iter::zip(&self.segments, &other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(other)) => one == other,
                _ => true,
            })
    }

    /// The fields that a path of this template says, with what they are.
    pub(super) fn values<'a>(&'a self, path: &'a RequestPath) -> impl Iterator<Item = (&'a str, String)> {
        self.variables.iter().map(|Variable { field, segments }| {
            let value = path.segments.get(segments.clone()).unwrap_or_default().join("/");
            (field.as_str(), value)
        })
    }

    /// The fields that paths of this template say.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// The names of the segments that may be anything, after the collections that they follow: `provider` after `providers`.
    pub(super) fn names(&self) -> Vec<String> {
        let named = |pair: &[Segment]| match pair {
            [Segment::Literal(collection), Segment::Any] => Some(singular(collection)),
            _ => None,
        };
        self.segments.windows(2).filter_map(named).collect()
    }

    /// How far a path is from fitting: 0 = it fits.
    pub(super) fn distance(&self, path: &RequestPath) -> usize {
        let nothing = String::new();
        let longest = self.segments.len().max(path.segments.len());
        let segments = (0..longest).map(|index| {
            let asked = path.segments.get(index).unwrap_or(&nothing);
            match self.segments.get(index) {
                Some(Segment::Literal(literal)) => strsim::levenshtein(literal, asked),
                Some(Segment::Any) if asked.is_empty() => 1,
                Some(Segment::Any) => 0,
                None => asked.len().max(1),
            }
        });
        let verbs = [&self.verb, &path.verb].map(|verb| verb.as_deref().unwrap_or_default());
        let [own, asked] = verbs;
        segments.sum::<usize>() + strsim::levenshtein(own, asked)
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Any),
            _ if text.is_empty() || text.contains(['*', '{', '}', ':']) => None,
            _ => Some(Self::Literal(text.to_owned())),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Any => !text.is_empty(),
        }
    }
}

/// `clientKeys` is a collection of what is called `client_key`.
fn singular(collection: &str) -> String {
    let one = collection.strip_suffix('s').unwrap_or(collection);
    one.chars().fold(String::new(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        name
    })
}

/// As OpenAPI writes it: `/v1/providers/{provider}`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names().into_iter();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::Any => write!(f, "/{{{}}}", names.next().unwrap_or_default())?,
            }
        }
        self.verb.iter().try_for_each(|verb| write!(f, ":{verb}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let (template, path) = (Template::parse(template).unwrap(), RequestPath::parse(path).unwrap());
        let values = || template.values(&path).map(|(field, value)| (field.to_owned(), value)).collect();
        assert_eq!(template.fits(&path), template.distance(&path) == 0);
        template.fits(&path).then(values)
    }

    fn one(field: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(field.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_path_that_fits_says_what_its_variables_are() {
        let nested = "/v1/{credential.name=providers/*/credentials/*}";
        assert_eq!(said(nested, "/v1/providers/a/credentials/b"), one("credential.name", "providers/a/credentials/b"));
        assert_eq!(said("/v1/{name=providers/*}", "/v1/providers/a%20b%3Ac"), one("name", "providers/a b:c"));
        assert_eq!(said("/v1/{name=revisions/*}:rollback", "/v1/revisions/4:rollback"), one("name", "revisions/4"));
        assert_eq!(said("/v1/{name=settings}", "/v1/settings"), one("name", "settings"));
        assert_eq!(said("/v1/config:apply", "/v1/config:apply"), Some(vec![]));
        assert_eq!(said("/v1/{name}", "/v1/a"), one("name", "a"));
    }

    #[test]
    fn what_is_longer_shorter_empty_or_of_another_verb_does_not_fit() {
        for path in
            ["/v1/providers", "/v1/providers/", "/v1/providers/a/", "/v1/providers/a:b", "/providers/a", "", "/"]
        {
            assert_eq!(said("/v1/{name=providers/*}", path), None, "{path}");
        }
        assert_eq!(said("/v1/config:apply", "/v1/config"), None);
        assert_eq!(said("/v1/config:apply", "/v1/config:validate"), None);
    }

    #[test]
    fn an_escape_hides_no_slash_and_is_utf_8() {
        for path in ["/v1/providers/a%2Fb", "/v1/%2fproviders", "/v1/providers/%ff"] {
            assert!(RequestPath::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn two_templates_clash_where_one_path_could_be_both() {
        let clash = |one: &str, other: &str| Template::parse(one).unwrap().clashes(&Template::parse(other).unwrap());
        assert!(clash("/v1/{name=providers/*}", "/v1/{other=*/*}"));
        assert!(clash("/v1/providers", "/v1/providers"));
        assert!(!clash("/v1/{name=providers/*}", "/v1/{name=routes/*}"));
        assert!(!clash("/v1/{name=revisions/*}", "/v1/{name=revisions/*}:rollback"));
    }

    #[test]
    fn a_template_is_shown_with_names_for_what_may_be_anything() {
        let shown = |template| Template::parse(template).unwrap().to_string();
        assert_eq!(shown("/v1/{name=clientKeys/*}:rotate"), "/v1/clientKeys/{client_key}:rotate");
        assert_eq!(shown("/v1/{parent=providers/*}/credentials"), "/v1/providers/{provider}/credentials");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in ["", "v1", "/v1/**", "/v1/{name=**}", "/v1/{name", "/v1//a", "/v1/{a=b:c}"] {
            assert_eq!(Template::parse(bad), None, "{bad}");
        }
    }
}
