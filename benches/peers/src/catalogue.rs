//! The lanes of the race, group by group.

use std::{collections::HashMap, sync::Arc, sync::RwLock};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dashmap::DashMap;
use http::Request;
use peers_report::results::Group;
use tower::{Layer as _, Service};

use crate::{
    inner::{Answer, Handler, Reading, Sessions, Streaming},
    lane::{BATCH, CheckLane, Entry, Lane, ServiceLane},
    lanes::{
        async_require, axum_jwt_auth,
        cached::{self, Opaque, Remembered},
        decode::Decode,
        gate::Gate,
        jwt_authorizer, oauth2_resource_server, ours,
        oxitoken_pipeline::Oxitoken,
        passthrough::PassThroughLayer,
        static_bearer::{Anybody, Framed, StaticBearer},
    },
    request::{self, Body, QUERY_TOKEN},
    token::{Claims, Resident, WORKSPACE, World, forge},
};

/// The lane that all others are compared with unless their requests are of another kind.
pub const BARE: &str = "bare";

/// How many requests are timed at once where each is large.
const FEW: usize = 8;

const HOSTILE_TOKEN: usize = 64 * 1024;
const HOSTILE_PARAMETERS: usize = 10_000;

/// Makes the lanes of the race.
///
/// # Errors
/// A candidate does not take its settings.
pub fn catalogue(world: &Arc<World>) -> anyhow::Result<Vec<Entry>> {
    let mut entries = gauges(world);
    entries.extend(first_sight(world));
    entries.extend(verifying_peers(world)?);
    entries.extend(ours_remembered(world));
    entries.extend(remembering_peers(world)?);
    entries.extend(sessions(world));
    entries.extend(ours_refusing(world));
    entries.extend(hostile(world));
    Ok(entries)
}

/// Services without protection, one for each kind of request.
fn gauges(world: &World) -> Vec<Entry> {
    let open = Handler::open();
    let stream = Streaming(open);
    let pass_through = PassThroughLayer.layer(open);
    let good = || bearers(&world.tokens.good);
    vec![
        gauge(BARE, "no layer", ServiceLane::warm(open, good())),
        gauge(
            "pass-through",
            "a layer that does nothing",
            ServiceLane::warm(pass_through, good()),
        )
        .against(BARE),
        gauge(
            "bare-query",
            "no layer, token in the query",
            ServiceLane::warm(open, queries(world)),
        ),
        gauge(
            "bare-stream",
            "no layer, open-ended body",
            ServiceLane::warm(stream, good()),
        ),
        gauge(
            "bare-read",
            "no layer, body read to its end",
            ServiceLane::warm(Reading(stream), good()),
        ),
    ]
}

/// This library, for tokens that nobody has presented before.
fn first_sight(world: &Arc<World>) -> Vec<Entry> {
    let requests = |residents: Vec<Resident>| residents.iter().map(Resident::request).collect();
    let (service, rotate) = ours::rotated(world, BATCH);
    let rotated = ServiceLane::anew(move |count| (service.clone(), requests(rotate(count))));
    let world = Arc::clone(world);
    let read = ServiceLane::anew(move |count| {
        let (service, residents) = ours::of_another_issuer(&world, count);
        (service, requests(residents))
    });
    let group = Group::FullVerification;
    vec![
        ours("ours-cold", group, "first sight, slot in memory", rotated),
        ours(
            "ours-cold-store",
            group,
            "first sight, row read and opened",
            read,
        )
        .noting("decrypts the row as well"),
    ]
    .into_iter()
    .map(|entry| entry.against(BARE))
    .collect()
}

/// Those that verify every token anew.
fn verifying_peers(world: &World) -> anyhow::Result<Vec<Entry>> {
    let key = &world.peer_key;
    let handler = Handler::behind::<Claims>();
    let authorizer = jwt_authorizer::protect(Handler::behind::<jwt_authorizer::Identity>(), world)?;
    let resource_server = oauth2_resource_server::layer(world)?.layer(handler);
    let peers = Peers {
        group: Group::FullVerification,
        tokens: world.tokens_of_one_workspace(BATCH),
        note: "",
    };
    let entries = [
        peers.pair(
            "jsonwebtoken",
            "jsonwebtoken 11 `decode`, layer by hand",
            Gate::new(handler, Decode::new(key)),
        ),
        peers.pair(
            "oxitoken",
            "oxitoken 0.1, layer by hand",
            Gate::new(handler, Oxitoken::new(key)),
        ),
        peers.pair(
            "async-require",
            "tower-http 0.7 `AsyncRequireAuthorization` + jsonwebtoken 11",
            async_require::layer(key).layer(handler),
        ),
        peers.pair(
            "axum-jwt-auth",
            "axum-jwt-auth 0.7, the extractor alone",
            axum_jwt_auth::protect(Handler::open(), key),
        ),
        peers.pair("jwt-authorizer", "jwt-authorizer 0.15", authorizer),
        peers.pair(
            "oauth2-resource-server",
            "tower-oauth2-resource-server 0.12",
            resource_server,
        ),
    ];
    Ok(entries.into_iter().flatten().collect())
}

