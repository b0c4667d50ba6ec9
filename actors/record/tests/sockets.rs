//! What a socket leaves in the files, in the index and in the books.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::{BINARY, CLOSE, COMPRESSED, PING, Peer, TEXT, read_head};
use super::rig::Rig;

const RESPONSES: &str = "/v1/responses";

fn create(model: &str, stream_id: Option<&str>) -> Value {
    let mut create = json!({"type": "response.create", "model": model, "input": "hi"});
    if let Some(stream_id) = stream_id {
        create["stream_id"] = stream_id.into();
    }
    create
}

fn event(kind: &str, response: &str, stream_id: Option<&str>) -> Value {
    let usage = json!({"input_tokens": 2, "output_tokens": 3});
    let mut event = json!({"type": kind, "response": {"id": response, "status": "completed", "usage": usage}});
    if let Some(stream_id) = stream_id {
        event["stream_id"] = stream_id.into();
    }
    event
}

/// One turn, from the request to the end of the answer.
async fn turn(client: &mut Peer, server: &mut Peer, response: &str) {
    client.say(create("m", None)).await;
    server.hear_until("response.create").await;
    server.say(event("response.created", response, None)).await;
    server.say(event("response.completed", response, None)).await;
    client.hear_until("response.completed").await;
}

#[tokio::test]
async fn each_turn_is_recorded_before_the_socket_closes() {
    let mut rig = Rig::with_mock().await;
    let mut client = Peer::connect(rig.proxy, RESPONSES, "Authorization: Bearer k\r\n").await;
    client.say(create("mock", None)).await;
    let first = client.hear_until("response.completed").await;
    assert_eq!(rig.recorded(1).await.len(), 1);
    let mut second = create("mock", None);
    second["previous_response_id"] = first["response"]["id"].clone();
    client.say(second).await;
    client.hear_until("response.completed").await;

    let [first, second] = rig.recorded(2).await.try_into().ok().unwrap();
    for it in [&first, &second] {
        assert_eq!((it.row.status, it.row.protocol.as_str(), it.row.method.as_str()), (101, "responses", "GET"));
        assert_eq!((it.row.end.as_str(), it.row.disconnected), ("complete", false));
        assert_eq!((it.row.model.as_deref(), it.row.stream), (Some("mock"), Some(true)));
        assert_eq!(it.row.finish_reason.as_deref(), Some("completed"));
        assert!(it.row.total_tokens.is_some() && it.row.first_event_ms.is_some());
        assert_eq!((&it.line["req"]["body"]["model"], &it.line["req"]["body"]["type"]), (&json!("mock"), &Value::Null));
        assert_eq!(it.line["resp"]["stream_done"], true);
        assert!(it.line["resp"]["events"].as_array().unwrap().len() > 3);
        assert_eq!(it.line["ws"]["socket"], first.line["id"]);
    }
    assert_eq!((&first.line["ws"]["turn"], &second.line["ws"]["turn"]), (&json!(0), &json!(1)));
    assert_eq!(second.row.parent_id.as_deref(), Some(first.row.id.as_str()));
    assert_eq!(second.row.session_method.as_deref(), Some("previous_response_id"));
    client.leave().await;
    rig.drain().await;
    assert_eq!(rig.recorded(2).await.len(), 2, "the socket's end adds nothing");
}

#[tokio::test]
async fn streams_of_one_socket_are_told_apart() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    client.say(create("a", Some("1"))).await;
    client.say(create("b", Some("2"))).await;
    server.hear_until("response.create").await;
    server.hear_until("response.create").await;
    for kind in ["response.created", "response.completed"] {
        server.say(event(kind, "rb", Some("2"))).await;
        server.say(event(kind, "ra", Some("1"))).await;
    }
    let recorded = rig.recorded(2).await;
    for (it, [stream_id, model, response]) in recorded.iter().zip([["2", "b", "rb"], ["1", "a", "ra"]]) {
        assert_eq!((&it.line["ws"]["stream_id"], it.row.model.as_deref()), (&json!(stream_id), Some(model)));
        let events = it.line["resp"]["events"].as_array().unwrap();
        assert!(events.len() == 2 && events.iter().all(|it| it["data"]["response"]["id"] == response));
        assert!(events.iter().all(|it| it["dir"] == "server" && it["t_delta_ms"].is_u64()));
    }
    drop(server);
    client.leave().await;
    rig.drain().await;
}

