//! A set: an immutable snapshot of the instances that act. An exchange takes the one that is in force when it begins,
//! and keeps it to its end; a change makes a new set and leaves the old one to those that have it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use super::counts::{Counts, Fuse};
use super::instance::Instance;
use super::kinds::Kind;

/// Where a set's list comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    #[default]
    Yaml,
    /// What was set at run time.
    Override,
}

/// The instances that act, in order.
#[derive(Debug, Default)]
pub struct Set {
    generation: u64,
    source: Source,
    /// Those of the configuration's path filters first, then the enabled ones of the list.
    actives: Vec<Active>,
    /// The whole list, the disabled ones too.
    list: Vec<Instance>,
    has_capture_filter: bool,
    has_mutator: bool,
    has_recorder: bool,
}

/// An enabled instance of a set, and what is known of how it fares.
#[derive(Clone, Debug)]
pub struct Active {
    instance: Arc<Instance>,
    counts: Arc<Counts>,
    fuse: Arc<Fuse>,
}

/// The processor time that one instance may take for one exchange, in all its calls.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left_us: u64,
    is_counted: bool,
}

impl Source {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Source::Yaml => "yaml",
            Source::Override => "override",
        }
    }
}

impl Set {
    /// The next set after `before`: instances that always act, and a list. Whoever has the same id and type as one of
    /// before goes on counting, and who is wholly the same stays switched off if it was.
    pub fn after(before: &Set, source: Source, always: Vec<Instance>, list: Vec<Instance>) -> Set {
        let enabled = list.iter().filter(|it| it.is_enabled).cloned();
        let actives: Vec<Active> = always.into_iter().chain(enabled).map(|it| Active::after(before, it)).collect();
        Set {
            generation: before.generation + 1,
            source,
            has_capture_filter: actives.iter().any(|it| matches!(it.kind(), Kind::CaptureFilter(_))),
            has_mutator: actives.iter().any(Active::is_mutator),
            has_recorder: actives.iter().any(Active::is_recorder),
            actives,
            list,
        }
    }

    /// Its number; it rises with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where its list comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Every instance that acts, in order.
    pub fn actives(&self) -> &[Active] {
        &self.actives
    }

    /// The list that it was made from, without those that always act.
    pub fn list(&self) -> &[Instance] {
        &self.list
    }

    /// Whether some instance may change traffic. Without one, nobody needs to look further.
    pub fn has_mutator(&self) -> bool {
        self.has_mutator
    }

    /// Whether some instance is about what is recorded.
    pub fn has_recorder(&self) -> bool {
        self.has_recorder
    }

    /// The instances that may change traffic, in order, less those that are switched off.
    pub fn mutators(&self) -> impl Iterator<Item = &Active> {
        self.actives.iter().filter(|it| it.is_mutator() && it.switched_off().is_none())
    }

    /// The capture filter that wants this request target forwarded and nothing else; counts its decision.
    pub fn capture_filter(&self, target: &str) -> Option<&Active> {
        if !self.has_capture_filter {
            return None;
        }
        self.actives.iter().find(|active| {
            let Kind::CaptureFilter(patterns) = active.kind() else { return false };
            // Too short to be worth a clock.
            active.counts.called(0);
            let is_filtered = patterns.matches(target);
            if is_filtered {
                active.counts.mutated();
            }
            is_filtered
        })
    }
}

impl Active {
    fn after(before: &Set, instance: Instance) -> Active {
        let same = |it: &&Active| it.instance.id == instance.id && it.instance.kind.name() == instance.kind.name();
        let (counts, fuse) = match before.actives.iter().find(same) {
            Some(it) if *it.instance == instance => (it.counts.clone(), it.fuse.clone()),
            Some(it) => (it.counts.clone(), Arc::default()),
            None => Default::default(),
        };
        Active { instance: Arc::new(instance), counts, fuse }
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What it does.
    pub fn kind(&self) -> &Kind {
        &self.instance.kind
    }

    /// Its counters.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Why it does not run any more, if so.
    pub fn switched_off(&self) -> Option<&str> {
        self.fuse.switched_off()
    }

    /// Whether it may change traffic.
    pub fn is_mutator(&self) -> bool {
        matches!(self.kind(), Kind::TextReplace(_) | Kind::TextAppend(_))
    }

    /// Whether it is about what is recorded, once an exchange has ended.
    pub fn is_recorder(&self) -> bool {
        matches!(self.kind(), Kind::PathFilter(_) | Kind::Sample(_) | Kind::Tag(_))
    }

    /// Has it do a piece of work. An error, a panic and a budget that is used up are failures alike: they are counted,
    /// and too many of them switch the instance off. Several calls with one budget count as one.
    ///
    /// # Errors
    /// Why it failed, in a sentence. Whoever calls goes on as if the instance were not there.
    pub fn run<T>(&self, budget: &mut Budget, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        if let Some(reason) = self.switched_off() {
            return Err(format!("switched off: {reason}"));
        }
        let began = processor_us();
        // What the work owns is given up with it.
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_message(&*panic)));
        let took = processor_us().saturating_sub(began);
        if budget.is_counted {
            self.counts.spent(took);
        } else {
            self.counts.called(took);
            budget.is_counted = true;
        }
        let outcome = match budget.left_us.checked_sub(took) {
            Some(left_us) => {
                budget.left_us = left_us;
                outcome
            }
            None => {
                budget.left_us = 0;
                outcome.and_then(|_| Err("used up its time".to_owned()))
            }
        };
        match &outcome {
            Ok(_) => self.fuse.worked(),
            Err(reason) => {
                self.counts.failed();
                // Whoever owns the list tells it, by looking.
                let _ = self.fuse.failed(reason);
            }
        }
        outcome
    }
}

