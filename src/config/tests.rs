//! The configuration as a whole: file, environment, defaults, complaints.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn from_text(text: &str) -> Result<(Config, Vec<Warning>), Complaints> {
    let mut sources = Sources::new();
    sources.add_text("config.yaml", text);
    sources.into_config()
}

fn from_variables(variables: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), Complaints> {
    Config::load(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn config(text: &str) -> Config {
    from_text(text).unwrap_or_else(|complaints| panic!("{complaints}")).0
}

fn complaint(text: &str) -> String {
    from_text(text).unwrap_err().to_string()
}

fn complaint_of(name: &str, value: &str) -> String {
    from_variables(&[(name, value)]).unwrap_err().to_string()
}

fn value_at(config: &Config, path: &str) -> String {
    config.shown().into_iter().find(|(it, _)| *it == path).unwrap().1
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::default();
    assert_eq!(config.proxy.listen.to_string(), ":7861");
    assert_eq!((&*config.proxy.upstream.host, config.proxy.upstream.port), ("localhost", 7860));
    assert_eq!(config.proxy.upstream_idle, Duration::from_secs(4));
    assert_eq!(config.proxy.trusted_proxies.len(), 8);
    assert_eq!(config.proxy.max_header_bytes, 262_144);
    assert_eq!(config.api.listen.to_string(), ":7862");
    assert_eq!((config.api.export_byte_hardcap, config.api.query_timeout), (0, Duration::from_secs(5)));
    assert_eq!((config.index.text_bytes(), config.index.full_text_bytes), (None, 16_384));
    assert_eq!(config.storage.data_dir, Path::new("./data"));
    assert_eq!(config.storage.max_body_bytes, 33_554_432);
    assert_eq!(config.storage.max_decoded_bytes, 67_108_864);
    assert_eq!((config.storage.capture_chan_size, config.storage.writer_chan_size), (64, 1024));
    assert_eq!((config.capture.memory_bytes, config.capture.spill_bytes), (268_435_456, 1_048_576));
    assert!(config.capture.enabled);
    assert_eq!(config.timeouts.read_header, Duration::from_secs(10));
    assert_eq!(config.timeouts.idle, Duration::from_secs(120));
    assert_eq!(config.timeouts.stream_idle, Some(Duration::from_secs(600)));
    assert_eq!(config.timeouts.response_header, None);
    assert_eq!(config.timeouts.req_body_capture, Duration::from_secs(60));
    assert_eq!(config.timeouts.slow_trace, Some(Duration::from_secs(30)));
    assert_eq!(config.shutdown.grace, Duration::from_secs(30));
    assert_eq!(config.logging.level, Level::Info);
    assert_eq!(config.diagnostics.snapshot_interval, Some(Duration::from_secs(60)));
    assert!(config.media.save_attachments);
    assert!(config.plugins.path_filter.is_empty() && config.plugins.capture_filter.is_empty());
    assert_eq!((config.retention.max_bytes, config.retention.max_age, config.retention.warn_at_percent), (0, None, 80));
    assert!(config.viewer.enabled);
    assert_eq!(config.viewer.public_path, "/viewer");
}

#[test]
fn every_default_round_trips() {
    for (path, shown) in Config::default().shown() {
        let key = keys().iter().find(|key| key.path == path).unwrap();
        let name = key.variable();
        let (config, warnings) = from_variables(&[(&name, &shown)]).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(config, Config::default(), "{path} = {shown}");
        assert_eq!(warnings, [], "{path}");
    }
}

#[test]
fn rows_are_in_order_and_named_once() {
    let mut spellings: Vec<String> = keys().iter().flat_map(Key::spellings).collect();
    spellings.sort();
    let count = spellings.len();
    spellings.dedup();
    assert_eq!(spellings.len(), count);
    for key in keys() {
        assert!(key.documentation().ends_with('.'), "{}", key.path);
        assert!(key.rules.range.0 <= key.rules.range.1, "{}", key.path);
    }
}

#[test]
fn the_example_states_every_key_and_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/api-log.example.yaml");
    if std::env::var_os("WRITE_EXAMPLE").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == example(), "run this test with WRITE_EXAMPLE=1 to write it anew");

    let mut sources = Sources::new();
    sources.add_file(&path);
    for key in keys() {
        assert!(matches!(sources.origin(key.path), Origin::Place { .. }), "{} is missing", key.path);
        assert!(text.contains(&format!("# {}", key.variable())), "{} is missing", key.variable());
    }
    assert_eq!(sources.into_config().unwrap(), (Config::default(), Vec::new()));
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "proxy:\n  listen: \":1\"\n  upstream: http://file/\ntimeouts:\n  idle: 1m\n").unwrap();
    let variables = [("APILOG_PROXY_LISTEN", ":2"), ("APILOG_TIMEOUTS_IDLE_SECONDS", "7"), ("PATH", "/bin")];
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (config, warnings) = Config::load(Some(&file), variables).unwrap();
    assert_eq!(config.proxy.listen.port, 2);
    assert_eq!(&*config.proxy.upstream.host, "file");
    assert_eq!(config.timeouts.idle, Duration::from_secs(7));
    assert_eq!(warnings, []);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for (path, value, shown) in [
        ("proxy.listen", "[::1]:5", "[::1]:5"),
        ("proxy.trusted_proxies", "10.0.0.1, fd00::/8", "10.0.0.1/32,fd00::/8"),
        ("proxy.trusted_proxies", "", ""),
        ("plugins.capture_filter.patterns", "/a/*,/b", "/a/*,/b"),
        ("storage.max_body_bytes", " 1_000 ", "1000"),
        ("storage.capture_chan_size", " 5 ", "5"),
        ("media.save_attachments", " F ", "false"),
        ("logging.level", "WARN", "warn"),
        ("timeouts.stream_idle", "-1", "off"),
        ("diagnostics.snapshot_interval", "off", "off"),
        ("viewer.public_path", "", "/viewer"),
        ("viewer.releases_auth_token", "t0ken", "***"),
        ("retention.max_age", "30days", "30d"),
        ("retention.max_bytes", "5368709120", "5GiB"),
        ("api.export_byte_hardcap", "-1", "-1"),
        ("api.query_timeout", "1500ms", "1s 500ms"),
        ("index.full_text_bytes", "4KiB", "4KiB"),
    ] {
        let name = format!("APILOG_{}", path.replace('.', "_").to_uppercase());
        let (config, _) = from_variables(&[(&name, value)]).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(value_at(&config, path), shown, "{path}");
    }
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    assert_eq!(
        complaint_of("APILOG_PROXY_LISTEN", ""),
        "APILOG_PROXY_LISTEN: \"\" is not a listen address: it has no :PORT; allowed: :PORT, HOST:PORT, [IPV6]:PORT"
    );
    assert_eq!(
        complaint_of("APILOG_STORAGE_MAX_BODY_BYTES", "0"),
        "APILOG_STORAGE_MAX_BODY_BYTES: \"0\" is out of range; allowed: bytes, or a size like 500MB or 5GiB, from 1 to 1TiB"
    );
    assert!(complaint_of("APILOG_STORAGE_WRITER_CHAN_SIZE", "").starts_with("APILOG_STORAGE_WRITER_CHAN_SIZE: "));
    assert!(complaint_of("APILOG_PROXY_UPSTREAM", " http://a").contains("is not the URL of a gateway"));
    assert!(complaint_of("APILOG_VIEWER_SHA256", "abc").ends_with("allowed: empty, or 64 hex digits"));
    assert!(complaint_of("APILOG_STORAGE_DATA_DIR", "").contains("it is empty"));
    for mount in [
        "/", "viewer", "/viewer/", "/api", "/api/x", "/healthz", "/readyz", "/a//b", "/a/../b", "/a b", "/%41", "/:a",
        "/*a",
    ] {
        assert!(complaint_of("APILOG_VIEWER_PUBLIC_PATH", mount).contains("is not a mount path"), "{mount}");
    }
}

