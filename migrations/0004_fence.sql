-- What makes it safe to bring a backup back.

-- Over the rows themselves, however data planes are told of them: a build that tells them in other bytes still knows that nothing was
-- lost. NULL = this step found the database so; it is filled in when the database is next opened.
ALTER TABLE head ADD COLUMN content BLOB CHECK (content IS NULL OR length(content) = 32);

-- While there is a row, this history must not take the place of what data planes hold. There is at most one.
CREATE TABLE fences (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Where the history was cut off that this one goes on from.
    epoch TEXT NOT NULL CHECK (epoch <> ''),
    revision INTEGER NOT NULL CHECK (revision > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    create_time_us INTEGER NOT NULL
) STRICT;
