//! What an export hides: profiles of names and places, and a line with placeholders for them.

use std::fmt;

use crate::headers::Headers;
use crate::json::Json;
use crate::redact::{Redaction, placeholder};
use crate::wire::json::write_string;

/// The profile that is always there: credentials, and nothing else.
pub const CREDENTIALS: &str = "credentials";

/// Fields that hold credentials, of clients, gateways and sessions.
pub const CREDENTIAL_FIELDS: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-auth-token",
    "x-amz-security-token",
    "x-litellm-api-key",
    "cookie",
    "set-cookie",
    // Browsers send a key in it, for want of a field that they may set.
    "sec-websocket-protocol",
    "chatgpt-account-id",
];

/// Parameters of a target that hold them.
pub const CREDENTIAL_PARAMETERS: [&str; 7] =
    ["key", "api_key", "api-key", "access_token", "token", "sig", "X-Amz-Signature"];

/// Profiles by name. Each hides credentials, and what else it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles(Vec<Profile>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Profile {
    name: String,
    /// What it names beside credentials.
    also: Redaction,
}

impl Profiles {
    /// Only the one that is always there.
    pub fn new() -> Profiles {
        Profiles::default()
    }

    /// Adds a profile, as in `support: header=x-team query=user json=$..email json=$.metadata`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, rules) = text.split_once(':').ok_or("no colon stands behind its name")?;
        let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
        let name = name.trim();
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("its name must consist of letters, digits, - and _".to_owned());
        }
        if name == CREDENTIALS || self.0.iter().any(|it| it.name == name) {
            return Err("its name is taken".to_owned());
        }
        let mut also = Redaction::default();
        for rule in rules.split_ascii_whitespace() {
            match rule.split_once('=') {
                Some(("header", field)) if !field.is_empty() => also.headers.push(field.to_owned()),
                Some(("query", parameter)) if !parameter.is_empty() => also.query.push(parameter.to_owned()),
                Some(("json", path)) => {
                    also.paths.push(path.parse().map_err(|bad| format!("{path} {bad}"))?);
                }
                _ => return Err(format!("{rule} is none of header=…, query=…, json=…")),
            }
        }
        self.0.push(Profile { name: name.to_owned(), also });
        Ok(())
    }

    /// What the profile of this name hides.
    pub fn get(&self, name: &str) -> Option<Redaction> {
        let also = match self.0.iter().find(|it| it.name == name) {
            Some(profile) => profile.also.clone(),
            None if name == CREDENTIALS => Redaction::default(),
            None => return None,
        };
        let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        Some(Redaction {
            headers: [owned(&CREDENTIAL_FIELDS), also.headers].concat(),
            query: [owned(&CREDENTIAL_PARAMETERS), also.query].concat(),
            paths: also.paths,
        })
    }

    /// Each as [`Profiles::add`] reads it.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Profile::to_string)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        self.also.headers.iter().try_for_each(|it| write!(f, " header={it}"))?;
        self.also.query.iter().try_for_each(|it| write!(f, " query={it}"))?;
        self.also.paths.iter().try_for_each(|it| write!(f, " json={it}"))
    }
}

/// What is hidden on its way out, and the secret behind the placeholders.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The profile's name.
    pub profile: String,
    /// What it says.
    pub redaction: Redaction,
    /// Equal values have equal placeholders for as long as this is the same.
    pub secret: String,
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({})", self.profile)
    }
}

impl Hidden {
    /// A line with placeholders. Places in JSON are those of either body, and of the data of each event.
    pub(crate) fn line(&self, line: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(line);
        let mut out = String::with_capacity(text.len());
        object(&mut out, Json::new(&text), |out, name, value| match name {
            "path" => match value.string() {
                Some(target) => write_string(out, &self.redaction.target(&target, &self.secret)),
                None => out.push_str(value.text()),
            },
            "req" | "resp" => self.side(out, value),
            // Bytes of a socket that nobody could read.
            "ws" => object(out, value, |out, name, value| match name {
                "unread" => self.bytes(out, value),
                _ => out.push_str(value.text()),
            }),
            _ => out.push_str(value.text()),
        });
        out.into_bytes()
    }

    fn side(&self, out: &mut String, side: Json<'_>) {
        object(out, side, |out, name, value| match name {
            "headers" | "trailers" => object(out, value, |out, field, value| self.field(out, field, value)),
            "headers_list" | "trailers_list" => list(out, value, |out, pair| self.pair(out, pair)),
            "body" => out.push_str(&self.redaction.json(value.text(), &self.secret)),
            "body_b64" => self.bytes(out, value),
            "events" => list(out, value, |out, event| {
                object(out, event, |out, name, value| match name {
                    "data" => out.push_str(&self.redaction.json(value.text(), &self.secret)),
                    _ => out.push_str(value.text()),
                });
            }),
            _ => out.push_str(value.text()),
        });
    }

