//! `api-log config`: schema, defaults, what is in force, and the file alone checked.

use serde_json::Value;

use crate::{api_log, in_folder, stderr, stdout};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Key and value of everything that is in force.
fn in_force(arguments: &[&str], variables: &[(&str, &str)]) -> Vec<(String, Value)> {
    let output = api_log(&[&["config", "explain", "--json"], arguments].concat(), variables);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = json(stdout(&output));
    let keys = told["keys"].as_array().unwrap();
    keys.iter().map(|it| (it["key"].as_str().unwrap().to_owned(), it["value"].clone())).collect()
}

#[test]
fn the_schema_is_one_and_tells_right_from_wrong() {
    let output = api_log(&["config", "schema"], &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let schema = json(stdout(&output));
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft7::new(&schema).unwrap();
    assert!(validator.is_valid(&json(r#"{"proxy": {"listen": ":1"}, "storage": {"max_body_bytes": "5MiB"}}"#)));
    for wrong in [r#"{"proxy": {"listn": ":1"}}"#, r#"{"logging": {"level": "loud"}}"#, r#"{"proxy": []}"#] {
        assert!(!validator.is_valid(&json(wrong)), "{wrong}");
    }
    // Every key that is in force has its place there.
    for (key, value) in in_force(&[], &[]) {
        let leaf = key.split('.').fold(&schema, |it, name| &it["properties"][name]);
        assert!(leaf["description"].is_string(), "{key}");
        assert!(jsonschema::draft7::new(leaf).unwrap().is_valid(&value), "{key}: {value}");
    }
}

#[test]
fn the_defaults_are_a_file_that_changes_nothing() {
    let output = api_log(&["config", "defaults"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let (_folder, path) = in_folder(stdout(&output));
    let told = api_log(&["config", "validate", "--config", &path], &[]);
    assert_eq!((told.status.code(), stderr(&told)), (Some(0), ""));
    assert_eq!(in_force(&["--config", &path], &[]), in_force(&[], &[]));
}

#[test]
fn each_value_in_force_names_its_source_and_secrets_stay_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (_file_folder, path) = in_folder(&format!(
        "proxy:\n  listen: ':1'\nstorage:\n  data_dir: {}\nviewer:\n  releases_auth_token: hush-hush\n",
        folder.path().display()
    ));
    let overrides = folder.path().join("runtime_overrides.json");
    std::fs::write(&overrides, r#"{"media": {"save_attachments": false}}"#).unwrap();
    let variables = [("APILOG_PROXY_LISTEN", ":2")];
    let output = api_log(&["config", "explain", "--config", &path], &variables);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let text = stdout(&output);
    for line in [
        format!("proxy.listen = :2  # APILOG_PROXY_LISTEN, instead of {path}:2:11"),
        "proxy.upstream = http://localhost:7860  # default".to_owned(),
        format!("storage.data_dir = {}  # {path}:4:13", folder.path().display()),
        format!("media.save_attachments = false  # {}", overrides.display()),
        format!("viewer.releases_auth_token = ***  # {path}:6:24"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("hush"));

    let output = api_log(&["config", "explain", "--json", "--config", &path, "proxy"], &variables);
    let told = json(stdout(&output));
    assert_eq!(told["keys"][0]["key"], "proxy.listen");
    assert_eq!(told["keys"][0]["instead_of"], serde_json::json!([format!("{path}:2:11")]));
    assert!(told["keys"].as_array().unwrap().iter().all(|it| it["key"].as_str().unwrap().starts_with("proxy.")));

    let output = api_log(&["config", "explain", "APILOG_PROXY_LISTEN"], &[]);
    assert!(
        stdout(&output).contains("proxy.listen = :7861  # default\n  Where clients connect."),
        "{}",
        stdout(&output)
    );

    std::fs::write(&overrides, "{").unwrap();
    let output = api_log(&["config", "explain", "--config", &path], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).starts_with(&format!("api-log: warning: {}:1:", overrides.display())),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_cannot_be_explained_ends_with_2() {
    let output = api_log(&["config", "explain", "proxy.listn"], &[]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    assert!(stderr(&output).contains("did you mean proxy.listen?"), "{}", stderr(&output));
    let output = api_log(&["config", "explain"], &[("APILOG_PROXY_LISTEN", "x")]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    assert!(stderr(&output).starts_with("api-log: APILOG_PROXY_LISTEN: "), "{}", stderr(&output));
}

#[test]
fn a_file_is_checked_alone_wherever_its_gateway_and_data_dir_are() {
    let (_folder, path) =
        in_folder("proxy:\n  upstream: https://gateway.example/v9\nstorage:\n  data_dir: /proc/nowhere\n");
    for arguments in [&["config", "validate", "--config", &path][..], &["-config", &path, "config", "validate"]] {
        let output = api_log(arguments, &[("APILOG_PROXY_LISTEN", "127.0.0.1:0")]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            "ok\nupstream  https://gateway.example/v9\nproxy     127.0.0.1:0\napi       :7862\n\
             data dir  /proc/nowhere\nchecked   configuration\n"
        );
        assert_eq!(stderr(&output), "");
    }
    let (_folder, path) = in_folder("proxy:\n  listn: x\n");
    let output = api_log(&["config", "validate", "--json", "--config", &path], &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(2), ""));
    let told = json(stdout(&output));
    assert_eq!((&told["ok"], &told["config"]), (&false.into(), &Value::Null));
    let finding = &told["findings"][0];
    assert_eq!(finding["where"], format!("{path}:2:3"));
    assert_eq!(finding["what"], "proxy.listn: unknown key (did you mean proxy.listen?)");
    assert_eq!((&finding["check"], &finding["severity"]), (&"configuration".into(), &"error".into()));
}
