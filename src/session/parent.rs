//! Which of the traces that may precede a trace is its parent.
//!
//! The choice depends on nothing but the traces themselves: whatever the order in which they are looked at, and
//! in whatever batches they arrive, the same lines give the same links.

use super::Conversation;
use crate::ids::{TraceId, UnixMillis};

/// How a parent was found (`session_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Its turns are the beginning of the child's.
    Prefix,
    /// So they are, and its answer is the turn that follows them.
    PrefixAnswer,
    /// The child names its answer (`previous_response_id`).
    PreviousResponseId,
    /// Both name the same `conversation`.
    Conversation,
    /// Both are turns of one WebSocket.
    Websocket,
}

impl Method {
    /// Every method, the strongest first.
    pub const ALL: [Method; 5] =
        [Method::PrefixAnswer, Method::Prefix, Method::PreviousResponseId, Method::Conversation, Method::Websocket];

    /// Its name in the index.
    pub fn name(self) -> &'static str {
        match self {
            Method::Prefix => "prefix",
            Method::PrefixAnswer => "prefix_answer",
            Method::PreviousResponseId => "previous_response_id",
            Method::Conversation => "conversation",
            Method::Websocket => "websocket",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A trace of the child's key that may be its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The trace.
    pub id: TraceId,
    /// The first trace of its conversation.
    pub root: TraceId,
    /// When it began.
    pub ts_start: UnixMillis,
    /// When it had ended.
    pub ts_end: UnixMillis,
    /// How many turns its request has.
    pub prefix_len: usize,
    /// The hash of all of them, if there is any: the last of [`Conversation::prefixes`].
    pub hash: Option<[u8; 8]>,
    /// [`Conversation::answer`].
    pub answer: Option<[u8; 8]>,
    /// [`Conversation::response_id`].
    pub response_id: Option<[u8; 8]>,
    /// [`Conversation::conversation_id`].
    pub conversation_id: Option<[u8; 8]>,
}

/// A parent, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub id: TraceId,
    /// The first trace of the conversation.
    pub root: TraceId,
    /// How it was found.
    pub method: Method,
}

