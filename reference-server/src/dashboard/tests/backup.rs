//! A backup that is downloaded: whole, for administrators alone, and nowhere when somebody hangs up.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tower_workspace_token::token::PresentedToken;

use super::site::{Browser, Site};
use crate::{
    app::App,
    at_rest::AtRest,
    backup::{PART, restore::Restore},
    data_dir::{DataDir, keys::KeySource},
    db::{DatabasePlace, meta},
    error::ErrorCode,
    once::OnceForm,
    people::Role,
    rollback::JournalChoice,
    workspaces,
};

const PAGE: &str = "/admin/backup";
const API: &str = "/api/v1/server/backup/download";

impl Site {
    fn data_dir(&self) -> &Path {
        self.app.data_dir()
    }

    /// Fills the database, so that no buffer on the way takes the whole of a backup.
    async fn grow(&self) {
        self.execute(
            "INSERT INTO audit (at, actor, action, detail) VALUES (1, 'x', 'x', hex(randomblob(4194304)))",
        )
        .await;
    }

    async fn download(&self, browser: &Browser) -> axum::response::Response {
        let ask = self.ask(Method::POST, PAGE).of(browser).form(&[]);
        ask.header("sec-fetch-site", "same-origin")
            .send_head()
            .await
    }

    /// Returns the descriptors of downloads that this process has, and where in them it is.
    fn open_downloads(&self) -> Vec<(PathBuf, u64)> {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let download = self.data_dir().join("workspaces.db.download");
        descriptors
            .filter_map(|entry| {
                let target = fs::read_link(entry.path()).ok()?;
                let is_ours = target
                    .to_string_lossy()
                    .starts_with(&*download.to_string_lossy());
                let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
                let info = fs::read_to_string(info).ok()?;
                let position = info
                    .lines()
                    .next()?
                    .split_whitespace()
                    .nth(1)?
                    .parse()
                    .ok()?;
                is_ours.then_some((target, position))
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data_dir()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn what_is_downloaded_is_restored_and_who_did_it_is_kept() {
    let site = Site::with_a_file().await;
    let root = site.person("root", true).await;
    let acme = site.workspace("acme", &[(&root, Role::Owner)]).await;
    let once = site.app.once();
    let used = once.number(&root.id, OnceForm::UserAdd).unwrap();
    let using = once.run(&root.id, OnceForm::UserAdd, &used, async { Ok(()) });
    using.await.unwrap();
    let form_key = site
        .write(|transaction| meta::get(transaction, meta::FORM_KEY))
        .await
        .unwrap();
    for target in [PAGE, API] {
        let ask = site.ask(Method::POST, target).of(&root).form(&[]);
        let sent = ask.header("sec-fetch-site", "same-origin").send().await;
        assert_eq!(sent.status, StatusCode::OK, "{target}: {}", sent.body);
        assert_eq!(sent.header("content-type"), "application/octet-stream");
        assert_eq!(sent.header("cache-control"), "no-store");
        assert_eq!(sent.header("x-content-type-options"), "nosniff");
        assert_eq!(sent.header("content-length"), sent.bytes.len().to_string());
        let disposition = sent.header("content-disposition");
        let day = disposition
            .strip_prefix("attachment; filename=\"wst-")
            .and_then(|rest| rest.strip_suffix(".wst\""));
        assert!(day.is_some_and(|day| day.len() == 10), "{disposition}");
        assert!(!sent.body.contains(&root.cookie));
        assert!(!sent.body.contains(acme.secret.expose_secret()));
        assert!(!sent.body.contains(&form_key));

        let elsewhere = tempfile::tempdir().unwrap();
        let (file, restored) = (
            elsewhere.path().join("it.wst"),
            elsewhere.path().join("data"),
        );
        fs::write(&file, &sent.bytes).unwrap();
        fs::create_dir(&restored).unwrap();
        fs::copy(
            site.app.keys().file().path(),
            restored.join("workspaces.keys"),
        )
        .unwrap();
        let restore = Restore {
            file,
            data_dir: restored.clone(),
            keys: KeySource::DataDir,
            rollback_journal: JournalChoice::AsBefore,
            may_replace: false,
            keep_tokens: true,
        };
        restore.run(&mut |_, _| {}).unwrap();
        let data_dir = DataDir::open_or_create(&restored).unwrap();
        let lock = data_dir.try_lock().unwrap().unwrap();
        let keys = KeySource::DataDir.read(&data_dir).unwrap();
        let database = DatabasePlace::Sqlite.find(&data_dir).await.unwrap();
        let other = App::open(&data_dir, lock, database, keys, None, &AtRest::default())
            .await
            .unwrap();
        let found = other.database().read(workspaces::list);
        assert_eq!(found.await.unwrap()[0].name, "acme");
        let id = acme.id.parse().unwrap();
        let presented = PresentedToken::new(acme.secret.expose_secret().as_bytes());
        let token = other.authority().verify(&id, presented);
        token.await.unwrap();
        // The copy does not know every form that was sent, so that none from before is good.
        let once = other.once();
        let again = once.run(&root.id, OnceForm::UserAdd, &used, async { Ok(()) });
        let again = again.await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::InvalidArgument);
        let forms = other.database().read(|snapshot| {
            let sql = "SELECT count(*) FROM sent_forms";
            snapshot.query_row(sql, [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(forms.await.unwrap(), 0);
    }
    let entries = site.get("/api/v1/audit", &root).await.body;
    let entries: serde_json::Value = serde_json::from_str(&entries).unwrap();
    let entries = entries["entries"].as_array().unwrap();
    let kept = entries
        .iter()
        .filter(|entry| entry["action"] == "backup.download");
    assert_eq!(kept.clone().count(), 2);
    assert!(kept.clone().all(|entry| entry["actor"] == "root"));
}

#[tokio::test]
async fn who_hangs_up_leaves_nothing_and_what_is_not_taken_is_not_read() {
    let site = Site::with_a_file().await;
    let root = site.person("root", true).await;
    site.grow().await;
    let mut response = site.download(&root).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.body_mut().frame().await.unwrap().unwrap();
    assert!(!site.names().iter().any(|name| name.contains("download")));
    // One part was taken, one waits to be, and one to wait. Whatever read on would do so meanwhile.
    let read_ahead = || {
        site.open_downloads()
            .iter()
            .any(|open| open.1 >= 3 * PART as u64)
    };
    for _ in 0..500 {
        if read_ahead() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let page = site.get("/admin/health", &root).await;
    assert_eq!(page.status, StatusCode::OK);
    let open = site.open_downloads();
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(open[0].1 >= 3 * PART as u64, "{open:?}");
    assert!(open[0].1 <= 4 * PART as u64, "{open:?}");

    let second = site.download(&root).await;
    assert_eq!(second.status(), StatusCode::CONFLICT);
    let second = second.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&second).contains("is being downloaded by root since 20"));

    drop(response);
    for _ in 0..500 {
        if site.open_downloads().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(site.open_downloads().is_empty());
    let third = site.download(&root).await;
    assert_eq!(third.status(), StatusCode::OK);
    let bytes = third.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.len() > 8 * 1024 * 1024);
}

#[tokio::test]
async fn a_download_ends_with_the_right_to_it_and_does_not_look_whole() {
    let site = Site::with_a_file().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", true).await,
    );
    site.grow().await;
    let mut response = site.download(&eve).await;
    response.body_mut().frame().await.unwrap().unwrap();
    let target = format!("/admin/users/{}", eve.id);
    let done = site
        .post(&target, &root, &[("is_administrator", "false")])
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn is_for_administrators_alone_and_says_what_it_is_worth() {
    let site = Site::with_a_file().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let refused = site.post(PAGE, &eve, &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let page = site.get("/admin/health", &root).await.body;
    assert!(page.contains("The keys are not in it."));
    assert!(page.contains("workspaces.keys"));
}

#[tokio::test]
async fn what_cannot_be_taken_away_is_told() {
    let site = Site::with_a_file().await;
    let left = site.data_dir().join("workspaces.db.download");
    fs::create_dir(&left).unwrap();
    let source = site
        .app
        .keys()
        .store()
        .sqlite()
        .unwrap()
        .connection()
        .unwrap();
    let downloads = site.app.downloads();
    let turn = downloads.turn("root").unwrap();
    let error = downloads.write(&source, &[], turn, &site.app.jobs().backup);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cannot be removed"), "{error}");
    assert!(!error.contains("nothing was left behind"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_behind_is_taken_away() {
    let site = Site::with_a_file().await;
    let root = site.person("root", true).await;
    let left = site.data_dir().join("workspaces.db.download");
    fs::write(&left, "half of one").unwrap();
    let sent = site.download(&root).await;
    assert_eq!(sent.status(), StatusCode::OK);
    assert!(!left.exists());

    let directory = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open_or_create(directory.path()).unwrap();
    let lock = data_dir.try_lock().unwrap().unwrap();
    fs::write(data_dir.download(), "half of one").unwrap();
    let keys = KeySource::DataDir.read_or_create(&data_dir, true).unwrap();
    let database = DatabasePlace::Sqlite.find(&data_dir).await.unwrap();
    App::open(&data_dir, lock, database, keys, None, &AtRest::default())
        .await
        .unwrap();
    assert!(!data_dir.download().exists());
}
