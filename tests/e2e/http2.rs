//! HTTP/2 from clients, with prior knowledge, on the port that speaks HTTP/1.1 too.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::recorder::{Recorder, sha256, until};
use crate::wire::{Gateway, values};

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// Runs a client on a runtime of its own; the gateway's blocking half runs beside it.
fn on_a_runtime<T>(client: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client)
}

async fn connect(recorder: &Recorder) -> SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(recorder.proxy).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Body> {
    Request::builder()
        .version(Version::HTTP_2)
        .method(method)
        .uri(format!("http://recorder.example:99{path}"))
        .body(Full::from(body).boxed())
        .unwrap()
}

/// What blocks, beside the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[test]
fn a_request_arrives_in_http_1_and_its_answer_in_http_2() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let address = gateway.address();
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let mut request = request(Method::POST, "/v1//x/../y?a=&a=%2F", "{\"a\":1}");
        request.headers_mut().append("x-tag", "one".parse().unwrap());
        request.headers_mut().append("x-tag", "two".parse().unwrap());
        let gateway = beside(move || {
            let (mut upstream, head) = gateway.request();
            assert_eq!(upstream.exactly(7), b"{\"a\":1}");
            upstream.send(
                "HTTP/1.1 201 Odd Words\r\nContent-Type: application/json\r\nX-B: 1\r\nX-b: 2\r\nKeep-Alive: 5\r\n\
                 Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
            );
            (head, upstream)
        });
        let (answer, (head, _upstream)) = tokio::join!(sender.send_request(request), gateway);
        assert_eq!(head.lines().next().unwrap(), "POST /v1//x/../y?a=&a=%2F HTTP/1.1");
        assert_eq!(values(&head, "host"), [address.to_string()]);
        assert_eq!(values(&head, "x-tag"), ["one", "two"]);
        assert_eq!(values(&head, "content-length"), ["7"]);
        assert_eq!(crate::wire::fields(&head).len(), 4, "nothing added: {head}");
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (201, Version::HTTP_2));
        let names: Vec<_> =
            answer.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(names, [("content-type", "application/json"), ("x-b", "1"), ("x-b", "2"), ("content-length", "2")]);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    });
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], &line["status"]), (&"complete".into(), &201.into()));
    assert_eq!((&line["method"], &line["path"]), (&"POST".into(), &"/v1//x/../y?a=&a=%2F".into()));
    assert_eq!(line["req"]["headers"]["x-tag"], "one, two");
    assert_eq!(line["req"]["sha256"], sha256("{\"a\":1}"));
    assert_eq!(line["resp"]["headers"]["X-B"], "1, 2");
}

#[test]
fn the_authority_passes_as_host_where_that_is_asked_for() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("PROXY_PRESERVE_HOST", "true")]);
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let gateway = beside(move || {
            let (mut upstream, head) = gateway.request();
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
            head
        });
        let (answer, head) = tokio::join!(sender.send_request(request(Method::GET, "/", "")), gateway);
        assert_eq!(values(&head, "host"), ["recorder.example:99"]);
        assert_eq!(answer.unwrap().status().as_u16(), 204);
    });
    recorder.finish_with_one();
}

