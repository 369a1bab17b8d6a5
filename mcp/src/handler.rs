//! The wrapper around a user's handler that drops its running calls when their token ends.
//!
//! rmcp spawns a task for each call and cancels it only by a token that a handler may ignore; a tool
//! that sleeps and then writes would write after the rotation. So each call runs under its lease.
//!
//! rmcp has no one place through which all calls go, so every method of [`ServerHandler`] is passed on
//! by name. One that is missing here would silently answer with rmcp's default: `tests/handler_methods.rs`
//! compares this file with the trait of the rmcp that is compiled in.

#![expect(
    deprecated,
    reason = "what rmcp deprecates is passed on for as long as it is there"
)]

use std::{borrow::Cow, future::Future};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use tower_workspace_token::{authority::Lease, session::SessionHandle};

use crate::{
    Protocol, answer,
    context::{session_in, verified_token_in},
};

/// A handler whose calls end with the token they were made with.
#[derive(Clone, Debug)]
pub(crate) struct Leased<H> {
    handler: H,
    protocol: Protocol,
}

impl<H> Leased<H> {
    pub(crate) fn new(handler: H, protocol: Protocol) -> Self {
        Self { handler, protocol }
    }
}

/// What ends a call before it is done. Taken out of its request, which goes on to the handler.
struct Bounds {
    lease: Lease,
    session: Option<SessionHandle>,
}

impl Bounds {
    /// Returns those of a request with these extensions; `None` if it came past the token layer.
    fn of(extensions: &Extensions) -> Option<Self> {
        Some(Self {
            lease: verified_token_in(extensions)?.lease().clone(),
            session: session_in(extensions).cloned(),
        })
    }
}

/// Runs a call under the lease of its request, and in its session, if it has one.
async fn call<T>(
    bounds: Option<Bounds>,
    work: impl Future<Output = Result<T, ErrorData>>,
) -> Result<T, ErrorData> {
    let Some(Bounds { lease, session }) = bounds else {
        return Err(answer::misconfigured());
    };
    let ended = || Err(answer::token_ended(&lease));
    let work = lease.guard(work);
    let result = match session {
        // Nobody reads the answer to a call whose session was ended.
        Some(session) => session.guard(work).await.flatten(),
        None => work.await,
    };
    result.unwrap_or_else(ended)
}

/// Runs the handling of a notification, to which there is no answer, under the lease of its request.
async fn notify(bounds: Option<Bounds>, work: impl Future<Output = ()>) {
    if let Some(Bounds { lease, session }) = bounds {
        let work = lease.guard(work);
        match session {
            Some(session) => _ = session.guard(work).await,
            None => _ = work.await,
        }
    }
}

// Boxed: rmcp keeps room for the largest of all these futures in each task that it spawns, and copies it
// several times. What is guarded would take that room more than once.
macro_rules! calls {
    ($($method:ident($($params:ident: $Params:ty)?) -> $Answer:ty;)*) => {$(
        async fn $method(
            &self,
            $($params: $Params,)?
            context: RequestContext<RoleServer>,
        ) -> Result<$Answer, ErrorData> {
            let bounds = Bounds::of(&context.extensions);
            call(bounds, Box::pin(self.handler.$method($($params,)? context))).await
        }
    )*};
}

macro_rules! notifications {
    ($($method:ident($($params:ident: $Params:ty)?);)*) => {$(
        async fn $method(&self, $($params: $Params,)? context: NotificationContext<RoleServer>) {
            let bounds = Bounds::of(&context.extensions);
            notify(bounds, Box::pin(self.handler.$method($($params,)? context))).await;
        }
    )*};
}

impl<H: ServerHandler> ServerHandler for Leased<H> {
    calls! {
        ping() -> ();
        initialize(params: InitializeRequestParams) -> InitializeResult;
        discover() -> DiscoverResult;
        complete(params: CompleteRequestParams) -> CompleteResult;
        set_level(params: SetLevelRequestParams) -> ();
        get_prompt(params: GetPromptRequestParams) -> GetPromptResponse;
        list_prompts(params: Option<PaginatedRequestParams>) -> ListPromptsResult;
        list_resources(params: Option<PaginatedRequestParams>) -> ListResourcesResult;
        list_resource_templates(params: Option<PaginatedRequestParams>) -> ListResourceTemplatesResult;
        read_resource(params: ReadResourceRequestParams) -> ReadResourceResponse;
        subscribe(params: SubscribeRequestParams) -> ();
        unsubscribe(params: UnsubscribeRequestParams) -> ();
        call_tool(params: CallToolRequestParams) -> CallToolResponse;
        list_tools(params: Option<PaginatedRequestParams>) -> ListToolsResult;
        on_custom_request(request: CustomRequest) -> CustomResult;
        get_task(params: GetTaskParams) -> GetTaskResult;
        update_task(params: UpdateTaskParams) -> ();
        cancel_task(params: CancelTaskParams) -> ();
        list_skills(params: Option<PaginatedRequestParams>) -> ListSkillsResult;
        get_skill(params: GetSkillRequestParams) -> GetSkillResult;
        read_resource_directory(params: ReadResourceDirectoryRequestParams) -> ReadResourceDirectoryResult;
    }

    notifications! {
        on_cancelled(params: CancelledNotificationParam);
        on_progress(params: ProgressNotificationParam);
        on_initialized();
        on_roots_list_changed();
        on_custom_notification(notification: CustomNotification);
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let bounds = Bounds::of(&context.request_context().extensions);
        call(bounds, Box::pin(self.handler.listen(context))).await
    }

    fn negotiate_initialize(
        &self,
        params: &InitializeRequestParams,
    ) -> Result<InitializeResult, ErrorData> {
        self.handler.negotiate_initialize(params)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let versions = self.handler.supported_protocol_versions();
        match self.protocol {
            Protocol::Dual => versions,
            Protocol::Legacy => versions
                .iter()
                .filter(|version| version.has_initialize())
                .cloned()
                .collect(),
        }
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.handler.accepted_subscription_filter(requested)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.handler.get_tool(name)
    }

    fn get_info(&self) -> ServerConfig {
        self.handler.get_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 16 * 1024;

    /// A handler whose calls need a lot of room while they wait.
    struct Roomy;

    impl ServerHandler for Roomy {
        async fn call_tool(
            &self,
            _params: CallToolRequestParams,
            _context: RequestContext<RoleServer>,
        ) -> Result<CallToolResponse, ErrorData> {
            let room = std::hint::black_box([0_u8; ROOM]);
            std::future::pending::<()>().await;
            Err(ErrorData::internal_error(room.len().to_string(), None))
        }
    }

    fn size_of_call<H: ServerHandler, F>(
        _: fn(&'static H, CallToolRequestParams, RequestContext<RoleServer>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_room_of_a_call_is_not_taken_in_each_task_of_rmcp() {
        let own =
            size_of_call::<Roomy, _>(|handler, params, context| handler.call_tool(params, context));
        assert!(own > ROOM);
        let leased = size_of_call::<Leased<Roomy>, _>(|handler, params, context| {
            handler.call_tool(params, context)
        });
        assert!(leased < ROOM / 2, "{leased}");
    }
}
