//! What is sent: rounds of small scenes, each protocol's by a client of its own, all four at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Kinds, Twist};
use super::dialect::{Dialect, Form, Talk};

/// What a person takes to read and type, shortened for the impatient.
const BETWEEN_TURNS: Duration = Duration::from_millis(30);
/// How long nothing is told at most while rounds go on.
const SILENCE: Duration = Duration::from_secs(5);

/// A round yellow face, 24 pixels wide.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAMAAADXqc3KAAAACVBMVEX/////zDMzMzM5eA/r\
AAAASElEQVR42mNgIAQYoQCHMJoUIxrAJQ6XwSXByIhDBsxiYmJEphEa0CQYCUtgsYR+EkxwwIjqETQJ/EFCeujijijcUYsnMWACAPjxAbHnrvDVAAAA\
AElFTkSuQmCC";

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// How many exchanges of each kind.
    pub(super) kinds: Kinds,
    /// How often each scene was played.
    pub(super) rounds: u64,
    /// What did not go as a client expects.
    pub(super) surprises: Vec<String>,
}

impl Sent {
    /// How many exchanges.
    pub(super) fn exchanges(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// How many exchanges each round has.
    pub(super) fn of_round(&self) -> u64 {
        self.exchanges() / self.rounds.max(1)
    }
}

/// Sends rounds to the recorder at `server` for this time, but one at least.
///
/// # Errors
/// No HTTP client can be had.
pub(super) async fn send(server: SocketAddr, time: Duration) -> reqwest::Result<Sent> {
    let began = Instant::now();
    let mut told = began;
    let mut sent = Sent::default();
    let mut clients = [
        Client::new(Dialect::Chat, server)?,
        Client::new(Dialect::Responses, server)?,
        Client::new(Dialect::Messages, server)?,
        Client::new(Dialect::Gemini, server)?,
    ];
    while sent.rounds == 0 || began.elapsed() < time {
        sent.rounds += 1;
        let [chat, responses, messages, gemini] = &mut clients;
        let round = Round { number: sent.rounds };
        tokio::join!(round.chat(chat), round.responses(responses), round.messages(messages), round.gemini(gemini));
        if told.elapsed() >= SILENCE {
            told = Instant::now();
            crate::cli::say(format_args!("  … {} rounds\n", sent.rounds));
        }
    }
    for client in clients {
        sent.kinds.extend(client.kinds);
        sent.surprises.extend(client.surprises);
    }
    Ok(sent)
}

/// All scenes, once.
#[derive(Clone, Copy, Debug)]
struct Round {
    number: u64,
}

impl Round {
    async fn chat(self, client: &mut Client) {
        self.talk(client, "What does a reverse proxy do?", &["What does it cost?", "Say it in one sentence."]).await;
        self.look_at_picture(client).await;
        self.once(client, Form::Whole, Twist::Gzip, "a whole answer, gzipped").await;
        self.once(client, Form::Streamed, Twist::Fails(429), "429 Too Many Requests").await;
        self.once(client, Form::Streamed, Twist::Cut, "a stream that the gateway cuts").await;
        self.once(client, Form::Streamed, Twist::Leaves, "a stream that the client leaves").await;
    }

    async fn responses(self, client: &mut Client) {
        self.talk(client, "List the files in src.", &["Now read the first one."]).await;
        self.once(client, Form::Whole, Twist::None, "a whole answer").await;
    }

    async fn messages(self, client: &mut Client) {
        self.talk(client, "Who painted this ceiling?", &["How long did it take him?", "And who paid for it?"]).await;
        self.once(client, Form::Whole, Twist::None, "a whole answer").await;
        self.once(client, Form::Whole, Twist::Fails(500), "500 Internal Server Error").await;
    }

    async fn gemini(self, client: &mut Client) {
        self.talk(client, "Name three rivers.", &["Which one is the longest?"]).await;
        self.once(client, Form::Whole, Twist::None, "a whole answer").await;
        let target = "/v1beta/models/gemini-2:streamGenerateContent";
        let body = client.dialect.body(&Talk::about(&self.words("Count to five.")), Form::Streamed);
        client.ask(target, &body, Twist::None).await;
        self.tell(client, "a stream as a JSON array");
    }

    /// A streamed conversation: each question carries what was said before it.
    async fn talk(self, client: &mut Client, first: &str, more: &[&str]) {
        let (dialect, form) = (client.dialect, Form::Streamed);
        let mut talk = Talk::about(&self.words(first));
        let mut said = client.ask(dialect.target(form), &dialect.body(&talk, form), Twist::None).await;
        for question in more {
            tokio::time::sleep(BETWEEN_TURNS).await;
            talk.go_on(said, question);
            said = client.ask(dialect.target(form), &dialect.body(&talk, form), Twist::None).await;
        }
        self.tell(client, &format!("a conversation of {} turns, streamed", 1 + more.len()));
    }

    async fn look_at_picture(self, client: &mut Client) {
        let content = json!([{"type": "text", "text": self.words("What is in this picture?")},
            {"type": "image_url", "image_url": {"url": PICTURE}}]);
        let body = json!({"model": "gpt-5", "messages": [{"role": "user", "content": content}]});
        client.ask(client.dialect.target(Form::Whole), &body, Twist::None).await;
        self.tell(client, "a question with a picture");
    }

    async fn once(self, client: &mut Client, form: Form, twist: Twist, scene: &str) {
        let talk = Talk::about(&self.words("Tell me something that I do not know yet."));
        client.ask(client.dialect.target(form), &client.dialect.body(&talk, form), twist).await;
        self.tell(client, scene);
    }

    /// Each round's words are its own: a second conversation is not the first one's continuation.
    fn words(self, text: &str) -> String {
        if self.number == 1 { text.to_owned() } else { format!("{text} (round {})", self.number) }
    }

    /// The first round is told scene by scene.
    fn tell(self, client: &Client, scene: &str) {
        if self.number == 1 {
            crate::cli::say(format_args!("  {:<10} {scene}\n", client.dialect.protocol().name()));
        }
    }
}
