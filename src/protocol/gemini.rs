//! Gemini `generateContent` and `streamGenerateContent`.

use super::Extracted;
use super::failure;
use super::json::{count, elements, members, text};
use super::usage::{gemini, later};
use crate::trace::view::Answer;

/// Reads one `GenerateContentResponse`, an array of them, or a stream of them. Counts are cumulative, repeated, and
/// may be missing early: of each the last counts. A stream has no terminator: it is done if it told why generation
/// ended and then `ended_in_order`.
pub(super) fn read(answer: Answer<'_>, ended_in_order: bool) -> Extracted {
    let mut reading = Reading::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) if json.trim_ascii_start().starts_with('[') => {
            elements(json, |element| reading.element(element));
        }
        Answer::Json(json) => reading.element(json),
        Answer::Events(events) => {
            for event in events {
                if event.name == "error" {
                    failure::in_event(event).into_iter().for_each(|failure| reading.said.fail(failure));
                } else if let Some(json) = event.data.json() {
                    reading.element(json);
                }
            }
            reading.said.stream_done = reading.is_finished && ended_in_order;
        }
    }
    reading.finish()
}

#[derive(Default)]
struct Reading {
    said: Extracted,
    block_reason: Option<String>,
    /// Any candidate told why it ended, or the prompt was blocked.
    is_finished: bool,
}

impl Reading {
    fn element(&mut self, json: &str) {
        members(json, |name, value| match name {
            // The API of Gemini's own command line wraps each element.
            "response" => members(value, |name, value| self.member(name, value)),
            _ => self.member(name, value),
        });
    }

    fn member(&mut self, name: &str, value: &str) {
        match name {
            "candidates" => elements(value, |value| self.candidate(value)),
            "usageMetadata" | "usage_metadata" => self.said.usage = later(self.said.usage, gemini(value)),
            "modelVersion" | "model_version" => {
                self.said.model = text(value).map(Into::into).or(self.said.model.take());
            }
            "promptFeedback" | "prompt_feedback" => members(value, |name, value| {
                if let ("blockReason" | "block_reason", Some(reason)) = (name, text(value)) {
                    self.block_reason = Some(reason.into());
                    self.is_finished = true;
                }
            }),
            "error" => failure::in_member(value).into_iter().for_each(|failure| self.said.fail(failure)),
            _ => {}
        }
    }

    fn candidate(&mut self, json: &str) {
        let mut index = 0;
        let mut reason = None;
        members(json, |name, value| match name {
            "index" => index = count(value).unwrap_or(0),
            "finishReason" | "finish_reason" => reason = text(value),
            _ => {}
        });
        self.is_finished |= reason.is_some();
        if index == 0 && reason.is_some() {
            self.said.finish_reason = reason.map(Into::into);
        }
    }

    fn finish(mut self) -> Extracted {
        self.said.finish_reason = self.said.finish_reason.or(self.block_reason);
        let usage = &mut self.said.usage;
        if let (None, Some(prompt), Some(completion)) = (usage.total, usage.prompt, usage.completion) {
            // Thoughts are no part of the candidates' count but of the total.
            usage.total =
                prompt.checked_add(completion).and_then(|sum| sum.checked_add(usage.reasoning.unwrap_or_default()));
        }
        self.said
    }
}
