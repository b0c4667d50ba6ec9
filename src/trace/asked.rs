//! What a request's body holds for those who read it, found in one walk.

use crate::json::Json;

/// The members of a request's body that somebody asks for, of any protocol. Of duplicates the last one counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) kind: Option<Json<'a>>,
    pub(crate) model: Option<Json<'a>>,
    pub(crate) stream: Option<Json<'a>>,
    pub(crate) messages: Option<Json<'a>>,
    pub(crate) system: Option<Json<'a>>,
    pub(crate) instructions: Option<Json<'a>>,
    pub(crate) input: Option<Json<'a>>,
    pub(crate) contents: Option<Json<'a>>,
    /// In either spelling.
    pub(crate) system_instruction: Option<Json<'a>>,
    pub(crate) previous_response_id: Option<Json<'a>>,
    pub(crate) conversation: Option<Json<'a>>,
    /// What the opening message of a Responses socket nests.
    pub(crate) response: Option<Json<'a>>,
    /// What the opening message of a Realtime socket nests.
    pub(crate) session: Option<Json<'a>>,
}

impl<'a> Asked<'a> {
    /// What `request` holds: nothing if it is no object.
    pub(crate) fn of(request: Json<'a>) -> Asked<'a> {
        let mut asked = Asked::default();
        let mut snake = None;
        for (name, value) in request.members() {
            let slot = match &*name {
                "type" => &mut asked.kind,
                "model" => &mut asked.model,
                "stream" => &mut asked.stream,
                "messages" => &mut asked.messages,
                "system" => &mut asked.system,
                "instructions" => &mut asked.instructions,
                "input" => &mut asked.input,
                "contents" => &mut asked.contents,
                "systemInstruction" => &mut asked.system_instruction,
                "system_instruction" => &mut snake,
                "previous_response_id" => &mut asked.previous_response_id,
                "conversation" => &mut asked.conversation,
                "response" => &mut asked.response,
                "session" => &mut asked.session,
                _ => continue,
            };
            *slot = Some(value);
        }
        asked.system_instruction = asked.system_instruction.or(snake);
        asked
    }

    /// What the body of this text holds, if there is one.
    pub(crate) fn of_text(request: Option<&'a str>) -> Asked<'a> {
        request.map_or_else(Asked::default, |text| Asked::of(Json::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_duplicates_counts_and_the_camel_case_goes_first() {
        let text = r#"{"system_instruction":3,"model":1,"x":{"messages":[]},"systemInstruction":2,"model":null}"#;
        let asked = Asked::of_text(Some(text));
        assert_eq!(asked.model.map(Json::text), Some("null"));
        assert_eq!(asked.system_instruction.map(Json::text), Some("2"));
        assert_eq!(asked.messages, None);
        assert_eq!(Asked::of_text(Some("[1]")).model, None);
    }
}
