//! Who may do what through the JSON API: every action, as everybody.
//!
//! An action that is not in the table fails the test, so that nobody forgets to say who may do it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::site::{Ask, Browser, Page, Site};
use crate::{
    actions::{Access, Action},
    api::{self, Visitor},
    people::Role,
};

/// What each action is for, and arguments with which it does no harm: what they name is not there, or is
/// as they make it.
fn table() -> Vec<(&'static str, For, Value)> {
    use For::{Administrator, Member, Operator, Owner, Person};
    vec![
        ("GET /audit", Administrator, json!({})),
        ("GET /keys", Administrator, json!({})),
        ("GET /keys/check", Administrator, json!({})),
        ("GET /me", Person, json!({})),
        ("GET /me/logins", Person, json!({})),
        ("GET /server/check", Administrator, json!({})),
        ("GET /server/health", Administrator, json!({})),
        ("GET /server/jobs/{job}", Administrator, json!({})),
        ("GET /server/probes/{word}", Administrator, json!({})),
        ("GET /users", Administrator, json!({})),
        ("GET /workspaces", Person, json!({})),
        ("GET /workspaces/{workspace}", Member, json!({})),
        ("GET /workspaces/{workspace}/activity", Member, json!({})),
        (
            "GET /workspaces/{workspace}/answer-times",
            Member,
            json!({}),
        ),
        ("GET /workspaces/{workspace}/approvals", Member, json!({})),
        ("GET /workspaces/{workspace}/audit", Owner, json!({})),
        ("GET /workspaces/{workspace}/board", Member, json!({})),
        ("GET /workspaces/{workspace}/connections", Owner, json!({})),
        ("GET /workspaces/{workspace}/members", Member, json!({})),
        ("GET /workspaces/{workspace}/needs-you", Member, json!({})),
        ("GET /workspaces/{workspace}/tasks", Member, json!({})),
        (
            "GET /workspaces/{workspace}/tasks/{task}",
            Member,
            json!({}),
        ),
        (
            "GET /workspaces/{workspace}/tasks/{task}/attachments/{attachment}",
            Member,
            json!({}),
        ),
        ("GET /workspaces/{workspace}/tokens", Owner, json!({})),
        (
            "GET /workspaces/{workspace}/tokens/rejected",
            Owner,
            json!({}),
        ),
        (
            "GET /workspaces/{workspace}/tokens/reminders",
            Owner,
            json!({}),
        ),
        (
            "GET /workspaces/{workspace}/tokens/{name}/clients",
            Owner,
            json!({}),
        ),
        (
            "GET /workspaces/{workspace}/tokens/{name}/history",
            Owner,
            json!({}),
        ),
        ("GET /workspaces/{workspace}/transfer", Member, json!({})),
        ("POST /server/probes", Administrator, json!({})),
        ("POST /keys/rewrap", Administrator, json!({})),
        ("POST /keys/rotate", Administrator, json!({})),
        ("POST /keys/{id}/retire", Administrator, json!({})),
        ("POST /me", Person, json!({"name": ""})),
        ("POST /me/logins/{login}/end", Person, json!({})),
        ("POST /me/password", Person, json!({"old": "x", "new": "y"})),
        ("POST /server/backup", Operator, json!({"file": "/nowhere"})),
        ("POST /server/backup/download", Administrator, json!({})),
        ("POST /setup-link", Administrator, json!({})),
        ("POST /tokens/inspect", Administrator, json!({"token": "x"})),
        ("POST /users", Administrator, json!({"name": ""})),
        ("POST /users/{user}", Administrator, json!({})),
        ("POST /users/{user}/link", Administrator, json!({})),
        (
            "POST /users/{user}/password",
            Administrator,
            json!({"password": "x"}),
        ),
        ("POST /workspaces", Person, json!({"name": ""})),
        (
            "POST /workspaces/{workspace}/approvals/{approval}/answer",
            Member,
            json!({"answer": "deny"}),
        ),
        ("POST /workspaces/{workspace}/archive", Owner, json!({})),
        (
            "POST /workspaces/{workspace}/connections/{connection}/end",
            Owner,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/delete",
            Owner,
            json!({"confirm": "another name"}),
        ),
        (
            "POST /workspaces/{workspace}/members",
            Owner,
            json!({"user": "nobody", "role": "owner"}),
        ),
        (
            "POST /workspaces/{workspace}/members/{user}/remove",
            Owner,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/rules/{rule}/remove",
            Member,
            json!({}),
        ),
        ("POST /workspaces/{workspace}/settings", Owner, json!({})),
        (
            "POST /workspaces/{workspace}/tasks",
            Member,
            json!({"title": "", "body": ""}),
        ),
        (
            "POST /workspaces/{workspace}/tasks/{task}/assign",
            Member,
            json!({"assignee": "agent"}),
        ),
        (
            "POST /workspaces/{workspace}/tasks/{task}/edit",
            Member,
            json!({"title": "x", "body": "y"}),
        ),
        (
            "POST /workspaces/{workspace}/tasks/{task}/messages",
            Member,
            json!({"text": "x"}),
        ),
        (
            "POST /workspaces/{workspace}/tasks/{task}/move",
            Member,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/tasks/{task}/status",
            Member,
            json!({"status": "blocked"}),
        ),
        (
            "POST /workspaces/{workspace}/tokens",
            Owner,
            json!({"name": "NOT ONE"}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/test",
            Owner,
            json!({"token": "x"}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/{name}/clients/confirm",
            Owner,
            json!({"client_name": "nobody"}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/{name}/rejected/hide",
            Owner,
            json!({"generation": 1, "agent": "", "agent_version": "", "times": 1}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/{name}/replace",
            Owner,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/{name}/revoke",
            Owner,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/tokens/{name}/rotate",
            Owner,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/transfer",
            Owner,
            json!({"user": "nobody"}),
        ),
        (
            "POST /workspaces/{workspace}/transfer/accept",
            Member,
            json!({}),
        ),
        (
            "POST /workspaces/{workspace}/transfer/cancel",
            Member,
            json!({}),
        ),
        ("POST /workspaces/{workspace}/unarchive", Owner, json!({})),
        ("POST /server/locked/{id}/unlock", Administrator, json!({})),
    ]
}

/// Whom an action is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Administrator,
    Member,
    /// Nobody who comes over HTTP, though the API says that it is for administrators.
    Operator,
    Owner,
    Person,
}

impl For {
    fn access(self) -> Access {
        match self {
            Self::Administrator | Self::Operator => Access::Administrator,
            Self::Member => Access::Member,
            Self::Owner => Access::Owner,
            Self::Person => Access::Person,
        }
    }
}

#[derive(Default)]
struct Actions(BTreeMap<String, Access>);

impl Visitor for Actions {
    fn visit<A: Action>(&mut self) {
        let route = format!("{} {}", A::METHOD, A::ROUTE);
        let twice = self.0.insert(route, A::ACCESS);
        assert!(twice.is_none(), "two actions of one route: {}", A::ROUTE);
    }
}

/// What somebody gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// "Only ... may do this."
    Forbidden,
    /// Whatever the action says.
    Heard,
    /// "There is no such workspace."
    Nothing,
    /// "Log in."
    Stranger,
}

impl Answer {
    fn of(page: &Page) -> Self {
        match page.status.as_u16() {
            401 => Self::Stranger,
            403 => Self::Forbidden,
            404 if page.body.contains("there is no such workspace") => Self::Nothing,
            404 if page.body.contains("no such route") => panic!("{}", page.body),
            status if status < 500 => Self::Heard,
            _ => panic!("{}: {}", page.status, page.body),
        }
    }
}

struct World {
    site: Site,
    workspace: String,
    token: String,
    administrator: Browser,
    disabled: Browser,
    member: Browser,
    owner: Browser,
    other: Browser,
    removed: Browser,
}

impl World {
    async fn new() -> Self {
        let site = Site::new().await;
        let administrator = site.person("root", true).await;
        let owner = site.person("owner", false).await;
        let member = site.person("member", false).await;
        let other = site.person("other", false).await;
        let removed = site.person("removed", false).await;
        let disabled = site.person("disabled", true).await;
        let owners = [(&owner, Role::Owner), (&disabled, Role::Owner)];
        let members = [(&member, Role::Member), (&removed, Role::Owner)];
        let acme = site.workspace("acme", &[owners, members].concat()).await;
        site.workspace("elsewhere", &[(&other, Role::Owner)]).await;
        site.execute(
            "DELETE FROM members WHERE user = (SELECT id FROM users WHERE name = 'removed')",
        )
        .await;
        site.execute("UPDATE users SET disabled_at = 1 WHERE name = 'disabled'")
            .await;
        Self {
            workspace: acme.id,
            token: acme.secret.expose_secret().to_owned(),
            site,
            administrator,
            disabled,
            member,
            owner,
            other,
            removed,
        }
    }

    fn ask(&self, route: &str, arguments: &Value) -> Ask<'_> {
        let (method, route) = route.split_once(' ').unwrap();
        let target = [
            "{approval}",
            "{attachment}",
            "{connection}",
            "{id}",
            "{login}",
            "{name}",
            "{rule}",
            "{task}",
            "{user}",
            "{word}",
        ]
        .into_iter()
        .fold(route.to_owned(), |route, name| {
            route.replace(name, "aaaaaaaaaaa")
        });
        let target = format!(
            "/api/v1{}",
            target
                .replace("{workspace}", &self.workspace)
                .replace("{job}", "backup")
        );
        let ask = self.site.ask(method.parse().unwrap(), &target);
        match method {
            "GET" => ask,
            _ => ask.json(arguments),
        }
    }

    /// What everybody is to get of an action.
    fn people(&self, of: For) -> [(&'static str, &Browser, Answer); 6] {
        use Answer::{Forbidden, Heard, Nothing, Stranger};
        let [outside, member, owner, administrator] = match of {
            For::Administrator => [Forbidden, Forbidden, Forbidden, Heard],
            For::Member => [Nothing, Heard, Heard, Heard],
            For::Operator => [Forbidden; 4],
            For::Owner => [Nothing, Forbidden, Heard, Heard],
            For::Person => [Heard; 4],
        };
        [
            ("somebody disabled", &self.disabled, Stranger),
            ("a member of another workspace", &self.other, outside),
            ("a removed member", &self.removed, outside),
            ("a member", &self.member, member),
            ("an owner", &self.owner, owner),
            ("an administrator", &self.administrator, administrator),
        ]
    }
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let mut actions = Actions::default();
    api::visit_all(&mut actions);
    let table = table();
    let mut classified: BTreeMap<String, Access> = BTreeMap::new();
    for (route, of, _) in &table {
        classified.insert((*route).to_owned(), of.access());
        // Only what names a workspace can ask what somebody is in it.
        let is_in_workspace = matches!(of, For::Member | For::Owner);
        assert_eq!(route.contains("{workspace}"), is_in_workspace, "{route}");
    }
    assert_eq!(actions.0, classified, "say in the table who may do it");

    let world = World::new().await;
    for (route, of, arguments) in &table {
        for (who, browser, expected) in world.people(*of) {
            let page = world.ask(route, arguments).of(browser).send().await;
            assert_eq!(
                Answer::of(&page),
                expected,
                "{route} as {who}: {}",
                page.body
            );
            assert_eq!(page.header("cache-control"), "no-store", "{route}");
        }
    }
}

#[tokio::test]
async fn neither_nobody_nor_a_workspace_token_may_do_anything() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token);
    for (route, _, arguments) in table() {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{workspace}", &world.workspace);
        let in_query = format!("/api/v1{path}?token={}", world.token);
        let in_query = world.site.ask(method.parse().unwrap(), &in_query);
        for (who, ask) in [
            ("nobody", world.ask(route, &arguments)),
            (
                "bearer",
                world
                    .ask(route, &arguments)
                    .header("authorization", &bearer),
            ),
            ("cookie", world.ask(route, &arguments).cookie(&world.token)),
            ("query", in_query),
        ] {
            let page = ask.send().await;
            assert_eq!(
                Answer::of(&page),
                Answer::Stranger,
                "{route} as {who}: {}",
                page.body
            );
        }
    }
    assert!(
        world
            .site
            .ask(Method::GET, "/api/v1/me")
            .of(&world.owner)
            .send()
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn whoever_makes_a_workspace_owns_it_and_nobody_else_sees_it() {
    let site = Site::new().await;
    let (ada, eve) = (
        site.person("ada", false).await,
        site.person("eve", false).await,
    );
    let ask = site.ask(Method::POST, "/api/v1/workspaces").of(&ada);
    let made = ask.json(&json!({"name": "secret-plans"})).send().await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let tokens = format!(
        "/api/v1/workspaces/{}/tokens",
        made["workspace"]["id"].as_str().unwrap()
    );
    assert!(site.get(&tokens, &ada).await.status.is_success());
    assert!(site.get("/", &ada).await.body.contains("secret-plans"));
    for target in ["/", "/api/v1/workspaces"] {
        let page = site.get(target, &eve).await;
        assert!(page.status.is_success());
        assert!(!page.body.contains("secret-plans"), "{target}");
    }
}
