-- Removing members: new party secrets, bans, and what relays have to be told.

-- Nobody had been removed from a party before: every secret is of the epoch its party has.
ALTER TABLE parties ADD COLUMN secret_epoch INTEGER NOT NULL DEFAULT 1;
UPDATE parties SET secret_epoch = epoch;
-- The epoch of the secret an invite leads to; one that is behind its party's has ended.
ALTER TABLE invites ADD COLUMN secret_epoch INTEGER NOT NULL DEFAULT 1;

-- The party secret of an epoch, sealed by one member to another; the server cannot open it.
CREATE TABLE sealed_secrets (
    party       BLOB    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    to_member   INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    from_member INTEGER NOT NULL,
    from_key    BLOB    NOT NULL,
    sealed      TEXT    NOT NULL,
    PRIMARY KEY (party, to_member, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE bans (
    party        BLOB    NOT NULL REFERENCES parties (id) ON DELETE CASCADE,
    device       BLOB    NOT NULL,
    identity_key BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    at_ms        INTEGER NOT NULL,
    PRIMARY KEY (party, device)
) STRICT, WITHOUT ROWID;

-- Outlives its party. Numbered in the order of commits: the number is taken from the counter below under its row's lock.
CREATE TABLE revocations (
    seq     INTEGER PRIMARY KEY,
    party   BLOB    NOT NULL,
    epoch   INTEGER NOT NULL,
    -- Identity keys, 32 bytes each.
    removed BLOB    NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('revocation', 0);
