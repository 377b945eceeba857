-- Parties, who is in them, and how they come in. Times are milliseconds since the Unix epoch.

-- Secrets of the server itself: what nonces and tokens are made with.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE parties (
    id            UUID PRIMARY KEY,
    name          TEXT    NOT NULL,
    host          BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    persistent    BOOLEAN NOT NULL,
    max_members   BIGINT NOT NULL CHECK (max_members BETWEEN 1 AND 254),
    net_index     BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- A member number and the device it is kept for, also after the device has left.
CREATE TABLE seats (
    party        UUID    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    number       BIGINT NOT NULL CHECK (number BETWEEN 1 AND 254),
    device       BYTEA    NOT NULL,
    identity_key BYTEA    NOT NULL,
    device_key   BYTEA    NOT NULL,
    name         TEXT    NOT NULL,
    joined_at_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    left_at_ms   BIGINT,
    PRIMARY KEY (party, number),
    UNIQUE (party, device)
);
CREATE INDEX seats_device ON seats (device) WHERE left_at_ms IS NULL;
CREATE INDEX seats_last_seen ON seats (last_seen_ms) WHERE left_at_ms IS NULL;

CREATE TABLE events (
    party UUID    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    seq   BIGINT NOT NULL,
    json  TEXT    NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (party, seq)
);

-- The server stores a hash of what follows from the code, and the party secret sealed under what else follows from it.
CREATE TABLE invites (
    id            UUID PRIMARY KEY,
    party         UUID    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    auth_hash     BYTEA    NOT NULL UNIQUE,
    sealed_secret BYTEA    NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    max_uses      BIGINT,
    uses          BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    CHECK (max_uses IS NULL OR uses <= max_uses)
);
CREATE INDEX invites_party ON invites (party);
CREATE INDEX invites_expiry ON invites (expires_at_ms);
