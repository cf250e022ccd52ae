//! What every backend must do, as cases that run against any [`Store`](crate::Store).
//!
//! A case is a function that is given an empty store. [`conformance_tests!`](crate::conformance_tests) makes a test of each.
//! A case that waits for something done in the background calls [`Upkeep::run`](crate::Upkeep::run).

#![expect(missing_docs, reason = "the names of cases are sentences")]
#![expect(clippy::unwrap_used, reason = "cases are tests, though they are compiled without `cfg(test)`")]

pub mod actors;
pub mod builds;
pub mod datasets;
pub mod fixtures;
pub mod jobs;
pub mod logs;
pub mod queues;
pub mod records;
pub mod runs;
pub mod schedules;
pub mod storages;
pub mod tasks;
pub mod users;
pub mod webhooks;

/// Makes a test of every case. `$open` is an async function in scope that returns something with a field `store`, which
/// keeps the [`Store`](crate::Store) alive that the case is given, and a field `clock`, the
/// [`StoppedClock`](fixtures::StoppedClock) that it goes by.
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
                a_note_stays_as_long_as_the_dataset,
                items_come_back_as_they_were_pushed,
                windows_are_taken_from_both_ends,
                a_window_is_fixed_when_it_is_asked_for,
                concurrent_pushes_do_not_mix,
                joined_items_have_commas_for_line_feeds,
                a_large_push_is_read_in_bounded_chunks,
                items_stay_where_they_are_when_they_are_sealed,
                items_come_packed_from_wherever_they_are,
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
                every_page_of_keys_is_that_of_a_sorted_list,
                records_are_those_of_a_map_whatever_happens_to_them,
                deleting_tells_whether_there_was_a_record,
                the_etag_changes_with_the_representation,
                keys_are_listed_in_byte_order_behind_a_key_and_below_prefixes,
                record_counters_follow_changes;
            users:
                a_user_is_found_by_id_and_by_name_in_any_case,
                users_are_listed_oldest_first,
                a_token_opens_its_user_until_it_is_taken_back,
                a_pair_of_user_and_actor_has_one_input_key,
                a_changed_user_is_seen_by_every_way_to_it;
            actors:
                an_actor_is_found_by_id_and_by_its_owners_name_in_any_case,
                an_actor_is_changed_whole_or_not_at_all,
                versions_keep_their_order_and_their_source,
                a_version_is_changed_by_many_at_once_without_loss,
                statistics_are_counted_apart_from_the_actor,
                actors_are_listed_with_those_that_the_user_has_run,
                the_store_front_shows_public_actors_in_every_order,
                the_store_front_is_searched_by_words_the_best_places_first,
                the_store_front_knows_the_prices_in_force,
                a_deleted_actor_takes_versions_and_builds_along_but_no_runs;
            tasks:
                a_task_is_found_by_id_and_by_its_owners_name_in_any_case,
                a_task_is_changed_whole_or_not_at_all,
                an_input_of_any_size_comes_back_as_it_was,
                tasks_are_listed_by_creation_without_their_inputs,
                runs_of_a_task_are_counted_for_it,
                a_deleted_task_is_gone_and_its_name_is_free,
                a_deleted_actor_takes_its_tasks_along;
            schedules:
                a_schedule_is_found_by_id_and_by_its_owners_name_in_any_case,
                inputs_of_actions_of_any_size_come_back_and_are_in_no_list,
                a_schedule_is_changed_whole_or_not_at_all,
                schedules_are_listed_by_creation,
                what_is_due_comes_in_its_order,
                an_invocation_is_noted_once_and_only_for_the_time_that_is_due,
                a_log_keeps_its_newest_entries,
                a_deleted_schedule_is_gone_with_its_log;
            builds:
                builds_are_numbered_by_version_and_no_number_comes_twice,
                a_build_comes_back_with_its_source_and_all_that_it_found,
                a_tag_moves_with_the_status_of_a_build,
                builds_are_listed_by_start_and_those_of_an_owner_together,
                builds_that_have_not_ended_are_known;
            runs:
                a_run_is_made_with_its_storages_and_its_input,
                a_run_that_cannot_be_made_leaves_nothing,
                of_runs_with_one_id_only_the_first_is_made,
                changes_of_a_run_by_many_at_once_are_not_lost,
                runs_are_listed_by_start_with_ties_by_id,
                every_condition_of_a_list_must_hold,
                totals_follow_every_change,
                runs_that_have_not_ended_are_known,
                a_deleted_run_takes_its_log_and_storages_along,
                old_runs_are_those_that_have_ended_but_for_the_newest;
            logs:
                a_log_that_nobody_wrote_is_empty,
                lines_of_server_and_job_stand_in_the_order_of_writing,
                runs_and_builds_have_logs_of_their_own,
                a_log_reads_the_same_from_any_offset_sealed_or_not,
                a_reader_goes_on_while_a_log_is_sealed_and_grows,
                of_a_deleted_job_no_log_is_kept;
            webhooks:
                a_webhook_is_changed_whole_or_not_at_all,
                a_repeated_key_gets_the_webhook_that_is_there,
                webhooks_are_listed_by_what_they_wait_for,
                what_happens_to_a_run_is_told_to_all_who_wait_for_it,
                what_happens_to_a_build_is_told_to_all_who_wait_for_it,
                an_ad_hoc_webhook_is_told_of_each_event_once,
                webhooks_of_a_run_are_made_with_it,
                what_it_happened_to_is_shown_as_it_was_then,
                targets_take_turns,
                dispatches_are_listed_with_exact_totals,
                of_a_deleted_webhook_nothing_is_sent,
                webhooks_go_with_their_actor_task_or_run,
                whoever_waits_for_dispatches_is_woken;
        }
        $crate::conformance_cases_in_time! { $open;
            storages:
                unnamed_storages_expire_when_nobody_has_used_them_for_long;
            actors:
                prices_come_into_force_in_the_store_front;
            runs:
                what_a_user_used_is_known_by_day_and_outlives_its_runs,
                a_repeated_key_changes_nothing_while_it_is_remembered;
            webhooks:
                attempts_are_written_down_until_the_last,
                old_dispatches_expire_once_they_have_ended;
            queues:
                requests_come_back_as_they_were_given,
                the_head_is_first_in_first_out_and_last_in_first_out_in_front,
                adding_again_neither_moves_nor_changes_a_request,
                a_key_that_comes_twice_in_a_batch_is_added_once,
                a_request_added_as_handled_is_never_in_the_head,
                of_many_who_add_one_key_only_one_is_the_first,
                an_update_replaces_or_inserts_and_moves,
                handled_requests_leave_the_head_and_may_come_back,
                locked_requests_are_seen_by_nobody_until_the_lock_ends,
                an_expired_lock_stands_where_it_ended,
                whether_anything_is_locked_is_exact,
                two_clients_never_get_the_same_request,
                a_lock_is_prolonged_by_its_holder_only,
                a_prolonged_lock_ends_where_the_last_call_wants_it,
                the_run_of_a_holder_is_a_holder_too,
                a_request_is_given_back_to_the_end_or_the_front,
                an_update_takes_any_lock_away,
                unlocking_all_puts_everything_back_where_it_was,
                the_locks_of_a_run_die_with_it_in_every_queue,
                deleted_requests_are_gone_and_may_come_anew,
                lists_go_by_id_with_filters_and_never_end_early,
                a_second_client_is_remembered,
                only_changes_move_the_time_of_change,
                queue_operations_are_counted,
                a_queue_goes_on_when_the_clock_jumps_back,
                an_unknown_or_deleted_queue_is_not_found;
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

/// The same for cases that move the clock, which stands beside the store.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases_in_time {
    ($open:ident; $($noun:ident: $($case:ident),+;)+) => {
        mod in_time {
            $(mod $noun {
                $(#[tokio::test]
                async fn $case() {
                    let opened = super::super::$open().await;
                    $crate::conformance::$noun::$case(&opened.store, &opened.clock).await;
                })+
            })+
        }
    };
}
