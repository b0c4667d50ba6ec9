//! `api-log validate`: the configuration held against the machine.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;

use crate::{api_log, stderr, stdout};

/// Variables with which nothing is to be found, and the gateway that answers.
struct Stand {
    folder: tempfile::TempDir,
    gateway: TcpListener,
}

impl Stand {
    fn new() -> Stand {
        Stand { folder: tempfile::tempdir().unwrap(), gateway: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// With these in place of what is right.
    fn variables(&self, others: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut variables = vec![
            ("APILOG_PROXY_UPSTREAM", format!("http://{}", self.gateway.local_addr().unwrap())),
            ("APILOG_PROXY_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_API_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_STORAGE_DATA_DIR", self.data_dir().to_str().unwrap().to_owned()),
            // The room of the machine that tests run on is not what is tested.
            ("APILOG_STORAGE_MIN_FREE_BYTES", "0".to_owned()),
            ("APILOG_PROXY_MAX_CONNECTIONS", "8".to_owned()),
            ("APILOG_API_MAX_CONNECTIONS", "8".to_owned()),
        ];
        variables.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
        variables.extend(others.iter().map(|(name, value)| (*name, (*value).to_owned())));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn validate(&self, arguments: &[&str], others: &[(&str, &str)]) -> Output {
        let variables = self.variables(others);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        api_log(&[&["validate"], arguments].concat(), &variables)
    }

    /// The exit code, and the findings that are no notes; a disk of little room apart.
    fn findings(&self, arguments: &[&str], others: &[(&str, &str)]) -> (i32, Vec<Value>) {
        let output = self.validate(&[&["--json"], arguments].concat(), others);
        assert_eq!(stderr(&output), "");
        let told: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(told["ok"], output.status.code() == Some(0));
        let mut findings = told["findings"].as_array().unwrap().clone();
        findings.retain(|it| it["severity"] != "note" && !it["what"].as_str().unwrap().contains("free on its disk"));
        (output.status.code().unwrap(), findings)
    }

    /// The one finding there is.
    #[track_caller]
    fn finding(&self, code: i32, arguments: &[&str], others: &[(&str, &str)]) -> Value {
        let (ended, findings) = self.findings(arguments, others);
        assert_eq!((ended, findings.len()), (code, 1), "{findings:#?}");
        let finding = findings[0].clone();
        for member in ["where", "what", "do"] {
            assert!(!finding[member].as_str().unwrap().is_empty(), "{finding}");
        }
        finding
    }
}

fn text<'f>(finding: &'f Value, member: &str) -> &'f str {
    finding[member].as_str().unwrap()
}

#[test]
fn a_machine_where_all_is_well_is_told_so_and_left_as_it_is() {
    let stand = Stand::new();
    assert_eq!(stand.findings(&["--strict"], &[]).1, Vec::<Value>::new());
    let output = stand.validate(&[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("ok\nupstream  http://127.0.0.1:"), "{text}");
    let checked = "checked   configuration, data dir, what was set at run time, file limit, ports, upstream\n";
    assert!(text.contains(checked), "{text}");
    assert!(text.contains("it is not there yet, and will be made"), "{text}");
    assert!(!stand.data_dir().exists());
}

#[test]
fn a_gateway_that_is_not_there_is_a_warning() {
    let stand = Stand::new();
    // Bound, and nobody listens: the port cannot be another's meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let upstream = format!("http://127.0.0.1:{port}/v1");
    let gone = [("APILOG_PROXY_UPSTREAM", upstream.as_str())];
    let finding = stand.finding(0, &[], &gone);
    assert_eq!((text(&finding, "check"), text(&finding, "severity")), ("upstream", "warning"));
    assert_eq!(text(&finding, "where"), format!("{upstream} (proxy.upstream)"));
    assert_eq!(stand.finding(1, &["--strict"], &gone)["check"], "upstream");
    assert_eq!(stand.findings(&["--offline", "--strict"], &gone), (0, Vec::new()));
    let output = stand.validate(&[], &gone);
    assert!(stdout(&output).starts_with("ok\n"));
    let told = format!("api-log: warning: {upstream} (proxy.upstream): cannot connect to 127.0.0.1:{port}: ");
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
}

#[test]
fn a_gateway_whose_certificate_is_not_believed_is_an_error() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap());
    let stand = Stand::new();
    let upstream = format!("https://localhost:{}", stand.gateway.local_addr().unwrap().port());
    let listener = stand.gateway.try_clone().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            // A client that does not believe says so by leaving.
            let _ = connection.complete_io(&mut client.unwrap());
        }
    });
    let others = [("APILOG_PROXY_UPSTREAM", upstream.as_str())];
    let finding = stand.finding(1, &[], &others);
    assert_eq!((text(&finding, "check"), text(&finding, "severity")), ("upstream", "error"));
    assert!(text(&finding, "do").contains("SSL_CERT_FILE"));

    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(made.cert.pem().as_bytes()).unwrap();
    let believed = [others[0], ("SSL_CERT_FILE", roots.path().to_str().unwrap())];
    assert_eq!(stand.findings(&["--strict"], &believed), (0, Vec::new()));
}

#[test]
fn ports_that_others_have_are_errors_that_name_the_key() {
    let stand = Stand::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in [("APILOG_PROXY_LISTEN", "proxy.listen"), ("APILOG_API_LISTEN", "api.listen")] {
        let finding = stand.finding(1, &[], &[(variable, &address)]);
        assert_eq!(text(&finding, "where"), format!("{address} ({key})"));
        assert_eq!((text(&finding, "check"), text(&finding, "severity")), ("ports", "error"));
        let output = stand.validate(&[], &[(variable, &address)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).starts_with("not ok\n"));
        assert!(stderr(&output).contains(&format!("api-log: {address} ({key}): cannot listen there: ")));
        assert_eq!(stand.findings(&["--offline"], &[(variable, &address)]), (0, Vec::new()));
    }
}

