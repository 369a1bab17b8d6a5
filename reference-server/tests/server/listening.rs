//! How the server is reached: in the clear or over TLS, directly or through proxies, and its admin listener.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use crate::common::{Home, Server, Stopwatch};

/// A certificate authority, and the home of a server that has a certificate of it.
pub(crate) struct Tls {
    pub(crate) home: Home,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let tls = Self {
            home: Home::new(),
            authority: CertifiedIssuer::self_signed(parameters, key).unwrap(),
        };
        tls.issue(&["wst.test", "*.mcp.wst.test"]);
        tls
    }

    pub(crate) fn issue(&self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        self.write("key.pem", &key.serialize_pem(), 0o600);
        self.write("cert.pem", &certificate.pem(), 0o644);
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.home.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        self.home.serve_with(&[&TLS[..], arguments].concat())
    }

    /// Shakes hands as a client that trusts the authority alone.
    pub(crate) fn connect(
        &self,
        server: &Server,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<Stream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = server.connect();
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(connection, tcp))
    }

    fn shakes_hands(&self, server: &Server, name: &str) -> bool {
        self.connect(server, name, &["http/1.1"]).is_ok()
    }
}

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

const TLS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

fn exchange(stream: &mut Stream, head: &str) -> String {
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn refuses_to_listen_in_the_clear_and_names_the_ways_out() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        for more in [&[][..], &["--public-url", "https://wst.test"]] {
            let done = home.serve_in_vain_alone(&[&["--listen", address], more].concat());
            assert_eq!(done.code, 2, "{}", done.stderr);
            assert_eq!(done.stdout, "");
            for way_out in [
                "--tls-cert",
                "--tls-key",
                "--trusted-proxy",
                "127.0.0.1",
                "--insecure-http",
            ] {
                assert!(done.stderr.contains(way_out), "{}", done.stderr);
            }
            assert!(!home.data_dir().exists());
        }
    }
}

#[test]
fn listens_everywhere_by_any_of_the_ways_out() {
    let tls = Tls::new();
    let proxied = [
        "--trusted-proxy",
        "192.0.2.0/24",
        "--public-url",
        "https://wst.test",
    ];
    for arguments in [&["--insecure-http"][..], &proxied, &TLS] {
        let arguments = [&["--listen", "0.0.0.0:0"], arguments].concat();
        let server = tls.home.serve_alone(&arguments);
        assert!(server.address().starts_with("0.0.0.0:"));
    }
    let file = "listen = \"0.0.0.0:0\"\ntrusted_proxy = [\"192.0.2.0/24\", \"2001:db8::1\"]\n";
    tls.write("wst.toml", file, 0o644);
    drop(tls.home.serve_alone(&["--config", "wst.toml"]));
    let by_variables = Home::new()
        .with_variable("WST_LISTEN", "0.0.0.0:0")
        .with_variable("WST_TRUSTED_PROXY", "192.0.2.0/24,2001:db8::1");
    drop(by_variables.serve_alone(&[]));
    let by_word = Home::new()
        .with_variable("WST_LISTEN", "0.0.0.0:0")
        .with_variable("WST_INSECURE_HTTP", "1");
    drop(by_word.serve_alone(&[]));
}

#[test]
fn bad_options_of_listening_are_errors_of_usage() {
    let tls = Tls::new();
    for arguments in [
        &["--tls-cert", "cert.pem"][..],
        &["--tls-key", "key.pem"],
        &["--trusted-proxy", "proxy.example"],
        &["--trusted-proxy", "10.0.0.0/40"],
        &["--trusted-proxy", "0.0.0.0/0"],
        &["--proxy-header", "x-real-ip"],
        &["--admin-listen", "9090"],
        &["--admin-listen", "0.0.0.0:0"],
        &[&TLS[..], &["--public-url", "http://wst.test"]].concat(),
    ] {
        let done = tls.home.serve_in_vain(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert!(!tls.home.data_dir().exists());
    }
}

#[test]
fn certificate_files_that_cannot_be_used_are_clear_errors_at_the_start() {
    let tls = Tls::new();
    let key = fs::read_to_string(tls.home.path("key.pem")).unwrap();
    for (what, file, text, mode) in [
        ("no certificate", "cert.pem", "nonsense", 0o644),
        ("other users", "key.pem", key.as_str(), 0o644),
    ] {
        let before = fs::read_to_string(tls.home.path(file)).unwrap();
        tls.write(file, text, mode);
        let done = tls.home.serve_in_vain(&TLS);
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains(what) && done.stderr.contains(file));
        assert!(!done.stderr.contains(key.lines().nth(1).unwrap()));
        tls.write(file, &before, 0o600);
    }
    assert!(!tls.home.data_dir().exists());
    drop(tls.serve(&[]));
}

