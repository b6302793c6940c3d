//! Where a request points: a path is brought into one normal form, and only that form is matched and passed on. It knows the
//! gateway's own paths, not what is behind them.

use std::borrow::Cow;

use memchr::memchr_iter;
use signalbox_routing::Endpoint;

/// A path in its normal form (RFC 3986, section 6.2.2): what need not be escaped is not, and other escapes are in upper case.
/// It begins with a slash and has no segment that is empty (but for the last, and for the one of a `://`), `.` or `..`, however it
/// may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path<'a>(Cow<'a, str>);

/// Why a path has no normal form that could be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Not a path at all, such as `*`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    Escape,
    /// A control character, a backslash, or anything beyond ASCII that is not escaped.
    #[error("the path has a character that must be escaped, or must not be there at all")]
    Character,
    /// A segment that would lead elsewhere.
    #[error("the path has a `.` or `..` segment")]
    Dot,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    Empty,
}

/// The gateway's own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page<'p> {
    /// `/`
    About,
    /// `/health`
    Health,
    /// `/healthz`
    Alive,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/docs`, and the files that belong to it by their names.
    Docs(&'p str),
    /// `/openapi.json`
    OpenApi,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    /// One of the gateway's own pages.
    Page(Page<'p>),
    /// `/v1/models`
    Models,
    /// `/v1/models/{id}`, the id still escaped.
    Model(&'p str),
    /// `/v1/reload`
    Reload,
    /// An endpoint that carries a model.
    Endpoint(Endpoint),
    /// What a provider keeps.
    Kept(Kept<'p>),
    /// Below `/v1`, but nothing of ours.
    Nowhere,
    /// Possibly a route's: the first segment, and the rest with its leading slash.
    Mount(&'p str, &'p str),
}

/// What kind of thing a provider keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// `/v1/files`
    Files,
    /// `/v1/batches`
    Batches,
    /// `/v1/responses/{id}`
    Responses,
}

/// Something that a provider keeps, or all of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept<'p> {
    /// What kind of thing it is.
    pub(crate) shelf: Shelf,
    /// Its id, still escaped; `None` = all of them.
    pub(crate) id: Option<&'p str>,
    /// What of it is asked for, with a leading slash; empty = it itself.
    part: &'static str,
    pattern: &'static str,
    allow: &'static str,
}

/// What can be done with all that is on a shelf.
const LIST: &str = "GET, HEAD, POST";

/// What can be asked of each shelf: a part of what is kept there, where that is, and for which methods.
const PARTS: [(Shelf, &str, &str, &str); 6] = [
    (Shelf::Files, "", "/files/{file}", "GET, HEAD, DELETE"),
    (Shelf::Files, "/content", "/files/{file}/content", "GET, HEAD"),
    (Shelf::Batches, "", "/batches/{batch}", "GET, HEAD"),
    (Shelf::Batches, "/cancel", "/batches/{batch}/cancel", "POST"),
    (Shelf::Responses, "", "/responses/{response}", "GET, HEAD, DELETE"),
    (Shelf::Responses, "/cancel", "/responses/{response}/cancel", "POST"),
];

/// The items of a response's input, which nobody else has.
const INPUT_ITEMS: (Shelf, &str, &str, &str) =
    (Shelf::Responses, "/input_items", "/responses/{response}/input_items", "GET, HEAD");

impl Shelf {
    const ALL: [Self; 3] = [Self::Files, Self::Batches, Self::Responses];

    const fn path(self) -> &'static str {
        match self {
            Self::Files => "/files",
            Self::Batches => "/batches",
            Self::Responses => "/responses",
        }
    }
}

impl<'p> Kept<'p> {
    fn at(path: &'p str) -> Option<Self> {
        let shelf = Shelf::ALL.into_iter().find(|shelf| strip_segments(path, shelf.path()).is_some())?;
        let rest = strip_segments(path, shelf.path())?;
        if rest.is_empty() {
            // A response is made at an endpoint, and never listed.
            let lists = shelf != Shelf::Responses;
            let all = Self { shelf, id: None, part: "", pattern: shelf.path(), allow: LIST };
            return lists.then_some(all);
        }
        let rest = rest.strip_prefix('/')?;
        let (id, part) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let parts = PARTS.iter().chain([&INPUT_ITEMS]);
        let (_, part, pattern, allow) =
            parts.copied().find(|(of, known, ..)| *of == shelf && *known == part).filter(|_| !id.is_empty())?;
        Some(Self { shelf, id: Some(id), part, pattern, allow })
    }

    /// Every place that there is, as a path pattern, and the methods that there are.
    pub(crate) fn places() -> impl Iterator<Item = (&'static str, &'static str)> {
        let lists = [Shelf::Files, Shelf::Batches].into_iter().map(|shelf| (shelf.path(), LIST));
        lists.chain(PARTS.into_iter().chain([INPUT_ITEMS]).map(|(_, _, pattern, allow)| (pattern, allow)))
    }

    /// Which methods there are, as `Allow` lists them.
    pub(crate) const fn allow(self) -> &'static str {
        self.allow
    }

    /// It as a path pattern.
    pub(crate) const fn pattern(self) -> &'static str {
        self.pattern
    }

    /// Where it is below a provider's root, if it is called so there.
    pub(crate) fn path(self, id: Option<&str>) -> String {
        let (slash, id) = id.map_or(("", ""), |id| ("/", id));
        format!("{}{slash}{id}{}", self.shelf.path(), self.part)
    }

    /// Whether a list that it answers with is one of things that are kept, too.
    pub(crate) fn is_list_of_its_own(self) -> bool {
        self.part != INPUT_ITEMS.1
    }
}

impl<'a> Path<'a> {
    /// Normalises a path.
    ///
    /// # Errors
    /// [`Error`] where it could mean one thing here and another upstream.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, Error> {
        if !raw.starts_with('/') {
            return Err(Error::NotAbsolute);
        }
        if raw.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err(Error::Character);
        }
        let Some((front, back)) = split_scheme(raw) else { return Ok(Self(normal(raw)?)) };
        Ok(Self(Cow::Owned(format!("{}/{}", normal(front)?, normal(back)?))))
    }

    /// What is there, seen from below the base path, which may be left out.
    pub(crate) fn place(&self, base: &str) -> Place<'_> {
        let whole = self.0.as_ref();
        let below = strip_segments(whole, base).unwrap_or(whole);
        match below {
            "" | "/" => return Place::Page(Page::About),
            "/health" => return Place::Page(Page::Health),
            "/healthz" => return Place::Page(Page::Alive),
            "/readyz" => return Place::Page(Page::Ready),
            "/metrics" => return Place::Page(Page::Metrics),
            "/openapi.json" => return Place::Page(Page::OpenApi),
            _ => {}
        }
        if let Some(file) = strip_segments(below, "/docs") {
            return Place::Page(Page::Docs(file.strip_prefix('/').unwrap_or(file)));
        }
        // A base path that holds the version leaves nothing of it for clients to write.
        let api = if base.ends_with("/v1") { Some(below) } else { strip_segments(below, "/v1") };
        match api.map(in_api) {
            Some(place) => place,
            None => mount(below),
        }
    }
}

fn normal(raw: &str) -> Result<Cow<'_, str>, Error> {
    let path = if raw.contains('%') { Cow::Owned(unescape(raw)?) } else { Cow::Borrowed(raw) };
    check_segments(&path)?;
    Ok(path)
}

/// Splits a path between the slashes of the first `http://` or `https://` that begins a segment: the one place where a path may
/// have two in a row, as a universal route's address does.
fn split_scheme(raw: &str) -> Option<(&str, &str)> {
    let at = memchr_iter(b':', raw.as_bytes()).find(|at| raw.get(*at..).is_some_and(|rest| rest.starts_with("://")))?;
    let (front, back) = (raw.get(..=at)?, raw.get(at + 2..)?);
    let scheme = raw.get(..at)?.rsplit('/').next()?;
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some((front, back))
}

