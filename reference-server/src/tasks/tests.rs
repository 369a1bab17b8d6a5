//! Tasks and messages, over a real database file.

use std::sync::Arc;

use tower_workspace_token::{
    authority::{Keys, TokenAuthority},
    id::{TokenName, WorkspaceId},
    token::PresentedToken,
};
use tower_workspace_token_sqlite::SqliteStore;

use super::*;
use crate::{time, workspaces};

struct Fixture {
    _directory: tempfile::TempDir,
    authority: TokenAuthority,
    tasks: Tasks,
}

impl Fixture {
    async fn new(ids: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("test.db")).unwrap();
        let database = Database::open(&store).unwrap();
        let authority = TokenAuthority::builder(store, Keys::generate().unwrap())
            .build()
            .unwrap();
        for id in ids {
            let id = workspace(id);
            database
                .write(move |transaction| {
                    workspaces::insert(transaction, &id, id.as_str(), time::now())
                })
                .await
                .unwrap();
        }
        Self {
            _directory: directory,
            authority,
            tasks: Tasks::new(database),
        }
    }

    async fn agent(&self, id: &str, name: &str) -> Lease {
        let (workspace, name) = (workspace(id), name.parse().unwrap());
        let token = self.authority.issue(&workspace, &name).await.unwrap();
        let presented = PresentedToken::new(token.expose_secret().as_bytes());
        let verified = self.authority.verify(&workspace, presented).await.unwrap();
        verified.lease().clone()
    }

    async fn task_for_agents(&self, id: &str, title: &str) -> Task {
        let author = Author::Human(workspace(id));
        self.tasks.create(author, new_task(title)).await.unwrap()
    }
}

fn workspace(id: &str) -> WorkspaceId {
    id.parse().unwrap()
}

fn new_task(title: &str) -> NewTask {
    NewTask {
        title: title.to_owned(),
        body: "do it".to_owned(),
        assignee: Actor::Agent,
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, TaskError>) -> TaskErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_never_take_the_same_task() {
    let fixture = Arc::new(Fixture::new(&["acme"]).await);
    for number in 0..20 {
        fixture.task_for_agents("acme", &number.to_string()).await;
    }
    let mut takers = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let agent = fixture.agent("acme", name).await;
        let tasks = fixture.tasks.clone();
        takers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Some(task) = tasks.take_next(&agent).await.unwrap() {
                assert_eq!(task.status, Status::Ongoing);
                taken.push(task.id.to_string());
            }
            taken
        }));
    }
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (20, 20));
}

#[tokio::test]
async fn takes_the_oldest_task_first_and_none_of_a_persons() {
    let fixture = Fixture::new(&["acme"]).await;
    let for_a_person = NewTask {
        assignee: Actor::Human,
        ..new_task("for a person")
    };
    let author = Author::Human(workspace("acme"));
    fixture.tasks.create(author, for_a_person).await.unwrap();
    fixture.task_for_agents("acme", "first").await;
    fixture.task_for_agents("acme", "second").await;
    let agent = fixture.agent("acme", "primary").await;
    let mut titles = Vec::new();
    while let Some(task) = fixture.tasks.take_next(&agent).await.unwrap() {
        titles.push(task.title);
    }
    assert_eq!(titles, ["first", "second"]);
}

#[tokio::test]
async fn a_regenerated_token_writes_nothing() {
    let fixture = Fixture::new(&["acme"]).await;
    let task = fixture.task_for_agents("acme", "untouched").await;
    let agent = fixture.agent("acme", "primary").await;
    fixture
        .authority
        .rotate(&workspace("acme"), &TokenName::primary())
        .await
        .unwrap();
    let (tasks, author) = (&fixture.tasks, Author::Agent(agent.clone()));
    let regenerated = TaskErrorKind::TokenRegenerated;
    assert_eq!(
        kind(tasks.create(author.clone(), new_task("late")).await),
        regenerated
    );
    assert_eq!(
        kind(tasks.reply(author, &task.id, "late".to_owned()).await),
        regenerated
    );
    assert_eq!(
        kind(
            tasks
                .update_status(&agent, &task.id, Status::Completed)
                .await
        ),
        regenerated
    );
    assert_eq!(kind(tasks.take_next(&agent).await), regenerated);
    let found = tasks.get(&workspace("acme"), &task.id).await.unwrap();
    assert_eq!(found, task);
    let statistics = tasks.statistics(&workspace("acme")).await.unwrap();
    assert_eq!((statistics.not_started, statistics.ongoing), (1, 0));
}

