//! `/admin/health` and `/admin/keys`: how the server is, what it runs with, and its keys.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect},
};

use super::{
    extract::{Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, render},
};
use crate::{
    actions::{
        Answer as _, BackupDownload, Health, KeyLines, KeyList, KeyRetire, KeyRewrap, KeyRotate,
        ServerHealth,
    },
    app::App,
};

#[derive(Template)]
#[template(path = "admin_health.html")]
struct HealthPage {
    layout: Layout,
    tab: &'static str,
    health: Health,
    uptime: String,
    size: String,
}

#[derive(Template)]
#[template(path = "admin_keys.html")]
struct KeysPage {
    layout: Layout,
    tab: &'static str,
    keys: KeyLines,
}

pub(super) async fn health(State(app): State<App>, person: LoggedIn) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Health of the server");
    let health = app.perform(ServerHealth {}, &person.caller()).await?;
    render(&HealthPage {
        layout,
        tab: "health",
        uptime: uptime(health.uptime_seconds),
        size: size(health.database.bytes),
        health,
    })
}

pub(super) async fn back_up(State(app): State<App>, person: LoggedIn) -> PageResult {
    let backup = app.perform(BackupDownload {}, &person.caller()).await?;
    Ok(backup.into_answer())
}

pub(super) async fn keys(
    State(app): State<App>,
    person: LoggedIn,
    Query(done): Query<Done>,
) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Keys").with_notice(done.notice());
    let keys = app.perform(KeyList {}, &person.caller()).await?;
    render(&KeysPage {
        layout,
        tab: "keys",
        keys,
    })
}

pub(super) async fn rotate(State(app): State<App>, person: LoggedIn) -> PageResult {
    app.perform(KeyRotate { ring: None }, &person.caller())
        .await?;
    Ok(Redirect::to("/admin/keys?done=keys-rotated").into_response())
}

pub(super) async fn rewrap(State(app): State<App>, person: LoggedIn) -> PageResult {
    app.perform(KeyRewrap {}, &person.caller()).await?;
    Ok(Redirect::to("/admin/keys?done=keys-rewrapped").into_response())
}

pub(super) async fn retire(
    State(app): State<App>,
    person: LoggedIn,
    Path(id): Path<String>,
) -> PageResult {
    app.perform(KeyRetire { id }, &person.caller()).await?;
    Ok(Redirect::to("/admin/keys?done=key-retired").into_response())
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_and_how_much_in_the_unit_that_fits() {
        for (seconds, expected) in [
            (59, "59 s"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (172_800, "2 days"),
        ] {
            assert_eq!(uptime(seconds), expected);
        }
        for (bytes, expected) in [
            (9_999, "9999 bytes"),
            (10_000, "10 kB"),
            (12_345_678, "12 MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