fn in_api(path: &str) -> Place<'_> {
    if path == "/reload" {
        return Place::Reload;
    }
    match path.strip_prefix("/models") {
        Some("") => return Place::Models,
        Some(rest) => {
            if let Some(id) = rest.strip_prefix('/').filter(|id| !id.is_empty()) {
                return Place::Model(id);
            }
        }
        None => {}
    }
    let kept = || Kept::at(path).map_or(Place::Nowhere, Place::Kept);
    Endpoint::from_path(path).map_or_else(kept, Place::Endpoint)
}

fn mount(path: &str) -> Place<'_> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (segment, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    Place::Mount(segment, rest)
}

/// The path without the prefix, which must end where a segment does.
fn strip_segments<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Decodes the escapes of unreserved characters and writes the others in upper case.
fn unescape(raw: &str) -> Result<String, Error> {
    let mut path = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('%') {
        let digits = escape.get(..2).ok_or(Error::Escape)?;
        // `from_str_radix` alone would take a sign for a digit.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Error::Escape);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| Error::Escape)?;
        rest = escape.get(2..).unwrap_or_default();
        path.push_str(plain);
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            byte if byte.is_ascii_control() => return Err(Error::Character),
            b'%' if hides_a_separator(rest) => return Err(Error::Escape),
            _ => {
                path.push('%');
                path.push_str(&digits.to_ascii_uppercase());
            }
        }
    }
    path.push_str(rest);
    Ok(path)
}

