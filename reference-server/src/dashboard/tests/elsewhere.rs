//! What another server of the database does in the midst of what this one does: no token is left that should
//! not be, and none ends that should not.
//!
//! The other server is a trigger, which commits its part together with a write to the tokens: that is after
//! all looks before it, and before all looks after it.

use tokio::runtime::Handle;
use tower_workspace_token::{
    authority::TokenState,
    id::{TokenName, WorkspaceId},
};

use super::site::{Browser, Site, Workspace};
use crate::{
    actions::{
        TokenCreate, TokenReplace, TokenRotate, TransferAccept, TransferOffer, WorkspaceCreate,
        WorkspaceDelete,
    },
    caller::Caller,
    error::{AppError, ErrorCode},
    lifecycle,
    people::{
        Role,
        transfers::{self, Claim},
    },
    time,
};

impl Site {
    /// Has another server do `sql` whenever a token is written.
    async fn meanwhile(&self, sql: &str) {
        for (name, when) in [("on_insert", "INSERT"), ("on_update", "UPDATE")] {
            self.execute(format!(
                "CREATE TRIGGER {name} AFTER {when} ON wst_slots BEGIN {sql}; END"
            ))
            .await;
        }
    }

    async fn live(&self, workspace: &str) -> Vec<String> {
        let id = workspace.parse().unwrap();
        let mut tokens = self.app.authority().list(&id).await.unwrap();
        tokens.retain(|token| token.state == TokenState::Active);
        tokens.iter().map(|token| token.name.to_string()).collect()
    }

    async fn claim(&self) -> Claim {
        self.write(transfers::unfinished).await[0].1
    }
}

/// Ada, who owns a workspace that is offered to Bob.
async fn offered() -> (Site, Workspace, Browser, Browser) {
    let site = Site::with_a_file().await;
    let (ada, bob) = (
        site.person("ada", false).await,
        site.person("bob", false).await,
    );
    let members = [(&ada, Role::Owner), (&bob, Role::Member)];
    let acme = site.workspace("acme", &members).await;
    let offer = TransferOffer {
        workspace: acme.id.clone(),
        user: bob.id.to_string(),
    };
    let caller = site.caller(&ada.id).await;
    site.app.perform(offer, &caller).await.unwrap();
    (site, acme, ada, bob)
}

fn rotate(workspace: &str) -> TokenRotate {
    TokenRotate {
        workspace: workspace.to_owned(),
        name: "primary".to_owned(),
        reason: None,
        generation: None,
    }
}

fn create(workspace: &str) -> TokenCreate {
    TokenCreate {
        workspace: workspace.to_owned(),
        name: "second".to_owned(),
    }
}

async fn accept(site: &Site, acme: &Workspace, bob: &Browser) -> Result<(), AppError> {
    let accept = TransferAccept {
        workspace: acme.id.clone(),
    };
    let caller = site.caller(&bob.id).await;
    site.app.perform(accept, &caller).await.map(|_| ())
}

const MEANWHILE: [(&str, &str, ErrorCode); 4] = [
    (
        "archived",
        "UPDATE workspaces SET archived_at = 1",
        ErrorCode::Archived,
    ),
    (
        "deleted",
        "DELETE FROM members; DELETE FROM sightings; DELETE FROM workspaces",
        ErrorCode::NotFound,
    ),
    (
        "no owner any longer",
        "UPDATE members SET role = 'member'",
        ErrorCode::Forbidden,
    ),
    (
        "being handed over",
        "UPDATE transfers SET accepted_at = 1",
        ErrorCode::Conflict,
    ),
];

#[tokio::test]
async fn no_token_appears_where_another_server_has_ended_them() {
    for (what, sql, code) in MEANWHILE {
        for action in ["create", "rotate", "replace"] {
            let (site, acme, ada, _bob) = offered().await;
            let caller = site.caller(&ada.id).await;
            site.meanwhile(sql).await;
            let replace = TokenReplace {
                workspace: acme.id.clone(),
                name: "primary".to_owned(),
            };
            let (app, caller) = (&site.app, &caller);
            let refused = match action {
                "create" => app.perform(create(&acme.id), caller).await.map(|_| ()),
                "rotate" => app.perform(rotate(&acme.id), caller).await.map(|_| ()),
                _ => app.perform(replace, caller).await.map(|_| ()),
            };
            let refused = refused.expect_err(what);
            assert_eq!(refused.code(), code, "{what}, {action}: {refused}");
            // Those that were there are for whoever has archived it to end.
            let left: &[&str] = match action {
                "rotate" => &[],
                _ => &["primary"],
            };
            assert_eq!(site.live(&acme.id).await, left, "{what}, {action}");
        }
    }
}

