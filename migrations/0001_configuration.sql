-- The configuration and its history.
--
-- A column holds what the database itself must enforce or an operator looks for: identity, uniqueness, references. Everything else
-- is in `spec`, the proto JSON of what was said, so that a new field is no migration. Times are microseconds since the Unix epoch.
-- References are checked at COMMIT, since one transaction may replace many resources in any order.

-- Every revision there ever was.
CREATE TABLE revisions (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    -- The history that it belongs to; another one begins with a restore.
    epoch TEXT NOT NULL CHECK (epoch <> ''),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    commit_time_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    source_ip TEXT,
    method TEXT NOT NULL,
    comment TEXT NOT NULL
) STRICT;

-- Where history stands: exactly one row.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch TEXT NOT NULL CHECK (epoch <> ''),
    revision INTEGER NOT NULL REFERENCES revisions (revision) DEFERRABLE INITIALLY DEFERRED,
    -- Over everything that data planes hold at this revision.
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;

-- What each revision made of each resource it touched. It never holds a secret.
CREATE TABLE changes (
    revision INTEGER NOT NULL REFERENCES revisions (revision) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL,
    -- The resource afterwards; NULL = removed.
    spec TEXT CHECK (spec IS NULL OR json_valid(spec)),
    PRIMARY KEY (revision, name)
) STRICT, WITHOUT ROWID;

-- The keys that secrets are sealed under, themselves sealed under the master key, which is not in here.
CREATE TABLE data_keys (
    id INTEGER PRIMARY KEY,
    master_key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    create_time_us INTEGER NOT NULL
) STRICT;

-- Every secret of every resource.
CREATE TABLE secrets (
    -- The resource's full name, such as `providers/openai/credentials/main`.
    resource TEXT NOT NULL,
    -- The field's path, such as `secret` or `headers["authorization"].secret`.
    field TEXT NOT NULL,
    -- How often it has been set.
    version INTEGER NOT NULL CHECK (version > 0),
    data_key INTEGER NOT NULL REFERENCES data_keys (id),
    -- A version byte, the nonce, and the ciphertext, which is bound to resource, field and version.
    sealed BLOB NOT NULL,
    PRIMARY KEY (resource, field)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    default_provider TEXT REFERENCES providers (id) DEFERRABLE INITIALLY DEFERRED,
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE providers (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    -- What clients write before the slash.
    model_prefix TEXT NOT NULL UNIQUE CHECK (model_prefix <> ''),
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
    provider TEXT NOT NULL REFERENCES providers (id) DEFERRABLE INITIALLY DEFERRED,
    id TEXT NOT NULL CHECK (id <> ''),
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL,
    PRIMARY KEY (provider, id)
) STRICT;

CREATE TABLE client_keys (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    -- How the key begins; empty = it was imported as a digest.
    display_prefix TEXT NOT NULL,
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE redirects (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    -- The requested model, or a pattern of it.
    source TEXT NOT NULL CHECK (source <> ''),
    -- Which client keys it is for, as a JSON object.
    client_key_labels TEXT NOT NULL CHECK (json_valid(client_key_labels)),
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL,
    UNIQUE (source, client_key_labels)
) STRICT;

-- The providers that a redirect names; a target without one has no row.
CREATE TABLE redirect_targets (
    redirect TEXT NOT NULL REFERENCES redirects (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    position INTEGER NOT NULL CHECK (position >= 0),
    provider TEXT NOT NULL REFERENCES providers (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (redirect, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX redirect_targets_provider ON redirect_targets (provider);

CREATE TABLE routes (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    -- The first path segment that it answers to.
    segment TEXT NOT NULL UNIQUE CHECK (segment <> ''),
    spec TEXT NOT NULL CHECK (json_valid(spec)),
    revision INTEGER NOT NULL,
    update_time_us INTEGER NOT NULL,
    create_time_us INTEGER NOT NULL
) STRICT;