impl Budget {
    /// A budget of so many microseconds.
    pub fn of_us(left_us: u64) -> Budget {
        Budget { left_us, is_counted: false }
    }

    /// For work on so many bytes: a fixed part, and one that grows with them.
    pub fn for_bytes(bytes: u64) -> Budget {
        /// Many times what any instance needs.
        const LEAST_US: u64 = 20_000;
        /// 2 MB/s, at a hundredth of the usual speed.
        const BYTES_PER_US: u64 = 2;
        Budget::of_us(LEAST_US + bytes / BYTES_PER_US)
    }
}

/// The processor time of this thread, in microseconds: a busy machine costs nobody its budget.
fn processor_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(values: Value) -> Vec<Instance> {
        let (instances, bad) = Instance::read_list(values.as_array().unwrap());
        assert_eq!(bad, []);
        instances
    }

    fn tags(id: &str, label: &str) -> Value {
        json!({"type": "tag", "id": id, "enabled": true, "config": {"tags": [label]}})
    }

    #[test]
    fn only_enabled_instances_act_and_the_list_keeps_all() {
        let values = json!([tags("a", "x"), {"type": "text-append", "id": "b"}]);
        let set = Set::after(&Set::default(), Source::Override, Vec::new(), list(values));
        assert_eq!((set.generation(), set.list().len(), set.actives().len()), (1, 2, 1));
        assert!(!set.has_mutator() && set.capture_filter("/").is_none());
    }

    #[test]
    fn counters_outlive_a_change_and_a_blown_fuse_only_an_unchanged_instance() {
        let first =
            Set::after(&Set::default(), Source::Yaml, Vec::new(), list(json!([tags("a", "x"), tags("b", "x")])));
        for active in first.actives() {
            for _ in 0..10 {
                let _ = active.run(&mut Budget::of_us(1_000_000), || Err::<(), _>("no".to_owned()));
            }
        }
        let second =
            Set::after(&first, Source::Yaml, Vec::new(), list(json!([tags("b", "x"), tags("a", "y"), tags("c", "x")])));
        let shown: Vec<(u64, bool)> =
            second.actives().iter().map(|it| (it.counts().get().errors, it.switched_off().is_some())).collect();
        assert_eq!(shown, [(10, true), (10, false), (0, false)]);
    }

    #[test]
    fn errors_panics_and_lost_time_are_failures_that_cost_the_call_only() {
        let set = Set::after(&Set::default(), Source::Yaml, Vec::new(), list(json!([tags("a", "x")])));
        let active = &set.actives()[0];
        let mut budget = Budget::for_bytes(0);
        assert_eq!(active.run(&mut budget, || Ok(7)), Ok(7));
        assert_eq!(active.run(&mut budget, || Err::<(), _>("no".to_owned())), Err("no".to_owned()));
        assert_eq!(
            active.run::<()>(&mut budget, || panic!("{}", "at the disco")),
            Err("panicked: at the disco".to_owned())
        );
        assert_eq!(active.counts().get().calls, 1, "one budget is one call");
        let spin = || {
            let began = processor_us();
            while processor_us() - began < 500 {}
            Ok(())
        };
        assert_eq!(active.run(&mut Budget::of_us(100), spin), Err("used up its time".to_owned()));
        assert_eq!((active.counts().get().calls, active.counts().get().errors), (2, 3));
        let mut runs = 0;
        for _ in 0..20 {
            let _ = active.run(&mut Budget::for_bytes(0), || {
                runs += 1;
                Err::<(), _>("no".to_owned())
            });
        }
        assert!(runs < 10 && active.switched_off().is_some_and(|it| it.ends_with("last: no")));
    }

    #[test]
    fn a_capture_filter_is_asked_by_path_and_counted() {
        let values =
            json!([{"type": "capture-filter", "id": "f", "enabled": true, "config": {"patterns": ["/health/*"]}}]);
        let set = Set::after(&Set::default(), Source::Yaml, Vec::new(), list(values));
        assert!(set.capture_filter("/health/x?y").is_some() && set.capture_filter("/v1").is_none());
        let counted = set.actives()[0].counts().get();
        assert_eq!((counted.calls, counted.mutations), (2, 1));
    }
}