#[test]
fn streams_of_one_connection_go_their_own_ways() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut answers = Vec::new();
        let mut upstreams = Vec::new();
        let gateway = std::sync::Arc::new(gateway);
        for path in ["/left", "/broken", "/whole"] {
            let gateway = gateway.clone();
            let gateway = beside(move || {
                let (mut upstream, head) = gateway.request();
                assert!(head.starts_with(&format!("GET {path} ")), "{head}");
                upstream.send(format!("{STREAM}9\r\ndata: 1\n\n\r\n"));
                upstream
            });
            let (answer, upstream) = tokio::join!(sender.send_request(request(Method::GET, path, "")), gateway);
            let mut body = answer.unwrap().into_body();
            // Here before the gateway sends more.
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
            answers.push(body);
            upstreams.push(upstream);
        }
        let (mut whole, mut whole_upstream) = (answers.pop().unwrap(), upstreams.pop().unwrap());
        let (mut broken, broken_upstream) = (answers.pop().unwrap(), upstreams.pop().unwrap());
        let (left, mut left_upstream) = (answers.pop().unwrap(), upstreams.pop().unwrap());
        drop(left);
        beside(move || left_upstream.ends_without_a_byte()).await;
        broken_upstream.reset();
        assert!(broken.frame().await.unwrap().is_err(), "an abort, not an end");
        whole_upstream.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        assert_eq!(whole.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 2\n\n");
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "");
    });
    let ends: Vec<_> = recorder
        .finish()
        .iter()
        .map(|line| (line["path"].as_str().unwrap().to_owned(), line["end"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [("/left", "client_gone"), ("/broken", "upstream_gone"), ("/whole", "complete")];
    assert_eq!(ends, expected.map(|(path, end)| (path.to_owned(), end.to_owned())));
}

#[test]
fn a_body_without_a_length_is_chunked_and_trailers_pass_both_ways() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let trailers: hyper::HeaderMap = [("x-sum".parse().unwrap(), "7".parse().unwrap())].into_iter().collect();
        let frames = [Ok(hyper::body::Frame::data(Bytes::from("hello"))), Ok(hyper::body::Frame::trailers(trailers))];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed();
        let mut request = request(Method::POST, "/t", "").map(|_| body);
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let gateway = beside(move || {
            let (mut upstream, head) = gateway.request();
            assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
            assert_eq!(upstream.chunked().to_lowercase(), "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n");
            upstream
        });
        let (answer, _upstream) = tokio::join!(sender.send_request(request), gateway);
        let whole = answer.unwrap().into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-end"], "1");
        assert_eq!(whole.to_bytes(), "ok");
    });
    let line = recorder.finish_with_one();
    assert_eq!(line["end"], "complete");
    assert_eq!(line["req"]["trailers"], serde_json::json!({"x-sum": "7"}));
    assert_eq!(line["resp"]["trailers"], serde_json::json!({"x-end": "1"}));
}

#[test]
fn an_unreachable_gateway_is_told_in_http_2_too() {
    let gateway = Gateway::new();
    let upstream = format!("http://{}", gateway.address());
    drop(gateway);
    let recorder = Recorder::on(crate::recorder::DataDir::new(), &[("PROXY_UPSTREAM", &upstream)], &[]);
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let answer = sender.send_request(request(Method::GET, "/", "")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 502);
    });
    assert_eq!(recorder.finish_with_one()["end"], "upstream_unreachable");
}

#[test]
fn a_stream_under_way_finishes_when_the_recorder_ends() {
    let gateway = Gateway::new();
    let mut recorder = Recorder::start(&gateway);
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let gateway = beside(move || {
            let (mut upstream, _) = gateway.request();
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
            upstream
        });
        let (answer, mut upstream) = tokio::join!(sender.send_request(request(Method::GET, "/", "")), gateway);
        let mut body = answer.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ha");
        recorder.signal(libc::SIGTERM);
        let proxy = recorder.proxy;
        beside(move || until("it is closed", || std::net::TcpStream::connect(proxy).is_err().then_some(()))).await;
        upstream.send("lf");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "lf");
    });
    assert_eq!(recorder.wait().code(), Some(0));
    let lines = recorder.recorded();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["end"], "complete");
}

#[test]
fn what_mutators_rewrite_passes_in_http_2_too() {
    let gateway = Gateway::new();
    let recorder = crate::mutators::with(&gateway, serde_json::json!([crate::mutators::names()]), &[]);
    let asked = r#"{"messages":[{"role":"user","content":"codename"}]}"#;
    let event =
        |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    on_a_runtime(async {
        let mut sender = connect(&recorder).await;
        let mut request = request(Method::POST, "/v1/chat/completions", asked);
        request.headers_mut().append("content-type", "application/json".parse().unwrap());
        let stream = [event("code"), event("name"), "data: [DONE]\n\n".into()].concat();
        let gateway = beside(move || {
            let (mut upstream, head) = gateway.request();
            let sent = upstream.exactly(asked.len() - 5);
            upstream.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{stream}",
                stream.len()
            ));
            (head, sent, upstream)
        });
        let (answer, (head, sent, _upstream)) = tokio::join!(sender.send_request(request), gateway);
        assert_eq!(values(&head, "content-length"), [(asked.len() - 5).to_string()]);
        assert_eq!(sent, asked.replace("codename", "[x]").as_bytes());
        let answer = answer.unwrap();
        assert!(!answer.headers().contains_key("content-length"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, [event(""), event("[x]"), "data: [DONE]\n\n".into()].concat());
    });
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], line["plugins"].as_array().unwrap().len()), (&"complete".into(), 2), "{line:#}");
    assert_eq!(line["req"]["bytes"], asked.len() - 5);
}
