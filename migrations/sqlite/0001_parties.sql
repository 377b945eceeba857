-- Parties, who is in them, and how they come in. Times are milliseconds since the Unix epoch.

-- Secrets of the server itself: what nonces and tokens are made with.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE parties (
    id            BLOB PRIMARY KEY,
    name          TEXT    NOT NULL,
    host          INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    persistent    INTEGER NOT NULL CHECK (persistent IN (0, 1)),
    max_members   INTEGER NOT NULL CHECK (max_members BETWEEN 1 AND 254),
    net_index     INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

-- A member number and the device it is kept for, also after the device has left.
CREATE TABLE seats (
    party        BLOB    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL CHECK (number BETWEEN 1 AND 254),
    device       BLOB    NOT NULL,
    identity_key BLOB    NOT NULL,
    device_key   BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    joined_at_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    left_at_ms   INTEGER,
    PRIMARY KEY (party, number),
    UNIQUE (party, device)
) STRICT;
CREATE INDEX seats_device ON seats (device) WHERE left_at_ms IS NULL;
CREATE INDEX seats_last_seen ON seats (last_seen_ms) WHERE left_at_ms IS NULL;

CREATE TABLE events (
    party BLOB    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,
    json  TEXT    NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (party, seq)
) STRICT, WITHOUT ROWID;

-- The server stores a hash of what follows from the code, and the party secret sealed under what else follows from it.
CREATE TABLE invites (
    id            BLOB PRIMARY KEY,
    party         BLOB    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    auth_hash     BLOB    NOT NULL UNIQUE,
    sealed_secret BLOB    NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    max_uses      INTEGER,
    uses          INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    CHECK (max_uses IS NULL OR uses <= max_uses)
) STRICT;
CREATE INDEX invites_party ON invites (party);
CREATE INDEX invites_expiry ON invites (expires_at_ms);
