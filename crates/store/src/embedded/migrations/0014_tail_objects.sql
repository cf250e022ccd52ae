-- The first chunks of a tail, if they are large, lie in an object that becomes the tail's segment.
ALTER TABLE ds_tail ADD COLUMN object TEXT;     -- its key; NULL if there is none
ALTER TABLE ds_chunk ADD COLUMN at INTEGER;     -- where the chunk begins in that object, which has its body; NULL if the row has it
ALTER TABLE ds_chunk ADD COLUMN bytes INTEGER;  -- and how many bytes it takes there
ALTER TABLE counter ADD COLUMN tail_packed INTEGER NOT NULL DEFAULT 0;
