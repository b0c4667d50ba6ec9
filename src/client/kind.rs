//! Which program sent a request, told by the fields that programs name themselves in.

use std::borrow::Cow;

use crate::headers::{Headers, value_text};

/// A client program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKind {
    /// One of the documented kinds.
    pub kind: &'static str,
    /// Its version, never empty.
    pub version: Option<String>,
}

/// A version is a word; what is longer than this is somebody's joke.
const MAX_VERSION_CHARS: usize = 100;

/// Programs by how their `User-Agent` starts, letter for letter. The version is what follows.
const PROGRAMS: [(&str, &str); 18] = [
    ("codex-tui/", "codex-tui"),
    ("codex/", "codex-cli"),
    ("codex_cli_rs/", "codex-cli"),
    ("codex_exec/", "codex-cli"),
    ("codex_vscode/", "codex-vscode"),
    ("opencode-tui/", "opencode-tui"),
    ("opencode/", "opencode-cli"),
    ("GeminiCLI/", "gemini-cli"),
    ("litellm/", "litellm"),
    ("LiteLLM/", "litellm"),
    ("langchain/", "langchain"),
    ("langchain-google-genai/", "langchain"),
    ("langchain-anthropic/", "langchain"),
    ("langchain-openai/", "langchain"),
    ("langchainjs-openai/", "langchain"),
    ("LangChain/", "langchain"),
    ("langchainjs/", "langchain"),
    ("ai-sdk/", "ai-sdk"),
];

/// Libraries that any program may be made with: looked at last.
const LIBRARIES: [(&str, &str); 22] = [
    ("Go-http-client/", "go-http-client"),
    ("curl/", "curl"),
    ("python-requests/", "python-requests"),
    ("python-httpx/", "httpx"),
    ("Python-urllib/", "python-urllib"),
    ("axios/", "axios"),
    ("node-fetch/", "node-fetch"),
    ("node-fetch", "node-fetch"),
    ("undici/", "undici"),
    ("Bun/", "bun"),
    ("Deno/", "deno"),
    ("okhttp/", "okhttp"),
    ("Java-http-client/", "java-http-client"),
    ("Java/", "java"),
    ("Apache-HttpClient/", "apache-http-client"),
    ("reqwest/", "reqwest"),
    ("GuzzleHttp/", "guzzle"),
    ("Faraday v", "faraday"),
    ("Wget/", "wget"),
    ("HTTPie/", "httpie"),
    ("PostmanRuntime/", "postman"),
    ("insomnia/", "insomnia"),
];

/// The vendors' SDKs: vendor, language as `User-Agent` and as `x-stainless-lang` spell it, kind.
const SDKS: [(&str, &str, &str, &str); 10] = [
    ("Anthropic", "Python", "python", "anthropic-sdk-python"),
    ("Anthropic", "JS", "js", "anthropic-sdk-ts"),
    ("Anthropic", "Go", "go", "anthropic-sdk-go"),
    ("Anthropic", "Java", "java", "anthropic-sdk-java"),
    ("Anthropic", "Ruby", "ruby", "anthropic-sdk-ruby"),
    ("OpenAI", "Python", "python", "openai-sdk-python"),
    ("OpenAI", "JS", "js", "openai-sdk-ts"),
    ("OpenAI", "Go", "go", "openai-sdk-go"),
    ("OpenAI", "Java", "java", "openai-sdk-java"),
    ("OpenAI", "Ruby", "ruby", "openai-sdk-ruby"),
];

