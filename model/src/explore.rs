//! Explores a model and says what came of it.

use std::fmt;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::{LeaseModel, step::Step};

/// What came out of a model.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The different states.
    pub states: usize,
    /// The longest of the shortest ways to a state, in states.
    pub depth: usize,
    /// Which property was violated, and the shortest way there.
    pub violation: Option<(&'static str, Vec<Step>)>,
}

/// Visits every state, or as many as it takes to find a violation, the nearest first.
pub fn explore(model: LeaseModel) -> Explored {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let violations = checker.discoveries().into_iter();
    let violation = violations
        .map(|(property, path)| (property, path.into_actions()))
        .min_by_key(|(_, steps)| steps.len());
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        violation,
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, depth {}", self.states, self.depth)?;
        if let Some((property, steps)) = &self.violation {
            write!(
                f,
                ": violated in {} steps: {property}: {steps:?}",
                steps.len()
            )?;
        }
        Ok(())
    }
}