#[test]
fn an_unknown_variable_of_ours_is_only_warned_about() {
    let (_, warnings) = from_variables(&[("APILOG_PROXY_LISTN", "x"), ("APILOG_QUUX", "y"), ("OTHER", "z")]).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "APILOG_PROXY_LISTN: no such setting, ignored (did you mean APILOG_PROXY_LISTEN?)",
            "APILOG_QUUX: no such setting, ignored"
        ]
    );
}

#[test]
fn both_spellings_of_a_duration_are_one_key() {
    for text in ["timeouts: {idle: 90s}", "timeouts: {idle_seconds: 90}", "timeouts: {idle_seconds: 1m 30s}"] {
        assert_eq!(config(text).timeouts.idle, Duration::from_secs(90), "{text}");
    }
    assert_eq!(
        complaint("timeouts:\n  idle: 1m\n  idle_seconds: 60\n"),
        "config.yaml:3:17: timeouts.idle_seconds: also given as timeouts.idle (config.yaml:2:9); keep one"
    );
    let both = [("APILOG_SHUTDOWN_GRACE", "1s"), ("APILOG_SHUTDOWN_GRACE_SECONDS", "1")];
    assert_eq!(
        from_variables(&both).unwrap_err().to_string(),
        "APILOG_SHUTDOWN_GRACE_SECONDS: also given as APILOG_SHUTDOWN_GRACE; keep one"
    );
    assert!(complaint("proxy: {upstream_idle_seconds: 4}").contains("unknown key"));
}

