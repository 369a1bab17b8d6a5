//! Finding out how requests reach the server, and whether it is this one that they reach.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError, probes::Arrived};

/// Has the server wait for a request with a random word, for a minute.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerProbe {}

/// Asks how that request arrived.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerProbed {
    pub(crate) word: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProbeWord {
    /// To be sent to `/livez` in the header `x-wst-probe`.
    pub(crate) word: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProbeArrival {
    /// Nothing if it did not arrive here.
    pub(crate) arrived: Option<Arrived>,
}

impl Action for ServerProbe {
    type Outcome = ProbeWord;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/server/probes";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<ProbeWord, AppError> {
        let word = app.probes().begin()?;
        Ok(ProbeWord { word })
    }
}

impl Action for ServerProbed {
    type Outcome = ProbeArrival;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/server/probes/{word}";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<ProbeArrival, AppError> {
        let arrived = app.probes().arrived(&self.word);
        Ok(ProbeArrival { arrived })
    }
}
