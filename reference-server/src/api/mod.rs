//! The JSON API, `/api/v1`: a route per action.
//!
//! Whoever mounts it says who calls: a [`Caller`](crate::caller::Caller) in each request's extensions.

mod arguments;
mod handler;
mod openapi;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    middleware,
    response::Response,
    routing::{get, on},
};

use crate::{
    actions::{
        Action, ActivityHours, AnswerTimesShow, ApprovalAnswer, ApprovalList, AttachmentShow,
        AuditList, BackupDownload, BackupWrite, Board, ConnectionEnd, ConnectionList, JobProgress,
        KeyCheck, KeyList, KeyRetire, KeyRewrap, KeyRotate, LoginEnd, LoginList, Me, MePassword,
        MeRename, MemberList, MemberRemove, MemberSet, NeedsYou, RejectedUseHide, RejectedUses,
        RuleRemove, ServerAudit, ServerCheck, ServerHealth, ServerProbe, ServerProbed, SetupLink,
        TaskAdd, TaskAssign, TaskEdit, TaskList, TaskMove, TaskReply, TaskSetStatus, TaskShow,
        TokenClients, TokenConfirmClient, TokenCreate, TokenHistory, TokenInspect, TokenList,
        TokenReminders, TokenReplace, TokenRevoke, TokenRotate, TokenTest, TransferAccept,
        TransferCancel, TransferOffer, TransferShow, UserAdd, UserLink, UserList, UserPasswd,
        UserUpdate, WorkspaceArchive, WorkspaceCreate, WorkspaceDelete, WorkspaceList,
        WorkspaceShow, WorkspaceUnarchive, WorkspaceUnlock, WorkspaceUpdate,
    },
    app::App,
    error::{AppError, ErrorCode},
};

pub(crate) use arguments::{ApiCall, encode};

/// Where the API lies.
pub(crate) const PREFIX: &str = "/api/v1";

/// Something that is done for each action.
pub(crate) trait Visitor {
    fn visit<A: Action>(&mut self);
}

/// Visits every action that there is: the one list of them.
pub(crate) fn visit_all(visitor: &mut impl Visitor) {
    visitor.visit::<WorkspaceCreate>();
    visitor.visit::<WorkspaceList>();
    visitor.visit::<WorkspaceArchive>();
    visitor.visit::<WorkspaceShow>();
    visitor.visit::<WorkspaceUpdate>();
    visitor.visit::<WorkspaceUnarchive>();
    visitor.visit::<WorkspaceUnlock>();
    visitor.visit::<WorkspaceDelete>();
    visitor.visit::<TransferAccept>();
    visitor.visit::<TransferCancel>();
    visitor.visit::<TransferOffer>();
    visitor.visit::<TransferShow>();
    visitor.visit::<TokenCreate>();
    visitor.visit::<TokenList>();
    visitor.visit::<TokenRotate>();
    visitor.visit::<TokenRevoke>();
    visitor.visit::<TokenInspect>();
    visitor.visit::<TokenClients>();
    visitor.visit::<TokenConfirmClient>();
    visitor.visit::<RejectedUses>();
    visitor.visit::<RejectedUseHide>();
    visitor.visit::<ConnectionList>();
    visitor.visit::<ConnectionEnd>();
    visitor.visit::<ActivityHours>();
    visitor.visit::<AnswerTimesShow>();
    visitor.visit::<TokenTest>();
    visitor.visit::<TokenHistory>();
    visitor.visit::<TokenReminders>();
    visitor.visit::<TokenReplace>();
    visitor.visit::<TaskAdd>();
    visitor.visit::<TaskList>();
    visitor.visit::<TaskReply>();
    visitor.visit::<TaskShow>();
    visitor.visit::<Board>();
    visitor.visit::<NeedsYou>();
    visitor.visit::<TaskSetStatus>();
    visitor.visit::<TaskAssign>();
    visitor.visit::<TaskEdit>();
    visitor.visit::<TaskMove>();
    visitor.visit::<AttachmentShow>();
    visitor.visit::<ApprovalList>();
    visitor.visit::<ApprovalAnswer>();
    visitor.visit::<RuleRemove>();
    visitor.visit::<KeyList>();
    visitor.visit::<KeyRotate>();
    visitor.visit::<KeyCheck>();
    visitor.visit::<KeyRewrap>();
    visitor.visit::<KeyRetire>();
    visitor.visit::<JobProgress>();
    visitor.visit::<BackupWrite>();
    visitor.visit::<BackupDownload>();
    visitor.visit::<ServerHealth>();
    visitor.visit::<ServerCheck>();
    visitor.visit::<ServerProbe>();
    visitor.visit::<ServerProbed>();
    visitor.visit::<UserList>();
    visitor.visit::<UserAdd>();
    visitor.visit::<UserLink>();
    visitor.visit::<UserUpdate>();
    visitor.visit::<UserPasswd>();
    visitor.visit::<SetupLink>();
    visitor.visit::<MemberList>();
    visitor.visit::<MemberSet>();
    visitor.visit::<MemberRemove>();
    visitor.visit::<Me>();
    visitor.visit::<MeRename>();
    visitor.visit::<MePassword>();
    visitor.visit::<LoginList>();
    visitor.visit::<LoginEnd>();
    visitor.visit::<AuditList>();
    visitor.visit::<ServerAudit>();
}

/// Returns the routes of all actions, under [`PREFIX`].
pub(crate) fn router(app: App) -> Router {
    let mut routes = Routes(Router::new());
    visit_all(&mut routes);
    Router::new()
        .nest(
            PREFIX,
            (routes.0)
                .fallback(no_such_route)
                .method_not_allowed_fallback(no_such_route),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(forbid_storing))
        .with_state(app)
}

/// Returns the route of the API's description, which is for everybody: what it says is in this source too,
/// and tools read it before they have a login.
pub(crate) fn description() -> Router {
    let describe = || async {
        let media_type = [(CONTENT_TYPE, "application/json")];
        (media_type, openapi::document())
    };
    Router::new().route(&format!("{PREFIX}/openapi.json"), get(describe))
}

struct Routes(Router<App>);

impl Visitor for Routes {
    fn visit<A: Action>(&mut self) {
        let filter = A::METHOD
            .try_into()
            .expect("actions have methods that axum knows");
        let routes = std::mem::take(&mut self.0);
        self.0 = routes.route(A::ROUTE, on(filter, handler::handle::<A>));
    }
}

async fn no_such_route() -> AppError {
    AppError::new(ErrorCode::NotFound, "there is no such route in the API")
}

/// Answers hold secrets that are shown once.
async fn forbid_storing<B>(mut response: Response<B>) -> Response<B> {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The attachments that may come at once, as base64, with a text of 64 KiB, escaped as JSON at its worst.
const MAX_BODY: usize = 4 * 1024 * 1024;