#[tokio::test]
async fn a_task_of_another_workspace_is_no_task() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let task = fixture.task_for_agents("acme", "secret").await;
    let agent = fixture.agent("other", "primary").await;
    let (tasks, other) = (&fixture.tasks, workspace("other"));
    let author = Author::Agent(agent.clone());
    assert_eq!(
        kind(tasks.get(&other, &task.id).await),
        TaskErrorKind::NoTask
    );
    assert_eq!(
        kind(tasks.reply(author, &task.id, "hello".to_owned()).await),
        TaskErrorKind::NoTask
    );
    assert_eq!(
        kind(
            tasks
                .update_status(&agent, &task.id, Status::Rejected)
                .await
        ),
        TaskErrorKind::NoTask
    );
    assert_eq!(
        kind(
            tasks
                .conversation(&other, &task.id, PageRequest::default())
                .await
        ),
        TaskErrorKind::NoTask
    );
    assert_eq!(tasks.take_next(&agent).await.unwrap(), None);
    let page = tasks.list(&other, TaskFilter::default()).await.unwrap();
    assert_eq!(page.tasks, []);
    let with_foreign_cursor = TaskFilter {
        page: PageRequest {
            cursor: Some(task.id),
            ..PageRequest::default()
        },
        ..TaskFilter::default()
    };
    assert!(matches!(
        kind(tasks.list(&other, with_foreign_cursor).await),
        TaskErrorKind::Invalid(_)
    ));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let fixture = Fixture::new(&["acme"]).await;
    let acme = workspace("acme");
    let task = fixture.task_for_agents("acme", "0").await;
    for number in 1..5 {
        fixture.task_for_agents("acme", &number.to_string()).await;
        let author = Author::Human(acme);
        let text = number.to_string();
        fixture.tasks.reply(author, &task.id, text).await.unwrap();
    }
    let (mut titles, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { cursor, limit: 2 };
        let filter = TaskFilter { status: None, page };
        let page = fixture.tasks.list(&acme, filter).await.unwrap();
        titles.extend(page.tasks.into_iter().map(|task| task.title));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(titles, ["4", "3", "2", "1", "0"]);
    let (mut texts, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { cursor, limit: 3 };
        let page = fixture.tasks.conversation(&acme, &task.id, page).await;
        let page = page.unwrap();
        texts.extend(page.messages.into_iter().map(|message| message.text));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(texts, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn subscribers_hear_of_their_own_workspace_alone() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let mut subscription = fixture.tasks.subscribe(&workspace("acme"));
    fixture.task_for_agents("other", "not for acme").await;
    let task = fixture.task_for_agents("acme", "for acme").await;
    let author = Author::Human(workspace("acme"));
    let reply = fixture.tasks.reply(author, &task.id, "hello".to_owned());
    let message = reply.await.unwrap();
    let Event::TaskAdded(heard) = subscription.next().await else {
        panic!("expected the task");
    };
    assert_eq!(*heard, task);
    let Event::MessageAdded(heard) = subscription.next().await else {
        panic!("expected the message");
    };
    assert_eq!(*heard, message);
}

#[tokio::test]
async fn refuses_what_is_not_well_formed() {
    let fixture = Fixture::new(&["acme"]).await;
    let author = Author::Human(workspace("acme"));
    for title in ["", "  ", "two\nlines", &"x".repeat(MAX_TITLE + 1)] {
        let refused = fixture.tasks.create(author.clone(), new_task(title)).await;
        assert!(
            matches!(kind(refused), TaskErrorKind::Invalid(_)),
            "{title:?}"
        );
    }
    for status in ["", "done", "Completed", "not started"] {
        assert!(status.parse::<Status>().is_err(), "{status:?}");
    }
    for id in ["", "short", "UPPERCASE11", "with space1", "aaaaaaaaaaaa"] {
        assert!(id.parse::<TaskId>().is_err(), "{id:?}");
    }
    let nobody = Author::Human(workspace("nobody"));
    let refused = fixture.tasks.create(nobody, new_task("task")).await;
    assert_eq!(kind(refused), TaskErrorKind::NoWorkspace);
}
