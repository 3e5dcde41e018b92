//! What was acknowledged before something else was sent comes before it (a linearizable append).

use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    let history = world.history.borrow();
    let acked = || history.iter().filter_map(|record| Some((record, record.acked?)));
    for (later, (_, later_place)) in acked() {
        let earlier = acked().find(|(earlier, (at, place))| {
            earlier.append.conversation == later.append.conversation
                && *at < later.invoked
                && place.seq > later_place.seq
        });
        if let Some((earlier, _)) = earlier {
            return Err(format!(
                "{earlier:?} came before {later:?} was sent, and stands behind it"
            ));
        }
    }
    Ok(())
}
