//! What the gateway sees of a request.

use crate::recorder::{Recorder, sha256};
use crate::wire::{Ended, Gateway, Wire, text};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends `request` and gives what the gateway got of it: the head, and the connection for the rest.
fn forwarded(recorder: &Recorder, gateway: &Gateway, request: impl AsRef<[u8]>) -> (Wire, Wire, String) {
    let client = recorder.ask(request);
    let (upstream, head) = gateway.request();
    (client, upstream, head)
}

/// Answers and reads the answer.
fn answer(client: &mut Wire, upstream: &mut Wire) {
    upstream.send(ANSWER);
    client.until("\r\n\r\nok");
}

#[test]
fn a_request_arrives_byte_for_byte_but_for_its_host() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let request = "POST /v1/chat/completions?b=2&a=1 HTTP/1.1\r\n\
        Host: recorder.example:7861\r\n\
        X-MiXeD-cAsE: Kept\r\n\
        accept: */*\r\n\
        X-Empty:\r\n\
        X-Inner:   two  spaces\r\n\
        Cookie: a=1\r\n\
        X-Forwarded-For: 192.0.2.7\r\n\
        Content-Type: application/json\r\n\
        Content-Length: 15\r\n\r\n\
        {\"model\":\"m-1\"}";
    let (mut client, mut upstream, head) = forwarded(&recorder, &gateway, request);
    let expected = request.replace("recorder.example:7861", &gateway.address().to_string()).replace(":   two", ": two");
    let body = text(&upstream.exactly(15));
    assert_eq!(format!("{head}{body}"), expected);
    answer(&mut client, &mut upstream);
    let line = recorder.finish_with_one();
    assert_eq!(line["path"], "/v1/chat/completions?b=2&a=1");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["upstream"], format!("http://{}", gateway.address()));
    let headers = line["req"]["headers"].as_object().unwrap();
    let names: Vec<_> = headers.keys().map(String::as_str).collect();
    let mut sent = vec![
        "X-MiXeD-cAsE",
        "accept",
        "X-Empty",
        "X-Inner",
        "Cookie",
        "X-Forwarded-For",
        "Content-Type",
        "Content-Length",
    ];
    sent.sort_unstable();
    let mut names_sorted = names;
    names_sorted.sort_unstable();
    assert_eq!(names_sorted, sent);
    assert_eq!(headers["X-Inner"], "two  spaces");
    assert_eq!(line["req"]["body"]["model"], "m-1");
    assert_eq!(line["req"]["bytes"], 15);
    assert_eq!(line["req"]["sha256"], sha256(r#"{"model":"m-1"}"#));
    assert_eq!(line["resp"]["sha256"], sha256("ok"));
}

#[test]
fn targets_pass_verbatim() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let targets = [
        "/",
        "//double//slash/",
        "/a/../b/./c",
        "/%2F%2f/%41?q=%20+%zz",
        "/v1;p=1/x;y",
        "/x?",
        "/x?a=&a=&&b",
        "/x?a=http://other/y?z",
        "/v1beta/models/m:generateContent?alt=sse",
        "/q?[]{}|^`\\'",
        "/%E2%82%AC/~user/(a)'*!$,@:=",
    ];
    let mut client = recorder.client();
    let mut upstream = None;
    for target in targets {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        let head = upstream.head();
        assert_eq!(head.lines().next().unwrap(), format!("GET {target} HTTP/1.1"));
        answer(&mut client, upstream);
    }
    let paths: Vec<_> = recorder.finish().iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, targets);
}

#[test]
fn the_upstreams_path_stands_in_front_of_every_target() {
    let gateway = Gateway::new();
    let upstream_url = format!("http://{}/team%2Fa/b/", gateway.address());
    let recorder = Recorder::with(&gateway, &[("PROXY_UPSTREAM", &upstream_url)]);
    let (mut client, mut upstream, head) = forwarded(&recorder, &gateway, "GET //x/../y?z HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head.lines().next().unwrap(), "GET /team%2Fa/b//x/../y?z HTTP/1.1");
    answer(&mut client, &mut upstream);
    assert_eq!(recorder.finish_with_one()["path"], "//x/../y?z");
}

#[test]
fn an_absolute_target_never_leaves_the_upstream() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(
        &recorder,
        &gateway,
        "GET http://elsewhere.invalid:99/a//b?c HTTP/1.1\r\nHost: elsewhere.invalid:99\r\n\r\n",
    );
    assert_eq!(head, format!("GET /a//b?c HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    answer(&mut client, &mut upstream);
    assert_eq!(recorder.finish_with_one()["path"], "/a//b?c");
}

#[test]
fn connect_is_refused() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let line = recorder.finish_with_one();
    assert_eq!((&line["method"], &line["status"], &line["end"]), (&"CONNECT".into(), &(-1).into(), &"rejected".into()));
    assert_eq!(line["disconnected"], false);
    assert!(gateway.is_untouched());
}

#[test]
fn any_method_passes() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let methods = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "X-ODD!#$%&'*+.^_`|~1"];
    let mut client = recorder.client();
    let mut upstream = None;
    for method in methods {
        client.send(format!("{method} /m HTTP/1.1\r\nHost: h\r\n\r\n"));
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        assert_eq!(upstream.head(), format!("{method} /m HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        answer(&mut client, upstream);
    }
    let recorded: Vec<_> = recorder.finish().iter().map(|line| line["method"].as_str().unwrap().to_owned()).collect();
    assert_eq!(recorded, methods);
}

#[test]
fn options_of_the_server_itself_pass() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(&recorder, &gateway, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head.lines().next().unwrap(), "OPTIONS * HTTP/1.1");
    answer(&mut client, &mut upstream);
    assert_eq!(recorder.finish_with_one()["path"], "*");
}

