//! What must be true of every state.

use stateright::Property;

use crate::{
    LeaseModel,
    state::{Generation, Node, State},
    variant::Broken,
};

pub(crate) const SAFE: &str = "dead on every node once rotate has returned";
pub(crate) const BOUNDED: &str = "dead on every node one lease after the commit";
pub(crate) const FINAL: &str = "what a node saw dead stays dead there";
pub(crate) const NO_FALSE_REJECTION: &str = "what is in the store is never rejected";
pub(crate) const HEALS: &str =
    "healed, every node accepts the newest from memory and every rotation returns";
pub(crate) const NEVER_PROBABLY_FINE: &str = "nothing is accepted when the lease has run out";

impl LeaseModel {
    /// Returns the generation that a check on `node` would accept without asking the store.
    pub(crate) fn accepts(&self, node: &Node) -> Option<Generation> {
        let is_fresh = node.confirmed < self.limits.lease
            || (self.broken == Broken::ExpiredMemoryTrusted && !node.linked);
        (node.remembers && is_fresh).then_some(node.cell)
    }

    pub(crate) fn invariants(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(SAFE, |model: &Self, state: &State| {
                // A read that begins now gets what is in the row.
                state.database.generation >= state.returned
                    && state.nodes.iter().all(|node| {
                        let accepted = model.accepts(node);
                        accepted.is_none_or(|accepted| accepted >= state.returned)
                    })
            }),
            Property::always(BOUNDED, |model: &Self, state: &State| {
                state.nodes.iter().all(|node| match model.accepts(node) {
                    Some(old) if old < state.database.generation => {
                        state.superseded[usize::from(old) - 1] < model.limits.lease
                    }
                    _ => true,
                })
            }),
            Property::always(FINAL, |model: &Self, state: &State| {
                !state.accepted_what_it_saw_dead
                    && state.nodes.iter().all(|node| {
                        model
                            .accepts(node)
                            .is_none_or(|accepted| accepted >= node.seen)
                    })
            }),
            Property::always(NO_FALSE_REJECTION, |_: &Self, state: &State| {
                state
                    .nodes
                    .iter()
                    .all(|node| node.cell <= state.database.generation)
            }),
            Property::always(NEVER_PROBABLY_FINE, |model: &Self, state: &State| {
                state.nodes.iter().all(|node| {
                    node.confirmed < model.limits.lease || model.accepts(node).is_none()
                })
            }),
        ];
        if self.limits.healing {
            properties.push(Property::always(HEALS, |model: &Self, state: &State| {
                model.heals(*state)
            }));
        }
        properties
    }
}
