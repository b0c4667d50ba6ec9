//! Promises of the supervisor: order, restarts, patience, nesting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ractor::Actor;

use super::{Args, Order, Told, Worker, worker};
use crate::kit::{Budget, Child, ChildReport, ChildState, Patience, Plan, Registry, Restart, Root, Slot};

const LONG: Duration = Duration::from_secs(3600);

fn plan(registry: &Registry, restarts: usize, children: Vec<Child>) -> Plan {
    let patience = Patience {
        restarts,
        within: Duration::from_secs(60),
        first_delay: Duration::from_millis(100),
        longest_delay: Duration::from_millis(300),
    };
    Plan { patience, registry: registry.clone(), children }
}

fn report(registry: &Registry, name: &str) -> ChildReport {
    registry.child(name).report()
}

fn order(slot: &Slot<Order>, order: Order) {
    assert!(slot.cast(order).is_ok(), "the worker is there");
}

#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_drain_in_reverse_with_their_queues_finished() {
    let (tell, mut told) = Told::channel();
    let (registry, first, second) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![worker("first", &first, &tell), worker("second", &second, &tell)];
    let root = Root::start(plan(&registry, 3, children)).await.unwrap();
    assert_eq!(told.so_far(), ["first started", "second started"]);
    assert_eq!(report(&registry, "second").state, ChildState::Running);

    (0..3).for_each(|number| order(&second, Order::Work(number)));
    root.drain(LONG).await.unwrap();
    assert_eq!(told.so_far(), ["second did 0", "second did 1", "second did 2", "second stopped", "first stopped"]);
    assert_eq!(report(&registry, "first").state, ChildState::Stopped);
    assert!(first.cast(Order::Stop).is_err(), "nobody is there after the drain");
}

#[tokio::test(start_paused = true)]
async fn restarts_are_spaced_ever_further_up_to_the_longest_delay() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let _root = Root::start(plan(&registry, 5, vec![worker("it", &slot, &tell)])).await.unwrap();
    let mut before = told.until("it started").await;
    for delay_ms in [100, 200, 300, 300] {
        slot.cast_when_there(Order::Panic).await;
        let again = told.until("it started").await;
        let waited = (again - before).as_millis();
        assert!((delay_ms..delay_ms + 20).contains(&waited), "asked {delay_ms} ms, waited {waited} ms");
        before = again;
    }
    let it = report(&registry, "it");
    assert_eq!(it.restarts, 4);
    assert_eq!(it.last_error.unwrap().message, "as ordered");
}

#[tokio::test(start_paused = true)]
async fn back_off_heals_when_restarts_grow_old() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let _root = Root::start(plan(&registry, 2, vec![worker("it", &slot, &tell)])).await.unwrap();
    told.until("it started").await;
    for _ in 0..4 {
        slot.cast_when_there(Order::Fail).await;
        told.until("it started").await;
        tokio::time::advance(Duration::from_secs(40)).await;
    }
    assert_eq!(report(&registry, "it").restarts, 4, "never more than two within a minute");
}

