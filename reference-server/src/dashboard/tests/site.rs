//! [`Site`], a server without a socket; [`Page`], what it answers.

use std::net::SocketAddr;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use tower::{Layer as _, ServiceExt as _};
use tower_workspace_token::serve::Peer;

use crate::{
    actions::{MemberSet, Secret, WorkspaceCreate},
    addresses::{Addresses, DEFAULT_LISTEN},
    app::App,
    at_rest::AtRest,
    caller::Caller,
    data_dir::{DataDir, keys::KeySource},
    db::{DatabasePlace, Transaction, testing},
    error::AppError,
    http::{by_host, client_address::Arrivals, scrub_layer},
    limits::Limits,
    people::{Role, UserId, logins, users},
    time,
};

/// A server in this process.
pub(super) struct Site {
    pub(super) app: App,
    host: &'static str,
    _directory: TempDir,
}

/// Somebody with a login.
#[derive(Clone)]
pub(super) struct Browser {
    pub(super) id: UserId,
    /// What the login's cookie holds.
    pub(super) cookie: String,
}

/// A workspace and its first token.
pub(super) struct Workspace {
    pub(super) id: String,
    pub(super) secret: Secret,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body; what is no text in it is not shown as it is.
    pub(super) body: String,
    pub(super) bytes: Bytes,
}

/// A request that is being put together.
pub(super) struct Ask<'a> {
    site: &'a Site,
    request: http::request::Builder,
    body: String,
}

impl Site {
    pub(super) async fn new() -> Self {
        Self::at("127.0.0.1:8080", None, testing::place().await).await
    }

    pub(super) async fn behind_tls() -> Self {
        let public_url = Some("https://wst.example");
        Self::at("wst.example", public_url, testing::place().await).await
    }

    /// With SQLite, whichever database the tests run on: for what is about its file.
    pub(super) async fn with_a_file() -> Self {
        Self::at("127.0.0.1:8080", None, DatabasePlace::Sqlite).await
    }

    async fn at(host: &'static str, public_url: Option<&str>, place: DatabasePlace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open_or_create(&directory.path().join("data")).unwrap();
        let lock = data_dir.try_lock().unwrap().unwrap();
        let public_url = public_url.map(|url| url.parse().unwrap());
        let addresses = Addresses::new(DEFAULT_LISTEN, public_url.is_some(), public_url, None);
        let database = place.find(&data_dir).await.unwrap();
        let keys = KeySource::DataDir.read_or_create(&data_dir, true).unwrap();
        let at_rest = AtRest::default();
        let app = App::open(&data_dir, lock, database, keys, Some(addresses), &at_rest);
        Self {
            app: app.await.unwrap(),
            host,
            _directory: directory,
        }
    }

    /// Makes an account, and logs in without its password, which takes long to hash.
    pub(super) async fn person(&self, name: &str, is_administrator: bool) -> Browser {
        let (id, name) = (UserId::random().unwrap(), name.to_owned());
        let user = id.clone();
        self.write(move |transaction| {
            users::insert(transaction, &id, &name, is_administrator, time::now())?;
            // No password has this hash.
            users::set_password_hash(transaction, &id, "none")
        })
        .await;
        let cookie = self.login(&user).await;
        Browser { id: user, cookie }
    }

    pub(super) async fn login(&self, user: &UserId) -> String {
        let user = user.clone();
        let begin = move |transaction: &Transaction<'_>| {
            Ok::<_, AppError>(logins::begin(transaction, &user, None, None, time::now())?)
        };
        let cookie: SecretString = self.app.database().write(begin).await.unwrap();
        cookie.expose_secret().to_owned()
    }

    /// Changes rows behind everybody's back.
    pub(super) async fn write<T: Send + 'static, E: Into<AppError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> T {
        let work = move |transaction: &Transaction<'_>| work(transaction).map_err(Into::into);
        self.app
            .database()
            .write::<T, AppError>(work)
            .await
            .unwrap()
    }

    pub(super) async fn execute(&self, sql: impl Into<String>) {
        let sql = sql.into();
        self.write(move |transaction| transaction.execute(&sql, []).map_err(anyhow::Error::from))
            .await;
    }

    /// Makes a workspace of the operator's, with these members.
    pub(super) async fn workspace(&self, name: &str, members: &[(&Browser, Role)]) -> Workspace {
        let name = name.to_owned();
        let operator = Caller::CommandLine;
        let made = self
            .app
            .perform(WorkspaceCreate { name, id: None }, &operator)
            .await
            .unwrap();
        let mut members = members.to_vec();
        members.sort_by_key(|(_, role)| *role != Role::Owner);
        for (browser, role) in members {
            let set = MemberSet {
                workspace: made.workspace.id.clone(),
                user: browser.id.to_string(),
                role,
            };
            self.app.perform(set, &operator).await.unwrap();
        }
        Workspace {
            id: made.workspace.id,
            secret: made.secret,
        }
    }

    pub(super) fn ask(&self, method: Method, target: &str) -> Ask<'_> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.host);
        Ask {
            site: self,
            request,
            body: String::new(),
        }
    }

    /// Asks for a page as somebody.
    pub(super) async fn get(&self, target: &str, browser: &Browser) -> Page {
        self.ask(Method::GET, target).of(browser).send().await
    }

    /// Sends a form as a page of the site does.
    pub(super) async fn post(
        &self,
        target: &str,
        browser: &Browser,
        fields: &[(&str, &str)],
    ) -> Page {
        let ask = self.ask(Method::POST, target).of(browser).form(fields);
        ask.header("sec-fetch-site", "same-origin").send().await
    }

    fn arrivals(&self) -> Arrivals {
        Arrivals {
            is_tls: self.app.addresses().public_url().is_https(),
            ..Arrivals::on_loopback()
        }
    }

    fn cookie_name(&self) -> &'static str {
        if self.app.addresses().public_url().is_https() {
            "__Host-wst"
        } else {
            "wst"
        }
    }
}

impl Ask<'_> {
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(super) fn cookie(self, value: &str) -> Self {
        let cookie = format!("{}={value}", self.site.cookie_name());
        self.header("cookie", &cookie)
    }

    pub(super) fn of(self, browser: &Browser) -> Self {
        self.cookie(&browser.cookie)
    }

    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.body = serde_urlencoded::to_string(fields).unwrap();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string();
        self.header("content-type", "application/json")
    }

    pub(super) fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub(super) async fn send(self) -> Page {
        let (parts, body) = self.send_head().await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    /// Returns the answer before its body has come.
    pub(super) async fn send_head(self) -> Response {
        let mut request = self.request.body(Body::from(self.body)).unwrap();
        let peer: SocketAddr = "127.0.0.1:50000".parse().unwrap();
        request.extensions_mut().insert(Peer(peer));
        let service = scrub_layer().layer(by_host(
            &self.site.app,
            self.site.arrivals(),
            &Limits::default(),
        ));
        service.oneshot(request).await.unwrap().map(Body::new)
    }
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Returns what a form's hidden field holds.
    pub(super) fn field(&self, name: &str) -> String {
        field(&self.body, name)
    }

    /// The same of the form that is sent to `action`.
    pub(super) fn field_of(&self, action: &str, name: &str) -> String {
        let action = format!("action=\"{action}\"");
        field(self.body.split_once(&action).unwrap().1, name)
    }
}

fn field(html: &str, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let (_, rest) = html.split_once(&begin).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}
