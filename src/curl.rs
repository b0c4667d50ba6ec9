//! A recorded request as a curl command that repeats it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::export::profile::{CREDENTIAL_FIELDS, CREDENTIAL_PARAMETERS};
use crate::headers::value_text;
use crate::jsonl::line::{Kept, KeptBody};

/// What becomes of the credentials in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Variables of the shell stand in their place.
    Variables,
    /// They stand as they were sent.
    Kept,
}

/// Fields that belong to one connection, or that curl makes by itself.
const LEFT_OUT: [&str; 11] = [
    "host",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
];

/// The command, for a POSIX shell, with a line break at its end. What keeps it from being the same request is said in
/// comments before it.
pub fn command(kept: &Kept, credentials: Credentials) -> String {
    let request = &kept.request;
    let mut command = String::new();
    for remark in remarks(kept) {
        command += &format!("# {remark}\n");
    }
    let input = match &request.body {
        KeptBody::Raw(bytes) if std::str::from_utf8(bytes).is_err() || bytes.contains(&0) => {
            command += &format!("printf %s {} | base64 -d | ", quoted(&STANDARD.encode(bytes)));
            Some("@-".to_owned())
        }
        KeptBody::Raw(bytes) => Some(quoted(&String::from_utf8_lossy(bytes))),
        KeptBody::Json(text) => Some(quoted(text)),
        KeptBody::None | KeptBody::Events(..) => None,
    };
    command += "curl -sS -N";
    let usual = if input.is_some() { "POST" } else { "GET" };
    if kept.method == "HEAD" {
        command += " -I";
    } else if kept.method != usual {
        command += &format!(" -X {}", quoted(&kept.method));
    }
    if request.headers.get("accept-encoding").is_some() {
        command += " --compressed";
    }
    command += &format!(" {}", url(kept, credentials));
    for (name, value) in request.headers.iter() {
        let is_of_coding = request.is_decoded && name.eq_ignore_ascii_case("content-encoding");
        if LEFT_OUT.iter().any(|it| name.eq_ignore_ascii_case(it)) || is_of_coding {
            continue;
        }
        command += &format!(" \\\n  -H {}", field(name, &value_text(value), credentials));
    }
    if let Some(input) = input {
        // `--data-raw` takes an `@` at the beginning as it is.
        let flag = if input == "@-" { "--data-binary" } else { "--data-raw" };
        command += &format!(" \\\n  {flag} {input}");
    }
    command.push('\n');
    command
}

fn remarks(kept: &Kept) -> Vec<String> {
    let request = &kept.request;
    let mut remarks = Vec::new();
    if request.is_cut {
        remarks.push("the body was longer than what is recorded of it: this sends its beginning".to_owned());
    }
    if request.is_redacted {
        remarks.push("values of the body were redacted when it was recorded".to_owned());
    }
    if let Some(why) = &kept.bodies_dropped {
        let why: String = why.chars().filter(|it| !it.is_control()).collect();
        remarks.push(format!("the body was not recorded ({why})"));
    }
    if request.is_decoded {
        remarks.push("the body was sent compressed; this sends it plain".to_owned());
    }
    remarks
}

/// The upstream's URL with the target, credentials in its query replaced.
fn url(kept: &Kept, credentials: Credentials) -> String {
    let url = format!("{}{}", kept.upstream.trim_end_matches('/'), kept.target);
    let Some((before, query)) = url.split_once('?').filter(|_| credentials == Credentials::Variables) else {
        return quoted(&url);
    };
    let mut words = String::new();
    let mut literal = format!("{before}?");
    for (rank, pair) in query.split('&').enumerate() {
        literal += if rank > 0 { "&" } else { "" };
        match pair.split_once('=') {
            Some((name, _)) if CREDENTIAL_PARAMETERS.iter().any(|it| name.eq_ignore_ascii_case(it)) => {
                literal += &format!("{name}=");
                words += &format!("{}\"$API_KEY\"", quoted(&std::mem::take(&mut literal)));
            }
            _ => literal += pair,
        }
    }
    if literal.is_empty() { words } else { words + &quoted(&literal) }
}

fn field(name: &str, value: &str, credentials: Credentials) -> String {
    if value.is_empty() {
        // So curl writes a field without a value; with a colon it would leave it out.
        return quoted(&format!("{name};"));
    }
    let is_credential = CREDENTIAL_FIELDS.iter().any(|it| name.eq_ignore_ascii_case(it));
    if credentials == Credentials::Kept || !is_credential {
        return quoted(&format!("{name}: {value}"));
    }
    let lower = name.to_ascii_lowercase();
    let is_key = lower.ends_with("api-key") || lower == "authorization";
    let variable = if is_key { "API_KEY".to_owned() } else { name.to_ascii_uppercase().replace('-', "_") };
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme).filter(|it| is_scheme(it));
    let scheme = scheme.map_or_else(String::new, |it| format!("{it} "));
    format!("{}\"${variable}\"", quoted(&format!("{name}: {scheme}")))
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token", "apikey"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonl::line::read_kept;

    fn kept(method: &str, path: &str, headers: &str, body: &str) -> Kept {
        let line = format!(
            r#"{{"id":"01J00000000000000000000001","ts_start":"2026-05-27T10:00:00Z","ts_end":"2026-05-27T10:00:00Z",
            "method":"{method}","path":"{path}","upstream":"http://g:1/","status":200,
            "req":{{"headers":{headers}{body}}},"resp":{{"headers":{{}}}}}}"#
        );
        read_kept(line.as_bytes()).unwrap()
    }

    #[test]
    fn credentials_are_variables_unless_they_are_wanted() {
        let kept = kept(
            "POST",
            "/v1?alt=sse&key=secret&x='",
            r#"{"Host":"a","Authorization":"Bearer sk-1","x-api-key":"sk-2","Cookie":"c=1","Accept-Encoding":"gzip","X-Empty":""}"#,
            r#","body":{"text": "it's"}"#,
        );
        let command = command(&kept, Credentials::Variables);
        assert_eq!(
            command,
            r#"curl -sS -N --compressed 'http://g:1/v1?alt=sse&key='"$API_KEY"'&x='\''' \
  -H 'Authorization: Bearer '"$API_KEY" \
  -H 'x-api-key: '"$API_KEY" \
  -H 'Cookie: '"$COOKIE" \
  -H 'X-Empty;' \
  --data-raw '{"text": "it'\''s"}'
"#
        );
        let kept = super::command(&kept, Credentials::Kept);
        assert!(kept.contains("key=secret") && kept.contains("'Authorization: Bearer sk-1'"), "{kept}");
    }

    #[test]
    fn methods_and_bodies_of_any_kind_are_repeated() {
        let none = Credentials::Variables;
        assert_eq!(command(&kept("GET", "/v1/models", "{}", ""), none), "curl -sS -N 'http://g:1/v1/models'\n");
        assert!(command(&kept("DELETE", "/x", "{}", ""), none).starts_with("curl -sS -N -X 'DELETE' "));
        assert!(command(&kept("HEAD", "/x", "{}", ""), none).starts_with("curl -sS -N -I "));
        let raw = command(&kept("POST", "/x", "{}", r#","body_b64":"/w==""#), none);
        assert!(raw.starts_with("printf %s '/w==' | base64 -d | curl") && raw.ends_with("--data-binary @-\n"), "{raw}");
        let decoded = kept("POST", "/x", r#"{"Content-Encoding":"gzip"}"#, r#","content_decoded":["gzip"],"body":1"#);
        let decoded = command(&decoded, none);
        assert!(decoded.starts_with("# the body was sent compressed") && !decoded.contains("Content-Encoding"));
    }
}