/// This library, for a token that it has seen.
fn ours_remembered(world: &World) -> Vec<Entry> {
    let handler = ours::handler();
    let good = || bearers(&world.tokens.good);
    let fixed = ours::fixed(world, handler);
    let everything = ours::everything(&world.authority, Streaming(handler));
    let with_query = ours::with_query(world, handler);
    let group = Group::Remembered;
    vec![
        ours(
            "ours-warm",
            group,
            "Bearer, one workspace",
            ServiceLane::warm(fixed, good()),
        ),
        ours(
            "ours-everything",
            group,
            "host resolver, scrub layer outside, open-ended body guarded",
            ServiceLane::warm(everything.clone(), good()),
        )
        .against("bare-stream"),
        ours(
            "ours-read",
            group,
            "the same, the body read to its end",
            ServiceLane::warm(Reading(everything), good()),
        )
        .against("bare-read"),
        ours(
            "ours-query",
            group,
            "`?token=`",
            ServiceLane::warm(with_query, queries(world)),
        )
        .against("bare-query"),
    ]
}

/// Those that remember a token too.
fn remembering_peers(world: &World) -> anyhow::Result<Vec<Entry>> {
    let key = &world.peer_key;
    let behind = Handler::behind::<Arc<Claims>>();
    let remembering = |token: &str, note| Peers {
        group: Group::Remembered,
        tokens: vec![token.to_owned()],
        note,
    };
    let good = &world.tokens.good;
    let jwts = remembering(
        good,
        "keeps tokens as they are; a revoked one stays good until it is evicted",
    );
    let fixed = remembering(
        good,
        "no workspace, no identity, one token until the next start",
    );
    let framed = remembering(good, "no workspace, one token until the next start");
    let fast = DashMap::<String, _, foldhash::fast::RandomState>::default();

    // As long as 32 random bytes are; there is nothing in it to be verified.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("no randomness")?;
    let opaque = URL_SAFE_NO_PAD.encode(secret);
    let claims = Claims {
        aud: WORKSPACE.to_owned(),
        r#gen: 1,
        iat: 0,
        jti: "none".to_owned(),
        sub: "primary".to_owned(),
    };
    let opaques = remembering(
        &opaque,
        "keeps a hash; no JWT: whoever checks it needs the table",
    );
    let sharded = Opaque::new(DashMap::new(), &opaque, claims.clone());
    let locked = Opaque::new(RwLock::new(HashMap::new()), &opaque, claims);

    let entries = [
        jwts.pair(
            "moka",
            "jsonwebtoken + moka 0.12",
            Gate::new(behind, Remembered::new(cached::moka(), key)),
        ),
        jwts.pair(
            "dashmap",
            "jsonwebtoken + dashmap 6",
            Gate::new(behind, Remembered::new(DashMap::new(), key)),
        ),
        jwts.pair(
            "dashmap-foldhash",
            "jsonwebtoken + dashmap 6 with foldhash",
            Gate::new(behind, Remembered::new(fast, key)),
        ),
        jwts.pair(
            "rwlock",
            "jsonwebtoken + `RwLock<HashMap>`",
            Gate::new(behind, Remembered::new(cached::locked(), key)),
        ),
        opaques.pair(
            "opaque-dashmap",
            "opaque token, SHA-256 + dashmap 6",
            Gate::new(behind, sharded),
        ),
        opaques.pair(
            "opaque-rwlock",
            "opaque token, SHA-256 + `RwLock<HashMap>`",
            Gate::new(behind, locked),
        ),
        fixed.pair(
            "static-bearer",
            "one static Bearer, `==`",
            Gate::new(Handler::open(), StaticBearer::new(&world.tokens.good)),
        ),
        framed.pair(
            "static-framed",
            "one static Bearer, `==`, header taken out, an identity of our size",
            Gate::new(
                Handler::behind::<Anybody>(),
                Framed(StaticBearer::new(&world.tokens.good)),
            ),
        ),
    ];
    Ok(entries.into_iter().flatten().collect())
}

/// The session layer, against the token layer alone with the same requests and the same handler.
fn sessions(world: &World) -> Vec<Entry> {
    let (service, session) = ours::with_session(world);
    let alone = ours::fixed(world, Sessions(ours::handler()));
    let token = world.tokens.good.clone();
    let requests = move || request::in_session(WORKSPACE, &token, &session);
    let alone = ServiceLane::warm(alone, requests.clone());
    let group = Group::Session;
    vec![
        ours("ours-token-alone", group, "the token layer alone", alone),
        ours(
            "ours-session",
            group,
            "the session layer inside of it",
            ServiceLane::warm(service, requests),
        )
        .against("ours-token-alone"),
    ]
}