/// The parent of the trace `child`, which has `conversation` and began at `ts_start`, among traces of the same key.
///
/// Only a trace that had ended by then can be it. The first rule that finds one decides:
/// 1. its turns are a true prefix of the child's: the longest; then one whose answer is the turn that follows;
/// 2. its answer has the id that the child continues;
/// 3. it belongs to the same conversation.
///
/// Within a rule the latest to begin, then the greatest id wins.
pub fn choose(
    child: TraceId,
    conversation: &Conversation,
    ts_start: UnixMillis,
    candidates: &[Candidate],
) -> Option<Parent> {
    // Of two that began and ended within one millisecond, only the greater id can follow: links make no circle.
    let before = || candidates.iter().filter(|it| it.ts_end <= ts_start && (it.ts_start, it.id) < (ts_start, child));
    let latest = |it: &&Candidate| (it.ts_start, it.id);
    let found = |it: &Candidate, method| Parent { id: it.id, root: it.root, method };
    let is_prefix = |it: &&Candidate| {
        let hash = it.prefix_len.checked_sub(1).and_then(|last| conversation.prefixes.get(last));
        it.prefix_len < conversation.prefixes.len() && hash.is_some() && hash == it.hash.as_ref()
    };
    let is_answered = |it: &Candidate| {
        it.answer.is_some() && conversation.replies.get(it.prefix_len).is_some_and(|reply| *reply == it.answer)
    };
    let by_prefix = before()
        .filter(is_prefix)
        .max_by_key(|it| (it.prefix_len, is_answered(it), it.ts_start, it.id))
        .map(|it| found(it, if is_answered(it) { Method::PrefixAnswer } else { Method::Prefix }));
    let same = |a: Option<[u8; 8]>, b: Option<[u8; 8]>| a.is_some() && a == b;
    by_prefix
        .or_else(|| {
            let continued = before().filter(|it| same(it.response_id, conversation.previous_response_id));
            continued.max_by_key(latest).map(|it| found(it, Method::PreviousResponseId))
        })
        .or_else(|| {
            let same = before().filter(|it| same(it.conversation_id, conversation.conversation_id));
            same.max_by_key(latest).map(|it| found(it, Method::Conversation))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TraceIds;

    fn hash(number: u8) -> [u8; 8] {
        [number; 8]
    }

    /// `count` ids, rising.
    fn ids(count: usize) -> Vec<TraceId> {
        let ids = TraceIds::new(1);
        (0..count).map(|_| ids.next(UnixMillis(1))).collect()
    }

    /// A trace of `prefix_len` turns that lasted from `start` to `end`.
    fn candidate(id: TraceId, prefix_len: usize, start: i64, end: i64) -> Candidate {
        Candidate {
            id,
            root: id,
            ts_start: UnixMillis(start),
            ts_end: UnixMillis(end),
            prefix_len,
            hash: (prefix_len > 0).then(|| hash(prefix_len as u8)),
            answer: None,
            response_id: None,
            conversation_id: None,
        }
    }

    /// Turns whose prefixes hash as those of [`candidate`] do.
    fn turns(count: u8) -> Conversation {
        Conversation {
            prefixes: (1..=count).map(hash).collect(),
            replies: vec![None; usize::from(count)],
            ..Conversation::default()
        }
    }

    #[test]
    fn the_longest_prefix_that_had_ended_is_the_parent() {
        let ids = ids(6);
        let candidates = [
            candidate(ids[0], 1, 0, 5),
            candidate(ids[1], 3, 10, 15),
            candidate(ids[2], 2, 12, 15),
            candidate(ids[3], 4, 12, 101),
            candidate(ids[4], 5, 12, 15),
        ];
        let parent = choose(ids[5], &turns(5), UnixMillis(100), &candidates).unwrap();
        assert_eq!(parent, Parent { id: ids[1], root: ids[1], method: Method::Prefix });
        let parent = choose(ids[5], &turns(5), UnixMillis(101), &candidates).unwrap();
        assert_eq!(parent.id, ids[3], "one that ended as the child began counts");
    }

    #[test]
    fn a_single_turn_has_no_parent_by_prefix_and_a_repeat_is_not_one() {
        let ids = ids(3);
        let candidates = [candidate(ids[0], 1, 0, 1), candidate(ids[1], 0, 0, 1)];
        assert_eq!(choose(ids[2], &turns(1), UnixMillis(9), &candidates), None);
        assert_eq!(choose(ids[2], &turns(0), UnixMillis(9), &candidates), None);
        let mut other = candidate(ids[0], 1, 0, 1);
        other.hash = Some(hash(99));
        assert_eq!(choose(ids[2], &turns(2), UnixMillis(9), &[other]), None);
    }

    #[test]
    fn of_equal_prefixes_the_one_whose_answer_came_back_wins() {
        let ids = ids(4);
        let mut child = turns(3);
        child.replies[1] = Some(hash(77));
        let mut candidates = [candidate(ids[0], 1, 0, 1), candidate(ids[1], 1, 2, 3), candidate(ids[2], 1, 2, 3)];
        candidates[0].answer = Some(hash(77));
        candidates[1].answer = Some(hash(78));
        let parent = choose(ids[3], &child, UnixMillis(9), &candidates).unwrap();
        assert_eq!((parent.id, parent.method), (ids[0], Method::PrefixAnswer));
        candidates[0].answer = None;
        let parent = choose(ids[3], &child, UnixMillis(9), &candidates).unwrap();
        assert_eq!((parent.id, parent.method), (ids[2], Method::Prefix), "else the latest, then the greatest id");
    }

    #[test]
    fn ids_link_where_no_prefix_does() {
        let ids = ids(4);
        let mut child = turns(2);
        child.previous_response_id = Some(hash(50));
        child.conversation_id = Some(hash(60));
        let mut candidates = [candidate(ids[0], 1, 0, 1), candidate(ids[1], 9, 2, 3), candidate(ids[2], 9, 4, 5)];
        candidates[1].response_id = Some(hash(50));
        candidates[2].conversation_id = Some(hash(60));
        let method =
            |candidates: &[Candidate]| choose(ids[3], &child, UnixMillis(9), candidates).map(|parent| parent.method);
        assert_eq!(method(&candidates), Some(Method::Prefix));
        assert_eq!(method(&candidates[1..]), Some(Method::PreviousResponseId));
        assert_eq!(method(&candidates[2..]), Some(Method::Conversation));
        assert_eq!(method(&[]), None);
    }

    #[test]
    fn traces_of_one_instant_make_no_circle() {
        let ids = ids(2);
        let child = Conversation { conversation_id: Some(hash(1)), ..Conversation::default() };
        let twins = ids.iter().map(|&id| {
            let mut twin = candidate(id, 0, 5, 5);
            twin.conversation_id = Some(hash(1));
            twin
        });
        let twins: Vec<_> = twins.collect();
        assert_eq!(choose(ids[1], &child, UnixMillis(5), &twins).map(|parent| parent.id), Some(ids[0]));
        assert_eq!(choose(ids[0], &child, UnixMillis(5), &twins), None);
    }

    #[test]
    fn methods_are_known_by_name() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::from_name(""), None);
    }
}
