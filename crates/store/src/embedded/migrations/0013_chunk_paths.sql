-- The field paths of a chunk's items, as a JSON array, where they were gathered when it was pushed: then it is sealed without being unpacked.
ALTER TABLE ds_chunk ADD COLUMN paths TEXT;
