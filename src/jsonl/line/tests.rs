//! Lines of any age read back.

use super::*;

const ID: &str = "01JWBK5Q3N0000000000000001";

#[test]
fn an_earlier_line_is_read_as_it_is() {
    let line = r#"{"ts_end":"2030-01-01T00:00:01Z","id":"01JWBK5Q3N0000000000000001","ts_start":"2030-01-01T00:00:00.5Z","client":"192.0.2.1:5000","method":"POST","path":"/v1/messages","upstream":"http://gw:1","status":200,"resp":{"events":[{"event":"ping","data":null,"t_delta_ms":7},{"event":"","data":"a\u00e9"},{"event":"x","data":{"b":[1]}}],"stream_done":false,"headers":{}},"req":{"headers":{"X-Api-Key":["k","l"],"A":"b"},"body":{"c":1}},"disconnected":true,"truncated_req":false,"truncated_resp":true,"plugin_intercepted":{"name":"p"}}"#;
    let row = read_row(line.as_bytes()).unwrap();
    assert_eq!(row.id.to_string(), ID);
    assert_eq!(row.ts_start.to_string(), "2030-01-01T00:00:00.500Z");
    assert_eq!((row.end, row.disconnected, row.truncated_resp), (End::UpstreamGone, true, true));
    assert_eq!((row.status, row.first_event_ms, row.req_bytes), (200, Some(7), None));
    with_view(line.as_bytes(), |_, view| {
        let headers: Vec<_> = view.request_headers.iter().collect();
        assert_eq!(headers, [("X-Api-Key", b"k".as_slice()), ("X-Api-Key", b"l"), ("A", b"b")]);
        assert_eq!(view.request_json, Some(r#"{"c":1}"#));
        let Answer::Events([ping, text, json]) = view.answer else { panic!("{:?}", view.answer) };
        assert_eq!((ping.name, ping.data), ("ping", crate::trace::view::EventData::None));
        assert_eq!(text.data, crate::trace::view::EventData::Text("aé"));
        assert_eq!(json.data.json(), Some(r#"{"b":[1]}"#));
    })
    .unwrap();
}

#[test]
fn absent_and_unknown_members_are_no_fault() {
    let line = format!(
        r#"{{"id":"{ID}","v":9,"ts_start":"2030-01-01T00:00:00.123456789+01:00","ts_end":"2030-01-01T00:00:00Z","method":"GET","path":"/","status":-1,"end":"of days","req":{{}},"resp":{{"headers":null,"body":null,"odd":[[[]]]}}}}{}"#,
        "\r\n"
    );
    let row = read_row(line.as_bytes()).unwrap();
    assert_eq!((row.status, row.end, row.disconnected), (-1, End::Complete, false));
    assert_eq!(row.ts_start.to_string(), "2029-12-31T23:00:00.123Z");
    with_view(line.as_bytes(), |_, view| assert!(matches!(view.answer, Answer::None))).unwrap();
}

#[test]
fn a_line_with_bytes_that_are_no_text_is_read() {
    let mut line = format!(
        r#"{{"id":"{ID}","ts_start":"2030-01-01T00:00:00Z","ts_end":"2030-01-01T00:00:00Z","method":"POST","path":"/","status":200,"req":{{"headers":{{}},"body":{{"a":"?"}}}},"resp":{{"headers":{{}}}}}}"#
    )
    .into_bytes();
    let at = line.iter().rposition(|&byte| byte == b'?').unwrap();
    line[at] = 0xff;
    assert!(read_row(&line).is_ok());
}

#[test]
fn what_is_no_line_says_why() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "EOF"),
        (b"{\"id\":\"x\"}", "ts_start"),
        (b"[1]", "line"),
        (
            br#"{"id":"x","ts_start":"2030-01-01T00:00:00Z","ts_end":"2030-01-01T00:00:00Z","method":"","path":"","status":0,"req":{},"resp":{}}"#,
            "id",
        ),
        (b"{\"id\":\"01J", "EOF"),
    ];
    for (line, part) in cases {
        let error = read_row(line).unwrap_err().to_string();
        assert!(error.starts_with("not a trace line: ") && error.contains(part), "{error}");
    }
}
