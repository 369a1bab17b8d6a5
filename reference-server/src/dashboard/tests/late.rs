//! What arrives late: bodies of requests whose login has ended meanwhile, and answers that nobody waits for.

use std::{future::Future as _, pin::pin, task::Context, time::Duration};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use secrecy::SecretString;

use super::site::Site;
use crate::{
    actions::{AuditList, TaskAdd, UserLink, UserPasswd, UserUpdate},
    caller::{Caller, Person},
    error::ErrorCode,
    live::Topic,
    people::{Role, UserId, users},
    tasks::Actor,
};

impl Site {
    /// Returns somebody as a request found them whose body has yet to come.
    pub(super) async fn caller(&self, user: &UserId) -> Caller {
        let id = user.clone();
        let (user, login) = self
            .write(move |transaction| {
                let login = transaction.query_row(
                    "SELECT id FROM logins WHERE user = ?1",
                    [id.as_str()],
                    |row| row.get::<_, String>(0),
                );
                let user = users::find(transaction, &id).map_err(anyhow::Error::from)?;
                anyhow::Ok((user.unwrap(), login?))
            })
            .await;
        Caller::Person(Person {
            user,
            login: Some(login),
            address: None,
        })
    }
}

/// A request whose head was sent by an administrator must not be finished by somebody who is none.
#[tokio::test]
async fn a_body_that_comes_after_the_login_has_ended_does_nothing() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", true).await,
    );
    let (held, operator) = (site.caller(&eve.id).await, Caller::CommandLine);
    let change = |is_administrator, is_disabled| UserUpdate {
        user: eve.id.to_string(),
        is_administrator,
        is_disabled,
    };
    let app = &site.app;
    app.perform(change(Some(false), None), &operator)
        .await
        .unwrap();
    let link = || UserLink {
        user: root.id.to_string(),
    };
    let demoted = app.perform(link(), &held).await.unwrap_err();
    assert_eq!(demoted.code(), ErrorCode::Forbidden);
    app.perform(change(None, Some(true)), &operator)
        .await
        .unwrap();
    let disabled = app.perform(change(Some(true), Some(false)), &held).await;
    assert_eq!(disabled.unwrap_err().code(), ErrorCode::Unauthenticated);
    let left = site.caller(&root.id).await;
    site.execute("DELETE FROM logins").await;
    let logged_out = app.perform(link(), &left).await.unwrap_err();
    assert_eq!(logged_out.code(), ErrorCode::Unauthenticated);
}

/// What was done is in the audit list, whoever hung up.
#[tokio::test]
async fn an_action_whose_caller_hangs_up_is_finished_and_kept() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let caller = site.caller(&ada.id).await;
    let add = TaskAdd {
        workspace: acme.id.clone(),
        title: "half-way".to_owned(),
        body: String::new(),
        assignee: Actor::Agent,
        attachments: Vec::new(),
    };
    {
        let mut adding = pin!(site.app.perform(add, &caller));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(adding.as_mut().poll(&mut context).is_pending());
    }
    for _ in 0..200 {
        let list = AuditList {
            workspace: acme.id.clone(),
            action: Some("task".to_owned()),
            actor: None,
            before: None,
            limit: None,
        };
        let kept = site.app.perform(list, &caller).await.unwrap();
        if kept.entries.iter().any(|entry| entry.subject == "half-way") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the audit list misses it");
}

#[tokio::test]
async fn a_new_password_ends_the_links_that_were_made_before() {
    let site = Site::new().await;
    let (_root, bob) = (
        site.person("root", true).await,
        site.person("bob", false).await,
    );
    let (app, operator) = (&site.app, Caller::CommandLine);
    let link = UserLink {
        user: bob.id.to_string(),
    };
    let made = app.perform(link, &operator).await.unwrap();
    let set = UserPasswd {
        user: bob.id.to_string(),
        password: SecretString::from("a few fine words").into(),
    };
    app.perform(set, &operator).await.unwrap();
    let link = made.link.expose_secret().to_owned();
    let join = site
        .ask(http::Method::POST, "/join")
        .form(&[("link", &link), ("password", "words of somebody else")]);
    let joined = join.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(joined.status, StatusCode::NOT_FOUND);
}

/// A stream that was told of too much to tell it all may have missed the end of its login.
#[tokio::test]
async fn a_stream_that_missed_the_end_of_its_login_ends() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let opened = site.ask(Method::GET, "/live").of(&ada).send_head().await;
    assert_eq!(opened.status(), StatusCode::OK);
    site.execute("DELETE FROM logins").await;
    for _ in 0..3000 {
        site.app.live().announce(None, Topic::Settings);
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), opened.into_body().collect());
    assert!(ended.await.is_ok(), "it goes on");
}