#[tokio::test(start_paused = true)]
async fn when_patience_ends_siblings_are_drained_and_the_tree_fails() {
    let (tell, mut told) = Told::channel();
    let (registry, bad, good) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![worker("good", &good, &tell), worker("bad", &bad, &tell)];
    let root = Root::start(plan(&registry, 1, children)).await.unwrap();
    order(&bad, Order::Panic);
    told.until("bad started").await;
    told.until("bad started").await;
    (0..3).for_each(|number| order(&good, Order::Work(number)));
    bad.cast_when_there(Order::Panic).await;

    let why = root.ended().await.to_string();
    assert!(why.contains("bad ended once too often") && why.contains("as ordered"), "{why}");
    assert_eq!(told.so_far(), ["good did 0", "good did 1", "good did 2", "good stopped"]);
    assert_eq!(report(&registry, "bad").state, ChildState::Failed);
    assert_eq!(report(&registry, "good").state, ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_drains_its_table_and_is_started_anew_when_it_gives_up() {
    let (tell, mut told) = Told::channel();
    let (registry, inner, outer) = (Registry::new(), Slot::new(), Slot::new());
    let table = {
        let (registry, inner, tell) = (registry.clone(), inner.clone(), tell.clone());
        move || plan(&registry, 0, vec![worker("inner", &inner, &tell)])
    };
    let children = vec![Child::supervisor("table", LONG, table), worker("outer", &outer, &tell)];
    let root = Root::start(plan(&registry, 3, children)).await.unwrap();
    assert_eq!(told.so_far(), ["inner started", "outer started"]);

    order(&inner, Order::Panic);
    told.until("inner started").await;
    let table = report(&registry, "table");
    assert_eq!(table.restarts, 1);
    assert!(table.last_error.unwrap().message.contains("inner ended once too often"));

    inner.cast_when_there(Order::Work(7)).await;
    root.drain(LONG).await.unwrap();
    assert_eq!(told.so_far(), ["outer stopped", "inner did 7", "inner stopped"]);
}

/// A worker whose first start succeeds, the next `failures` fail, and the rest succeed.
fn shaky(failures: usize, slot: &Slot<Order>, args: Args) -> Child {
    let (starts, slot) = (Arc::new(AtomicUsize::new(0)), slot.clone());
    Child::new("shaky", move |supervisor| {
        let (starts, slot, args) = (starts.clone(), slot.clone(), args.clone());
        Box::pin(async move {
            let start = starts.fetch_add(1, Ordering::Relaxed);
            assert!(start == 0 || start > failures, "not yet");
            let (child, _) = Worker::spawn_linked(None, Worker, args, supervisor).await?;
            slot.fill(child.clone());
            Ok(child.get_cell())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_failed_restart_counts_as_a_failure_and_is_tried_again() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let children = vec![shaky(2, &slot, Args { name: "shaky", told: tell })];
    let _root = Root::start(plan(&registry, 3, children)).await.unwrap();
    let began = told.until("shaky started").await;
    order(&slot, Order::Panic);
    let waited = (told.until("shaky started").await - began).as_millis();
    assert!((600..650).contains(&waited), "100 + 200 + 300 ms, waited {waited} ms");
    let shaky = report(&registry, "shaky");
    assert_eq!((shaky.restarts, shaky.last_error.unwrap().message), (3, "not yet".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn restarts_that_keep_failing_end_patience() {
    let (tell, _told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let children = vec![shaky(usize::MAX - 1, &slot, Args { name: "shaky", told: tell })];
    let root = Root::start(plan(&registry, 3, children)).await.unwrap();
    order(&slot, Order::Panic);
    assert!(root.ended().await.to_string().contains("not yet"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_at_boot_drains_what_was_started_and_is_told() {
    let (tell, mut told) = Told::channel();
    let (registry, first) = (Registry::new(), Slot::new());
    let bad = Child::new("bad", |_| Box::pin(async { Err(ractor::SpawnErr::StartupFailed("no disk".into())) }));
    let children = vec![worker("first", &first, &tell), bad, worker("never", &Slot::new(), &tell)];
    let error = Root::start(plan(&registry, 3, children)).await.err().unwrap().to_string();
    assert!(error.contains("cannot start bad") && error.contains("no disk"), "{error}");
    assert_eq!(told.so_far(), ["first started", "first stopped"]);
    assert_eq!(report(&registry, "bad").state, ChildState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_a_failed_start() {
    let registry = Registry::new();
    let stuck =
        Child { start_within: Duration::from_secs(5), ..Child::new("stuck", |_| Box::pin(std::future::pending())) };
    let error = Root::start(plan(&registry, 3, vec![stuck])).await.err().unwrap().to_string();
    assert!(error.contains("its start took longer than 5s"), "{error}");
}

/// A worker whose first start succeeds. The second is done by `again`, with the actor that would be given.
fn twice<F>(slot: &Slot<Order>, args: Args, again: fn(ractor::ActorRef<Order>) -> F) -> Child
where
    F: Future<Output = ractor::ActorCell> + Send + 'static,
{
    let (starts, slot) = (Arc::new(AtomicUsize::new(0)), slot.clone());
    Child::new(args.name, move |supervisor| {
        let (starts, slot, args) = (starts.clone(), slot.clone(), args.clone());
        Box::pin(async move {
            let (child, _) = Worker::spawn_linked(None, Worker, args, supervisor).await?;
            slot.fill(child.clone());
            if starts.fetch_add(1, Ordering::Relaxed) == 1 {
                return Ok(again(child).await);
            }
            Ok(child.get_cell())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_holds_up_nobody_else() {
    let (tell, mut told) = Told::channel();
    let (registry, stuck, other) = (Registry::new(), Slot::new(), Slot::new());
    let hangs = |child: ractor::ActorRef<Order>| async move {
        child.kill();
        std::future::pending().await
    };
    let stuck_row = twice(&stuck, Args { name: "stuck", told: tell.clone() }, hangs);
    let root = Root::start(plan(&registry, 9, vec![stuck_row, worker("other", &other, &tell)])).await.unwrap();
    told.until("other started").await;
    order(&stuck, Order::Panic);
    told.until("stuck started").await;
    order(&other, Order::Panic);
    told.until("other started").await;
    assert!(root.answers(Duration::from_secs(1)).await);
    assert_eq!(report(&registry, "stuck").state, ChildState::Starting);
    // The drain makes its own start.
    root.drain(LONG).await.unwrap();
    assert_eq!(told.so_far(), ["stuck started", "other stopped", "stuck stopped"]);
    assert_eq!(report(&registry, "stuck").state, ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_on_and_on_is_given_up_and_made_again() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let hangs = |child: ractor::ActorRef<Order>| async move {
        child.kill();
        std::future::pending().await
    };
    let row = twice(&slot, Args { name: "it", told: tell }, hangs);
    let _root = Root::start(plan(&registry, 9, vec![row])).await.unwrap();
    told.until("it started").await;
    order(&slot, Order::Panic);
    told.until("it started").await;
    told.until("it started").await;
    let it = report(&registry, "it");
    assert_eq!((it.restarts, it.last_error.unwrap().message.as_str()), (2, "its start took longer than 30s"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_told_before_the_start_is_done_counts() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let ends = |child: ractor::ActorRef<Order>| async move {
        child.stop(None);
        let _ = child.wait(None).await;
        // Its supervisor hears of its end first.
        tokio::time::sleep(Duration::from_secs(1)).await;
        child.get_cell()
    };
    let row = twice(&slot, Args { name: "it", told: tell }, ends);
    let root = Root::start(plan(&registry, 9, vec![row])).await.unwrap();
    told.until("it started").await;
    order(&slot, Order::Panic);
    for word in ["it started", "it stopped", "it started"] {
        told.until(word).await;
    }
    while report(&registry, "it").state != ChildState::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!(report(&registry, "it").restarts, 2);
    root.drain(LONG).await.unwrap();
    assert_eq!(told.so_far(), ["it stopped"]);
}

#[tokio::test(start_paused = true)]
async fn restart_policies_tell_endings_apart() {
    let (tell, mut told) = Told::channel();
    let (registry, on_failure, never) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![
        worker("on failure", &on_failure, &tell).restarted(Restart::OnFailure),
        worker("never", &never, &tell).restarted(Restart::Never),
    ];
    let root = Root::start(plan(&registry, 9, children)).await.unwrap();
    told.until("never started").await;
    order(&on_failure, Order::Fail);
    told.until("on failure started").await;
    on_failure.cast_when_there(Order::Stop).await;
    order(&never, Order::Panic);
    told.until("on failure stopped").await;
    tokio::time::sleep(LONG).await; // paused: any restart would come before this ends
    assert_eq!(told.so_far(), Vec::<String>::new());
    let (stopped, failed) = (report(&registry, "on failure"), report(&registry, "never"));
    assert_eq!((stopped.state, stopped.restarts, failed.state), (ChildState::Stopped, 1, ChildState::Failed));
    assert_eq!((stopped.trouble(), failed.trouble().unwrap().0), (None, "failed"));
    root.drain(LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_drain_is_killed_and_the_others_still_drain() {
    let (tell, mut told) = Told::channel();
    let (registry, first, stuck) = (Registry::new(), Slot::new(), Slot::new());
    let stuck_row = worker("stuck", &stuck, &tell).with_grace(Duration::from_secs(2));
    let root = Root::start(plan(&registry, 3, vec![worker("first", &first, &tell), stuck_row])).await.unwrap();
    order(&stuck, Order::Hang(registry.child("stuck").begin()));
    order(&first, Order::Work(1));
    root.drain(LONG).await.unwrap();
    assert_eq!(told.so_far(), ["first started", "stuck started", "first did 1", "first stopped"]);
    assert_eq!(report(&registry, "stuck").last_error.unwrap().message, "killed: not drained within 2s");
}

#[tokio::test(start_paused = true)]
async fn the_ceiling_ends_a_drain_that_takes_too_long() {
    let (tell, _told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let row = worker("stuck", &slot, &tell).with_grace(LONG);
    let root = Root::start(plan(&registry, 3, vec![row])).await.unwrap();
    order(&slot, Order::Hang(registry.child("stuck").begin()));
    root.drain(Duration::from_secs(3)).await.unwrap_err();
    root.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_backs_off_is_started_to_be_drained() {
    let (tell, mut told) = Told::channel();
    let (registry, slot, other) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![worker("it", &slot, &tell), worker("other", &other, &tell)];
    let root = Root::start(plan(&registry, 3, children)).await.unwrap();
    order(&slot, Order::Panic);
    (0..100).for_each(|number| order(&other, Order::Work(number))); // far longer than the delay
    while report(&registry, "it").state != ChildState::BackingOff {
        tokio::task::yield_now().await;
    }
    root.drain(LONG).await.unwrap();
    let told = told.so_far();
    assert_eq!(told.iter().filter(|it| *it == "it started").count(), 2);
    assert_eq!(told.last().unwrap(), "it stopped", "what it owns comes to its end in its `post_stop`");
    assert_eq!(report(&registry, "it").state, ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_while_one_below_it_drains_is_there_again() {
    let (tell, mut told) = Told::channel();
    let (registry, upper, lower) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![worker("upper", &upper, &tell), worker("lower", &lower, &tell)];
    let root = Root::start(plan(&registry, 3, children)).await.unwrap();
    (0..100).for_each(|number| order(&lower, Order::Work(number)));
    let drained = tokio::spawn(async move { root.drain(LONG).await });
    told.until("lower did 3").await;
    order(&upper, Order::Panic);
    told.until("upper started").await;
    upper.cast_when_there(Order::Work(7)).await;
    drained.await.unwrap().unwrap();
    let told = told.so_far();
    let at = |what: &str| told.iter().position(|it| it == what).unwrap_or_else(|| panic!("no {what}: {told:?}"));
    assert!(at("upper did 7") < at("lower stopped") && at("lower stopped") < at("upper stopped"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kill_hurries_a_drain_under_way() {
    let (tell, _told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let row = worker("stuck", &slot, &tell).with_grace(LONG);
    let root = Root::start(plan(&registry, 3, vec![row])).await.unwrap();
    order(&slot, Order::Hang(registry.child("stuck").begin()));
    let began = tokio::time::Instant::now();
    tokio::join!(root.drain(LONG), async {
        while report(&registry, "stuck").state != ChildState::Stopping {
            tokio::task::yield_now().await;
        }
        root.kill();
    })
    .0
    .unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_registry_shows_children_nurseries_and_bounds_as_json() {
    let registry = Registry::new();
    registry.show("memory", &Budget::new(1, 1));
    registry.show("memory", &Budget::new(10, 2));
    let waiting = registry.child("it").begin();
    registry.child("another");
    registry.nursery("many");
    let json = serde_json::to_value(registry.snapshot()).unwrap();
    let names = |of: &str| -> Vec<String> {
        json[of].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("children"), ["it", "another"]);
    assert_eq!(names("nurseries"), ["many"]);
    assert_eq!(json["children"][0]["queue_depth"], 1);
    let bounds = serde_json::to_value(registry.bounds()).unwrap();
    assert_eq!((&bounds[0]["name"], &bounds[1]["name"]), (&"memory".into(), &"nursery_many".into()));
    assert_eq!((&bounds[0]["bytes"]["limit"], &bounds[0]["count"]["limit"]), (&10.into(), &2.into()));
    assert_eq!(json["children"][0]["state"], "starting");
    assert_eq!(json["children"][0]["since"].as_str().map(str::len), Some("2026-05-27T10:23:45.810Z".len()));
    drop(waiting);
    let it = registry.child("it").report();
    assert_eq!((it.queue_depth, it.queue_high_water, it.progress), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_topmost_supervisor_answers_until_it_has_ended() {
    let (tell, _told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let root = Root::start(plan(&registry, 3, vec![worker("it", &slot, &tell)])).await.unwrap();
    assert!(root.answers(LONG).await);
    root.drain(LONG).await.unwrap();
    assert!(!root.answers(LONG).await);
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_leaves_no_child_and_none_that_is_shown_as_running() {
    let (tell, _told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let root = Root::start(plan(&registry, 3, vec![worker("it", &slot, &tell)])).await.unwrap();
    root.kill();
    root.ended().await;
    while slot.cast(Order::Work(0)).is_ok() {
        tokio::task::yield_now().await; // for ever if the child were left alive
    }
    assert_eq!(report(&registry, "it").state, ChildState::Stopped);
}