/// This library, for tokens that it turns away: the check alone, and the layer with its answer.
fn ours_refusing(world: &World) -> Vec<Entry> {
    let forged = &world.tokens.forged;
    let garbage = "x".repeat(forged.len());
    let check =
        |token: &str| CheckLane::new(world.authority.clone(), world.workspace, token.as_bytes());
    let layer =
        |token: &str| ServiceLane::warm(ours::fixed(world, ours::handler()), bearers(token));
    let group = Group::Rejection;
    vec![
        ours(
            "ours-forged-check",
            group,
            "wrong signature, the check alone",
            check(forged),
        )
        .alone(),
        ours("ours-forged", group, "wrong signature", layer(forged)),
        ours(
            "ours-garbage-check",
            group,
            "garbage, the check alone",
            check(&garbage),
        )
        .alone(),
        ours("ours-garbage", group, "garbage", layer(&garbage)),
    ]
    .into_iter()
    .map(Entry::refusing)
    .collect()
}

/// This library, for what is far too large.
fn hostile(world: &World) -> Vec<Entry> {
    let good = &world.tokens.good;
    let header_end = good.find('.').unwrap_or_default() + 1;
    // Begins as a token of ours does.
    let long = good[..header_end].to_owned() + &"A".repeat(HOSTILE_TOKEN - header_end);
    let many = |name: &str| {
        let query = format!("{name}&").repeat(HOSTILE_PARAMETERS);
        let query = query + QUERY_TOKEN + &world.tokens.forged;
        move || request::query(WORKSPACE, &query)
    };
    let (plain, escaped) = (many("a=1"), many("%61"));
    let open = Handler::open();
    let fixed = ours::fixed(world, ours::handler());
    let with_query = ours::with_query(world, ours::handler());
    let check = CheckLane::new(world.authority.clone(), world.workspace, long.as_bytes());
    let group = Group::Hostile;
    vec![
        gauge(
            "bare-long",
            "no layer, a token of 64 KiB",
            ServiceLane::warm(open, bearers(&long)),
        ),
        gauge(
            "bare-many",
            "no layer, 10,000 parameters",
            ServiceLane::warm(open, plain.clone()),
        ),
        gauge(
            "bare-escaped",
            "no layer, 10,000 escaped parameters",
            ServiceLane::warm(open, escaped.clone()),
        ),
        ours(
            "ours-long-check",
            group,
            "a token of 64 KiB, the check alone",
            check,
        )
        .alone()
        .refusing(),
        ours(
            "ours-long",
            group,
            "a token of 64 KiB",
            ServiceLane::warm(fixed, bearers(&long)),
        )
        .against("bare-long")
        .refusing(),
        ours(
            "ours-many",
            group,
            "10,000 query parameters, then a forged token",
            ServiceLane::warm(with_query.clone(), plain),
        )
        .against("bare-many")
        .refusing(),
        ours(
            "ours-escaped",
            group,
            "the same, each name escaped",
            ServiceLane::warm(with_query, escaped),
        )
        .against("bare-escaped")
        .refusing(),
    ]
    .into_iter()
    .map(|entry| entry.in_batches_of(FEW))
    .collect()
}

/// Puts peers into the race, each with good tokens and with a forged one.
struct Peers {
    group: Group,
    tokens: Vec<String>,
    note: &'static str,
}

impl Peers {
    fn pair<S>(&self, id: &str, label: &str, service: S) -> [Entry; 2]
    where
        S: Service<Request<Body>, Response: Answer> + Clone + 'static,
    {
        let mut tokens = self.tokens.clone().into_iter().cycle();
        let forged = forge(&self.tokens[0]);
        let good = move || request::bearer(WORKSPACE, &tokens.next().unwrap_or_default());
        let good = ServiceLane::warm(service.clone(), good);
        let forged = ServiceLane::warm(service, bearers(&forged));
        let forged_id = format!("{id}-forged");
        [
            Entry::new(id, self.group, label, good)
                .against(BARE)
                .noting(self.note),
            Entry::new(&forged_id, Group::Rejection, label, forged)
                .against(BARE)
                .refusing(),
        ]
    }
}

impl Resident {
    /// Makes a request with the token for its workspace.
    pub fn request(&self) -> Request<Body> {
        request::bearer(&self.workspace, &self.token)
    }
}

fn gauge(id: &str, label: &str, lane: impl Lane + 'static) -> Entry {
    Entry::new(id, Group::Gauge, label, lane).unprotected()
}

fn ours(id: &str, group: Group, label: &str, lane: impl Lane + 'static) -> Entry {
    Entry::new(id, group, label, lane).against(BARE).of_ours()
}

fn bearers(token: &str) -> impl Fn() -> Request<Body> + Clone + use<> {
    let token = token.to_owned();
    move || request::bearer(WORKSPACE, &token)
}

/// The token in the query, behind another parameter.
fn queries(world: &World) -> impl Fn() -> Request<Body> + Clone + use<> {
    let query = format!("cursor=17&{QUERY_TOKEN}{}", world.tokens.good);
    move || request::query(WORKSPACE, &query)
}
