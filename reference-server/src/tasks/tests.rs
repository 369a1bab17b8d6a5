//! Tasks and messages, over a real database file.

use std::sync::Arc;

use tower_workspace_token::{
    authority::{Keys, TokenAuthority},
    id::{TokenName, WorkspaceId},
    token::PresentedToken,
};

use super::*;
use crate::{
    db::{Database, DatabaseError, Engine, Store, testing},
    live::{Heard, Live, Topic},
    nodes::Nodes,
    time, workspaces,
};

struct Fixture {
    _directory: tempfile::TempDir,
    authority: TokenAuthority,
    tasks: Tasks,
    live: Live,
}

impl Fixture {
    async fn new(ids: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let opened = testing::open(directory.path()).await;
        Self::of(directory, opened, ids).await
    }

    /// In SQLite, whichever database the tests run on.
    async fn in_a_file(ids: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let opened = testing::open_file(directory.path()).await;
        Self::of(directory, opened, ids).await
    }

    async fn of(
        directory: tempfile::TempDir,
        (store, database): (Store, Database),
        ids: &[&str],
    ) -> Self {
        let authority = TokenAuthority::builder(store.clone(), Keys::generate().unwrap())
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
        let live = Live::default();
        let nodes = Nodes::of(&store);
        Self {
            _directory: directory,
            authority,
            tasks: Tasks::new(database, live.clone(), nodes),
            live,
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
        let author = person(workspace(id));
        self.tasks
            .create(author, new_task(title), Vec::new())
            .await
            .unwrap()
    }
}

fn workspace(id: &str) -> WorkspaceId {
    id.parse().unwrap()
}

fn person(workspace: WorkspaceId) -> Author {
    let who = Who {
        user: None,
        name: "command line".to_owned(),
    };
    Author::Human(workspace, who)
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
    let author = person(workspace("acme"));
    fixture
        .tasks
        .create(author, for_a_person, Vec::new())
        .await
        .unwrap();
    fixture.task_for_agents("acme", "first").await;
    fixture.task_for_agents("acme", "second").await;
    let agent = fixture.agent("acme", "primary").await;
    let mut titles = Vec::new();
    while let Some(task) = fixture.tasks.take_next(&agent).await.unwrap() {
        titles.push(task.card.title);
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
        kind(
            tasks
                .create(author.clone(), new_task("late"), Vec::new())
                .await
        ),
        regenerated
    );
    assert_eq!(
        kind(
            tasks
                .reply(author, &task.id, "late".to_owned(), Vec::new())
                .await
        ),
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
        kind(
            tasks
                .reply(author, &task.id, "hello".to_owned(), Vec::new())
                .await
        ),
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
            cursor: Some(task.card.id),
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
        let author = person(acme);
        let text = number.to_string();
        fixture
            .tasks
            .reply(author, &task.id, text, Vec::new())
            .await
            .unwrap();
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
    let author = person(workspace("acme"));
    let reply = fixture
        .tasks
        .reply(author, &task.id, "hello".to_owned(), Vec::new());
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
    let author = person(workspace("acme"));
    for title in ["", "  ", "two\nlines", &"x".repeat(MAX_TITLE + 1)] {
        let refused = fixture
            .tasks
            .create(author.clone(), new_task(title), Vec::new())
            .await;
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
    let nobody = person(workspace("nobody"));
    let refused = fixture
        .tasks
        .create(nobody, new_task("task"), Vec::new())
        .await;
    assert_eq!(kind(refused), TaskErrorKind::NoWorkspace);
}

fn file(name: &str) -> NewAttachment {
    NewAttachment {
        name: name.to_owned(),
        media_type: None,
        data: bytes::Bytes::from_static(b"hello"),
    }
}

fn permission(request: &str) -> approvals::ApprovalRequest {
    approvals::ApprovalRequest {
        request_id: request.to_owned(),
        tool_name: "Bash".to_owned(),
        description: String::new(),
        input_preview: String::new(),
    }
}

impl Fixture {
    async fn titles(&self, id: &str, status: Status) -> Vec<String> {
        let column = self.tasks.board_column(&workspace(id), status, None).await;
        let tasks = column.unwrap().tasks.into_iter();
        tasks.map(|task| task.title).collect()
    }

    async fn needs(&self, id: &str) -> NeedsPage {
        self.tasks.needs(&workspace(id)).await.unwrap()
    }
}

#[tokio::test]
async fn a_regenerated_token_attaches_and_asks_nothing() {
    let fixture = Fixture::new(&["acme"]).await;
    let task = fixture.task_for_agents("acme", "untouched").await;
    let agent = fixture.agent("acme", "primary").await;
    let inbox = fixture.tasks.open_session().unwrap();
    fixture
        .authority
        .rotate(&workspace("acme"), &TokenName::primary())
        .await
        .unwrap();
    let (tasks, author) = (&fixture.tasks, Author::Agent(agent.clone()));
    let regenerated = TaskErrorKind::TokenRegenerated;
    let files = vec![file("late.txt")];
    let late = tasks.reply(author.clone(), &task.id, "late".to_owned(), files.clone());
    assert_eq!(kind(late.await), regenerated);
    let late = tasks.create(author, new_task("late"), files);
    assert_eq!(kind(late.await), regenerated);
    let late = tasks.ask(&agent, inbox.key(), permission("late"));
    assert_eq!(kind(late.await), regenerated);
    let late = tasks.agent_waits(&agent, &task.id);
    assert_eq!(kind(late.await), regenerated);
    let acme = workspace("acme");
    assert_eq!(tasks.attachments(&acme, &task.id).await.unwrap(), []);
    assert_eq!(tasks.approvals(&acme, 100).await.unwrap(), []);
    assert_eq!(fixture.needs("acme").await.count, 0);
}

/// A rotation that another process committed is in the row before this one's lease has heard of it.
#[tokio::test]
async fn an_answer_asks_the_row_of_the_token_itself() {
    let fixture = Fixture::new(&["acme"]).await;
    let agent = fixture.agent("acme", "primary").await;
    let mut inbox = fixture.tasks.open_session().unwrap();
    let asked = fixture.tasks.ask(&agent, inbox.key(), permission("abcde"));
    let asked = asked.await.unwrap();
    fixture
        .authority
        .rotate(&workspace("acme"), &TokenName::primary())
        .await
        .unwrap();
    // Nobody has closed the session, as after a rotation whose end is still being written.
    let answer = fixture
        .tasks
        .answer(person(workspace("acme")), &asked.id, Answer::Allow);
    assert_eq!(kind(answer.await), TaskErrorKind::AgentGone);
    let told = tokio::time::timeout(std::time::Duration::from_millis(50), inbox.next());
    assert!(told.await.is_err());
}

#[tokio::test]
async fn rules_hold_for_one_token_and_one_tool_of_one_workspace() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let tasks = &fixture.tasks;
    let acme = workspace("acme");
    let inbox = tasks.open_session().unwrap();
    let agent = fixture.agent("acme", "primary").await;
    let asked = tasks
        .ask(&agent, inbox.key(), permission("a"))
        .await
        .unwrap();
    let answer = tasks.answer(person(acme), &asked.id, Answer::Always);
    answer.await.unwrap();
    let state = async |agent: &Lease, tool: &str| {
        let request = approvals::ApprovalRequest {
            tool_name: tool.to_owned(),
            ..permission(&format!("{tool}{}", agent.name()))
        };
        let asked = tasks.ask(agent, inbox.key(), request).await.unwrap();
        asked.state.as_str()
    };
    assert_eq!(state(&agent, "Bash").await, "allowed");
    assert_eq!(state(&agent, "Write").await, "pending");
    let second = fixture.agent("acme", "second").await;
    assert_eq!(state(&second, "Bash").await, "pending");
    let foreign_inbox = tasks.open_session().unwrap();
    let foreign = fixture.agent("other", "primary").await;
    let asked = tasks.ask(&foreign, foreign_inbox.key(), permission("a"));
    assert_eq!(asked.await.unwrap().state.as_str(), "pending");
    tasks
        .remove_rules_of(&acme, &TokenName::primary())
        .await
        .unwrap();
    assert_eq!(tasks.rules(&acme).await.unwrap(), []);
}

#[tokio::test]
async fn the_board_keeps_the_order_that_people_give_it() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let (tasks, author) = (&fixture.tasks, person(workspace("acme")));
    let mut ids = Vec::new();
    for title in ["a", "b", "c", "d"] {
        ids.push(fixture.task_for_agents("acme", title).await.card.id);
    }
    let go =
        async |task: usize, place: Place| tasks.move_to(author.clone(), &ids[task], place).await;
    go(3, Place::Before(ids[0].clone())).await.unwrap();
    assert_eq!(
        fixture.titles("acme", Status::NotStarted).await,
        ["d", "a", "b", "c"]
    );
    go(0, Place::After(ids[1].clone())).await.unwrap();
    assert_eq!(
        fixture.titles("acme", Status::NotStarted).await,
        ["d", "b", "a", "c"]
    );
    go(2, Place::After(ids[2].clone())).await.unwrap();
    // The same two places again and again use up the numbers between them.
    for _ in 0..30 {
        go(2, Place::Before(ids[0].clone())).await.unwrap();
        go(1, Place::Before(ids[0].clone())).await.unwrap();
    }
    assert_eq!(
        fixture.titles("acme", Status::NotStarted).await,
        ["d", "c", "b", "a"]
    );
    // Agents take the first.
    let agent = fixture.agent("acme", "primary").await;
    let taken = tasks.take_next(&agent).await.unwrap().unwrap();
    assert_eq!(
        (&*taken.title, taken.worker.as_deref()),
        ("d", Some("primary"))
    );
    // Not beside one of another state, nor one of another workspace.
    let refused = go(0, Place::After(ids[3].clone())).await;
    assert!(matches!(kind(refused), TaskErrorKind::Invalid(_)));
    let foreign = fixture.task_for_agents("other", "x").await;
    let refused = go(0, Place::After(foreign.card.id.clone())).await;
    assert_eq!(kind(refused), TaskErrorKind::NoTask);
    let stranger = person(workspace("other"));
    let refused = tasks.move_to(stranger, &ids[0], Place::Before(foreign.card.id));
    assert_eq!(kind(refused.await), TaskErrorKind::NoTask);
}

#[tokio::test]
async fn what_is_done_comes_first_among_what_is_done() {
    let fixture = Fixture::new(&["acme"]).await;
    for title in ["a", "b"] {
        let task = fixture.task_for_agents("acme", title).await;
        let author = person(workspace("acme"));
        let done = fixture
            .tasks
            .set_status(author, &task.id, Status::Completed);
        done.await.unwrap();
    }
    assert_eq!(fixture.titles("acme", Status::Completed).await, ["b", "a"]);
}

#[tokio::test]
async fn the_board_comes_in_pages() {
    let fixture = Fixture::new(&["acme"]).await;
    for number in 0..120 {
        fixture.task_for_agents("acme", &number.to_string()).await;
    }
    let acme = workspace("acme");
    let (mut titles, mut cursor) = (Vec::new(), None);
    loop {
        let column = fixture
            .tasks
            .board_column(&acme, Status::NotStarted, cursor);
        let column = column.await.unwrap();
        assert_eq!(column.count, 120);
        assert!(column.tasks.len() <= 50);
        titles.extend(column.tasks.into_iter().map(|task| task.title));
        cursor = column.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    assert_eq!(titles, expected);
}

/// Waits until what is written next is younger: rows have no finer time.
async fn the_next_millisecond() {
    let now = crate::time::now();
    while crate::time::now() == now {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn needs_you_lists_what_waits_oldest_first() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let (tasks, acme) = (&fixture.tasks, workspace("acme"));
    let agent = fixture.agent("acme", "primary").await;
    let task = fixture.task_for_agents("acme", "work").await;
    tasks.take_next(&agent).await.unwrap();
    let say = async |text: &str| {
        let author = Author::Agent(agent.clone());
        let said = tasks.reply(author, &task.id, text.to_owned(), Vec::new());
        said.await.unwrap();
    };
    say("on it").await;
    assert_eq!(fixture.needs("acme").await.count, 0);
    say("Which port?").await;
    the_next_millisecond().await;
    let inbox = tasks.open_session().unwrap();
    tasks
        .ask(&agent, inbox.key(), permission("a"))
        .await
        .unwrap();
    the_next_millisecond().await;
    let for_a_person = NewTask {
        assignee: Actor::Human,
        ..new_task("yours")
    };
    let author = Author::Agent(agent.clone());
    tasks
        .create(author, for_a_person, Vec::new())
        .await
        .unwrap();
    let needs = fixture.needs("acme").await;
    let kinds: Vec<_> = needs.needs.iter().map(|need| need.kind).collect();
    use needs::NeedKind::{Approval, Question};
    assert_eq!(
        (needs.count, kinds),
        (3, vec![Question, Approval, Question])
    );
    let asked = needs.needs[0].last_message.as_ref().unwrap();
    assert_eq!(
        (&*asked.text, &*asked.author_name),
        ("Which port?", "primary")
    );
    // The question itself, as long as nobody has written.
    assert_eq!(needs.needs[0].body, None);
    assert!(!needs.needs[2].body.as_ref().unwrap().is_empty());
    assert_eq!(needs.needs[1].task.as_ref().unwrap().id, task.id);
    let counts = |user: Option<crate::people::UserId>| {
        fixture
            .tasks
            .database
            .read(move |snapshot| needs_counts(snapshot, user.as_ref()))
    };
    assert_eq!(counts(None).await.unwrap(), [("acme".to_owned(), 3)]);
    let stranger = crate::people::UserId::new("stranger");
    assert_eq!(counts(Some(stranger)).await.unwrap(), []);
    assert_eq!(fixture.needs("other").await.count, 0);
    tasks
        .reply(person(acme), &task.id, "8080".to_owned(), Vec::new())
        .await
        .unwrap();
    assert_eq!(fixture.needs("acme").await.count, 2);
}

#[tokio::test]
async fn the_timeline_says_who_did_what() {
    let fixture = Fixture::new(&["acme"]).await;
    let (tasks, acme) = (&fixture.tasks, workspace("acme"));
    let alice = Author::Human(
        acme,
        Who {
            user: Some(crate::people::UserId::new("aaaaaaaaaaa")),
            name: "alice".to_owned(),
        },
    );
    let files = vec![file("a.txt")];
    let task = tasks
        .create(alice.clone(), new_task("t"), files)
        .await
        .unwrap();
    assert_eq!(task.author_name, "alice");
    assert_eq!(task.author_user.as_deref(), Some("aaaaaaaaaaa"));
    let agent = fixture.agent("acme", "laptop").await;
    tasks.take_next(&agent).await.unwrap();
    tasks
        .update_status(&agent, &task.id, Status::Blocked)
        .await
        .unwrap();
    // Nothing changes, so nothing is told.
    tasks
        .update_status(&agent, &task.id, Status::Blocked)
        .await
        .unwrap();
    tasks
        .assign(alice.clone(), &task.id, Actor::Human)
        .await
        .unwrap();
    let edit = Edit {
        title: Some("u".to_owned()),
        body: None,
    };
    let edited = tasks.edit(alice, &task.id, edit).await.unwrap();
    assert_eq!((&*edited.title, &*edited.body), ("u", "do it"));
    let thread = tasks.thread(&acme, &task.id, PageRequest::default());
    let timeline = thread.await.unwrap().timeline;
    let told: Vec<_> = timeline
        .iter()
        .map(|event| {
            let (before, after) = (&*event.before, &*event.after);
            (&*event.actor_name, event.what.as_str(), before, after)
        })
        .collect();
    let expected = [
        ("alice", "created", "", ""),
        ("alice", "attached", "", "a.txt"),
        ("laptop", "taken", "", ""),
        ("laptop", "status", "ongoing", "blocked"),
        ("alice", "assigned", "agent", "human"),
        ("alice", "edited", "t", "u"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn pages_are_told_of_every_change() {
    let fixture = Fixture::new(&["acme"]).await;
    let (tasks, author) = (&fixture.tasks, person(workspace("acme")));
    let mut changes = fixture.live.listen(None);
    let mut heard = async || match changes.next().await {
        Heard::Change(_, change) => {
            assert_eq!(change.workspace, Some(workspace("acme")));
            change.topic
        }
        Heard::Everything(_) => panic!("nothing was missed"),
    };
    let task = fixture.task_for_agents("acme", "t").await.card.id;
    let of_task = Topic::Task(task.to_string());
    assert_eq!(heard().await, of_task);
    let agent = fixture.agent("acme", "primary").await;
    let said = tasks.reply(author.clone(), &task, "x".to_owned(), Vec::new());
    said.await.unwrap();
    assert_eq!(heard().await, of_task);
    tasks.take_next(&agent).await.unwrap();
    assert_eq!(heard().await, of_task);
    let blocked = tasks.update_status(&agent, &task, Status::Blocked);
    blocked.await.unwrap();
    assert_eq!(heard().await, of_task);
    let assigned = tasks.assign(author, &task, Actor::Human);
    assigned.await.unwrap();
    assert_eq!(heard().await, of_task);
    let inbox = tasks.open_session().unwrap();
    let asked = tasks.ask(&agent, inbox.key(), permission("a"));
    asked.await.unwrap();
    assert_eq!(heard().await, Topic::Approvals);
}

/// Looks at the plans of what every page asks: whatever is read whole would be slow with 10,000 tasks.
#[tokio::test]
async fn no_page_reads_a_whole_table() {
    let fixture = Fixture::in_a_file(&["acme"]).await;
    let queries = [
        ("board", board::page_sql()),
        ("list", read::list_sql(None)),
        ("list of a state", read::list_sql(Some(Status::Ongoing))),
        ("statistics", read::STATISTICS.to_owned()),
        ("messages after", read::MESSAGES_AFTER.to_owned()),
        ("messages before", read::MESSAGES_BEFORE.to_owned()),
        ("attachments", attachments::of_task_sql()),
        ("approvals of a task", approvals::of_task_sql()),
        ("approvals", approvals::latest_sql()),
        ("approvals that wait", approvals::pending_sql()),
        ("timeline", timeline::LATEST.to_owned()),
        ("questions", needs::questions_sql()),
        ("needs", needs::COUNT.to_owned()),
    ];
    for (name, sql) in queries {
        for step in fixture.plan(sql).await {
            assert!(
                ["SEARCH", "SCALAR", "SCAN CONSTANT ROW"]
                    .iter()
                    .any(|fit| step.starts_with(fit)),
                "{name}: {step}"
            );
            // What is sorted is read whole first.
            assert!(!step.contains("TEMP B-TREE"), "{name}: {step}");
        }
    }
    // The counts of all workspaces read what waits, in an index of nothing else.
    for step in fixture.plan(needs::COUNTS.to_owned()).await {
        let is_small = ["tasks_asking", "approvals_pending", "members"];
        let reads = step.starts_with("SCAN tasks") || step.starts_with("SCAN approvals");
        assert!(
            !reads || is_small.iter().any(|index| step.contains(index)),
            "{step}"
        );
    }
}

impl Fixture {
    async fn plan(&self, sql: String) -> Vec<String> {
        let steps = self.tasks.database.read(move |snapshot| {
            let Engine::Sqlite(connection) = snapshot.engine() else {
                panic!("only SQLite plans like this");
            };
            let plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"));
            let mut statement = plan.map_err(DatabaseError::from)?;
            // Raw, since the plan is the same whatever the parameters are.
            let mut rows = statement.raw_query();
            let mut steps: Vec<String> = Vec::new();
            while let Some(row) = rows.next().map_err(DatabaseError::from)? {
                steps.push(row.get("detail").map_err(DatabaseError::from)?);
            }
            Ok::<_, TaskError>(steps)
        });
        steps.await.unwrap()
    }
}

#[tokio::test]
async fn what_people_answer_is_counted_and_what_agents_settle_is_not() {
    let fixture = Fixture::new(&["acme", "other"]).await;
    let (tasks, acme) = (&fixture.tasks, workspace("acme"));
    let (agent, me) = (fixture.agent("acme", "primary").await, person(acme));
    let asks = async |task: &Task| {
        let question = "Which port?".to_owned();
        tasks
            .reply(Author::Agent(agent.clone()), &task.id, question, Vec::new())
            .await
    };
    let answers = async || tasks.answer_times(&acme).await.unwrap().all.answers;

    let replied = fixture.task_for_agents("acme", "a reply").await;
    asks(&replied).await.unwrap();
    assert_eq!(answers().await, 0);
    let reply = |text: &str| tasks.reply(me.clone(), &replied.id, text.to_owned(), Vec::new());
    reply("8080").await.unwrap();
    assert_eq!(answers().await, 1);
    // It no longer waits: what people say besides is no answer.
    reply("as always").await.unwrap();
    assert_eq!(answers().await, 1);

    let closed = fixture.task_for_agents("acme", "a state").await;
    asks(&closed).await.unwrap();
    let status = tasks.set_status(me.clone(), &closed.id, Status::Rejected);
    status.await.unwrap();
    assert_eq!(answers().await, 2);

    let given = fixture.task_for_agents("acme", "another hand").await;
    tasks
        .assign(me.clone(), &given.id, Actor::Human)
        .await
        .unwrap();
    tasks
        .assign(me.clone(), &given.id, Actor::Agent)
        .await
        .unwrap();
    assert_eq!(answers().await, 3);

    let settled = fixture.task_for_agents("acme", "settled").await;
    asks(&settled).await.unwrap();
    tasks
        .update_status(&agent, &settled.id, Status::Completed)
        .await
        .unwrap();
    assert_eq!(answers().await, 3);

    let inbox = tasks.open_session().unwrap();
    let asked = tasks
        .ask(&agent, inbox.key(), permission("aaaaa"))
        .await
        .unwrap();
    tasks
        .answer(me.clone(), &asked.id, Answer::Always)
        .await
        .unwrap();
    assert_eq!(answers().await, 4);
    // By the rule, this time.
    tasks
        .ask(&agent, inbox.key(), permission("bbbbb"))
        .await
        .unwrap();
    assert_eq!(answers().await, 4);

    let other = tasks.answer_times(&workspace("other")).await.unwrap();
    assert_eq!(other.all, Waits::default());
}

#[tokio::test]
async fn how_long_an_answer_took_is_kept_for_thirty_days() {
    let fixture = Fixture::new(&["acme"]).await;
    let acme = workspace("acme");
    let (now, day) = (time::now(), 24 * 60 * 60 * 1000);
    let noted = fixture.tasks.database.write(move |transaction| {
        answers::note(transaction, &acme, 0, now - 31 * day)?;
        // A clock that was set back.
        answers::note(transaction, &acme, now + 5, now)?;
        for waited in [1_500, 1_600, 1_601] {
            answers::note(transaction, &acme, now - waited, now)?;
        }
        let count = "SELECT count(*) FROM answer_days";
        let rows: i64 = transaction.query_row(count, [], |row| row.get(0))?;
        Ok::<_, TaskError>(rows)
    });
    // What took about as long is one row, and what is old is none.
    assert_eq!(noted.await.unwrap(), 3);
    let times = fixture.tasks.answer_times(&acme).await.unwrap();
    let waits = Waits {
        answers: 4,
        median_ms: 1_535,
        slowest_ms: 1_601,
    };
    assert_eq!((times.all, times.days[29].waits), (waits, waits));
}

#[tokio::test]
async fn a_request_is_kept_as_it_reads() {
    let fixture = Fixture::new(&["acme"]).await;
    let agent = fixture.agent("acme", "primary").await;
    let inbox = fixture.tasks.open_session().unwrap();
    let request = approvals::ApprovalRequest {
        description: "list \u{202e}fr- mr".to_owned(),
        input_preview: "rm\u{200b} -rf \u{2066}x".to_owned(),
        ..permission("aaaaa")
    };
    let asked = fixture
        .tasks
        .ask(&agent, inbox.key(), request)
        .await
        .unwrap();
    assert_eq!(asked.description, "list \\u{202e}fr- mr");
    assert_eq!(asked.preview, "rm\\u{200b} -rf \\u{2066}x");
}
