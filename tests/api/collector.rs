//! A collector that takes spans over HTTP, reads them with the official messages, and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use socket2::{Domain, Socket, Type};

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// With this status, and this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// With 200, but so many spans were rejected.
    Rejected(i64),
    /// Never, while the connection stands.
    Never,
}

/// A request that came.
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) target: String,
    /// By lower-case name.
    pub(crate) fields: BTreeMap<String, String>,
    /// Uncompressed.
    pub(crate) body: Vec<u8>,
    pub(crate) request: ExportTraceServiceRequest,
}

/// A collector on a port of its own. It goes with the test's process.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// For the next requests; those behind them are taken.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Collector {
    /// One that takes everything but for the first requests, which are answered so.
    pub(crate) fn start(answers: &[Answer]) -> Collector {
        let collector = Collector::down(answers);
        collector.0.up(collector.1)
    }

    /// One whose port is taken and refuses connections.
    pub(crate) fn down(answers: &[Answer]) -> (Collector, Socket) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        (Collector { address, seen: Arc::default(), answers }, socket)
    }

    /// Lets it listen.
    pub(crate) fn up(self, socket: Socket) -> Collector {
        socket.listen(64).unwrap();
        let (listener, collector) = (TcpListener::from(socket), self.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let collector = collector.clone();
                std::thread::spawn(move || collector.serve(stream));
            }
        });
        self
    }

    /// Its base address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at what came.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    /// Every span that came, in order, whatever it was answered with.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.look(|seen| seen.iter().flat_map(Seen::spans).collect())
    }

    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        while let Some(seen) = read(&mut reader) {
            let answer = self.answers.lock().unwrap().pop_front();
            self.seen.lock().unwrap().push(seen);
            let (status, retry_after, body) = match answer {
                None => (200, None, Vec::new()),
                Some(Answer::Status(status, retry_after)) => (status, retry_after, Vec::new()),
                Some(Answer::Rejected(rejected_spans)) => {
                    let partial = ExportTracePartialSuccess { rejected_spans, error_message: "odd".to_owned() };
                    (200, None, ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec())
                }
                Some(Answer::Never) => {
                    // Until whoever waits goes away.
                    let _ = reader.read(&mut [0]);
                    return;
                }
            };
            let retry_after = retry_after.map_or_else(String::new, |it| format!("Retry-After: {it}\r\n"));
            let head = format!("HTTP/1.1 {status} Told\r\n{retry_after}Content-Length: {}\r\n\r\n", body.len());
            if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }
}

impl Seen {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.request.resource_spans.iter().flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| it.spans.clone()).collect()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut fields = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; fields.get("content-length")?.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    if fields.get("content-encoding").is_some_and(|it| it == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    Some(Seen { at: Instant::now(), target, fields, body, request })
}

/// An attribute as text; `None` if the span has none of that name.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = &span.attributes.iter().find(|it| it.key == key)?.value;
    Some(text(value.as_ref().unwrap()))
}

/// A value as text.
pub(crate) fn text(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::ArrayValue(list) => list.values.iter().map(text).collect::<Vec<_>>().join(","),
        other => panic!("{other:?}"),
    }
}
