-- The invite that the device came by. Nobody's seat of before has one, nor has the founder's.
ALTER TABLE seats ADD COLUMN invite BLOB;
