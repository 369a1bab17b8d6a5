//! Each sentence, and that it would be noticed if it were false.

use liveness_models::{
    explore::Explored,
    models::{cold_check, drain, new_life, observe, poll_gate, record, stripes, wake_up},
};

#[track_caller]
fn assert_holds(explored: Explored) {
    println!("{explored:?}");
    assert!(explored.executions > 1, "{explored:?}");
    assert_eq!(explored.violations, 0, "{explored:?}");
}

#[track_caller]
fn assert_caught(explored: Explored) {
    println!("{explored:?}");
    assert!(explored.violations > 0, "{explored:?}");
}

mod record_that_is_replaced {
    use super::*;
    use record::{Fences, Protocol, a_mark_goes_with_its_words, a_read_is_of_one_write};

    #[test]
    fn is_never_read_half() {
        assert_holds(a_read_is_of_one_write(Fences::Library));
    }

    #[test]
    fn would_be_without_fences() {
        assert_caught(a_read_is_of_one_write(Fences::None));
    }

    #[test]
    fn takes_its_mark_along() {
        assert_holds(a_mark_goes_with_its_words(Protocol::Library));
    }

    #[test]
    fn would_not_if_whatever_is_there_were_marked() {
        assert_caught(a_mark_goes_with_its_words(Protocol::WhateverIsThere));
    }
}

mod cold_check_beside_a_rotation {
    use super::*;
    use cold_check::{Protocol, rotation_ends_the_old_token};

    #[test]
    fn never_accepts_the_old_token_once_rotate_has_returned() {
        assert_holds(rotation_ends_the_old_token(Protocol::Library));
    }

    #[test]
    fn would_with_a_plain_store_in_place_of_fetch_max() {
        assert_caught(rotation_ends_the_old_token(Protocol::PlainStore));
    }

    #[test]
    fn would_with_a_revoked_flag_on_what_is_remembered() {
        assert_caught(rotation_ends_the_old_token(Protocol::RevokedFlag));
    }

    #[test]
    fn would_without_a_last_look_at_the_cell() {
        assert_caught(rotation_ends_the_old_token(Protocol::NoLastLook));
    }
}

mod cold_check_beside_a_report {
    use super::*;
    use cold_check::{Protocol, a_report_is_never_lost};

    #[test]
    fn never_loses_the_report() {
        assert_holds(a_report_is_never_lost(Protocol::Library));
    }

    #[test]
    fn would_with_a_cell_made_after_the_store_read() {
        assert_caught(a_report_is_never_lost(Protocol::CellAfterRead));
    }

    #[test]
    fn would_with_a_plain_store_in_place_of_fetch_max() {
        assert_caught(a_report_is_never_lost(Protocol::PlainStore));
    }
}

mod wake_up_of_who_waits {
    use super::*;
    use wake_up::{Protocol, no_wake_up_is_lost};

    #[test]
    fn is_never_lost_by_a_call() {
        assert_holds(no_wake_up_is_lost(Protocol::Library));
    }

    #[test]
    fn is_never_lost_by_a_body() {
        assert_holds(no_wake_up_is_lost(Protocol::LibraryBody));
    }

    #[test]
    fn would_be_lost_by_a_call_that_checks_before_it_registers() {
        assert_caught(no_wake_up_is_lost(Protocol::CheckFirst));
    }

    #[test]
    fn would_be_lost_by_a_body_that_checks_before_its_waker_is_in_place() {
        assert_caught(no_wake_up_is_lost(Protocol::CheckFirstBody));
    }
}

mod rotation_that_waits_for_streams {
    use super::*;
    use drain::{Protocol, the_last_to_leave_wakes_the_rotation};

    #[test]
    fn is_woken_by_the_last_to_leave() {
        assert_holds(the_last_to_leave_wakes_the_rotation(Protocol::Library));
    }

    #[test]
    fn would_wait_for_a_stream_that_leaves_without_a_word() {
        assert_caught(the_last_to_leave_wakes_the_rotation(Protocol::Silent));
    }
}

mod poll_gate_beside_a_rotation {
    use super::*;
    use poll_gate::{Protocol, nothing_of_the_old_generation_is_left};

    #[test]
    fn lets_nothing_of_the_old_generation_run_once_it_has_returned() {
        assert_holds(nothing_of_the_old_generation_is_left(Protocol::Library));
    }

    #[test]
    fn would_if_the_check_came_before_the_gate() {
        assert_caught(nothing_of_the_old_generation_is_left(
            Protocol::CheckBeforeEnter,
        ));
    }

    #[test]
    fn would_if_a_call_registered_after_it_left() {
        assert_caught(nothing_of_the_old_generation_is_left(
            Protocol::RegisterAfterLeave,
        ));
    }

    #[test]
    fn would_if_the_accesses_were_not_sequentially_consistent() {
        assert_caught(nothing_of_the_old_generation_is_left(
            Protocol::WeakAccesses,
        ));
    }
}

mod stripe_of_the_gate {
    use super::*;
    use stripes::{
        Protocol, Write, a_stripe_is_empty_when_nobody_is_in_it,
        what_a_poll_wrote_is_seen_by_the_rotation,
    };

    #[test]
    fn counts_the_polls_of_all_who_share_it() {
        assert_holds(a_stripe_is_empty_when_nobody_is_in_it(Protocol::Library));
    }

    #[test]
    fn would_lose_a_poll_if_two_took_it_for_their_own() {
        assert_caught(a_stripe_is_empty_when_nobody_is_in_it(Protocol::BothOwn));
    }

    #[test]
    fn hands_what_was_written_to_the_rotation() {
        assert_holds(what_a_poll_wrote_is_seen_by_the_rotation(Write::Library));
    }

    #[test]
    fn would_not_hand_over_what_is_written_after_leaving() {
        assert_caught(what_a_poll_wrote_is_seen_by_the_rotation(
            Write::AfterLeaving,
        ));
    }
}

mod generation_of_a_cell {
    use super::*;
    use observe::{Protocol, generation_never_falls};

    #[test]
    fn never_falls_when_reports_overtake_each_other() {
        assert_holds(generation_never_falls(Protocol::Library));
    }

    #[test]
    fn would_fall_with_a_plain_store_in_place_of_fetch_max() {
        assert_caught(generation_never_falls(Protocol::PlainStore));
    }
}

mod new_life_of_a_cell {
    use super::*;
    use new_life::{Protocol, no_hold_outlives_its_life};

    #[test]
    fn ends_every_hold_of_the_earlier_one() {
        assert_holds(no_hold_outlives_its_life(Protocol::Library));
    }

    #[test]
    fn would_not_if_the_generation_alone_counted() {
        assert_caught(no_hold_outlives_its_life(Protocol::GenerationAlone));
    }
}
