-- The way back: what everything was before each revision, secrets that are no longer in use, and the calls that are done once.

-- The caller's id of the call; NULL = none.
ALTER TABLE revisions ADD COLUMN request_id TEXT;
-- The revision whose content it brought back; NULL = it is no rollback.
ALTER TABLE revisions ADD COLUMN rollback_of INTEGER;
-- How many resources it touched.
ALTER TABLE revisions ADD COLUMN change_count INTEGER NOT NULL DEFAULT 0 CHECK (change_count >= 0);
-- 1 = it is being forgotten, a piece at a time, and is there for nobody any more.
ALTER TABLE revisions ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1));

-- Each change holds both sides, so that any kept revision can be had by undoing those after it, and the oldest can go without a trace.
-- The resource before; NULL = there was none.
ALTER TABLE changes ADD COLUMN before_spec TEXT CHECK (before_spec IS NULL OR json_valid(before_spec));
-- What the control plane had written onto that version; NULL as `before_spec` is.
ALTER TABLE changes ADD COLUMN before_revision INTEGER;
ALTER TABLE changes ADD COLUMN before_update_time_us INTEGER;
ALTER TABLE changes ADD COLUMN before_create_time_us INTEGER;
-- How often its secret had been set; NULL = that was not kept yet.
ALTER TABLE changes ADD COLUMN before_secret_version INTEGER;
-- The fields of the secrets that were set or dropped, as a JSON array of paths; NULL = that was not kept yet.
ALTER TABLE changes ADD COLUMN secret_fields TEXT CHECK (secret_fields IS NULL OR json_valid(secret_fields));

-- To find what touched a resource.
CREATE INDEX changes_name ON changes (name, revision);

UPDATE revisions SET change_count = (SELECT count(*) FROM changes WHERE changes.revision = revisions.revision);
UPDATE changes SET (before_spec, before_revision) = (
    SELECT earlier.spec, earlier.revision FROM changes AS earlier
    WHERE earlier.name = changes.name AND earlier.revision < changes.revision
    ORDER BY earlier.revision DESC LIMIT 1
);
UPDATE changes SET before_revision = NULL WHERE before_spec IS NULL;
UPDATE changes SET
    before_update_time_us = (
        SELECT commit_time_us FROM revisions WHERE revisions.revision = changes.before_revision
    ),
    -- Made by the last change before which there was none.
    before_create_time_us = (
        SELECT revisions.commit_time_us FROM changes AS made JOIN revisions USING (revision)
        WHERE made.name = changes.name AND made.revision <= changes.before_revision
            AND made.before_spec IS NULL AND made.spec IS NOT NULL
        ORDER BY made.revision DESC LIMIT 1
    )
WHERE before_revision IS NOT NULL;

-- The revision that set it; NULL = that was not kept yet.
ALTER TABLE secrets ADD COLUMN revision INTEGER;

-- Secrets that were in force at a kept revision and no longer are.
CREATE TABLE past_secrets (
    resource TEXT NOT NULL,
    field TEXT NOT NULL,
    -- The revision that replaced or dropped it.
    until INTEGER NOT NULL,
    -- The revision that set it; NULL = that was not kept yet.
    revision INTEGER,
    version INTEGER NOT NULL CHECK (version > 0),
    data_key INTEGER NOT NULL REFERENCES data_keys (id),
    -- As in `secrets`.
    sealed BLOB NOT NULL,
    PRIMARY KEY (resource, field, until)
) STRICT, WITHOUT ROWID;
CREATE INDEX past_secrets_until ON past_secrets (until);

-- The calls that their callers gave an id, so that a repetition is answered as the first was.
CREATE TABLE requests (
    actor TEXT NOT NULL,
    id TEXT NOT NULL CHECK (id <> ''),
    method TEXT NOT NULL,
    -- The SHA-256 of what was sent, sealed: what was sent may hold a password that can be guessed.
    digest BLOB NOT NULL,
    -- The answer's protobuf, without secrets.
    answer BLOB NOT NULL,
    commit_time_us INTEGER NOT NULL,
    PRIMARY KEY (actor, id)
) STRICT;
CREATE INDEX requests_commit_time ON requests (commit_time_us);