#[tokio::test]
async fn a_turn_is_cut_when_a_side_leaves() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    client.say(create("m", None)).await;
    server.hear_until("response.create").await;
    server.say(event("response.created", "r", None)).await;
    client.hear_until("response.created").await;
    drop(client);
    while server.hear().await.is_some() {}
    drop(server);
    let cut = rig.recorded(1).await.remove(0);
    assert_eq!((cut.row.end.as_str(), cut.row.disconnected), ("client_gone", true));
    assert_eq!((&cut.line["ws"]["end"], &cut.line["resp"]["stream_done"]), (&json!("cut"), &json!(false)));
    assert_eq!(cut.line["resp"]["events"][0]["data"]["type"], "response.created");

    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    client.say(create("m", None)).await;
    server.hear_until("response.create").await;
    drop(server);
    while client.hear().await.is_some() {}
    drop(client);
    assert_eq!(rig.recorded(2).await[1].row.end, "upstream_gone");
    rig.drain().await;
}

#[tokio::test]
async fn a_turn_that_is_open_when_the_recorder_ends_is_recorded() {
    let mut rig = Rig::start(&[("APILOG_SHUTDOWN_GRACE", "100ms")]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    client.say(create("m", None)).await;
    server.hear_until("response.create").await;
    rig.drain().await;
    let cut = rig.recorded(1).await.remove(0);
    assert_eq!((cut.row.end.as_str(), &cut.line["ws"]["end"]), ("shutdown", &json!("cut")));
}

#[tokio::test]
async fn compressed_messages_are_read_and_pass_untouched() {
    let mut rig = Rig::start(&[]).await;
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut client, mut server) = rig.open(RESPONSES, deflate).await;
    let packed = |window: &mut Compress, message: &Value| {
        let mut out = Vec::with_capacity(4096);
        window.compress_vec(message.to_string().as_bytes(), &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    };
    let (mut up, mut down) = [(); 2].map(|()| Compress::new(Compression::default(), false)).into();
    for turn in 0..3 {
        let asked = packed(&mut up, &create("m", None));
        client.send(TEXT | COMPRESSED, &asked).await;
        assert_eq!(server.hear().await.unwrap(), (TEXT | COMPRESSED, asked));
        let answer = packed(&mut down, &event("response.completed", &format!("r{turn}"), None));
        server.send(TEXT | COMPRESSED, &answer).await;
        assert_eq!(client.hear().await.unwrap(), (TEXT | COMPRESSED, answer));
    }
    let recorded = rig.recorded(3).await;
    for (turn, it) in recorded.iter().enumerate() {
        assert_eq!(it.line["req"]["body"], json!({"input": "hi", "model": "m"}));
        assert_eq!(it.line["resp"]["events"][0]["data"]["response"]["id"], format!("r{turn}"));
    }
    assert!(recorded[2].row.req_bytes < recorded[0].row.req_bytes, "bytes are those of the wire");
    drop(server);
    client.leave().await;
    rig.drain().await;
}

#[tokio::test]
async fn other_sockets_are_sealed_in_parts_and_audio_is_bounded() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open("/v1/realtime?model=rt", "").await;
    let pass = async |from: &mut Peer, to: &mut Peer, opcode, payload: &[u8]| {
        from.send(opcode, payload).await;
        assert!(to.hear().await.unwrap().1 == payload, "it passes as it is");
    };
    pass(&mut client, &mut server, TEXT, br#"{"type":"session.update"}"#).await;
    pass(&mut client, &mut server, PING, b"?").await;
    pass(&mut client, &mut server, BINARY, &[7; 700_000]).await;
    pass(&mut server, &mut client, BINARY, &[8; 700_000]).await;
    let large = format!(r#"{{"type":"x","pad":"{}"}}"#, "y".repeat(1_500_000));
    for _ in 0..3 {
        pass(&mut server, &mut client, TEXT, large.as_bytes()).await;
    }
    // Sealed while the socket is open.
    let first = rig.recorded(1).await.remove(0);
    assert_eq!((&first.line["ws"]["part"], &first.line["ws"]["last"]), (&json!(0), &json!(false)));
    assert_eq!(first.line["ws"]["unkept_binary"], 1);
    let events = first.line["resp"]["events"].as_array().unwrap();
    let seen: Vec<_> = events.iter().map(|it| (it["dir"].as_str().unwrap(), it["bytes"].as_u64())).collect();
    let audio = Some(700_000);
    assert_eq!(seen, [("client", None), ("client", audio), ("server", audio), ("server", None), ("server", None)]);
    assert!(events[1]["data_b64"].is_string() && events[2]["data_b64"].is_null());
    assert_eq!((first.row.truncated_req, first.row.truncated_resp), (false, true));

    client.send(CLOSE, &[3, 232]).await;
    server.hear().await.unwrap();
    drop(server);
    while client.hear().await.is_some() {}
    drop(client);
    let last = rig.recorded(2).await.remove(1);
    let ws = &last.line["ws"];
    assert_eq!((&ws["part"], &ws["last"], &ws["closed_by"]), (&json!(1), &json!(true), &json!("client")));
    assert_eq!((&ws["close"]["code"], &ws["client_total"]["pings"]), (&json!(1000), &json!(1)));
    assert_eq!((last.row.end.as_str(), last.row.model.as_deref()), ("complete", Some("rt")));
    rig.drain().await;
}

#[tokio::test]
async fn a_socket_on_which_nothing_happened_is_one_trace() {
    let mut rig = Rig::start(&[]).await;
    for (rank, target) in [RESPONSES, "/v1/realtime"].into_iter().enumerate() {
        let (client, server) = rig.open(target, "").await;
        drop(server);
        client.leave().await;
        let it = rig.recorded(rank + 1).await.remove(rank);
        assert_eq!((it.row.status, it.row.end.as_str()), (101, "complete"));
        assert_eq!((&it.line["ws"]["part"], &it.line["ws"]["last"]), (&json!(0), &json!(true)));
    }
    rig.drain().await;
}

#[tokio::test]
async fn a_reader_that_fails_costs_neither_the_socket_nor_what_was_read() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    turn(&mut client, &mut server, "r1").await;
    client.say(create("open", None)).await;
    server.hear_until("response.create").await;
    assert_eq!(rig.recorded(1).await.len(), 1);
    // The open turn has been read once the recorder counts it as in flight.
    while rig.counters.ledger.snapshot().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    crate::faults::arm("socket", 1);
    server.say(event("response.created", "r2", None)).await;
    client.hear_until("response.created").await;
    let recorded = rig.recorded(3).await;
    assert_eq!(recorded[1].row.end, "interrupted");
    assert_eq!((recorded[1].row.model.as_deref(), &recorded[1].line["ws"]["end"]), (Some("open"), &json!("cut")));
    let raw = &recorded[2];
    assert_eq!((&raw.line["ws"]["unread"], raw.row.end.as_str()), (&json!(0), "interrupted"));
    assert!(raw.line["resp"]["body_b64"].is_string() && raw.line["resp"]["sha256"].is_string());

    // The tunnel knows nothing of it.
    turn(&mut client, &mut server, "r3").await;
    drop(server);
    client.leave().await;
    let rest = rig.recorded(4).await.remove(3);
    assert_eq!((rest.row.truncated_req, rest.row.truncated_resp), (true, true));
    assert!(rest.row.req_bytes > Some(50) && rest.row.resp_bytes > Some(100));
    assert_eq!(rig.counters.recording.socket_readers_failed.get(), 1);
    rig.drain().await;
}

#[tokio::test]
async fn bytes_beyond_the_memory_budget_are_counted() {
    let mut rig = Rig::start(&[("APILOG_CAPTURE_MEMORY_BYTES", "1MiB")]).await;
    let (mut client, mut server) = rig.open("/v1/realtime", "").await;
    let text = format!("\"{}\"", "z".repeat(3_000_000));
    server.send(TEXT, text.as_bytes()).await;
    assert_eq!(client.hear().await.unwrap().1, text.as_bytes());
    drop(server);
    client.leave().await;
    let it = rig.recorded(1).await.remove(0);
    let missed = it.line["ws"]["server_total"]["missed_bytes"].as_u64().unwrap();
    assert!(missed > 0 && it.row.truncated_resp);
    assert_eq!(it.line["ws"]["server_total"]["bytes"], text.len() + 10);
    assert_eq!(rig.counters.recording.socket_bytes_missed.get(), missed);
    rig.drain().await;
}

#[tokio::test]
async fn a_turn_is_recorded_while_only_the_server_still_speaks() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    client.say(create("m", None)).await;
    client.close().await;
    server.hear_until("response.create").await;
    assert!(server.hear().await.is_none(), "the end of the client's half is passed on");
    server.say(event("response.completed", "r", None)).await;
    client.hear_until("response.completed").await;
    assert_eq!(rig.recorded(1).await[0].row.end, "complete");
    drop(server);
    client.leave().await;
    rig.drain().await;
}