#[test]
fn speaks_tls_and_both_versions_of_http() {
    let tls = Tls::new();
    let server = tls.serve(&["--public-url", "https://wst.test"]);
    let workspace = tls.home.create_workspace("acme");
    assert!(workspace.mcp_url.starts_with("https://wst.test/mcp/"));

    let label = format!("{}.mcp.wst.test", workspace.id);
    let mut stream = tls.connect(&server, &label, &["http/1.1"]).unwrap();
    let head = format!(
        "POST /mcp?token={} HTTP/1.1\r\nhost: {label}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        workspace.secret
    );
    let answer = exchange(&mut stream, &head);
    assert!(!answer.starts_with("HTTP/1.1 401"), "{answer}");
    let negotiated = |protocols: &[&str]| {
        let stream = tls.connect(&server, "wst.test", protocols).unwrap();
        stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(negotiated(&["h2", "http/1.1"]).unwrap(), b"h2");
    assert_eq!(negotiated(&["http/1.1"]).unwrap(), b"http/1.1");
    assert_eq!(negotiated(&[]), None);
    assert!(!tls.shakes_hands(&server, "other.test"));

    // The preface of HTTP/2, empty settings, and the server's settings in return.
    let mut stream = tls.connect(&server, "wst.test", &["h2"]).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "not a frame of settings: {frame:?}");
}

#[test]
fn a_hangup_brings_the_new_certificate_and_a_bad_one_leaves_the_old() {
    let tls = Tls::new();
    let server = tls.serve(&[]);
    assert!(tls.shakes_hands(&server, "wst.test"));
    let mut open = tls.connect(&server, "wst.test", &["http/1.1"]).unwrap();

    tls.issue(&["other.test"]);
    server.signal(Signal::HUP);
    wait_until("the new certificate is used", || {
        tls.shakes_hands(&server, "other.test")
    });
    assert!(!tls.shakes_hands(&server, "wst.test"));
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        server.address()
    );
    assert!(exchange(&mut open, &head).contains("200 OK"));

    tls.write("cert.pem", "nonsense", 0o644);
    server.signal(Signal::HUP);
    wait_until("the log says so", || {
        server.log().contains("the old certificate stays in use")
    });
    assert!(tls.shakes_hands(&server, "other.test"));
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
}

