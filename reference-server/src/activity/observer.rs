//! How the MCP service tells of sessions and requests. On the path of each request: a short lock, no
//! look at the database.

use std::sync::Arc;

use tower_workspace_token::session::SessionHandle;
use tower_workspace_token_mcp::{ObservedRequest, Observer, Ongoing};

use super::{Activity, Client, connections::Identity, figures};
use crate::http::client_address::Arrival;

impl Observer for Activity {
    fn request(&self, request: &ObservedRequest<'_>) -> Option<Arc<dyn Ongoing>> {
        let lease = request.token()?.lease();
        let address = Arrival::address(request.extensions());
        let connection = match request.session() {
            Some(session) => {
                let connection = self.of_session(session)?;
                self.note_address(&connection, address);
                connection
            }
            None if request.is_modern() => match request.client() {
                Some(client) => {
                    let version = client.version.unwrap_or_default();
                    self.of_client(lease, client.name, version, address, request.headers())?
                }
                None => {
                    let agent = Client::of_headers(request.headers());
                    let (name, version) = (&agent.name, &agent.version);
                    self.of_client(lease, name, version, address, request.headers())?
                }
            },
            // It opens a session, or is about to be told that it needs one.
            None => {
                self.count_call(lease.workspace());
                return None;
            }
        };
        connection.begin(request.kind());
        Some(connection)
    }

    fn session_opened(&self, session: &SessionHandle, initialize: &ObservedRequest<'_>) {
        figures::session_opened();
        let Some(token) = initialize.token() else {
            return;
        };
        let agent = Client::of_headers(initialize.headers());
        let client = match initialize.client() {
            Some(client) => Client::new(client.name, client.version.unwrap_or_default()),
            None => agent.clone(),
        };
        let identity = Identity {
            lease: token.lease().clone(),
            session: Some(session.clone()),
            client,
            agent,
            address: Arrival::address(initialize.extensions()),
            counter: self.counter(token.workspace()),
        };
        self.add(self.table(), identity);
        // It may have ended before it was there to be ended.
        if !session.is_live() {
            self.session_is_over(session.inner_id());
        }
    }

    fn session_ended(&self, inner_id: &str) {
        self.session_is_over(inner_id);
    }
}
