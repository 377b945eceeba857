-- Parties that admit nobody new.
ALTER TABLE parties ADD COLUMN locked INTEGER NOT NULL DEFAULT 0;
