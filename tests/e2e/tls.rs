//! A gateway behind TLS, with a certificate that only these tests trust.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::recorder::{DataDir, Recorder};
use crate::wire::{DEADLINE, text, values};

const ASK: &str = "GET /v1//models?x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n";

struct TlsGateway {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    roots: tempfile::NamedTempFile,
}

impl TlsGateway {
    /// Speaks the protocols named, in ALPN.
    fn new(protocols: &[&str]) -> TlsGateway {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let mut roots = tempfile::NamedTempFile::new().unwrap();
        roots.write_all(made.cert.pem().as_bytes()).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
        TlsGateway { listener, config: Arc::new(config), roots }
    }

    fn recorder(&self, host: &str) -> Recorder {
        let upstream = format!("https://{host}:{}", self.listener.local_addr().unwrap().port());
        let roots = self.roots.path().to_str().unwrap();
        Recorder::on(DataDir::new(), &[("PROXY_UPSTREAM", &upstream)], &[("SSL_CERT_FILE", roots)])
    }

    fn accept(&self) -> StreamOwned<ServerConnection, TcpStream> {
        let stream = self.listener.accept().unwrap().0;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        StreamOwned::new(ServerConnection::new(self.config.clone()).unwrap(), stream)
    }
}

fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    text(&head)
}

#[test]
fn a_gateway_behind_tls_is_spoken_to_in_http_1_where_it_offers_no_more() {
    for (host, protocols) in [("localhost", &[][..]), ("127.0.0.1", &["http/1.1"])] {
        let gateway = TlsGateway::new(protocols);
        let recorder = gateway.recorder(host);
        let mut client = recorder.ask(ASK);
        let mut upstream = gateway.accept();
        let port = gateway.listener.local_addr().unwrap().port();
        assert_eq!(head(&mut upstream), ASK.replace("Host: h", &format!("Host: {host}:{port}")));
        upstream.write_all(b"HTTP/1.1 200 Fine\r\nX-B: 2\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!(text(&client.until("ok")), "HTTP/1.1 200 Fine\r\nX-B: 2\r\nContent-Length: 2\r\n\r\nok");
        let line = recorder.finish_with_one();
        assert_eq!((&line["end"], &line["status"]), (&"complete".into(), &200.into()));
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_a_gateway_that_cannot_be_reached() {
    let (gateway, stranger) = (TlsGateway::new(&[]), TlsGateway::new(&[]));
    let recorder = TlsGateway { roots: stranger.roots, ..gateway };
    let (gateway, recorder) = (&recorder, recorder.recorder("localhost"));
    let mut client = recorder.ask(ASK);
    let mut upstream = gateway.accept();
    assert!(upstream.read(&mut [0]).is_err());
    drop(upstream);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(text(&client.until("}}")).contains(r#""code":"upstream_unreachable""#));
    let line = recorder.finish_with_one();
    assert_eq!(line["end"], "upstream_unreachable");
    assert!(line["error"].as_str().unwrap().contains("TLS with localhost failed"), "{line:#}");
}

#[test]
fn an_answer_that_tls_does_not_close_is_broken_off() {
    let gateway = TlsGateway::new(&[]);
    let recorder = gateway.recorder("localhost");
    let mut client = recorder.ask(ASK);
    let mut upstream = gateway.accept();
    head(&mut upstream);
    // Only its connection's end would tell the body's.
    upstream.write_all(b"HTTP/1.1 200 OK\r\n\r\npart").unwrap();
    client.until("part\r\n");
    drop(upstream.sock);
    assert!(!client.rest().0.ends_with("0\r\n\r\n"));
    assert_eq!(recorder.finish_with_one()["end"], "upstream_gone");
}

/// Serves one connection in HTTP/2, each request by what `answer` says.
fn serve_http2<F>(
    gateway: &TlsGateway,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> std::thread::JoinHandle<()>
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = gateway.listener.try_clone().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(gateway.config.clone());
    std::thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = acceptor.accept(tokio::net::TcpStream::from_std(stream).unwrap()).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let service = hyper::service::service_fn(|request| {
                let answer = answer(request);
                async { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    })
}

#[test]
fn a_gateway_that_offers_http_2_is_spoken_to_in_it() {
    let gateway = TlsGateway::new(&["h2", "http/1.1"]);
    let recorder = gateway.recorder("localhost");
    let port = gateway.listener.local_addr().unwrap().port();
    let serving = serve_http2(&gateway, move |request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.uri().to_string(), format!("https://localhost:{port}/v1//models?x"));
        let mut names: Vec<_> = request.headers().keys().map(|it| it.as_str().to_owned()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-a"]);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::builder().status(201).header("x-b", "2").body(Full::from(body)).unwrap()
    });
    let mut client = recorder.client();
    // One connection serves one request after another.
    for _ in 0..3 {
        client.send(
            "POST /v1//models?x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello",
        );
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
        assert_eq!((values(&head, "x-b"), values(&head, "content-length")), (vec!["2"], vec!["5"]));
        client.until("hello");
    }
    let lines = recorder.finish();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert_eq!((&line["end"], &line["status"]), (&"complete".into(), &201.into()));
        assert_eq!((&line["req"]["headers"]["X-A"], &line["resp"]["headers"]["x-b"]), (&"1".into(), &"2".into()));
    }
    serving.join().unwrap();
}

#[test]
fn an_upgrade_goes_by_http_1_though_http_2_is_offered() {
    let gateway = TlsGateway::new(&["h2", "http/1.1"]);
    let recorder = gateway.recorder("localhost");
    // An HTTP/2 connection stands in the pool.
    let serving = serve_http2(&gateway, |_| async { Response::new(Full::from("ok")) });
    let mut client = recorder.ask(ASK);
    client.until("ok");
    client.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut upstream = gateway.accept();
    assert_eq!(values(&head(&mut upstream), "upgrade"), ["websocket"]);
    assert_eq!(upstream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    upstream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        .unwrap();
    client.until("\r\n\r\nhi");
    client.send("yo");
    let mut got = [0; 2];
    upstream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"yo");
    client.close();
    drop(upstream);
    assert_eq!(recorder.finish().len(), 2);
    serving.join().unwrap();
}