/// The client program that sent these fields, as far as they tell; of repeated fields each one is looked at.
///
/// The first rule that holds decides: the desktop app by its own fields; `claude-cli`; the SDKs by
/// `x-stainless-package-version: <package>@<version>`; programs by their `User-Agent` (`PROGRAMS`), then by the
/// `originator` that Codex sends; the SDKs by `User-Agent: <Class>/<Language> <version>`, then Anthropic's by
/// `x-stainless-lang` beside `anthropic-version`; the Google SDKs; browsers; HTTP libraries (`LIBRARIES`).
/// No rule looks at a field that holds a credential.
pub fn identify(headers: &Headers) -> Option<ClientKind> {
    let agents: Vec<Cow<'_, str>> = texts(headers, "user-agent").collect();
    desktop_app(headers)
        .or_else(|| by_prefix(&agents, &[("claude-cli/", "claude-cli"), ("claude-code/", "claude-cli")]))
        .or_else(|| stainless_pair(headers))
        .or_else(|| by_prefix(&agents, &PROGRAMS))
        .or_else(|| ai_sdk(&agents))
        .or_else(|| originator(headers, &agents))
        .or_else(|| agents.iter().find_map(|agent| sdk_agent(agent)))
        .or_else(|| stainless_anthropic(headers))
        .or_else(|| google_sdk(headers, &agents))
        .or_else(|| agents.iter().any(|it| it.starts_with("Mozilla/")).then_some(kind("browser", None)))
        .or_else(|| by_prefix(&agents, &LIBRARIES))
        .or_else(|| agents.iter().find_map(|agent| bare_library(agent)))
}

fn kind(kind: &'static str, version: Option<&str>) -> ClientKind {
    let version = version.map(str::trim).filter(|it| !it.is_empty());
    ClientKind { kind, version: version.map(|it| it.chars().take(MAX_VERSION_CHARS).collect()) }
}

/// Every value of a field as text.
fn texts<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    headers.get_all(name).map(value_text)
}

/// The version at the start of `text`: up to the first white space.
fn first_word(text: &str) -> Option<&str> {
    text.split_ascii_whitespace().next()
}

fn by_prefix(agents: &[Cow<'_, str>], table: &[(&str, &'static str)]) -> Option<ClientKind> {
    table.iter().find_map(|(prefix, name)| {
        let rest = agents.iter().find_map(|agent| agent.strip_prefix(prefix))?;
        let version = first_word(rest);
        // `GeminiCLI/<version>/<model> (…)`
        let version = if *name == "gemini-cli" { version.and_then(|it| it.split('/').next()) } else { version };
        Some(kind(name, version))
    })
}

fn desktop_app(headers: &Headers) -> Option<ClientKind> {
    let is_desktop =
        texts(headers, "anthropic-client-platform").any(|it| it.trim().eq_ignore_ascii_case("desktop_app"));
    let is_code =
        texts(headers, "anthropic-beta").any(|it| it.split(',').any(|beta| beta.trim().starts_with("claude-code-")));
    let version = texts(headers, "anthropic-client-version").find(|it| !it.trim().is_empty());
    (is_desktop && is_code).then(|| kind("claude-code-desktop", version.as_deref()))
}

/// `x-stainless-package-version: openai@1.2.0` beside `x-stainless-runtime: node`.
fn stainless_pair(headers: &Headers) -> Option<ClientKind> {
    texts(headers, "x-stainless-package-version").find_map(|pair| {
        let (package, version) = pair.split_once('@')?;
        texts(headers, "x-stainless-runtime").find_map(|runtime| {
            let name = match (package, &*runtime.trim().to_ascii_lowercase()) {
                ("anthropic", "python" | "cpython") => "anthropic-sdk-python",
                ("anthropic", "node") => "anthropic-sdk-ts",
                ("openai", "python" | "cpython") => "openai-sdk-python",
                ("openai", "node") => "openai-sdk-ts",
                _ => return None,
            };
            Some(kind(name, Some(version)))
        })
    })
}

