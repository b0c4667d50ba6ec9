//! What plugins do to a record before it is made: decide whether there is one, and put labels on it.

use super::kinds::Kind;
use super::kinds::tag::MOST_LABELS;
use super::note::{Hook, Note};
use super::set::{Active, Budget, Set};
use crate::client;
use crate::exchange::Exchange;
use crate::ids::KeyHash;

/// What is to become of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is recorded.
    Record,
    /// A filter or a sample leaves it out.
    LeaveOut,
}

/// Has the instances of a set that are about records look at an ended exchange, in order, and notes on it what they
/// did. One that fails is skipped: the exchange is recorded without it.
pub fn prepare(set: &Set, exchange: &mut Exchange) -> Decision {
    if !set.has_recorder() {
        return Decision::Record;
    }
    let key = std::cell::OnceCell::<KeyHash>::new();
    for active in set.actives().iter().filter(|it| it.is_recorder() && it.switched_off().is_none()) {
        let looked = {
            let exchange = &*exchange;
            let key = || *key.get_or_init(|| client::key_hash(&exchange.request_headers, &exchange.target));
            active.run(&mut Budget::for_bytes(0), || Ok(look(active, exchange, key)))
        };
        match looked {
            Ok(Did::Nothing) => {}
            Ok(Did::Filter) => {
                active.counts().mutated();
                return Decision::LeaveOut;
            }
            Ok(Did::Tag(labels)) => {
                active.counts().mutated();
                exchange.applied.notes.push(Note::acted(active, Hook::Record, "tag"));
                let tags = &mut exchange.applied.tags;
                for label in labels {
                    if tags.len() < MOST_LABELS && !tags.contains(&label) {
                        tags.push(label);
                    }
                }
            }
            Err(reason) => exchange.applied.notes.push(Note::failed(active, Hook::Record, &reason)),
        }
    }
    Decision::Record
}

enum Did {
    Nothing,
    Filter,
    Tag(Vec<String>),
}

fn look(active: &Active, exchange: &Exchange, key: impl FnOnce() -> KeyHash) -> Did {
    let target = &exchange.target;
    match active.kind() {
        Kind::PathFilter(patterns) if patterns.matches(target) => Did::Filter,
        Kind::Sample(sample) => {
            let key = key();
            let is_left_out = sample.is_about(target, key) && !sample.keeps(exchange.id, target, key);
            if is_left_out { Did::Filter } else { Did::Nothing }
        }
        Kind::Tag(tag) => match tag.labels(target, &exchange.request_headers) {
            labels if labels.is_empty() => Did::Nothing,
            labels => Did::Tag(labels),
        },
        _ => Did::Nothing,
    }
}
