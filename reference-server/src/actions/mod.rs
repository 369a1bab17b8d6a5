//! What people do, one file each: the command line, the control socket and the API are thin faces of it.
//!
//! An action is its own request: a struct with the arguments, the route it has in the API, and
//! [`run`](Action::run).

mod access;
mod activity_hours;
mod answer;
mod answer_times;
mod approval_answer;
mod approval_list;
mod attachment_show;
mod audit_list;
mod backup_download;
mod backup_write;
mod board;
mod connection_end;
mod connection_list;
mod file;
mod job_progress;
mod key_check;
mod key_list;
mod key_retire;
mod key_rewrap;
mod key_rotate;
mod login_end;
mod login_list;
mod me;
mod me_password;
mod me_rename;
mod member_list;
mod member_remove;
mod member_set;
mod needs_you;
mod reason;
mod rejected_use_hide;
mod rejected_uses;
mod rule_remove;
mod secret;
mod server_audit;
mod server_check;
mod server_health;
mod server_probe;
mod setup_link;
mod task_add;
mod task_assign;
mod task_edit;
mod task_list;
mod task_move;
mod task_reply;
mod task_set_status;
mod task_show;
mod token_clients;
mod token_confirm_client;
mod token_create;
mod token_history;
mod token_inspect;
mod token_list;
mod token_reminders;
mod token_replace;
mod token_revoke;
mod token_rotate;
mod token_slot;
mod token_test;
mod transfer_accept;
mod transfer_cancel;
mod transfer_offer;
mod transfer_show;
mod user_add;
mod user_link;
mod user_list;
mod user_passwd;
mod user_ref;
mod user_update;
mod workspace_archive;
mod workspace_create;
mod workspace_delete;
mod workspace_list;
pub(crate) mod workspace_ref;
mod workspace_show;
mod workspace_unarchive;
mod workspace_unlock;
mod workspace_update;

use std::future::Future;

use http::Method;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{app::App, audit::Note, caller::Caller, error::AppError};

pub(crate) use access::{Access, admit};
pub(crate) use activity_hours::{ActivityHours, HourLine};
pub(crate) use answer::Answer;
pub(crate) use answer_times::AnswerTimesShow;
pub(crate) use approval_answer::ApprovalAnswer;
pub(crate) use approval_list::ApprovalList;
pub(crate) use attachment_show::AttachmentShow;
pub(crate) use audit_list::AuditList;
pub(crate) use backup_download::BackupDownload;
pub(crate) use backup_write::BackupWrite;
pub(crate) use board::Board;
pub(crate) use connection_end::ConnectionEnd;
pub(crate) use connection_list::{ConnectionLine, ConnectionList};
pub(crate) use file::{File, FileBytes};
pub(crate) use job_progress::JobProgress;
pub(crate) use key_check::{KeyCheck, KeysChecked};
pub(crate) use key_list::{KeyLine, KeyLines, KeyList};
pub(crate) use key_retire::KeyRetire;
pub(crate) use key_rewrap::KeyRewrap;
pub(crate) use key_rotate::{KeyRotate, Ring};
pub(crate) use login_end::LoginEnd;
pub(crate) use login_list::{LoginLine, LoginList};
pub(crate) use me::Me;
pub(crate) use me_password::MePassword;
pub(crate) use me_rename::MeRename;
pub(crate) use member_list::{MemberLine, MemberList};
pub(crate) use member_remove::MemberRemove;
pub(crate) use member_set::MemberSet;
pub(crate) use needs_you::NeedsYou;
pub(crate) use reason::Reason;
pub(crate) use rejected_use_hide::RejectedUseHide;
pub(crate) use rejected_uses::{RejectedLine, RejectedUses};
pub(crate) use rule_remove::RuleRemove;
pub(crate) use secret::Secret;
pub(crate) use server_audit::ServerAudit;
pub(crate) use server_check::{ServerCheck, ServerChecked};
pub(crate) use server_health::{Health, ServerHealth};
pub(crate) use server_probe::{ServerProbe, ServerProbed};
pub(crate) use setup_link::SetupLink;
pub(crate) use task_add::TaskAdd;
pub(crate) use task_assign::TaskAssign;
pub(crate) use task_edit::TaskEdit;
pub(crate) use task_list::TaskList;
pub(crate) use task_move::TaskMove;
pub(crate) use task_reply::TaskReply;
pub(crate) use task_set_status::{TaskChanged, TaskSetStatus};
pub(crate) use task_show::{ShownMessage, TaskShow, TaskShown};
pub(crate) use token_clients::{ClientLine, TokenClients};
pub(crate) use token_confirm_client::TokenConfirmClient;
pub(crate) use token_create::{TokenCreate, TokenCreated};
pub(crate) use token_history::{HistoryLine, TokenHistory};
pub(crate) use token_inspect::{InspectedToken, Inspection, Standing, TokenInspect};
pub(crate) use token_list::{LastUsed, TokenLine, TokenList};
pub(crate) use token_reminders::{Reminder, ReminderKind, TokenReminders};
pub(crate) use token_replace::{TokenReplace, successor_name};
pub(crate) use token_revoke::TokenRevoke;
pub(crate) use token_rotate::TokenRotate;
pub(crate) use token_test::{TokenTest, TokenTested};
pub(crate) use transfer_accept::{NewSecret, TransferAccept};
pub(crate) use transfer_cancel::TransferCancel;
pub(crate) use transfer_offer::TransferOffer;
pub(crate) use transfer_show::{TransferLine, TransferShow};
pub(crate) use user_add::{UserAdd, UserAdded};
pub(crate) use user_link::UserLink;
pub(crate) use user_list::{UserLine, UserList};
pub(crate) use user_passwd::UserPasswd;
pub(crate) use user_update::UserUpdate;
pub(crate) use workspace_archive::WorkspaceArchive;
pub(crate) use workspace_create::{WorkspaceCreate, random_id as random_workspace_id};
pub(crate) use workspace_delete::WorkspaceDelete;
pub(crate) use workspace_list::{WorkspaceLine, WorkspaceList};
pub(crate) use workspace_show::{ShownWorkspace, WorkspaceShow};
pub(crate) use workspace_unarchive::WorkspaceUnarchive;
pub(crate) use workspace_unlock::WorkspaceUnlock;
pub(crate) use workspace_update::WorkspaceUpdate;

/// Something that a person does.
pub(crate) trait Action: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// What it comes to.
    type Outcome: Answer;

    /// The method of its route: GET takes the arguments in the query, POST in a JSON body.
    const METHOD: Method;

    /// Its path under `/api/v1`; `{name}` stands for the argument of that name.
    const ROUTE: &'static str;

    /// Who may do it.
    const ACCESS: Access;

    /// The argument that names the workspace it is about, if it is about one.
    fn workspace(&mut self) -> Option<&mut String> {
        None
    }

    /// What the audit list keeps of it; nothing if it changes nothing.
    fn note(&self) -> Option<Note> {
        None
    }

    /// Does it. For [`App::perform`] alone, which has asked whether the caller may.
    fn run(
        self,
        app: &App,
        caller: &Caller,
    ) -> impl Future<Output = Result<Self::Outcome, AppError>> + Send;
}