#[tokio::test]
async fn a_piece_whose_finalizer_fails_is_recorded_unread() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    crate::faults::arm("finalizer", 1);
    turn(&mut client, &mut server, "r1").await;
    let raw = rig.recorded(1).await.remove(0);
    assert_eq!((&raw.line["ws"]["turn"], raw.row.protocol.as_str()), (&json!(0), "responses"));
    assert!(raw.line["req"]["body_b64"].is_string() && raw.line["resp"]["body_b64"].is_string());
    assert!(raw.line["resp"]["sha256"].is_null(), "messages are not the bytes that passed");
    turn(&mut client, &mut server, "r2").await;
    assert_eq!(rig.recorded(2).await[1].line["resp"]["stream_done"], true);
    drop(server);
    client.leave().await;
    rig.drain().await;
}

#[tokio::test]
async fn another_upgrade_is_one_raw_trace() {
    let mut rig = Rig::start(&[]).await;
    let mut client = TcpStream::connect(rig.proxy).await.unwrap();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n").await.unwrap();
    let mut server = rig.accept().await;
    read_head(&mut server).await;
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
    server.write_all(head).await.unwrap();
    read_head(&mut client).await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(server.read_u32().await.unwrap(), u32::from_be_bytes(*b"ping"));
    drop((client, server));
    let it = rig.recorded(1).await.remove(0);
    assert_eq!((&it.line["req"]["body_b64"], &it.line["ws"]), (&json!("cGluZw=="), &Value::Null));
    rig.drain().await;
}