    /// A field's value, or the list of its values.
    fn field(&self, out: &mut String, name: &str, value: Json<'_>) {
        if !self.redaction.headers.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            return out.push_str(value.text());
        }
        match value.string() {
            Some(text) => write_string(out, &self.value(name, &text)),
            None => list(out, value, |out, value| self.field(out, name, value)),
        }
    }

    fn value(&self, name: &str, value: &str) -> String {
        let field: Headers = [(name, value.as_bytes())].into_iter().collect();
        let redacted = self.redaction.headers(&field, &self.secret);
        redacted.get_str(name).unwrap_or_default().to_owned()
    }

    /// A name and its value.
    fn pair(&self, out: &mut String, pair: Json<'_>) {
        let mut parts = pair.elements();
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return out.push_str(pair.text()) };
        out.push('[');
        out.push_str(name.text());
        out.push(',');
        self.field(out, &name.string().unwrap_or_default(), value);
        out.push(']');
    }

    /// Bytes in base64: nothing can be looked for in them, so where places in bodies are to be hidden all of it is.
    fn bytes(&self, out: &mut String, value: Json<'_>) {
        if self.redaction.paths.is_empty() {
            out.push_str(value.text());
        } else {
            write_string(out, &placeholder(value.text().as_bytes(), &self.secret));
        }
    }
}

/// Writes an object anew, each member's value by `member`. What is none stays.
fn object(out: &mut String, object: Json<'_>, mut member: impl FnMut(&mut String, &str, Json<'_>)) {
    if !object.is_object() {
        return out.push_str(object.text());
    }
    out.push('{');
    for (at, (name, value)) in object.members().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        write_string(out, &name);
        out.push(':');
        member(out, &name, value);
    }
    out.push('}');
}

/// The same for a list.
fn list(out: &mut String, list: Json<'_>, mut element: impl FnMut(&mut String, Json<'_>)) {
    if !list.is_array() {
        return out.push_str(list.text());
    }
    out.push('[');
    for (at, value) in list.elements().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        element(out, value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(profile: &str) -> Hidden {
        let mut profiles = Profiles::new();
        if profile != CREDENTIALS {
            profiles.add(profile).unwrap();
        }
        let name = profile.split(':').next().unwrap();
        Hidden { profile: name.into(), redaction: profiles.get(name).unwrap(), secret: "s".into() }
    }

    const LINE: &str = concat!(
        r#"{"id":"x","path":"/v1/x?key=sk-1&a=b","req":{"headers":{"Authorization":"Bearer sk-1","X-Team":"red","#,
        r#""cookie":["a=1","b=2"]},"headers_list":[["Authorization","Bearer sk-1"],["X-Team","red"]],"#,
        r#""body":{"user": {"email":"a@b"},"n":1.0}},"resp":{"headers":{"set-cookie":"c=3"},"#,
        r#""events":[{"event":"","data":{"email":"a@b"},"t_delta_ms":1},{"event":"","data":"text"}],"body_b64":"AAEC"},"ws":{"unread":"AA=="}}"#
    );

    #[test]
    fn credentials_are_hidden_alike_wherever_they_stand_and_all_else_stays() {
        let line = String::from_utf8(hidden(CREDENTIALS).line(LINE.as_bytes())).unwrap();
        for secret in ["Bearer sk-1", "key=sk-1", "a=1", "b=2", "c=3"] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
        let token = placeholder(b"Bearer sk-1", "s");
        assert_eq!(line.matches(&token).count(), 2);
        for kept in [
            r#""body":{"user": {"email":"a@b"},"n":1.0}"#,
            r#""X-Team":"red""#,
            r#""body_b64":"AAEC""#,
            "&a=b",
            r#""unread":"AA==""#,
        ] {
            assert!(line.contains(kept), "{kept}: {line}");
        }
        assert_eq!(hidden(CREDENTIALS).line(line.as_bytes()), line.as_bytes(), "placeholders stay");
    }

    #[test]
    fn a_profile_hides_what_it_names_too() {
        let hidden = hidden("support: header=x-team query=a json=$..email");
        let line = String::from_utf8(hidden.line(LINE.as_bytes())).unwrap();
        for secret in ["sk-1", "\"red\"", "a@b", "a=b", "AAEC", "AA=="] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
        assert_eq!(line.matches(&placeholder(b"a@b", "s")).count(), 2, "{line}");
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn nothing_to_hide_leaves_the_line_as_it_is() {
        let line =
            r#"{"id":"x","status":-1,"req":{"headers":{},"body":null},"resp":{"headers":{},"events":[],"odd":[1, 2]}}"#;
        assert_eq!(hidden(CREDENTIALS).line(line.as_bytes()), line.as_bytes());
    }

    #[test]
    fn profiles_are_read_and_shown_and_refused() {
        let mut profiles = Profiles::new();
        let text = "support: header=x-team query=user json=$..email json=$.a[0]";
        profiles.add(text).unwrap();
        profiles.add("none:").unwrap();
        assert_eq!(profiles.iter().collect::<Vec<_>>(), [text, "none:"]);
        assert_eq!(profiles.get("none"), profiles.get(CREDENTIALS));
        assert_eq!(profiles.get("other"), None);
        for bad in [
            "support:",
            "credentials: header=x",
            "x",
            ": header=x",
            "a b: header=x",
            "x: y",
            "x: header=",
            "x: json=$..",
            "x: json=",
        ] {
            assert!(profiles.add(bad).is_err(), "{bad}");
        }
    }
}