#[tokio::test]
async fn a_workspace_that_another_server_archives_at_once_has_no_token() {
    for (what, sql, code) in &MEANWHILE[..2] {
        let site = Site::with_a_file().await;
        let ada = site.person("ada", false).await;
        let caller = site.caller(&ada.id).await;
        site.meanwhile(sql).await;
        let id: WorkspaceId = "newworkspac".parse().unwrap();
        let create = WorkspaceCreate {
            name: "acme".to_owned(),
            id: Some(id),
        };
        let refused = site.app.perform(create, &caller).await.expect_err(what);
        assert_eq!(refused.code(), *code, "{what}: {refused}");
        assert!(site.live(id.as_str()).await.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn what_another_server_has_taken_back_is_not_deleted() {
    let site = Site::with_a_file().await;
    let acme = site.workspace("acme", &[]).await;
    // Archiving was interrupted, so that deleting has a token to end.
    site.execute("UPDATE workspaces SET archived_at = 1").await;
    site.meanwhile("UPDATE workspaces SET archived_at = NULL")
        .await;
    let delete = WorkspaceDelete {
        workspace: acme.id.clone(),
        confirm: "acme".to_owned(),
    };
    let refused = site.app.perform(delete, &Caller::CommandLine).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Conflict);
    let there = create(&acme.id);
    site.execute("DROP TRIGGER on_insert").await;
    site.app.perform(there, &Caller::CommandLine).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_regenerated_while_it_is_to_end_ends_and_one_that_comes_later_stays() {
    let site = Site::with_a_file().await;
    let acme = site.workspace("acme", &[]).await;
    let id: WorkspaceId = acme.id.parse().unwrap();
    let (authority, runtime) = (site.app.authority().clone(), Handle::current());
    let late: TokenName = "late".parse().unwrap();
    let are_to_end = move |_: &crate::db::Transaction<'_>| {
        // After the list, and before anything is ended.
        runtime.block_on(async {
            let tokens = authority.list(&id).await.unwrap();
            if tokens.len() == 1 {
                let primary = TokenName::primary();
                authority.rotate(&id, &primary).await.unwrap();
                authority.issue(&id, &late).await.unwrap();
                return Ok(true);
            }
            // The next time they are not to end any longer; what is listed is alive.
            let live = tokens
                .iter()
                .filter(|token| token.state == TokenState::Active);
            assert_eq!(live.count(), 2);
            Ok(true)
        })
    };
    let authority = site.app.authority();
    lifecycle::end_tokens(&site.app, authority, &id, are_to_end)
        .await
        .unwrap();
    assert!(site.live(&acme.id).await.is_empty());

    // Of a workspace that is not archived none ends.
    site.app
        .perform(create(&acme.id), &Caller::CommandLine)
        .await
        .unwrap();
    lifecycle::end_of_archived(&site.app, authority, &id)
        .await
        .unwrap();
    assert_eq!(site.live(&acme.id).await, ["second"]);
}

#[tokio::test]
async fn of_a_transfer_that_another_server_takes_over_no_token_is_shown() {
    let (site, acme, _ada, bob) = offered().await;
    site.meanwhile("UPDATE transfers SET accepted_at = accepted_at + 1")
        .await;
    let refused = accept(&site, &acme, &bob).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert!(refused.to_string().contains("make new ones"), "{refused}");
}

#[tokio::test]
async fn of_a_workspace_that_is_archived_while_it_changes_hands_no_token_is_shown() {
    let (site, acme, _ada, bob) = offered().await;
    site.meanwhile("UPDATE workspaces SET archived_at = 1")
        .await;
    let refused = accept(&site, &acme, &bob).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Archived);
}

#[tokio::test]
async fn a_transfer_that_is_done_or_in_other_hands_is_not_finished_again() {
    for (what, sql) in [
        ("done", "DELETE FROM transfers"),
        ("in other hands", "UPDATE transfers SET accepted_at = 2"),
    ] {
        let (site, acme, _ada, _bob) = offered().await;
        site.execute("UPDATE transfers SET accepted_at = 1").await;
        let seen = site.claim().await;
        site.execute(sql).await;
        let id = acme.id.parse().unwrap();
        site.app.finish_transfer(&id, seen).await.unwrap();
        assert_eq!(site.live(&acme.id).await, ["primary"], "{what}");
    }
}

#[tokio::test]
async fn another_server_has_its_time_and_what_it_leaves_behind_is_finished() {
    let (site, acme, ada, _bob) = offered().await;
    let begun = |at: i64| format!("UPDATE transfers SET accepted_at = {at}");
    site.execute(begun(time::now())).await;
    site.app.finish_of_others().await.unwrap();
    assert_eq!(site.live(&acme.id).await, ["primary"]);

    // Until it is done nobody gets a token, which would end with the others.
    let caller = site.caller(&ada.id).await;
    let refused = site.app.perform(create(&acme.id), &caller).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Conflict);
    let tokens = site.app.authority().list(&acme.id.parse().unwrap()).await;
    assert_eq!(tokens.unwrap().len(), 1, "not even one that is taken back");

    for at in [1, time::now() + 60 * 60 * 1000] {
        site.execute(begun(at)).await;
        site.app.finish_of_others().await.unwrap();
        assert!(site.live(&acme.id).await.is_empty());
    }
    site.app.perform(create(&acme.id), &caller).await.unwrap();

    site.execute(format!(
        "UPDATE workspaces SET archived_at = {}",
        time::now()
    ))
    .await;
    site.app.finish_of_others().await.unwrap();
    assert!(site.live(&acme.id).await.is_empty());
}
