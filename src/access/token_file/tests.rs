//! Token files read, refused, added to and taken from.

use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = TokenName> {
    "[A-Za-z0-9][A-Za-z0-9._@-]{0,63}".prop_filter_map("reserved", |it| it.parse().ok())
}

fn listed() -> impl Strategy<Value = ListedToken> {
    let expires = prop::option::of(-60_000_000_000_000..200_000_000_000_000_i64);
    (name(), any::<bool>(), any::<[u8; 32]>(), expires).prop_map(|(name, is_admin, secret, expires)| ListedToken {
        name,
        scope: if is_admin { Scope::Admin } else { Scope::Viewer },
        digest: TokenDigest::of(&secret),
        expires: expires.map(UnixMillis),
    })
}

fn distinct(tokens: Vec<ListedToken>) -> Vec<ListedToken> {
    let mut kept: Vec<ListedToken> = Vec::new();
    for token in tokens {
        if kept.iter().all(|it| it.name != token.name && it.digest != token.digest) {
            kept.push(token);
        }
    }
    kept
}

proptest! {
    /// Whatever is written is read back, among comments, blanks and line ends of any kind.
    #[test]
    fn what_is_written_is_read_back(
        tokens in prop::collection::vec(listed(), 0..12),
        between in prop::collection::vec("[ \t]{0,3}(#[^\n]{0,20})?\r?", 12),
        indent in "[ \t]{0,3}",
    ) {
        let tokens = distinct(tokens);
        let mut text = String::new();
        for (token, between) in tokens.iter().zip(&between) {
            text.push_str(&format!("{between}\n{indent}{token}{indent}\r\n"));
        }
        prop_assert_eq!(parse(text.as_bytes()), Ok(tokens));
    }

    /// Nothing makes it panic, and what it takes, it writes so that it is taken again.
    #[test]
    fn any_bytes_are_read_or_refused(
        text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "([a-z#]{0,4} (viewer|admin|x) (sha256:)?[0-9a-f]{62,65}( expires=[0-9TZ:-]{0,24})?\n?){0,4}"
                .prop_map(String::into_bytes),
        ],
    ) {
        match parse(&text) {
            Ok(tokens) => {
                let again: String = tokens.iter().map(|it| format!("{it}\n")).collect();
                prop_assert_eq!(parse(again.as_bytes()), Ok(tokens));
            }
            Err(bad) => {
                let lines = text.split(|it| *it == b'\n').count();
                prop_assert!((1..=lines).contains(&bad.line), "{}", bad);
            }
        }
    }

    /// One bad line refuses the file, and is the one that is named.
    #[test]
    fn the_line_that_is_wrong_is_named(
        tokens in prop::collection::vec(listed(), 1..8),
        at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let tokens = distinct(tokens);
        let mut lines: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        let at = at.index(lines.len());
        // Somewhere within the digest.
        let digest = lines[at].find(DIGEST).unwrap() + DIGEST.len();
        lines[at].truncate(digest + cut.index(64));
        let text = lines.join("\n");
        let bad = parse(text.as_bytes()).unwrap_err();
        prop_assert_eq!(bad.line, at + 1);
    }
}

fn token(name: &str, secret: &str) -> ListedToken {
    ListedToken {
        name: name.parse().unwrap(),
        scope: Scope::Viewer,
        digest: TokenDigest::of(secret.as_bytes()),
        expires: None,
    }
}

#[test]
fn what_is_no_token_is_refused_by_its_field_and_never_shown() {
    let good = TokenDigest::of(b"x");
    for (line, flaw) in [
        (format!("a viewer {good}"), "third field"),
        ("a viewer sha256:secret".to_owned(), "third field"),
        ("a viewer apilog_secret".to_owned(), "third field"),
        (format!("a viewer sha256:{}", TokenDigest::of(b"")), "no token at all"),
        (format!("a root sha256:{good}"), "second field"),
        (format!("a Viewer sha256:{good}"), "second field"),
        (format!("-a viewer sha256:{good}"), "first field"),
        (format!("admin_token viewer sha256:{good}"), "first field"),
        (format!("a,b viewer sha256:{good}"), "first field"),
        (format!("a viewer sha256:{good} 2027-01-01T00:00:00Z"), "fourth field"),
        (format!("a viewer sha256:{good} expires=tomorrow"), "fourth field"),
        (format!("a viewer sha256:{good} expires=2027-01-01T00:00:00Z x"), "a line is"),
        ("secret".to_owned(), "a line is"),
    ] {
        let bad = parse(format!("# tokens\n{line}\n").as_bytes()).unwrap_err();
        assert!(bad.line == 2 && bad.flaw.contains(flaw), "{line}: {bad}");
        assert!(!bad.to_string().contains("secret"), "{bad}");
    }
    let twice = format!("{}\n{}\n", token("a", "1"), token("a", "2"));
    assert!(parse(twice.as_bytes()).unwrap_err().flaw.contains("line 1"));
    let twice = format!("{}\n{}\n", token("a", "1"), token("b", "1"));
    assert!(parse(twice.as_bytes()).unwrap_err().flaw.contains("line 1"));
    let many: String = (0..=MOST_TOKENS).map(|it| format!("{}\n", token(&format!("t{it}"), &it.to_string()))).collect();
    assert_eq!(parse(many.as_bytes()).unwrap_err().line, MOST_TOKENS + 1);
}

#[test]
fn tokens_are_added_and_revoked_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/tokens");
    assert_eq!(read(&path).unwrap(), Found::default());
    assert!(matches!(revoke(&path, &"a".parse().unwrap()), Err(TokenFileError::Unknown { .. })));
    add(&path, &token("a", "1")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(add(&path, &token("a", "2")), Err(TokenFileError::Taken { .. })));
    // Somebody edits it, and forgets the line's end.
    let edited = format!("# ours\n{}# the end", fs::read_to_string(&path).unwrap());
    fs::write(&path, edited).unwrap();
    add(&path, &token("b", "2")).unwrap();
    assert_eq!(read(&path).unwrap().tokens, [token("a", "1"), token("b", "2")]);
    revoke(&path, &"a".parse().unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("# ours\n# the end\n{}\n", token("b", "2")));
    assert!(!unfinished(&path).exists());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(read(&path).unwrap().is_exposed);
    // A link stays one.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    revoke(&link, &"b".parse().unwrap()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "# ours\n# the end\n");
}

#[test]
fn a_malformed_file_is_changed_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    fs::write(&path, "nonsense\n").unwrap();
    for error in [read(&path).unwrap_err(), add(&path, &token("a", "1")).unwrap_err()] {
        assert!(error.to_string().contains("line 1"), "{error}");
    }
    assert!(revoke(&path, &"a".parse().unwrap()).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense\n");
    fs::write(&path, vec![b'#'; LARGEST_BYTES as usize + 1]).unwrap();
    assert!(matches!(read(&path), Err(TokenFileError::Io { .. })));
}

#[test]
fn many_who_change_it_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    for number in 0..8 {
        add(&path, &token(&format!("old{number}"), &format!("old{number}"))).unwrap();
    }
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || add(path, &token(&format!("new{number}"), &format!("new{number}"))).unwrap());
            scope.spawn(move || revoke(path, &format!("old{number}").parse().unwrap()).unwrap());
        }
    });
    let mut names: Vec<String> = read(&path).unwrap().tokens.iter().map(|it| it.name.to_string()).collect();
    names.sort();
    assert_eq!(names, (0..8).map(|it| format!("new{it}")).collect::<Vec<_>>());
}
