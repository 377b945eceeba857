-- Parties that admit nobody new.
ALTER TABLE parties ADD COLUMN locked BOOLEAN NOT NULL DEFAULT FALSE;
