//! `api-log token`: makes, lists and revokes tokens of the read API. A running recorder hears of it by itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use api_log::access::{self, ListedToken, Scope, TokenDigest, TokenFileError, TokenName};
use api_log::config::Config;
use api_log::ids::UnixMillis;
use api_log::store::layout::Layout;

/// What is wanted with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// Make a token, and print it this once
    New(New),
    /// List the tokens: name, scope, until when
    List(Listing),
    /// Refuse a token from now on
    Revoke(Revoke),
}

/// The token to make.
#[derive(Debug, clap::Args)]
#[command(after_help = "Only the token's SHA-256 is kept. Whoever needs the token takes it from standard output:\n\
                        TOKEN=$(api-log token new --name grafana --scope viewer)")]
pub(crate) struct New {
    /// What it is called, in lists and in the access log
    #[arg(long)]
    name: TokenName,
    /// viewer: reads; admin: changes settings and plugins too
    #[arg(long)]
    scope: Scope,
    /// Until when: RFC 3339, or a time from now such as 90d
    #[arg(long, value_name = "TIME")]
    expires: Option<Expires>,
    #[command(flatten)]
    place: Place,
}

/// Which list.
#[derive(Debug, clap::Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    place: Place,
}

/// The token to refuse.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// What it is called
    name: TokenName,
    #[command(flatten)]
    place: Place,
}

/// Where tokens stand.
#[derive(Debug, clap::Args)]
struct Place {
    /// The token file, instead of the configured one
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Place {
    fn path(self, config: &Config) -> PathBuf {
        let configured = || config.api.token_file.clone();
        self.file.or_else(configured).unwrap_or_else(|| Layout::new(&config.storage.data_dir).tokens())
    }
}

/// When a token is over.
#[derive(Clone, Copy, Debug)]
struct Expires(UnixMillis);

impl FromStr for Expires {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Expires, &'static str> {
        let now = UnixMillis::now();
        let after = |it: Duration| i64::try_from(it.as_millis()).ok()?.checked_add(now.0).map(UnixMillis);
        let in_so_long = || humantime::parse_duration(text).ok().and_then(after);
        let at = text.parse().ok().or_else(in_so_long);
        let at = at.ok_or("not a time such as 2027-01-01T00:00:00Z, nor one from now such as 90d")?;
        if at <= now { Err("that is over already") } else { Ok(Expires(at)) }
    }
}

/// Does what is wanted.
pub(crate) fn run(asked: Token, config: &Config) -> ExitCode {
    let done = match asked {
        Token::New(new) => make(new, config),
        Token::List(Listing { place }) => access::read(&place.path(config)).map(|found| {
            let now = UnixMillis::now();
            found.tokens.iter().for_each(|it| super::say(row(it, now)));
        }),
        Token::Revoke(Revoke { name, place }) => {
            let path = place.path(config);
            access::revoke(&path, &name)
                .map(|()| super::complain(format_args!("{name} is revoked in {}", path.display())))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::complain(error);
            ExitCode::FAILURE
        }
    }
}

fn make(new: New, config: &Config) -> Result<(), TokenFileError> {
    let New { name, scope, expires, place } = new;
    let (path, token) = (place.path(config), access::new_token());
    let digest = TokenDigest::of(token.as_bytes());
    let listed = ListedToken { name, scope, digest, expires: expires.map(|it| it.0) };
    access::add(&path, &listed)?;
    super::complain(format_args!("{} ({scope}) stands in {}; the token, shown only now:", listed.name, path.display()));
    super::say(format_args!("{token}\n"));
    Ok(())
}

fn row(token: &ListedToken, now: UnixMillis) -> String {
    let ListedToken { name, scope, expires, .. } = token;
    match expires {
        None => format!("{name}\t{scope}\t-\n"),
        Some(expires) if *expires <= now => format!("{name}\t{scope}\t{expires} (expired)\n"),
        Some(expires) => format!("{name}\t{scope}\t{expires}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_expires_at_a_time_or_after_one() {
        let now = UnixMillis::now();
        let Expires(at) = "90d".parse().unwrap();
        assert!((at.0 - now.0 - 90 * 86_400_000).abs() < 600_000);
        assert_eq!("2999-01-01T00:00:00Z".parse::<Expires>().unwrap().0.to_string(), "2999-01-01T00:00:00.000Z");
        for bad in ["", "yesterday", "1999-01-01T00:00:00Z", "0s", "99999999999y"] {
            assert!(bad.parse::<Expires>().is_err(), "{bad}");
        }
    }
}
