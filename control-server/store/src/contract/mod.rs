//! The suite that every database must pass: what [`Store`] promises, tried on a fresh database each time.
//!
//! A database crate's test runs [`all`] against itself. A promise that is broken panics with the check's name on the thread.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test suite, compiled only with the contract feature"
)]

mod events;
mod fixture;
mod invites;
mod membership;
mod overview;
mod removal;
mod secrets;
mod soft;
mod upkeep;

use std::future::Future;
use std::pin::Pin;

use crate::Store;

/// One promise: its name, and what tries it.
pub type Check = (&'static str, fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>);

macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$((stringify!($name), |store| Box::pin($module::$name(store)))),*]
    };
}

/// Every promise.
pub fn all() -> Vec<Check> {
    checks![
        invites::a_one_use_invite_admits_exactly_one_of_two_hundred,
        invites::an_invite_with_three_uses_admits_three,
        invites::refusals_are_told_apart,
        invites::a_refused_device_does_not_use_the_invite_up,
        invites::a_member_redeems_again_without_using_the_invite_up,
        invites::only_the_host_makes_invites,
        invites::an_invite_cannot_be_registered_twice,
        invites::what_is_repeated_after_a_lost_answer_is_done_once,
        invites::the_last_invite_there_may_be_is_repeated_like_any_other,
        invites::the_host_sees_and_ends_the_invites_that_still_admit,
        invites::invites_that_expire_at_once_are_not_piled_up,
        invites::a_locked_party_admits_members_only,
        membership::no_two_members_share_a_number_when_all_join_at_once,
        membership::a_device_that_comes_back_has_its_number,
        membership::a_number_can_pass_from_who_left_to_a_newcomer,
        membership::the_longest_present_member_succeeds_the_host,
        membership::a_host_hands_the_party_to_another_member,
        membership::a_host_that_is_gone_is_succeeded_by_the_longest_present_who_is_there,
        membership::the_last_to_leave_ends_a_party_unless_it_is_persistent,
        membership::a_device_sees_its_own_parties_only,
        membership::a_device_can_be_in_so_many_parties,
        membership::a_device_that_asks_for_many_parties_at_once_gets_as_many_as_it_may,
        membership::a_key_belongs_to_one_device_of_a_party,
        membership::who_is_no_longer_a_member_keeps_nobody_from_its_key,
        membership::one_of_two_devices_that_bring_one_key_at_once_gets_in,
        membership::a_name_belongs_to_one_member_at_a_time,
        membership::all_who_ask_for_one_name_at_once_get_names_of_their_own,
        overview::the_operator_sees_every_party_in_order,
        overview::the_operator_removes_anybody_also_a_host,
        events::a_change_meant_for_another_version_is_refused,
        events::of_concurrent_changes_to_one_version_one_wins,
        events::only_the_host_changes_settings_and_ends_the_party,
        events::a_move_to_another_network_reaches_everybody_and_stays,
        events::numbers_have_no_gaps_under_concurrency,
        events::a_gap_is_replayed_and_a_long_one_becomes_a_snapshot,
        removal::only_the_host_removes_others_and_only_in_the_version_it_saw,
        removal::every_departure_starts_an_epoch_and_is_revoked,
        removal::the_end_of_a_party_is_revoked_for_everybody,
        removal::revocations_have_no_gaps_under_concurrency,
        removal::a_ban_outlives_every_invite_until_it_is_lifted,
        removal::a_ban_ends_the_invite_that_the_device_came_by_and_nothing_else,
        removal::a_kick_leaves_the_invite_and_a_ban_names_only_one_that_let_somebody_in,
        removal::bans_are_the_hosts_business_and_the_partys_own,
        secrets::a_new_secret_reaches_each_member_alone,
        secrets::a_secret_that_is_not_whole_or_of_another_epoch_is_refused,
        secrets::invites_that_are_not_sealed_anew_end,
        secrets::an_invite_sealed_with_another_secret_than_the_partys_is_refused,
        secrets::an_invite_of_another_party_is_not_touched,
        secrets::who_was_away_gets_every_secret_it_missed,
        secrets::a_secret_goes_with_the_membership,
        secrets::of_two_secrets_for_one_epoch_one_wins,
        soft::each_replica_keeps_its_last_write_to_a_key,
        soft::marks_say_what_was_read_of_each_replica,
        soft::the_kept_writes_give_the_same_map_in_any_order,
        soft::what_nobody_says_any_more_is_dropped,
        soft::replicas_know_one_another_and_agree_on_the_key,
        soft::numbers_and_events_are_read_as_others_wrote_them,
        upkeep::secrets_are_drawn_once,
        upkeep::a_long_time_without_upkeep_begins_the_watch_anew,
        upkeep::members_not_seen_are_found_and_removed,
        upkeep::parties_nobody_was_in_for_long_are_forgotten,
        upkeep::expired_invites_and_empty_parties_are_cleared_away,
    ]
}
