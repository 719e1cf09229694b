//! A server for tests: keeps documents as OpenSearch does, and misbehaves as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value as Json, json};

use super::{ElasticConfig, Item};
use crate::encode::ecs::tests::sample;
use crate::event::Timestamp;

/// What one request is answered with, instead of what a good server would say.
pub enum Reply {
    /// This status for the whole, with these headers and this body.
    Status(u16, Vec<(&'static str, &'static str)>, String),
    /// Per document: its status and error type, where it is not written; `("", 0)` writes it.
    Items(Vec<(u16, &'static str)>),
    /// Nothing, ever.
    Hang,
}

/// A request as it came.
#[derive(Clone)]
pub struct Seen {
    /// Method, path and query.
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub text: String,
}

impl Seen {
    /// Reads a request to its end.
    pub async fn of(request: Request) -> Seen {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let mut text = String::new();
        if parts.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
            flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(body.to_vec()).unwrap();
        }
        Seen { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, text }
    }

    /// Indices and ids of the documents in a `_bulk` request.
    pub fn names(&self) -> Vec<(String, String)> {
        let word = |action: &Json, name: &str| action["create"][name].as_str().unwrap().to_string();
        let actions = self.text.lines().step_by(2).map(|line| serde_json::from_str::<Json>(line).unwrap());
        actions.map(|action| (word(&action, "_index"), word(&action, "_id"))).collect()
    }
}

#[derive(Default)]
struct Inner {
    bulk: VecDeque<Reply>,
    template: VecDeque<Reply>,
    seen: Vec<Seen>,
    documents: BTreeMap<(String, String), Json>,
    installed: Option<Json>,
}

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Server {
    /// Starts one on a free port.
    pub async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { url, inner: Arc::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// The next `_bulk` request is answered so.
    pub fn bulk(&self, reply: Reply) -> &Server {
        self.inner.lock().unwrap().bulk.push_back(reply);
        self
    }

    /// The next request for a template is answered so.
    pub fn template(&self, reply: Reply) -> &Server {
        self.inner.lock().unwrap().template.push_back(reply);
        self
    }

    /// All requests so far whose path contains this.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let inner = self.inner.lock().unwrap();
        inner.seen.iter().filter(|seen| seen.line.contains(path)).cloned().collect()
    }

    /// Ids of all documents that were written, in order.
    pub fn ids(&self) -> Vec<u128> {
        let inner = self.inner.lock().unwrap();
        inner.documents.keys().map(|(_, id)| u128::from_str_radix(id, 16).unwrap()).collect()
    }

    /// A configuration that points here.
    pub fn config(&self) -> ElasticConfig {
        toml::from_str(&format!("url = '{}'", self.url)).unwrap()
    }
}

impl Inner {
    fn write(&mut self, seen: &Seen, each: &[(u16, &str)]) -> String {
        let sources: Vec<Json> =
            seen.text.lines().skip(1).step_by(2).map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = each.iter().copied().chain(std::iter::repeat((0, "")));
        let items =
            seen.names().into_iter().zip(sources).zip(told).map(|((name, source), (status, kind))| {
                let status = match (status, self.documents.contains_key(&name)) {
                    (0, true) => 409,
                    (0, false) => 201,
                    (told, _) => told,
                };
                if status == 201 {
                    self.documents.insert(name, source);
                    return json!({"create": {"status": 201}});
                }
                let error = json!({"type": kind, "reason": "failed to parse 'SECRET-VIN'",
                               "caused_by": {"type": "x", "reason": "inner"}});
                json!({"create": {"status": status, "error": error}})
            });
        let items: Vec<Json> = items.collect();
        json!({"errors": true, "items": items}).to_string()
    }

    fn good(&mut self, seen: &Seen) -> (u16, String) {
        match seen.line.split(['/', '?', ' ']).nth(2).unwrap_or_default() {
            "_bulk" => (200, self.write(seen, &[])),
            "_index_template" if seen.line.starts_with("PUT") => {
                self.installed = serde_json::from_str(&seen.text).ok();
                (200, r#"{"acknowledged":true}"#.into())
            }
            "_index_template" => match &self.installed {
                Some(template) => {
                    (200, json!({"index_templates": [{"index_template": template}]}).to_string())
                }
                None => (404, "{}".into()),
            },
            _ => (404, "{}".into()),
        }
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let seen = Seen::of(request).await;
    let told = {
        let mut inner = server.inner.lock().unwrap();
        inner.seen.push(seen.clone());
        if seen.line.contains("_bulk") { inner.bulk.pop_front() } else { inner.template.pop_front() }
    };
    let response = Response::builder();
    match told {
        None => {
            let (status, body) = server.inner.lock().unwrap().good(&seen);
            response.status(status).body(body.into()).unwrap()
        }
        Some(Reply::Items(each)) => {
            response.body(server.inner.lock().unwrap().write(&seen, &each).into()).unwrap()
        }
        Some(Reply::Status(status, headers, body)) => {
            let with =
                headers.iter().fold(response.status(status), |r, (name, value)| r.header(*name, *value));
            with.body(body.into()).unwrap()
        }
        Some(Reply::Hang) => std::future::pending().await,
    }
}

/// An error body as the servers write it.
pub fn error_body(status: u16, kind: &str) -> String {
    json!({"error": {"type": kind, "reason": "about 'SECRET-VIN'"}, "status": status}).to_string()
}

/// Alerts with these ids.
pub fn items(ids: impl IntoIterator<Item = u128>) -> Vec<Item> {
    ids.into_iter().map(|id| Item { alert: sample(id).into(), detected: Timestamp(0) }).collect()
}

/// A server that breaks the connection in the middle of any request with a body longer than `limit`, and
/// takes all others. Returns its address and what counts the broken ones.
pub fn breaking(limit: usize) -> (String, Arc<Mutex<usize>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let broken = Arc::new(Mutex::new(0));
    let count = broken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if !take(&mut stream.unwrap(), limit) {
                *count.lock().unwrap() += 1;
            }
        }
    });
    (url, broken)
}

/// A server for `localhost` behind TLS, whose certificate the authority in `testdata/wire/tls/ca.pem` vouches
/// for. It takes one request after the other, as long as the client trusts it.
pub fn encrypted() -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    serve(config.unwrap().with_no_client_auth())
}

/// The same, that wants a certificate of the authority in `client-ca.pem` from its clients.
pub fn mutual() -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls("client-ca.pem")).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    serve(config.unwrap().with_client_cert_verifier(verifier.build().unwrap()))
}

fn serve(config: rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert>) -> String {
    let chain = vec![CertificateDer::from_pem_file(tls("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls("server.key")).unwrap();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            take(&mut stream, usize::MAX);
            // Closing with something unread would take the alert from the client.
            stream.sock.shutdown(std::net::Shutdown::Write).ok();
            std::io::copy(&mut stream.sock, &mut std::io::sink()).ok();
        }
    });
    url
}

/// A file of the certificates for tests.
pub fn tls(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wire/tls").join(name)
}

/// Answers one `_bulk` request with 201 for each document; false if it is none or too long.
fn take<S: std::io::Read + std::io::Write>(stream: &mut S, limit: usize) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
    if length > limit {
        return false;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let documents = body.iter().filter(|b| **b == b'\n').count() / 2;
    let text = json!({"items": vec![json!({"create": {"status": 201}}); documents]}).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.write_all((head + &text).as_bytes()).unwrap();
    stream.flush().unwrap();
    true
}