#[test]
fn repeated_fields_stay_apart_and_odd_bytes_pass() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let request = b"GET /h HTTP/1.1\r\nHost: h\r\nX-Tag: one\r\nX-tag: two\r\nX-Tag: one\r\nX-Latin: caf\xe9\r\n\
        X-Utf: \xe2\x82\xac\r\nX-Tab: a\tb\r\n\r\n";
    let mut client = recorder.ask(request);
    let mut upstream = gateway.accept();
    let head = upstream.until("\r\n\r\n");
    let expected: Vec<u8> = [
        b"GET /h HTTP/1.1\r\nHost: ".as_slice(),
        gateway.address().to_string().as_bytes(),
        &request[b"GET /h HTTP/1.1\r\nHost: h".len()..],
    ]
    .concat();
    assert_eq!(text(&head), text(&expected));
    assert_eq!(head, expected);
    answer(&mut client, &mut upstream);
    let request = &recorder.finish_with_one()["req"];
    assert_eq!(request["headers"]["X-Tag"], "one, two, one");
    assert_eq!(request["headers"]["X-Latin"], "caf\u{e9}");
    assert_eq!(request["headers"]["X-Utf"], "\u{20ac}");
    let list = request["headers_list"].as_array().unwrap();
    let tags: Vec<_> = list.iter().filter(|it| it[0].as_str().unwrap().eq_ignore_ascii_case("x-tag")).collect();
    assert_eq!(serde_json::json!(tags), serde_json::json!([["X-Tag", "one"], ["X-tag", "two"], ["X-Tag", "one"]]));
}

#[test]
fn the_clients_host_passes_where_that_is_asked_for() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("PROXY_PRESERVE_HOST", "true")]);
    let (mut client, mut upstream, head) =
        forwarded(&recorder, &gateway, "GET / HTTP/1.1\r\nhOST: recorder.example:1\r\n\r\n");
    assert_eq!(head, "GET / HTTP/1.1\r\nhOST: recorder.example:1\r\n\r\n");
    answer(&mut client, &mut upstream);
    recorder.finish_with_one();
}

#[test]
fn what_belongs_to_the_hop_stays_on_it() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(
        &recorder,
        &gateway,
        "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nConnection: keep-alive, X-Mine\r\nx-mine: secret\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nB: 2\r\n\r\n",
    );
    assert_eq!(head, format!("GET / HTTP/1.1\r\nHost: {}\r\nA: 1\r\nB: 2\r\n\r\n", gateway.address()));
    answer(&mut client, &mut upstream);
    let line = recorder.finish_with_one();
    assert_eq!(line["req"]["headers"], serde_json::json!({"A": "1", "B": "2"}));
}

#[test]
fn a_bare_request_gains_nothing() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(&recorder, &gateway, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(head.to_lowercase(), format!("get / http/1.1\r\nhost: {}\r\n\r\n", gateway.address()));
    upstream.send(ANSWER);
    let (answer, ended) = client.rest();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(ended, Ended::InOrder);
    recorder.finish_with_one();
}

#[test]
fn hundreds_of_fields_pass() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let many: String = (0..400).map(|number| format!("X-Field-{number}: {number}\r\n")).collect();
    let (mut client, mut upstream, head) =
        forwarded(&recorder, &gateway, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"));
    assert!(head.ends_with(&format!("{many}\r\n")));
    upstream.send(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok"));
    let head = client.head();
    assert!(head.contains(&many));
    client.until("ok");
    let line = recorder.finish_with_one();
    assert_eq!(line["req"]["headers"].as_object().unwrap().len(), 400);
    assert_eq!(line["resp"]["headers"].as_object().unwrap().len(), 401);
}
