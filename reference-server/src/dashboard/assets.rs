//! Style sheet and scripts: part of the program, served under names that change with their content.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    response::IntoResponse,
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use sha2::{Digest as _, Sha256};
use tower_http::compression::CompressionLayer;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "app.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("../../assets/app.css"),
    },
    Asset {
        name: "app.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("../../assets/app.js"),
    },
    Asset {
        name: "htmx.js",
        media_type: "text/javascript; charset=utf-8",
        // One script: htmx sets to work as soon as it can, and an extension that came later would miss it.
        content: concat!(
            include_str!("../../assets/vendor/htmx.min.js"),
            ";\n",
            include_str!("../../assets/vendor/hx-sse.min.js"),
        ),
    },
    Asset {
        name: "icon.svg",
        media_type: "image/svg+xml",
        content: include_str!("../../assets/icon.svg"),
    },
];

/// One for all: what is old in one asset is old in all.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.content);
    }
    BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
});

pub(super) fn router() -> Router {
    Router::new()
        .route("/assets/{version}/{name}", get(serve))
        // Nothing secret is in here, so that nothing is learned from how well it compresses.
        .layer(CompressionLayer::new())
}

/// Returns the path of an asset.
pub(super) fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

async fn serve(path: Result<Path<(String, String)>, PathRejection>) -> impl IntoResponse {
    let Ok(Path((version, name))) = path else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let Some(asset) = asset.filter(|_| version == *VERSION) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (CONTENT_TYPE, asset.media_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    /// What others wrote is as it was when it was looked at.
    #[test]
    fn vendored_scripts_match_their_checksums() {
        let sums = include_str!("../../assets/vendor/SHA256SUMS");
        for (name, content) in [
            (
                "htmx.min.js",
                include_str!("../../assets/vendor/htmx.min.js"),
            ),
            (
                "hx-sse.min.js",
                include_str!("../../assets/vendor/hx-sse.min.js"),
            ),
        ] {
            let sum = Sha256::digest(content);
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(sums.contains(&format!("{sum}  {name}")), "{name}: {sum}");
        }
    }

    /// What a page brings along has to come over a slow line before anything moves.
    #[tokio::test]
    async fn all_scripts_take_less_than_25_kilobytes() {
        let mut bytes = 0;
        for name in ["app.js", "htmx.js"] {
            let request = Request::get(path(name)).header("accept-encoding", "gzip");
            let response = router().oneshot(request.body(Body::empty()).unwrap()).await;
            let response = response.unwrap();
            assert_eq!(response.headers()["content-encoding"], "gzip", "{name}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            bytes += body.len();
        }
        assert!((1..25_000).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn loads_nothing_from_anywhere_else() {
        for asset in ASSETS.iter().filter(|asset| asset.name.starts_with("app.")) {
            assert!(!asset.content.contains("://"), "{}", asset.name);
        }
    }
}
