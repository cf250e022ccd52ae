-- What users used, by day (days since 1970), so that a month is 31 rows however many runs were in it. Documents are
-- model::Used as JSON. Runs that were there before count on the day of their start.
CREATE TABLE usage_day (
    user_id TEXT NOT NULL,
    day     INTEGER NOT NULL,
    doc     TEXT NOT NULL,
    PRIMARY KEY (user_id, day)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_day (user_id, day, doc)
SELECT user_id, started_at / 86400000, json_object(
    'usage', json_object(
        'ACTOR_COMPUTE_UNITS', total(json_extract(doc, '$.usage.ACTOR_COMPUTE_UNITS')),
        'DATASET_READS', sum(coalesce(json_extract(doc, '$.usage.DATASET_READS'), 0)),
        'DATASET_WRITES', sum(coalesce(json_extract(doc, '$.usage.DATASET_WRITES'), 0)),
        'KEY_VALUE_STORE_READS', sum(coalesce(json_extract(doc, '$.usage.KEY_VALUE_STORE_READS'), 0)),
        'KEY_VALUE_STORE_WRITES', sum(coalesce(json_extract(doc, '$.usage.KEY_VALUE_STORE_WRITES'), 0)),
        'KEY_VALUE_STORE_LISTS', sum(coalesce(json_extract(doc, '$.usage.KEY_VALUE_STORE_LISTS'), 0)),
        'REQUEST_QUEUE_READS', sum(coalesce(json_extract(doc, '$.usage.REQUEST_QUEUE_READS'), 0)),
        'REQUEST_QUEUE_WRITES', sum(coalesce(json_extract(doc, '$.usage.REQUEST_QUEUE_WRITES'), 0)),
        'DATA_TRANSFER_INTERNAL_GBYTES', total(json_extract(doc, '$.usage.DATA_TRANSFER_INTERNAL_GBYTES')),
        'DATA_TRANSFER_EXTERNAL_GBYTES', total(json_extract(doc, '$.usage.DATA_TRANSFER_EXTERNAL_GBYTES'))
    ),
    'eventsUsd', total((
        SELECT total(event.value * json_extract(
            run.doc, '$.pricingInfo.pricingPerEvent.actorChargeEvents."' || event.key || '".eventPriceUsd'))
        FROM json_each(run.doc, '$.chargedEventCounts') AS event
    ))
)
FROM run GROUP BY user_id, started_at / 86400000;

-- EXPIRY. When an unnamed storage was last known to be used; it is looked at again when that is long ago.
ALTER TABLE storage ADD COLUMN seen_at INTEGER;
CREATE INDEX storage_unnamed_seen ON storage (user_id, coalesce(seen_at, created_at))
    WHERE name IS NULL AND lives_with IS NULL AND deleted_at IS NULL;
