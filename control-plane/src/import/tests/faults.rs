//! What is wrong with a file, and how that is said.

use super::super::*;

/// What cannot be read, and what is said of it.
const FAULTS: &[(Format, &str, &str)] = &[
    (
        Format::Redirector,
        "{\"api\": {\"url\": \"http://a\"},\n \"allowed_keys\": \"SECRET\"}",
        "`allowed_keys` (line 2): must be a sequence",
    ),
    (
        Format::Redirector,
        "{\"api\": {\"url\": \"http://a\", \"key\": [\"SECRET\"]}}",
        "`api.key` (line 1): must be a string",
    ),
    (Format::Redirector, "{\"api\": {\"key\": \"SECRET\"}}", "`api` (line 1): missing field `url`"),
    (Format::Redirector, "{\"api\": {\"key\": \"SECRET\"", "line 1, column 32: EOF while parsing an object"),
    (Format::Redirector, "{\"api\": \"SECRET\" \"x\"}", "`api` (line 1): must be an object with url and key"),
    (
        Format::Redirector,
        "{\"api\": {\"url\": \"SECRET\"}}",
        "`api.url`: must be an address such as https://api.example.com/v1",
    ),
    (
        Format::Redirector,
        "{\"api\": {\"url\": \"http://a\"}, \"allowed_keys\": [\"a b SECRET\"]}",
        "`allowed_keys[0]`: a client key is 1 to 512 visible ASCII characters without white space",
    ),
    (
        Format::Aggregator,
        "{\"providers\": [\"a|http://a|k\", \"SECRET\"]}",
        "`providers[1]`: must be `name|base_url|api_key`",
    ),
    (
        Format::Aggregator,
        "{\"providers\": [\"a/b|http://a|SECRET\"]}",
        "`providers[0]`: has a name with `/` or `*`, which no model could be asked for by",
    ),
    (Format::Aggregator, "{\"providers\": [], \"tokens\": [\"SECRET\"]}", "`tokens[0]`: must be `description|token`"),
    (
        Format::Aggregator,
        "{\"providers\": []}",
        "it names no provider, route, redirect or key: that would take everything away, so it is refused",
    ),
    (
        Format::Aggregator,
        "{\"providers\": [], \"supported_models\": [\"(\"]}",
        "`supported_models[0]`: must be a regular expression without look-around and back-references, which are not known here",
    ),
    (
        Format::Aggregator,
        "{\"providers\": [], \"stream_timeout\": 0}",
        "`stream_timeout`: must be from 0.001 to 86,400 seconds",
    ),
    (
        Format::Aggregator,
        "{\"providers\": [], \"log_level\": \"LOUD\"}",
        "`log_level`: must be DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
    (
        Format::Router,
        "{\"routes\": {\"v1\": {\"target_url\": \"http://a\"}}}",
        "`routes.v1`: has the name of one of the gateway's own paths: call it something else",
    ),
    (Format::Router, "{\"routes\": {\"a\": {}}}", "`routes.a`: must have a `target_url`, or `universal_proxy`: true"),
    (
        Format::Router,
        "{\"routes\": {\"a\": {\"target_url\": \"http://a\", \"custom_headers\": {\"x\": 1}}}}",
        "`routes.a.custom_headers.x` (line 1): must be a string",
    ),
    (
        Format::Leaflet,
        "STATIC_API_KEY=SECRET",
        "`UPSTREAM_BASE_URL` is missing: it is the address of the upstream's API, which ends in /v1",
    ),
    (Format::Leaflet, "UPSTREAM_BASE_URL=http://a\nPORT=SECRET", "`PORT`: must be a whole number within reason"),
    (
        Format::Pool,
        "TARGET_API_URL=http://a\nTOKEN_POOL=SECRET",
        "`TOKEN_POOL`: must be a JSON array of texts, such as [\"a\", \"b\"]",
    ),
    (
        Format::Signalbox,
        "{\"providers\": [{\"name\": \"providers/a\", \"nonsense\": \"SECRET\"}]}",
        "`providers[0]` (line 1): unrecognized field name 'nonsense'",
    ),
    (
        Format::Signalbox,
        "credentials:\n- name: x\n  secret: [SECRET]",
        "`credentials[0].secret` (line 3): must be a string",
    ),
    (Format::Signalbox, "credentials: []\n---\ncredentials: [SECRET]", "document 2: `credentials[0]`: must be a map"),
    (
        Format::Signalbox,
        "credentials: []\n---\nroutes: []",
        "it holds several YAML documents: a configuration file is one; `signalbox apply` takes several",
    ),
    (Format::Signalbox, "a: 'SECRET", "line 1, column 4: is no YAML that can be read, and no other format"),
    (Format::Signalbox, "", "it is empty: an empty file would take everything away, so it is refused"),
    (
        Format::Signalbox,
        "settings: {keylessModels: true}",
        "it names no provider, route, redirect or key: that would take everything away, so it is refused",
    ),
];

#[test]
fn a_fault_is_named_with_its_place_and_never_with_what_is_there() {
    let secret = "sk-very-secret";
    for (format, text, expected) in FAULTS {
        let error = Import::read(&text.replace("SECRET", secret), *format).unwrap_err().to_string();
        assert!(!error.contains(secret), "{error}");
        assert_eq!(error, *expected, "{text}");
    }
}
