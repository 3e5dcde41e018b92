//! Division of the messages of a run among its workers.

use crate::spec::{ClientSlice, ScenarioPlan};

/// Returns the worker's part of the message budget, in proportion to its speakers. The parts of all workers add up to
/// the budget.
pub(super) fn budget(plan: &ScenarioPlan, share: ClientSlice, messages: Option<u64>) -> u64 {
    let Some(messages) = messages else {
        return u64::MAX;
    };
    let speakers = plan.speakers();
    let up_to = |worker: u32| {
        let below = speakers
            .keys()
            .filter(|speaker| share.worker_of(**speaker) < worker);
        (u128::from(messages) * below.count() as u128 / speakers.len().max(1) as u128) as u64
    };
    up_to(share.worker + 1) - up_to(share.worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_parts_of_the_messages_add_up() {
        let plan = crate::spec::Scenario::Room
            .plan(&[("clients".to_owned(), 7), ("speakers".to_owned(), 3)].into())
            .unwrap();
        let part = |worker| budget(&plan, ClientSlice { worker, workers: 4 }, Some(1000));
        let parts: Vec<_> = (0..4).map(part).collect();
        assert_eq!(parts.iter().sum::<u64>(), 1000, "{parts:?}");
        assert_eq!(parts[3], 0, "a worker without speakers");
        assert_eq!(budget(&plan, ClientSlice::ALL, None), u64::MAX);
    }
}