/// `ai/5.0.0 ai-sdk/openai/2.0.0 …`
fn ai_sdk(agents: &[Cow<'_, str>]) -> Option<ClientKind> {
    let rest = agents.iter().filter(|it| it.contains(" ai-sdk/")).find_map(|agent| agent.strip_prefix("ai/"))?;
    Some(kind("ai-sdk", first_word(rest)))
}

/// Codex names itself in `originator`, and its release in `version` or behind whatever name its agent has.
fn originator(headers: &Headers, agents: &[Cow<'_, str>]) -> Option<ClientKind> {
    let name = texts(headers, "originator").find_map(|originator| match originator.trim() {
        "codex-tui" => Some("codex-tui"),
        "codex_cli_rs" | "codex_exec" | "codex_sdk_ts" => Some("codex-cli"),
        "codex_vscode" => Some("codex-vscode"),
        _ => None,
    })?;
    let version = texts(headers, "version").find(|it| !it.trim().is_empty());
    let version = version.or_else(|| {
        let (_, rest) = agents.iter().find_map(|agent| agent.split_once('/'))?;
        first_word(rest).map(|it| it.to_owned().into())
    });
    Some(kind(name, version.as_deref()))
}

/// `AsyncOpenAI/Python 1.2.0`, `AnthropicBedrock/JS 0.3`, `OpenAIClientImpl/Java 4.0`, `OpenAI/2.1.0 (.NET 8.0)`.
fn sdk_agent(agent: &str) -> Option<ClientKind> {
    let (class, rest) = agent.split_once('/')?;
    let class = class.strip_prefix("Async").unwrap_or(class);
    let class = class.strip_prefix("Azure").unwrap_or(class);
    if class.len() > 40 || !class.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut words = rest.split_ascii_whitespace();
    let language = words.next()?;
    if class == "OpenAI" && language.starts_with(|it: char| it.is_ascii_digit()) {
        return Some(kind("openai-sdk-dotnet", Some(language)));
    }
    let sdk = SDKS.iter().find(|(vendor, spelt, ..)| class.starts_with(vendor) && *spelt == language);
    sdk.map(|(.., name)| kind(name, words.next()))
}

/// A program with an agent of its own may still be made with Anthropic's SDK.
fn stainless_anthropic(headers: &Headers) -> Option<ClientKind> {
    headers.get("anthropic-version")?;
    let version = texts(headers, "x-stainless-package-version").find(|it| !it.trim().is_empty());
    texts(headers, "x-stainless-lang").find_map(|language| {
        let language = language.trim().to_ascii_lowercase();
        let sdk = SDKS.iter().find(|(vendor, _, lang, _)| *vendor == "Anthropic" && *lang == language);
        sdk.map(|(.., name)| kind(name, version.as_deref()))
    })
}

/// `google-genai-sdk/1.2.0 gl-python/3.12`, as agent or in `x-goog-api-client`.
fn google_sdk(headers: &Headers, agents: &[Cow<'_, str>]) -> Option<ClientKind> {
    let of_api = texts(headers, "x-goog-api-client");
    agents.iter().cloned().chain(of_api).find_map(|agent| {
        let rest = agent.split_ascii_whitespace().find_map(|word| word.strip_prefix("google-genai-sdk/"))?;
        let is_made_with = |language| agent.split_ascii_whitespace().any(|word| word.starts_with(language));
        let name = if is_made_with("gl-python/") {
            "google-genai-sdk-python"
        } else if is_made_with("gl-node/") {
            "google-genai-sdk-ts"
        } else {
            "google-genai-sdk"
        };
        Some(kind(name, Some(rest)))
    })
}

/// Agents that are one word, or that name the library behind the language.
fn bare_library(agent: &str) -> Option<ClientKind> {
    match agent.trim() {
        // What `fetch` of Node.js sends.
        "node" | "undici" => return Some(kind("undici", None)),
        "Ruby" => return Some(kind("ruby", None)),
        _ => {}
    }
    let rest = agent.strip_prefix("Python/")?;
    let version = rest.split_ascii_whitespace().find_map(|word| word.strip_prefix("aiohttp/"))?;
    Some(kind("aiohttp", Some(version)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identified(fields: &[(&str, &str)]) -> Option<(&'static str, Option<String>)> {
        let headers = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        identify(&headers).map(|it| (it.kind, it.version))
    }

    #[test]
    fn programs_are_known_by_their_fields() {
        let pair = |version, runtime| vec![("x-stainless-package-version", version), ("X-Stainless-Runtime", runtime)];
        let agent = |agent| vec![("User-Agent", agent)];
        let mut real_python = agent("OpenAI/Python 1.99.1");
        real_python.extend([("X-Stainless-Lang", "python"), ("X-Stainless-Package-Version", "1.99.1")]);
        real_python.push(("X-Stainless-Runtime", "CPython"));
        let desktop = |platform, beta: &[&'static str]| {
            let mut fields = vec![("Anthropic-Client-Platform", platform), ("Anthropic-Client-Version", " 1.2 ")];
            fields.extend(beta.iter().map(|beta| ("anthropic-beta", *beta)));
            fields.push(("User-Agent", "Mozilla/5.0"));
            fields
        };
        let own_agent = |language| {
            let stainless = [("x-stainless-lang", language), ("x-stainless-package-version", "0.60.0")];
            [&[("User-Agent", "Acme/3"), ("anthropic-version", "2023-06-01")][..], &stainless].concat()
        };
        for (fields, kind, version) in [
            (agent("claude-cli/2.1.3 (external, cli)"), "claude-cli", "2.1.3"),
            ([agent("claude-cli/2.1.3"), own_agent("js")].concat(), "claude-cli", "2.1.3"),
            (agent("claude-cli/"), "claude-cli", ""),
            (agent("claude-code/2.1.45"), "claude-cli", "2.1.45"),
            (desktop("Desktop_App", &["a, claude-code-20250219"]), "claude-code-desktop", "1.2"),
            (desktop("desktop_app", &["a", "b,claude-code-1"]), "claude-code-desktop", "1.2"),
            (desktop("desktop_app", &["a"]), "browser", ""),
            (desktop("web", &["claude-code-1"]), "browser", ""),
            (pair("openai@1.2.0", "node"), "openai-sdk-ts", "1.2.0"),
            (pair("openai@1.2.0", " Python "), "openai-sdk-python", "1.2.0"),
            (pair("anthropic@0.3", "python"), "anthropic-sdk-python", "0.3"),
            (pair("anthropic@", "NODE"), "anthropic-sdk-ts", ""),
            ([pair("other@1", "node"), agent("curl/8")].concat(), "curl", "8"),
            (real_python, "openai-sdk-python", "1.99.1"),
            (agent("AsyncOpenAI/Python 1.2"), "openai-sdk-python", "1.2"),
            (agent("AsyncAzureOpenAI/Python 1.2"), "openai-sdk-python", "1.2"),
            (agent("OpenAI/JS 5.0.1"), "openai-sdk-ts", "5.0.1"),
            (agent("OpenAI/Go 1.0"), "openai-sdk-go", "1.0"),
            (agent("OpenAI/2.1.0 (.NET 8.0)"), "openai-sdk-dotnet", "2.1.0"),
            (agent("AsyncAnthropic/Python 0.8"), "anthropic-sdk-python", "0.8"),
            (agent("AnthropicBedrock/JS 0.8"), "anthropic-sdk-ts", "0.8"),
            (agent("AnthropicClientImpl/Java 2.0"), "anthropic-sdk-java", "2.0"),
            (own_agent("js"), "anthropic-sdk-ts", "0.60.0"),
            (own_agent("python"), "anthropic-sdk-python", "0.60.0"),
            (agent("codex-tui/0.5 (x)"), "codex-tui", "0.5"),
            (agent("codex/1"), "codex-cli", "1"),
            (agent("codex_cli_rs/0.98.0 (Ubuntu 24.4; x86_64)"), "codex-cli", "0.98.0"),
            (agent("codex_exec/0.89.0"), "codex-cli", "0.89.0"),
            (agent("codex_vscode/0.4"), "codex-vscode", "0.4"),
            ([agent("Acme/0.9 (x)"), vec![("originator", "codex_cli_rs")]].concat(), "codex-cli", "0.9"),
            (vec![("originator", "codex_exec"), ("version", "0.7")], "codex-cli", "0.7"),
            (agent("opencode-tui/1.0"), "opencode-tui", "1.0"),
            (agent("opencode/1.0 ai-sdk/openai/2"), "opencode-cli", "1.0"),
            (agent("GeminiCLI/0.8.0/gemini-2.5-pro (linux; x64)"), "gemini-cli", "0.8.0"),
            (agent("google-genai-sdk/1.2.0 gl-python/3.12"), "google-genai-sdk-python", "1.2.0"),
            (vec![("x-goog-api-client", "google-genai-sdk/1.3 gl-node/22")], "google-genai-sdk-ts", "1.3"),
            (agent("litellm/1.106.0"), "litellm", "1.106.0"),
            (agent("langchainjs-openai/1.0.0"), "langchain", "1.0.0"),
            (agent("ai/5.0.0 ai-sdk/provider-utils/3.0"), "ai-sdk", "5.0.0"),
            (agent("Mozilla/5.0 (X11)"), "browser", ""),
            (agent("Go-http-client/1.1"), "go-http-client", "1.1"),
            (agent("curl/8.5.0"), "curl", "8.5.0"),
            (agent("python-requests/2.31"), "python-requests", "2.31"),
            (agent("python-httpx/0.27"), "httpx", "0.27"),
            (agent("Python/3.12 aiohttp/3.9.1"), "aiohttp", "3.9.1"),
            (agent("axios/1.7.2"), "axios", "1.7.2"),
            (agent("node-fetch/1.0 (+https://example.com)"), "node-fetch", "1.0"),
            (agent("node-fetch"), "node-fetch", ""),
            (agent("node"), "undici", ""),
            (agent("okhttp/4.9"), "okhttp", "4.9"),
            (agent("Java/17.0.1"), "java", "17.0.1"),
            (agent("Java-http-client/17"), "java-http-client", "17"),
            (vec![("user-agent", ""), ("user-agent", "curl/8")], "curl", "8"),
        ] {
            let version = Some(version.to_owned()).filter(|it| !it.is_empty());
            assert_eq!(identified(&fields), Some((kind, version)), "{fields:?}");
        }
    }

    #[test]
    fn strangers_stay_unnamed() {
        for agent in ["", "Acme/3", "CLAUDE-CLI/1", "Codex/1", "Groq/Python 1.0", "Python/3.12", "OpenAI/", "/"] {
            assert_eq!(identified(&[("User-Agent", agent)]), None, "{agent}");
        }
        assert_eq!(identified(&[("x-stainless-package-version", "@1"), ("x-stainless-runtime", "node")]), None);
        assert_eq!(identified(&[("authorization", "claude-cli/1"), ("x-api-key", "curl/8")]), None);
        assert_eq!(identified(&[]), None);
    }

    #[test]
    fn a_version_is_never_endless() {
        let (_, version) = identified(&[("User-Agent", &format!("curl/{}", "é".repeat(5000)))]).unwrap();
        assert_eq!(version.unwrap().chars().count(), MAX_VERSION_CHARS);
    }

    proptest! {
        #[test]
        fn odd_fields_never_panic(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 6)) {
            let names = ["user-agent", "x-stainless-package-version", "x-stainless-runtime", "originator",
                "anthropic-beta", "x-goog-api-client"];
            let headers = names.iter().zip(&values).map(|(name, value)| (*name, &value[..])).collect();
            let version = identify(&headers).and_then(|it| it.version);
            prop_assert!(version.is_none_or(|it| !it.is_empty()));
        }
    }
}