#[test]
fn what_is_left_empty_keeps_its_default() {
    for text in
        ["", "plugins:\n", "plugins:\n  path_filter:\n    patterns:\n", "viewer:\n  repo:\n  enabled: ~\n", "{}"]
    {
        assert_eq!(config(text), Config::default(), "{text:?}");
    }
}

#[test]
fn all_complaints_come_at_once_each_with_its_place() {
    let text = "\
proxy:
  listn: \":1\"
  upstream: localhost:9
  trusted_proxies: [10.0.0.0/8, everyone]
  max_connections: \"5\"
api:
  listen: [1, 2]
storage:
  max_body_bytes: 0
  capture_chan_size: many
  max_body_bytes: 1
timeouts:
  idle_seconds: soon
logging: debug
media:
  save_attachments: maybe
plugins:
  path_filter:
    patterns:
      - /ok/*
      - \"*\"
      - no/slash
  hooks: true
viewer:
  releases_auth_token: [geheim]
telemetry:
  endpoint: x
";
    let expected = "\
config.yaml:2:3: proxy.listn: unknown key (did you mean proxy.listen?)
config.yaml:3:13: proxy.upstream: \"localhost:9\" is not the URL of a gateway: it does not begin with http:// or \
https://; allowed: http:// or https://, HOST, perhaps :PORT and /PREFIX
config.yaml:4:33: proxy.trusted_proxies: \"everyone\" is not a network; allowed: a list of networks like 10.0.0.0/8 or \
fd00::/8, or of addresses
config.yaml:5:20: proxy.max_connections: the quoted text \"5\" is not a whole number; allowed: a whole number from 0 \
to 10000000
config.yaml:7:11: api.listen: a list is not a listen address; allowed: :PORT, HOST:PORT, [IPV6]:PORT
config.yaml:9:19: storage.max_body_bytes: \"0\" is out of range; allowed: bytes, or a size like 500MB or 5GiB, from 1 \
to 1TiB
config.yaml:10:22: storage.capture_chan_size: \"many\" is not a whole number; allowed: a whole number from 1 to 1000000
config.yaml:11:3: storage.max_body_bytes: given twice, first on line 9
config.yaml:13:17: timeouts.idle_seconds: \"soon\" is not a duration; allowed: seconds, or a duration like 10m or 1h \
30m, from 1ms to 365d
config.yaml:14:10: logging: must be a section; allowed in it: level
config.yaml:16:21: media.save_attachments: \"maybe\" is not true or false; allowed: true, false
config.yaml:21:9: plugins.path_filter.patterns: \"*\" is not a path pattern: the pattern would match every path; \
allowed: a list of paths like /v1/models, or prefixes like /health/*
config.yaml:22:9: plugins.path_filter.patterns: \"no/slash\" is not a path pattern: the pattern can never match, for \
it does not begin with '/'; allowed: a list of paths like /v1/models, or prefixes like /health/*
config.yaml:23:3: plugins.hooks: unknown key; allowed here: path_filter, capture_filter, instances
config.yaml:25:24: viewer.releases_auth_token: a list is not a secret; allowed: empty, or any text
config.yaml:26:1: telemetry: unknown key; allowed here: proxy, api, index, storage, capture, timeouts, shutdown, logging, \
diagnostics, media, plugins, retention, viewer, otlp";
    assert_eq!(complaint(text), expected);
}

#[test]
fn a_file_that_is_no_mapping_is_refused() {
    for text in ["- a\n", "just text\n", "42\n"] {
        assert!(complaint(text).starts_with("config.yaml:1:1: the file must be a mapping"), "{text}");
    }
    assert_eq!(complaint("? [a]\n: b\n"), "config.yaml:1:3: a key must be plain text");
    assert!(complaint("proxy:\n  listen: {port: 1}\n").contains("a section is not a listen address"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| Config::load(Some(path), std::iter::empty()).unwrap_err().to_string();

    let missing = folder.path().join("missing.yaml");
    assert!(load(&missing).starts_with(&format!("{}: cannot read: No such file", missing.display())));
    assert!(load(folder.path()).contains("cannot read: Is a directory"));

    let latin = folder.path().join("latin.yaml");
    std::fs::write(&latin, b"a: b\nc: \xe9\n").unwrap();
    assert_eq!(load(&latin), format!("{}:2:4: not UTF-8 text", latin.display()));

    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load(&large).contains("too large"));
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    for (text, expected) in [
        ("api:\n  listen: \":7861\"\n", "config.yaml:2:11: api.listen: :7861 is proxy.listen already"),
        ("proxy: {upstream: \"http://localhost:7861\"}", "http://localhost:7861 is this program's own proxy.listen"),
        ("proxy: {upstream: \"http://[::1]:7862/x\"}", "http://[::1]:7862/x is this program's own api.listen"),
        ("capture: {spill_bytes: 512MiB}", "capture.spill_bytes: one direction's share is larger"),
        ("storage: {data_dir: /a/b/../c/d}\nviewer: {cache_dir: /a/./c}", "viewer.cache_dir: the data folder would"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
        assert_eq!(complaint.lines().count(), 1);
    }
    // Free ports differ, other machines' ports are not ours, and a refused value is complained about once.
    for text in [
        "proxy: {listen: \"127.0.0.1:0\"}\napi: {listen: \"127.0.0.1:0\"}",
        "proxy: {upstream: \"http://gateway:7861\"}",
    ] {
        config(text);
    }
    assert_eq!(complaint("api: {listen: x}\nproxy: {listen: \":7862\"}").lines().count(), 1);
}

#[test]
fn a_secret_is_never_shown() {
    let (config, _) = from_variables(&[("APILOG_VIEWER_RELEASES_AUTH_TOKEN", "geheim")]).unwrap();
    assert_eq!(config.viewer.releases_auth_token.as_ref().unwrap().reveal(), "geheim");
    assert!(!format!("{config:?} {:?}", config.shown()).contains("geheim"));
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused_and_every_complaint_is_one_line(text in "(.|\n)*") {
        if let Err(complaints) = from_text(&text) {
            prop_assert_eq!(complaints.to_string().lines().count(), complaints.iter().len());
        }
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        text in ".{0,30}|[-0-9.:/*a-z]{0,20}",
        quotes in prop::sample::select(vec!["", "'", "\""]),
    ) {
        let key = &keys()[at.index(keys().len())];
        let variable = key.variable();
        if let Ok((config, _)) = from_variables(&[(&variable, &text)]) {
            // What was taken shows as text that is taken as the same, unless it is a secret.
            let shown = value_at(&config, key.path);
            let (again, _) = from_variables(&[(&variable, &shown)]).unwrap();
            prop_assert!(key.rules.secret || again == config, "{} = {}", key.path, shown);
        }
        let mut yaml = String::new();
        for (depth, name) in key.path.split('.').enumerate() {
            yaml.push_str(&format!("{}{name}:\n", "  ".repeat(depth)));
        }
        let _ = from_text(&format!("{} {quotes}{text}{quotes}\n", yaml.trim_end()));
    }
}

#[test]
fn only_what_can_be_changed_while_the_program_runs_is_taken_over() {
    let read = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (format!("APILOG_{name}"), value.to_string()));
        Config::load(None, variables).unwrap().0
    };
    let mut running = read(&[]);
    let other = read(&[
        ("LOGGING_LEVEL", "debug"),
        ("PROXY_LISTEN", ":1234"),
        ("VIEWER_RELEASES_AUTH_TOKEN", "s3cret"),
        ("PLUGINS_PATH_FILTER_PATTERNS", "/health"),
    ]);
    let changes = running.changes(&other);
    let told: Vec<_> = changes.iter().map(|it| (it.key, it.to.as_str(), it.reloadable)).collect();
    assert_eq!(told[0], ("proxy.listen", ":1234", false));
    assert_eq!(told[1], ("logging.level", "debug", true));
    assert_eq!((told[2].0, told[2].2), ("plugins.path_filter.patterns", true));
    assert_eq!((told[3].0, told[3].2), ("viewer.releases_auth_token", false));
    assert!(!format!("{changes:?}").contains("s3cret"), "{changes:?}");
    running.adopt(&other);
    let left: Vec<_> = running.changes(&other).iter().map(|it| it.key).collect();
    assert_eq!(left, ["proxy.listen", "viewer.releases_auth_token"]);
    assert_eq!(running.logging.level, Level::Debug);
}

#[test]
fn plugins_are_read_with_their_places_and_from_a_variable_as_json() {
    let text = "plugins:\n  instances:\n    - {type: tag, id: a, enabled: true, config: {tags: [x, '7'], routes: [/v1/*]}}\n    - type: text-append\n      id: b\n      config:\n        probability: 0.5\n        down: {suffix: \"!\"}\n";
    let (config, _) = from_text(text).unwrap();
    let shown: Vec<String> =
        config.plugins.instances.iter().map(|it| serde_json::json!(it.shown()).to_string()).collect();
    assert_eq!(
        shown,
        [
            r#"{"config":{"routes":["/v1/*"],"tags":["x","7"]},"enabled":true,"id":"a","type":"tag"}"#,
            r#"{"config":{"down":{"suffix":"!"},"probability":0.5},"enabled":false,"id":"b","type":"text-append"}"#,
        ]
    );
    let json = format!("[{}]", shown.join(","));
    let (from_variable, _) = from_variables(&[("APILOG_PLUGINS_INSTANCES", &json)]).unwrap();
    assert_eq!(from_variable.plugins.instances, config.plugins.instances);
    let bad = "plugins:\n  instances:\n    - {type: tag, id: a, config: {tags: [x]}}\n    - {type: warp, id: b}\n    - {type: tag, id: c, config: {tags: [x], tags: [y]}}\n";
    let complaints = from_text(bad).unwrap_err().to_string();
    assert!(complaints.contains(":5:") && complaints.contains("tags is given twice"), "{complaints}");
    let bad = bad.rsplit_once("    -").unwrap().0;
    let complaints = from_text(bad).unwrap_err().to_string();
    assert!(complaints.contains(":4:") && complaints.contains("instances[1] (b): unknown type"), "{complaints}");
    for (text, expected) in [("{}", "is not a list"), ("[1]", "must be an object"), ("x", "is not a list")] {
        let complaints = from_variables(&[("APILOG_PLUGINS_INSTANCES", text)]).unwrap_err().to_string();
        assert!(complaints.contains(expected), "{text}: {complaints}");
    }
}
