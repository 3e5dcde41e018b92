//! Tests of the scenarios and their plans.

use std::collections::BTreeMap;

use crate::spec::*;

fn plan(scenario: Scenario, given: &[(&str, u32)]) -> ScenarioPlan {
    scenario
        .plan(
            &given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        )
        .unwrap()
}

#[test]
fn every_scenario_has_a_plan_of_its_defaults() {
    for scenario in Scenario::ALL {
        let plan = plan(scenario, &[]);
        for conversation in &plan.conversations {
            assert!(conversation.speakers <= conversation.members.len());
            assert!(conversation.members.iter().all(|member| *member < plan.clients));
        }
        assert!(plan.behaviors.keys().all(|client| *client < plan.clients));
        assert_eq!(Scenario::by_name(scenario.name()), Some(scenario));
        let whole: f64 = plan.speakers().values().sum();
        assert!(plan.silent || (whole - 1.0).abs() < 1e-9, "{scenario:?}: {whole}");
    }
}

#[test]
fn those_who_talk_with_several_others_meet_each_of_them_once() {
    let plan = plan(Scenario::Pairs, &[("clients", 6), ("peers", 5)]);
    let mut met: Vec<Vec<u32>> = plan
        .conversations
        .iter()
        .map(|conversation| {
            let mut members = conversation.members.clone();
            members.sort_unstable();
            members
        })
        .collect();
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), 15, "everybody with everybody: {met:?}");
    assert!(met.iter().all(|pair| pair[0] < pair[1] && pair[1] < 6));
}

#[test]
fn groups_share_no_member() {
    let plan = plan(
        Scenario::Groups,
        &[("groups", 2), ("members", 3), ("speakers", 1)],
    );
    assert_eq!(plan.clients, 6);
    assert_eq!(plan.conversations[1].members, [3, 4, 5]);
    assert_eq!(plan.conversations[1].speakers, 1);
}

#[test]
fn the_last_members_are_removed_in_turn_and_the_first_one_never() {
    let given = [("groups", 2), ("members", 3), ("kicks", 5), ("every", 4)];
    let mut both = ScenarioPlan::default();
    both.add(plan(Scenario::Pairs, &[("clients", 4)]), None);
    both.add(plan(Scenario::Groups, &given), None);
    let kicks = both
        .kicks
        .iter()
        .map(|kick| (kick.at.as_secs(), kick.conversation, kick.member));
    assert_eq!(
        kicks.collect::<Vec<_>>(),
        [(4, 2, 6), (8, 3, 9), (12, 2, 5), (16, 3, 8)]
    );
    assert!(both.conversations[2].members.contains(&6) && both.conversations[3].members.contains(&9));
}

#[test]
fn plans_that_are_joined_share_no_client_and_divide_the_rate() {
    let mut both = ScenarioPlan::default();
    both.add(plan(Scenario::Pairs, &[("clients", 4)]), Some(3.0));
    both.add(
        plan(Scenario::SlowReaders, &[("clients", 6), ("slow", 2)]),
        Some(1.0),
    );
    assert_eq!(both.clients, 10);
    assert_eq!(both.conversations[2].members, [4, 5, 6, 7, 8, 9]);
    assert!(both.behaviors.keys().all(|client| *client >= 4) && both.behaviors.len() == 2);
    let speakers = both.speakers();
    let first: f64 = speakers.range(0..4).map(|(_, share)| share).sum();
    assert!((first - 0.75).abs() < 1e-9, "{speakers:?}");
}

#[test]
fn an_unknown_parameter_is_refused_by_name() {
    let given = BTreeMap::from([("rooms".to_owned(), 1)]);
    assert!(Scenario::Pairs.plan(&given).unwrap_err().contains("clients"));
}
