//! Parameters are read as they are documented, and refused by name.

use super::*;

fn parse(pairs: &[(&str, &str)]) -> Result<ListParams, String> {
    ListParams::parse(pairs.iter().copied()).map_err(|error| error.param)
}

#[test]
fn nothing_asked_is_everything_a_hundred_at_a_time() {
    let params = parse(&[("model", ""), ("cursor", ""), ("whatever", "")]);
    assert_eq!(params.unwrap(), ListParams { filter: Filter::default(), limit: 100, cursor: None, text: None });
    assert_eq!(parse(&[("path", "*")]).unwrap().filter, Filter::default());
}

#[test]
fn every_filter_is_read_and_the_first_of_repeated_ones_counts() {
    let id = "01J00000000000000000000000".parse().unwrap();
    let cursor = Cursor { ts_start: UnixMillis(-5), id };
    let params = parse(&[
        ("since", "2026-05-27T10:00:00+02:00"),
        ("until", "2026-05-27T10:00:00Z"),
        ("status", "4XX"),
        ("status", "nonsense that is not looked at"),
        ("model", "m"),
        ("path", "/v1/*"),
        ("key_hash", "ABCDEF01"),
        ("session_root_id", "anything"),
        ("project", "p"),
        ("tag", "t"),
        ("client_kind", "codex"),
        ("stream", "true"),
        ("end", "client_gone"),
        ("has_media", "false"),
        ("min_ms", "1500"),
        ("min_tokens", "0"),
        ("q", "one two"),
        ("limit", "500"),
        ("cursor", &cursor.to_string()),
    ])
    .unwrap();
    let filter = Filter {
        since: Some(UnixMillis(1_779_868_800_000)),
        until: Some(UnixMillis(1_779_876_000_000)),
        status: Some(StatusFilter::Class(4)),
        model: Some("m".into()),
        path: Some(PathFilter::Prefix("/v1/".into())),
        key: Some(KeyFilter::Short(ShortKey([0xab, 0xcd, 0xef, 0x01]))),
        session_root: Some("anything".into()),
        project: Some("p".into()),
        tag: Some("t".into()),
        client_kind: Some("codex".into()),
        stream: Some(true),
        end: Some(End::ClientGone),
        has_media: Some(false),
        min_ms: Some(1500),
        min_tokens: Some(0),
    };
    assert_eq!(
        params,
        ListParams { filter, limit: 500, cursor: Some(cursor), text: Some(TextQuery::parse("q", "one two").unwrap()) }
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (name, value) in [
        ("since", "yesterday"),
        ("until", "2026-05-27"),
        ("status", "3xx"),
        ("status", "2x"),
        ("key_hash", "abc"),
        ("q", "x"),
        ("q", "\"\""),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "ten"),
        ("cursor", "!!"),
        ("cursor", "MTI6eHg"),
        ("stream", "yes"),
        ("end", "finished"),
        ("has_media", "1"),
        ("min_ms", "-1"),
        ("min_ms", "1.5"),
        ("min_tokens", "99999999999999999999"),
        ("nonsense", "1"),
    ] {
        assert_eq!(parse(&[(name, value)]), Err(name.to_owned()), "{value}");
    }
}

#[test]
fn a_key_hash_of_the_right_length_is_never_a_wildcard() {
    let key = |value| parse(&[("key_hash", value)]).unwrap().filter.key.unwrap();
    assert_eq!(key("%%%%%%%%"), KeyFilter::Nobody);
    assert_eq!(key("________________"), KeyFilter::Nobody);
    assert_eq!(key("00000000000000ff"), KeyFilter::Whole(KeyHash([0, 0, 0, 0, 0, 0, 0, 255])));
}

#[test]
fn a_key_may_be_given_by_any_beginning() {
    let between = |first: &str, last: &str| KeyFilter::Between(first.parse().unwrap(), last.parse().unwrap());
    assert_eq!(KeyFilter::beginning_with(""), None);
    assert_eq!(KeyFilter::beginning_with("A"), Some(between("a000000000000000", "afffffffffffffff")));
    assert_eq!(KeyFilter::beginning_with("a1b2c3d4e5f60718"), Some(between("a1b2c3d4e5f60718", "a1b2c3d4e5f60718")));
    for nobody in ["a1b2c3d4e5f607181", "%", "g", "é"] {
        assert_eq!(KeyFilter::beginning_with(nobody), Some(KeyFilter::Nobody), "{nobody}");
    }
}

#[test]
fn a_path_with_a_query_means_just_that() {
    let path = |value| parse(&[("path", value)]).unwrap().filter.path.unwrap();
    assert_eq!(path("/a"), PathFilter::AnyQuery("/a".into()));
    assert_eq!(path("/a?b=1?"), PathFilter::Target { path: "/a".into(), query: "b=1?".into() });
    assert_eq!(path("/a?b*"), PathFilter::Prefix("/a?b".into()));
}

#[test]
fn other_names_are_the_routes_own() {
    assert!(Filter::parse([("all", "1"), ("model", "m")], &["all"]).is_ok());
    assert!(Filter::parse([("all", "1")], &[]).is_err());
}
