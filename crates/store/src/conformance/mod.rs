//! What every backend must do, as cases that run against any [`Store`](crate::Store).
//!
//! A case is a function that is given an empty store. [`conformance_tests!`](crate::conformance_tests) makes a test of each.
//! A case that waits for something done in the background calls [`Upkeep::run`](crate::Upkeep::run).

#![expect(missing_docs, reason = "the names of cases are sentences")]
#![expect(clippy::unwrap_used, reason = "cases are tests, though they are compiled without `cfg(test)`")]

pub mod datasets;
pub mod fixtures;
pub mod records;
pub mod storages;

/// Makes a test of every case. `$open` is an async function in scope that returns something with a field `store`, which
/// keeps the [`Store`](crate::Store) alive that the case is given.
#[macro_export]
macro_rules! conformance_tests {
    ($open:ident) => {
        $crate::conformance_cases! { $open;
            storages:
                a_storage_is_found_by_id_and_by_name_in_any_case,
                concurrent_calls_for_one_name_get_one_storage,
                a_storage_takes_new_settings_but_not_a_taken_name,
                a_deleted_storage_is_gone_at_once_and_its_name_is_free,
                lists_are_paged_by_creation_with_exact_totals,
                storages_of_a_run_are_found_by_it,
                reads_are_counted_and_never_touch_the_time_of_change;
            datasets:
                items_come_back_as_they_were_pushed,
                windows_are_taken_from_both_ends,
                a_window_is_fixed_when_it_is_asked_for,
                concurrent_pushes_do_not_mix,
                a_large_push_is_read_in_bounded_chunks,
                items_stay_where_they_are_when_they_are_sealed,
                counters_follow_pushes,
                fields_are_those_of_all_items_sorted,
                an_unknown_or_deleted_dataset_is_not_found;
            records:
                a_record_comes_back_with_all_that_is_known_of_it,
                a_record_of_any_size_is_replaced_whole,
                a_stream_that_breaks_off_stores_nothing,
                a_streamed_record_equals_a_whole_one,
                an_open_record_is_read_to_its_end_whatever_becomes_of_it,
                parts_of_records_are_read,
                deleting_tells_whether_there_was_a_record,
                the_etag_changes_with_the_representation,
                keys_are_listed_in_byte_order_behind_a_key_and_below_prefixes,
                record_counters_follow_changes;
        }
    };
}

/// See [`conformance_tests!`](crate::conformance_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($open:ident; $($noun:ident: $($case:ident),+;)+) => {
        $(mod $noun {
            $(#[tokio::test]
            async fn $case() {
                let opened = super::$open().await;
                $crate::conformance::$noun::$case(&opened.store).await;
            })+
        })+
    };
}