#[test]
fn a_data_dir_that_cannot_be_used_is_an_error() {
    let stand = Stand::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path().to_owned(), file.path().join("data")] {
        let finding = stand.finding(1, &[], &[("APILOG_STORAGE_DATA_DIR", path.to_str().unwrap())]);
        assert_eq!((text(&finding, "check"), text(&finding, "where")), ("data_dir", file.path().to_str().unwrap()));
    }
    // More than most disks have free.
    let output = stand.validate(&["--json", "--offline"], &[("APILOG_STORAGE_MIN_FREE_BYTES", "1TiB")]);
    let is_small = api_log::store::disk::DiskSpace::of(stand.folder.path()).unwrap().free < 1 << 40;
    assert_eq!(output.status.code(), Some(i32::from(is_small)));
    assert_eq!(stdout(&output).contains("less than storage.min_free_bytes"), is_small);
}

#[test]
fn a_data_dir_that_others_can_enter_is_a_warning_and_one_of_another_user_an_error() {
    let stand = Stand::new();
    std::fs::create_dir(stand.data_dir()).unwrap();
    std::fs::set_permissions(stand.data_dir(), Permissions::from_mode(0o755)).unwrap();
    let finding = stand.finding(0, &[], &[]);
    assert_eq!((text(&finding, "check"), text(&finding, "severity")), ("data_dir", "warning"));
    assert!(text(&finding, "what").contains("mode 755"), "{finding}");

    // Root may write everywhere: then another user looks.
    std::fs::set_permissions(stand.folder.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(stand.data_dir(), Permissions::from_mode(0o500)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    command.args(["validate", "--offline"]).envs(stand.variables(&[])).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    let output = command.output().unwrap();
    std::fs::set_permissions(stand.data_dir(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = format!("api-log: {}: this user cannot write to it: ", stand.data_dir().display());
    assert!(stderr(&output).contains(&told), "{}", stderr(&output));
}

#[test]
fn what_was_set_at_run_time_is_read_as_a_start_would() {
    let stand = Stand::new();
    std::fs::create_dir(stand.data_dir()).unwrap();
    std::fs::set_permissions(stand.data_dir(), Permissions::from_mode(0o700)).unwrap();
    let path = stand.data_dir().join("runtime_overrides.json");
    for (content, expected) in [
        ("{", ":1:"),
        (r#"{"retention": {"max_bytes": "much"}}"#, "max_bytes must be a whole number"),
        (r#"{"plugins": {"instances": [{"type": "teleport", "id": "x"}]}}"#, "unknown type"),
    ] {
        std::fs::write(&path, content).unwrap();
        let finding = stand.finding(1, &["--offline"], &[]);
        assert_eq!((text(&finding, "check"), text(&finding, "where")), ("runtime_overrides", path.to_str().unwrap()));
        assert!(text(&finding, "what").contains(expected), "{finding}");
    }
    std::fs::write(&path, r#"{"media": {"save_attachments": false}}"#).unwrap();
    assert_eq!(stand.findings(&["--strict"], &[]), (0, Vec::new()));
}

#[test]
fn a_limit_of_open_files_is_held_against_the_connections() {
    let stand = Stand::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$0\" validate --offline"]).arg(env!("CARGO_BIN_EXE_api-log"));
    let output = command.envs(stand.variables(&[("APILOG_PROXY_MAX_CONNECTIONS", "1000")])).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = "api-log: warning: ulimit -n: 256 open files leave room for 0 exchanges";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
    assert!(stderr(&output).contains("raise it to 2264 "), "{}", stderr(&output));
}

/// A recorder that is ended with the test.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn beside_the_recorder_that_it_is_about_nothing_is_wrong() {
    let stand = Stand::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    let child = command.envs(stand.variables(&[("APILOG_VIEWER_ENABLED", "false")])).stderr(Stdio::piped());
    let mut recorder = Recorder(child.stdout(Stdio::null()).spawn().unwrap());
    let log = BufReader::new(recorder.0.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.contains("\"recording\"")), "it does not start");
    std::thread::spawn(move || lines.for_each(drop));

    let holder = api_log::store::lock::holder(&api_log::store::layout::Layout::new(stand.data_dir())).unwrap().unwrap();
    let (proxy, api) = (holder.proxy.to_string(), holder.api.to_string());
    let same = [("APILOG_PROXY_LISTEN", proxy.as_str()), ("APILOG_API_LISTEN", api.as_str())];
    assert_eq!(stand.findings(&["--strict"], &same), (0, Vec::new()));
    let output = stand.validate(&[], &same);
    let note = format!("note      {}: a recorder has it (pid {}, ", stand.data_dir().display(), recorder.0.id());
    assert!(stdout(&output).contains(&note), "{}", stdout(&output));

    // Another data dir, the same addresses: that one could not start.
    let elsewhere = stand.folder.path().join("other");
    let others = [same[0], same[1], ("APILOG_STORAGE_DATA_DIR", elsewhere.to_str().unwrap())];
    let (code, findings) = stand.findings(&[], &others);
    assert_eq!((code, findings.len()), (1, 2), "{findings:#?}");
    assert!(!Path::new(&elsewhere).exists());
}
