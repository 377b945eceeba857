-- Removing members: new party secrets, bans, and what relays have to be told.

-- Nobody had been removed from a party before: every secret is of the epoch its party has.
ALTER TABLE parties ADD COLUMN secret_epoch BIGINT NOT NULL DEFAULT 1;
UPDATE parties SET secret_epoch = epoch;
-- The epoch of the secret an invite leads to; one that is behind its party's has ended.
ALTER TABLE invites ADD COLUMN secret_epoch BIGINT NOT NULL DEFAULT 1;

-- The party secret of an epoch, sealed by one member to another; the server cannot open it.
CREATE TABLE sealed_secrets (
    party       UUID   NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    to_member   BIGINT NOT NULL,
    epoch       BIGINT NOT NULL,
    from_member BIGINT NOT NULL,
    from_key    BYTEA  NOT NULL,
    sealed      TEXT   NOT NULL,
    PRIMARY KEY (party, to_member, epoch)
);

CREATE TABLE bans (
    party        UUID   NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    device       BYTEA  NOT NULL,
    identity_key BYTEA  NOT NULL,
    name         TEXT   NOT NULL,
    at_ms        BIGINT NOT NULL,
    PRIMARY KEY (party, device)
);

-- Outlives its party. Numbered in the order of commits: the number is taken from the counter below under its row's lock.
CREATE TABLE revocations (
    seq     BIGINT PRIMARY KEY,
    party   UUID   NOT NULL,
    epoch   BIGINT NOT NULL,
    -- Identity keys, 32 bytes each.
    removed BYTEA  NOT NULL,
    at_ms   BIGINT NOT NULL
);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('revocation', 0);