#[test]
fn handshakes_that_never_end_hold_up_nobody() {
    let tls = Tls::new();
    let server = tls.serve(&["--admin-listen", "127.0.0.1:0"]);
    // More than may be pending: the oldest are given up.
    let silent: Vec<_> = (0..300).map(|_| server.connect()).collect();
    let watch = Stopwatch::start();
    assert!(tls.shakes_hands(&server, "wst.test"));
    assert!(watch.elapsed() < Duration::from_secs(5));
    wait_until("the oldest handshakes are given up", || {
        server
            .metrics()
            .contains("wst_tls_handshakes_total{result=\"given_up\"}")
    });
    let mut first = silent.into_iter().next().unwrap();
    first
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // Closed by the server, with an end or a reset; a timeout of ours would be another error.
    let mut byte = [0];
    match first.read(&mut byte) {
        Ok(0) => {}
        Ok(_) => panic!("the server said something"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    // A client that speaks no TLS at all.
    let mut plain = server.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"));
}

#[test]
fn only_proxies_get_in_where_the_listener_is_in_the_clear() {
    let home = Home::new();
    let Some(own) = address_beyond_loopback() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let url = ["--listen", "0.0.0.0:0", "--public-url", "https://wst.test"];
    let status = |proxy: &str, target: &str| {
        let server = home.serve_alone(&[&url[..], &["--trusted-proxy", proxy]].concat());
        let address = format!("{own}:{}", server.port());
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: wst.test\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("192.0.2.7", "/.well-known/x"), "403");
    assert_eq!(status("192.0.2.7", "/livez"), "200");
    assert_eq!(status(&own, "/.well-known/x"), "404");
}

/// The address by which this machine would reach others; nothing is sent.
fn address_beyond_loopback() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn the_admin_listener_shows_metrics_and_health() {
    let home = Home::new();
    let server = home.serve_with(&["--admin-listen", "127.0.0.1:0"]);
    let workspace = home.create_workspace("acme");
    assert!(server.admits(&workspace.id, &workspace.secret));
    assert!(!server.admits(&workspace.id, "not-a-token"));
    let odd = "/no-such-page-1b2c3d";
    server.ask("GET", odd, &[]);
    server.ask("BREW", odd, &[("host", "evil-1b2c3d.example")]);
    let _open = server.connect();
    wait_until("the connection is counted", || {
        server
            .metrics()
            .contains("wst_open_connections{listener=\"public\"} 1")
    });
    let metrics = server.metrics();
    for expected in [
        "wst_build_info{version=\"",
        "wst_uptime_seconds ",
        "process_start_time_seconds ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "wst_database_bytes ",
        "wst_workspaces{state=\"live\"} 1",
        "wst_connections_total{listener=\"public\"}",
        "wst_requests_total{face=\"mcp\",status=\"4xx\"}",
        "wst_requests_total{face=\"page\",status=\"4xx\"} 1",
        "wst_requests_total{face=\"foreign\",status=\"4xx\"} 1",
        "wst_rejections_total{reason=\"invalid_token\"} 1",
        "wst_request_seconds_bucket{face=\"mcp\",le=\"0.001\"}",
        "# TYPE wst_requests_total counter",
        "# HELP wst_requests_total ",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
    // Each is counted under one label, so that a sum is how many there were.
    let rejections = metrics
        .lines()
        .filter(|line| line.starts_with("wst_rejections_total{"))
        .filter(|line| line.contains("\"invalid_token\""));
    assert_eq!(rejections.count(), 1, "{metrics}");
    // No label is a stranger's to choose, and none holds a token.
    assert!(!metrics.contains("1b2c3d") && !metrics.contains(&workspace.id));
    assert!(!metrics.contains(&workspace.secret[90..110]));

    assert_eq!(server.ask_admin("/livez", "127.0.0.1").status, 200);
    assert_eq!(server.ask_admin("/readyz", "localhost:9").status, 200);
    assert_eq!(server.ask_admin("/mcp", "127.0.0.1").status, 404);
    // A name that was rebound to this machine.
    for path in ["/metrics", "/livez"] {
        assert_eq!(server.ask_admin(path, "evil.example").status, 421);
    }
    // Nor are they on the public listener.
    assert_eq!(server.ask("GET", "/metrics", &[]).status, 404);
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
}

#[test]
fn an_admin_listener_for_others_answers_by_any_name() {
    let home = Home::new();
    let arguments = ["--admin-listen", "127.0.0.1:0", "--insecure-admin"];
    let server = home.serve_with(&arguments);
    assert_eq!(server.ask_admin("/metrics", "wst.monitoring").status, 200);
}

#[test]
fn pages_are_not_shown_where_passwords_could_be_read() {
    let get = |server: &Server, host: &str, more: &[(&str, &str)]| {
        let headers = [&[("host", host)], more].concat();
        ["/login", "/api/v1/workspaces"].map(|path| server.ask("GET", path, &headers).status)
    };
    let shown = [200, 401];
    let refused = [403, 403];
    let home = Home::new();
    let server = home.serve();
    assert_eq!(get(&server, server.address(), &[]), shown);
    // A proxy that is not trusted, and tells people to come in the clear.
    let home = Home::new();
    let server = home.serve_with(&["--public-url", "http://wst.test"]);
    assert_eq!(get(&server, "wst.test", &[]), refused);
    // One that is trusted: it says how they came.
    let home = Home::new();
    let server = home.serve_with(&[
        "--trusted-proxy",
        "127.0.0.1",
        "--public-url",
        "https://wst.test",
    ]);
    let client = ("x-forwarded-for", "192.0.2.7");
    for (proto, expected) in [("http", refused), ("https", shown)] {
        let headers = [client, ("x-forwarded-proto", proto)];
        assert_eq!(get(&server, "wst.test", &headers), expected, "{proto}");
    }
    assert_eq!(get(&server, "wst.test", &[client]), shown);
    let home = Home::new();
    let server = home.serve_with(&["--insecure-http", "--public-url", "http://wst.test"]);
    assert_eq!(get(&server, "wst.test", &[]), shown);
}