/// What a part of a normal path stands for; `None` = not UTF-8.
pub(crate) fn decode(escaped: &str) -> Option<Cow<'_, str>> {
    let Some((plain, rest)) = escaped.split_once('%') else { return Some(Cow::Borrowed(escaped)) };
    let mut bytes = plain.as_bytes().to_vec();
    for escape in rest.split('%') {
        bytes.push(u8::from_str_radix(escape.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(escape.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Whether what follows an escaped percent sign would become a dot or a slash for whoever decodes more than once.
fn hides_a_separator(mut rest: &str) -> bool {
    while let Some(deeper) = rest.strip_prefix("25") {
        rest = deeper;
    }
    rest.get(..2).is_some_and(|digits| ["2e", "2f", "5c"].iter().any(|hidden| digits.eq_ignore_ascii_case(hidden)))
}

/// Refuses segments that lead elsewhere. An escaped slash or backslash counts as a separator, since the upstream may take it for one.
fn check_segments(path: &str) -> Result<(), Error> {
    let separated =
        if path.contains('%') { Cow::Owned(path.replace("%2F", "/").replace("%5C", "/")) } else { Cow::Borrowed(path) };
    let mut segments = separated.as_bytes().split(|byte| *byte == b'/');
    // What is before the leading slash.
    segments.next();
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        // Some servers cut a segment at its first semicolon.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or(segment);
        if matches!(name, b"." | b"..") {
            return Err(Error::Dot);
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Error::Empty);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(path: &str, base: &str) -> String {
        Path::parse(path).map_or_else(|error| format!("{error:?}"), |path| format!("{:?}", path.place(base)))
    }

    #[test]
    fn our_own_paths_are_found_with_and_without_the_base_path() {
        for (path, expected) in [
            ("/", "Page(About)"),
            ("/health", "Page(Health)"),
            ("/healthz", "Page(Alive)"),
            ("/readyz", "Page(Ready)"),
            ("/metrics", "Page(Metrics)"),
            ("/docs", r#"Page(Docs(""))"#),
            ("/docs/", r#"Page(Docs(""))"#),
            ("/docs/index.css", r#"Page(Docs("index.css"))"#),
            ("/openapi.json", "Page(OpenApi)"),
            ("/docsx", r#"Mount("docsx", "")"#),
            ("/v1/models", "Models"),
            ("/v1/reload", "Reload"),
            ("/v1/reload/", "Nowhere"),
            ("/v1/models/openai/gpt-4o", r#"Model("openai/gpt-4o")"#),
            ("/v1/models/openai%2fgpt:4o", r#"Model("openai%2Fgpt:4o")"#),
            ("/v1/chat/completions", "Endpoint(ChatCompletions)"),
            ("/%76%31/embeddings", "Endpoint(Embeddings)"),
            ("/v1", "Nowhere"),
            ("/v1/", "Nowhere"),
            ("/v1/chat", "Nowhere"),
            ("/v1/chat%2Fcompletions", "Nowhere"),
            ("/v1/models/", "Nowhere"),
            ("/v1/modelsx", "Nowhere"),
            ("/openai", r#"Mount("openai", "")"#),
            ("/openai/", r#"Mount("openai", "/")"#),
            ("/any/https://a.example/b%7e", r#"Mount("any", "/https://a.example/b~")"#),
            ("/any/HTTP://a.example", r#"Mount("any", "/HTTP://a.example")"#),
            ("/v1/https://a.example/", "Nowhere"),
            ("/openai/v1/chat/completions", r#"Mount("openai", "/v1/chat/completions")"#),
            ("/v10/models", r#"Mount("v10", "/models")"#),
        ] {
            assert_eq!(place(path, ""), expected, "{path}");
            assert_eq!(place(path, "/api/llm"), expected, "{path}, left out");
            assert_eq!(place(&format!("/api/llm{path}"), "/api/llm"), expected, "{path}, below the base path");
        }
    }

    #[test]
    fn what_providers_keep_has_its_places() {
        for (path, id, pattern, allow) in [
            ("/v1/files", None, "/files", "GET, HEAD, POST"),
            ("/v1/files/file-1~a", Some("file-1~a"), "/files/{file}", "GET, HEAD, DELETE"),
            ("/v1/files/a%2fb:c%7ea", Some("a%2Fb:c~a"), "/files/{file}", "GET, HEAD, DELETE"),
            ("/v1/files/f/content", Some("f"), "/files/{file}/content", "GET, HEAD"),
            ("/v1/batches", None, "/batches", "GET, HEAD, POST"),
            ("/v1/batches/b", Some("b"), "/batches/{batch}", "GET, HEAD"),
            ("/v1/batches/b/cancel", Some("b"), "/batches/{batch}/cancel", "POST"),
            ("/v1/responses/r", Some("r"), "/responses/{response}", "GET, HEAD, DELETE"),
            ("/v1/responses/r/cancel", Some("r"), "/responses/{response}/cancel", "POST"),
            ("/v1/responses/r/input_items", Some("r"), "/responses/{response}/input_items", "GET, HEAD"),
        ] {
            let parsed = Path::parse(path).unwrap();
            let Place::Kept(kept) = parsed.place("") else { panic!("{path} is another place") };
            assert_eq!((kept.id, kept.pattern(), kept.allow()), (id, pattern, allow), "{path}");
        }
        for path in [
            "/v1/files/",
            "/v1/files/f/cancel",
            "/v1/files/a/b/content",
            "/v1/batches/b/",
            "/v1/filesx",
            "/v1/responses/",
        ] {
            assert_eq!(place(path, ""), "Nowhere", "{path}");
        }
    }

    #[test]
    fn a_base_path_ends_where_a_segment_does() {
        assert_eq!(place("/api/llmx/v1/models", "/api/llm"), r#"Mount("api", "/llmx/v1/models")"#);
        assert_eq!(place("/api/llm", "/api/llm"), "Page(About)");
    }

    #[test]
    fn a_base_path_may_hold_the_version() {
        assert_eq!(place("/v1/models", "/v1"), "Models");
        assert_eq!(place("/models", "/v1"), "Models");
        assert_eq!(place("/openai/v1/chat/completions", "/openai/v1"), "Endpoint(ChatCompletions)");
    }

    #[test]
    fn nothing_leaves_a_mount() {
        for path in [
            "*",
            "",
            "v1/models",
            "/v1/../admin/x",
            "/openai/..",
            "/openai/.",
            "/openai/./x",
            "/openai/%2e%2e/admin",
            "/openai/%2E./admin",
            "/openai/.%2e/admin",
            "/openai/..%2fadmin",
            "/openai/..%5cadmin",
            "/openai/%252e%252e/admin",
            "/openai/%25252e%25252e/admin",
            "/openai/..%252fadmin",
            "/openai/..;/admin",
            "/openai//admin",
            "/openai/https:///admin",
            "/openai/https://a//admin",
            "/openai/https://a/../admin",
            "/openai/https://../admin",
            "/openai/../https://a/admin",
            "/openai/https://a/https://b/admin",
            "/openai/xhttps://a/admin",
            "/openai/ftp://a/admin",
            "/openai/https:%2f%2fa/admin",
            "//openai/admin",
            "/openai/%2f%2fadmin",
            "/openai\\..\\admin",
            "/openai/%00",
            "/openai/%0d%0aX-Evil:1",
            "/openai/%7f",
            "/openai/%",
            "/openai/%4",
            "/openai/%zz",
            "/openai/%+1",
            "/openai/é",
            "/openai/a b",
        ] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_harmless_goes_on_in_its_normal_form() {
        for (raw, expected) in [
            ("/openai/a%2fb", "/openai/a%2Fb"),
            ("/openai/%41%7e", "/openai/A~"),
            ("/openai/100%25", "/openai/100%25"),
            ("/openai/...", "/openai/..."),
            ("/openai/a..b", "/openai/a..b"),
            ("/openai/a;b=c", "/openai/a;b=c"),
            ("/openai/%C3%A9", "/openai/%C3%A9"),
        ] {
            assert_eq!(Path::parse(raw).unwrap().0, expected);
        }
    }

    #[test]
    fn a_models_id_is_decoded() {
        for (escaped, expected) in [
            ("openai/gpt-4o", Some("openai/gpt-4o")),
            ("openai%2Fgpt:4o", Some("openai/gpt:4o")),
            ("Claude%204-Default%25", Some("Claude 4-Default%")),
            ("%C3%A9", Some("é")),
            ("%C3", None),
        ] {
            assert_eq!(decode(escaped).as_deref(), expected, "{escaped}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(raw in "/[a-c./%25fFeE;]{0,24}") {
            if let Ok(path) = Path::parse(&raw) {
                prop_assert_eq!(Path::parse(&path.0), Ok(path.clone()));
                prop_assert!(!path.0.split('/').any(|segment| segment == ".."));
            }
        }
    }
}
