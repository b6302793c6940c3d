-- Who may call the admin API, and who did what. None of it is configuration: it is in no revision and goes to no data plane.

CREATE TABLE admin_tokens (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    -- What it is known by: the digest of its secret, or the name in a client certificate.
    sha256 BLOB UNIQUE CHECK (length(sha256) = 32),
    certificate_name TEXT UNIQUE CHECK (certificate_name <> ''),
    -- How the secret begins; empty = it is a certificate.
    display_prefix TEXT NOT NULL,
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    -- How often it was changed.
    version INTEGER NOT NULL CHECK (version > 0),
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL,
    CHECK ((sha256 IS NULL) <> (certificate_name IS NULL))
) STRICT;

-- Every change and every refusal. Nothing here refers to a revision or a token: an entry outlives both.
CREATE TABLE audit_entries (
    -- Never used again, even when the latest entries are gone.
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time_us INTEGER NOT NULL,
    -- Empty = nobody that is known.
    actor TEXT NOT NULL,
    -- NULL = the control plane itself.
    source_ip TEXT,
    method TEXT NOT NULL,
    -- Empty = several, or it never came to that.
    resource TEXT NOT NULL,
    -- The gRPC status code's name.
    code TEXT NOT NULL,
    -- Empty = it was done.
    reason TEXT NOT NULL,
    -- NULL = it made none.
    revision INTEGER CHECK (revision > 0),
    -- Empty = none.
    request_id TEXT NOT NULL,
    -- How many like it came in the same second and have no row of their own.
    repeated_count INTEGER NOT NULL CHECK (repeated_count >= 0)
) STRICT;
CREATE INDEX audit_entries_time ON audit_entries (time_us);
