//! What the layer promises, on every stack that it is made for: one table, and a test for each of its cells.
//!
//! Each stack serves the same application in its own way, a file a stack, over a socket; [`behaviours`] holds what is
//! asked of it. A cell that cannot be has the reason in its place.

#![cfg(all(
    feature = "axum",
    feature = "session",
    feature = "test-util",
    feature = "warp"
))]
#![expect(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod axum_app;
mod axum_layer;
mod axum_nest;
mod axum_nest_service;
mod axum_route_layer;
mod behaviours;
mod client;
mod desk;
mod hyper_http1;
mod hyper_http2;
mod plain_app;
mod scene;
mod tonic_server;
mod tower_above;
mod tower_below;
mod warp_serve;

/// Makes a module of tests for each stack, with a test for each behaviour.
macro_rules! table {
    (
        accept reject scrub sever_call sever_stream session extractor optional
        $($stack:ident $accept:tt $reject:tt $scrub:tt $sever_call:tt $sever_stream:tt $session:tt $extractor:tt $optional:tt)*
    ) => {
        mod table {
            $(mod $stack {
                cell!($stack accept $accept);
                cell!($stack reject $reject);
                cell!($stack scrub $scrub);
                cell!($stack sever_call $sever_call);
                cell!($stack sever_stream $sever_stream);
                cell!($stack session $session);
                cell!($stack extractor $extractor);
                cell!($stack optional $optional);
            })*
        }
    };
}

/// Makes a test of `yes`, and of a reason a test that says it.
macro_rules! cell {
    ($stack:ident $behaviour:ident yes) => {
        #[tokio::test]
        async fn $behaviour() {
            crate::behaviours::$behaviour::<crate::$stack::Stack>().await;
        }
    };
    ($stack:ident $behaviour:ident $reason:literal) => {
        #[test]
        fn $behaviour() {
            println!("{} cannot be: {}", stringify!($stack $behaviour), $reason);
        }
    };
}

table! {
                      accept reject scrub sever_call sever_stream session extractor optional
    axum_layer        yes    yes    yes   yes        yes          yes     yes       yes
    axum_route_layer  yes    yes    yes   yes        yes          yes     yes       yes
    axum_nest         yes    yes    yes   yes        yes          yes     yes       yes
    axum_nest_service yes    yes    yes   yes        yes          yes     yes       yes
    warp_serve        yes    yes    yes   yes        yes          yes     yes       yes
    tonic_server      yes    yes    yes   yes        yes
        "sessions of MCP are a header of its HTTP transport, and there is none over gRPC"
                                                                          yes       yes
    hyper_http1       yes    yes    yes   yes        yes          yes     yes       yes
    hyper_http2       yes    yes    yes   yes        yes          yes     yes       yes
    tower_above       yes    yes    yes   yes        yes          yes     yes       yes
    tower_below       yes    yes    yes   yes        yes          yes     yes       yes
}
