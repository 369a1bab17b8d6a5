//! The protocol holds in every state, and each of its rules, broken, is missed.

use lease_model::{
    LeaseModel, Limits,
    explore::{Explored, explore},
    variant::Broken,
};

#[track_caller]
fn assert_holds(name: &str, limits: Limits) {
    let model = LeaseModel {
        limits,
        broken: Broken::Nothing,
    };
    let explored = explore(model);
    println!("{name}: {explored}");
    assert!(explored.states > 10_000, "{explored}");
    assert_eq!(explored.violation, None);
}

fn explore_broken(broken: Broken) -> Explored {
    // Patience beyond the beat's own tick is what these two are about.
    let has_patience = matches!(
        broken,
        Broken::LookWithoutBeat | Broken::RowSeenInsteadOfBeat
    );
    let limits = Limits {
        beat: has_patience.into(),
        patience: 2 + u8::from(has_patience),
        ..Limits::SMALL
    };
    explore(LeaseModel { limits, broken })
}

#[test]
fn no_old_token_is_accepted_on_two_nodes() {
    assert_holds(
        "two nodes, a check and a transaction of others under way",
        Limits {
            healing: true,
            ..Limits::SMALL
        },
    );
}

#[test]
fn no_old_token_is_accepted_when_time_passes_between_as_of_and_the_snapshot() {
    assert_holds(
        "two nodes, time between as_of and the snapshot",
        Limits {
            ask_apart: true,
            foreign: false,
            healing: true,
            reads: 0,
            ..Limits::SMALL
        },
    );
}

#[test]
fn no_old_token_is_accepted_with_two_rotations_at_once() {
    assert_holds(
        "two nodes, two rotations, a check under way",
        Limits {
            rotations: 2,
            lease: 1,
            patience: 1,
            foreign: false,
            healing: true,
            ..Limits::SMALL
        },
    );
}

#[test]
fn no_old_token_is_accepted_on_three_nodes() {
    assert_holds(
        "three nodes",
        Limits {
            nodes: 3,
            lease: 1,
            patience: 1,
            reads: 0,
            foreign: false,
            healing: true,
            ..Limits::SMALL
        },
    );
}

#[test]
fn each_broken_rule_is_refuted() {
    for broken in Broken::ALL {
        let explored = explore_broken(broken);
        println!("{broken:?}: {explored}");
        assert!(explored.violation.is_some(), "{broken:?} is not refuted");
    }
}
