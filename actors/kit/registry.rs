//! Everything under supervision in one place, readable by anyone without asking an actor.

use std::sync::Arc;
use std::time::Duration;

use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::probe::{as_text, as_text_if_any};
use super::{
    BoundReport, Budget, ChildHealth, ChildReport, Condition, NurseryHealth, NurseryReport, Pulse, PulseReport, Raised,
};

/// Everything that runs under supervision, in the order it was named first.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    children: Vec<Arc<ChildHealth>>,
    nurseries: Vec<Arc<NurseryHealth>>,
    pulses: Vec<Arc<Pulse>>,
    bounds: Vec<(Arc<str>, Measure)>,
    conditions: Vec<Condition>,
    looked: Option<(UnixMillis, Instant)>,
}

/// Tells how a bound stands, by its name.
type Measure = Arc<dyn Fn(&str) -> BoundReport + Send + Sync>;

/// A [`Registry`] as it stood at one moment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Supervision")]
pub(crate) struct Report {
    /// The supervised children.
    pub children: Vec<ChildReport>,
    /// The nurseries.
    pub nurseries: Vec<NurseryReport>,
    /// The signs of life of threads.
    pub pulses: Vec<PulseReport>,
    /// When the watchdog looked last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
    pub looked_at: Option<UnixMillis>,
    /// What is wrong, and since when.
    pub troubles: Vec<Trouble>,
    /// The conditions that are raised.
    pub conditions: Vec<Raised>,
}

/// Something wrong with one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Trouble {
    /// The child's name, or that of its nursery.
    pub name: String,
    /// `backing_off`, `failed`, `hung`, or `blocked` for threads.
    pub reason: &'static str,
    /// Since when.
    #[serde(serialize_with = "as_text")]
    pub since: UnixMillis,
}

impl Registry {
    /// An empty one.
    pub(crate) fn new() -> Registry {
        Registry::default()
    }

    /// The health of the child of that name, made when it is named first. The same across restarts.
    pub(crate) fn child(&self, name: &str) -> Arc<ChildHealth> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.children.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let health = Arc::new(ChildHealth::new(name.into()));
        entries.children.push(health.clone());
        health
    }

    /// The health of the nursery of that name, made when it is named first.
    pub(crate) fn nursery(&self, name: &str) -> Arc<NurseryHealth> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.nurseries.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let health = Arc::new(NurseryHealth::new(name.into()));
        entries.nurseries.push(health.clone());
        health
    }

    /// The pulse of that name, made when it is named first.
    pub(crate) fn pulse(&self, name: &str) -> Arc<Pulse> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.pulses.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let pulse = Arc::new(Pulse::new(name));
        entries.pulses.push(pulse.clone());
        pulse
    }

    /// Shows a budget under that name, in place of what was shown so before.
    pub(crate) fn show(&self, name: &str, budget: &Budget) {
        let budget = budget.clone();
        self.show_bound(name, move |name| BoundReport::of_budget(name, &budget.report()));
    }

    /// Shows a bound under that name, in place of what was shown so before; `measure` is given the name, asks no actor
    /// and waits for nobody.
    pub(crate) fn show_bound(&self, name: &str, measure: impl Fn(&str) -> BoundReport + Send + Sync + 'static) {
        let mut entries = self.0.lock();
        let measure: Measure = Arc::new(measure);
        match entries.bounds.iter_mut().find(|(it, _)| &**it == name) {
            Some((_, known)) => *known = measure,
            None => entries.bounds.push((name.into(), measure)),
        }
    }

    /// Every bound as it stands, in the order they were shown first; the nurseries' behind them.
    pub(crate) fn bounds(&self) -> Vec<BoundReport> {
        let (shown, nurseries) = {
            let entries = self.0.lock();
            (entries.bounds.clone(), entries.nurseries.clone())
        };
        let nurseries = nurseries.iter().map(|it| it.report()).map(|it| {
            // What has no limit of its own is as many as something else lets there be.
            let limit = (it.limit < u64::from(u32::MAX)).then_some(it.limit);
            BoundReport::new(format!("nursery_{}", it.name))
                .count(it.running, it.high_water, limit)
                .dropped("refused", it.refused)
        });
        shown.iter().map(|(name, measure)| measure(name)).chain(nurseries).collect()
    }

    /// The condition of that name, made when it is named first.
    pub(crate) fn condition(&self, name: &'static str) -> Condition {
        let mut entries = self.0.lock();
        if let Some(known) = entries.conditions.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let condition = Condition::new(name);
        entries.conditions.push(condition.clone());
        condition
    }

    /// Everything as it stands. The figures of one child belong together only roughly.
    pub(crate) fn snapshot(&self) -> Report {
        let entries = self.0.lock();
        let children: Vec<_> = entries.children.iter().map(|it| it.report()).collect();
        let hung = entries.nurseries.iter().flat_map(|it| it.watched()).map(|it| it.report());
        let pulses: Vec<_> = entries.pulses.iter().map(|it| it.report()).collect();
        let blocked = pulses.iter().filter_map(Trouble::of_threads);
        let troubles = children.iter().cloned().chain(hung).filter_map(Trouble::of).chain(blocked).collect();
        Report {
            children,
            nurseries: entries.nurseries.iter().map(|it| it.report()).collect(),
            pulses,
            looked_at: entries.looked.map(|(at, _)| at),
            troubles,
            conditions: entries.conditions.iter().filter_map(Condition::raised).collect(),
        }
    }

    /// The names of all conditions there are, and whether each is raised.
    pub(crate) fn conditions(&self) -> Vec<(&'static str, bool)> {
        self.0.lock().conditions.iter().map(|it| (it.name(), it.raised().is_some())).collect()
    }

    /// All pulses.
    pub(crate) fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.0.lock().pulses.clone()
    }

    /// How long ago the watchdog looked last, if it did.
    pub(crate) fn looked(&self) -> Option<Duration> {
        self.0.lock().looked.map(|(_, at)| at.elapsed())
    }

    /// The watchdog looks now. Whom it looks at: the supervised children, and those in nurseries that asked for it.
    pub(super) fn look(&self) -> (Vec<Arc<ChildHealth>>, Vec<Arc<ChildHealth>>) {
        let mut entries = self.0.lock();
        entries.looked = Some((UnixMillis::now(), Instant::now()));
        (entries.children.clone(), entries.nurseries.iter().flat_map(|it| it.watched()).collect())
    }
}

impl Trouble {
    fn of(child: ChildReport) -> Option<Trouble> {
        let (reason, since) = child.trouble()?;
        Some(Trouble { name: child.name, reason, since })
    }

    fn of_threads(pulse: &PulseReport) -> Option<Trouble> {
        Some(Trouble { name: pulse.name.clone(), reason: "blocked", since: pulse.stopped_since? })
    }
}