#[tokio::test]
async fn open_sockets_are_read_on_after_their_supervisor_failed() {
    let mut rig = Rig::start(&[]).await;
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    turn(&mut client, &mut server, "r1").await;
    client.say(create("open", None)).await;
    server.hear_until("response.create").await;
    rig.recorded(1).await;
    crate::faults::arm("sockets", 1);
    let (mut other_client, mut other_server) = rig.open(RESPONSES, "").await;
    turn(&mut other_client, &mut other_server, "r2").await;
    rig.recorded(2).await;
    server.say(event("response.completed", "r3", None)).await;
    let recorded = rig.recorded(3).await;
    let open = recorded.iter().find(|it| it.row.model.as_deref() == Some("open")).unwrap();
    assert_eq!((&open.line["ws"]["turn"], open.row.end.as_str()), (&json!(1), "complete"));
    assert_eq!(rig.counters.recording.socket_readers_failed.get(), 0);
    for (client, server) in [(client, server), (other_client, other_server)] {
        drop(server);
        client.leave().await;
    }
    rig.drain().await;
}

/// As happens to one that comes between the restart of who is woken and the moment its address is known.
#[tokio::test]
async fn a_lost_wake_delays_a_socket_and_no_more() {
    let mut rig = Rig::start(&[]).await;
    crate::faults::arm("intake.wake", u32::MAX);
    let (mut client, mut server) = rig.open(RESPONSES, "").await;
    while crate::faults::left("intake.wake") == u32::MAX {
        tokio::task::yield_now().await;
    }
    crate::faults::arm("intake.wake", 0);
    turn(&mut client, &mut server, "r1").await;
    rig.recorded(1).await;
    drop(server);
    client.leave().await;
    rig.drain().await;
}
