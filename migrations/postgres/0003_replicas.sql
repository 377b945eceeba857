-- Several servers on one database, and what they say of their members. Servers of before do not look at these tables.

-- Who serves from this database: one row for each run of a server.
CREATE TABLE replicas (
    id         BIGINT PRIMARY KEY,
    name       TEXT   NOT NULL,
    -- SHA-256 of the key it shows.
    pin        BYTEA  NOT NULL,
    -- By this database's clock.
    seen_at_ms BIGINT NOT NULL
);

-- Soft state: the last write of each replica to each key. Whoever merges all rows, in any order, has what holds.
CREATE TABLE soft_writes (
    -- A party, or nil.
    scope        UUID    NOT NULL,
    field        TEXT    NOT NULL,
    replica      BIGINT  NOT NULL,
    -- The hybrid logical clock's: milliseconds times 65536.
    time         BIGINT  NOT NULL,
    -- The last write of another replica that the writer had seen.
    seen_time    BIGINT,
    seen_replica BIGINT,
    -- Nothing is said any more, but that.
    gone         BOOLEAN NOT NULL,
    value        TEXT    NOT NULL,
    PRIMARY KEY (scope, field, replica)
);
CREATE INDEX soft_writes_news ON soft_writes (replica, time);

INSERT INTO counters (name, value) VALUES ('replica', 0);
