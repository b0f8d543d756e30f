//! Simulated time and the tasks in it: one thread, the order of what is ready drawn from the seed; when nobody can go on, the
//! clock jumps to the next timer. A group of tasks can be killed where it stands, which is what a crash is.

use super::dice::Dice;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that belongs to nobody but the executor.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

type Ready = Arc<Mutex<BTreeSet<u64>>>;

/// The time, who waits for it, and who works.
pub struct Time {
    now_ms: Cell<i64>,
    next_id: Cell<u64>,
    sleepers: RefCell<BTreeMap<(i64, u64), Waker>>,
    /// Tasks by number, each with its group; the one being polled is taken out.
    tasks: RefCell<BTreeMap<u64, (u64, Option<Task>)>>,
    killed: RefCell<BTreeSet<u64>>,
    ready: Ready,
    order: Dice,
    polls: Cell<u64>,
}

/// Tells the executor that a task can go on.
struct Bell {
    task: u64,
    ready: Ready,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task);
    }
}

impl Time {
    /// Begins at a time; the order of what is ready comes from `order`.
    pub fn new(now_ms: i64, order: Dice) -> Self {
        Self {
            now_ms: Cell::new(now_ms),
            next_id: Cell::new(1),
            sleepers: RefCell::default(),
            tasks: RefCell::default(),
            killed: RefCell::default(),
            ready: Ready::default(),
            order,
            polls: Cell::new(0),
        }
    }

    /// Epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.get()
    }

    /// How often a task went on: the length of a run.
    pub fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// A number nobody else has: for tasks, groups and sleepers.
    pub fn number(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// Waits.
    pub async fn sleep(&self, ms: i64) {
        let key = (self.now_ms.get() + ms.max(0), self.number());
        let place = Place { time: self, key };
        poll_fn(|cx| {
            if place.time.now_ms.get() >= key.0 {
                return Poll::Ready(());
            }
            place.time.sleepers.borrow_mut().insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Hands a task in.
    pub fn spawn(&self, group: u64, task: impl Future<Output = ()> + 'static) {
        let id = self.number();
        self.tasks.borrow_mut().insert(id, (group, Some(Box::pin(task))));
        self.wake(id);
    }

    /// Everything of the group ends where it stands, as soon as the task that goes on now lets go.
    pub fn kill(&self, group: u64) {
        self.killed.borrow_mut().insert(group);
    }

    /// Ends everything.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
        self.sleepers.borrow_mut().clear();
    }

    fn wake(&self, id: u64) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Runs until `done`, or until nobody has anything left to do.
    pub fn run_until(&self, done: impl Fn() -> bool) {
        loop {
            self.bury();
            if done() {
                return;
            }
            match self.next_ready() {
                Some(id) => self.go_on(id),
                None if self.jump() => {}
                None => return,
            }
        }
    }

    /// Drops the tasks of killed groups. What they drop may wake and kill others.
    fn bury(&self) {
        loop {
            let killed = std::mem::take(&mut *self.killed.borrow_mut());
            if killed.is_empty() {
                return;
            }
            let mut dead = Vec::new();
            self.tasks.borrow_mut().retain(|_, (group, task)| {
                let lives = !killed.contains(group);
                if !lives {
                    dead.push(task.take());
                }
                lives
            });
            drop(dead);
        }
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = if ready.len() > 1 { self.order.below(ready.len()) } else { 0 };
        let id = ready.iter().nth(nth).copied()?;
        ready.remove(&id);
        Some(id)
    }

    fn go_on(&self, id: u64) {
        let task = self.tasks.borrow_mut().get_mut(&id).and_then(|(_, task)| task.take());
        let Some(mut task) = task else { return };
        self.polls.set(self.polls.get() + 1);
        let waker = Waker::from(Arc::new(Bell { task: id, ready: Arc::clone(&self.ready) }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.borrow_mut().remove(&id);
        } else if let Some((_, place)) = self.tasks.borrow_mut().get_mut(&id) {
            *place = Some(task);
        }
    }

    fn jump(&self) -> bool {
        let Some((key, waker)) = self.sleepers.borrow_mut().pop_first() else { return false };
        self.now_ms.set(self.now_ms.get().max(key.0));
        waker.wake();
        true
    }
}

/// A sleeper's place, given up when it is dropped.
struct Place<'a> {
    time: &'a Time,
    key: (i64, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.time.sleepers.borrow_mut().remove(&self.key);
    }
}

/// Where one task leaves what another waits for.
pub struct Slot<T>(RefCell<State<T>>);

struct State<T> {
    value: Option<T>,
    waiting: Option<Waker>,
    closed: bool,
}

/// The end that fills a slot; dropped unfilled, the waiting one is told that nothing will come.
pub struct Filler<T>(Rc<Slot<T>>);

impl<T> Slot<T> {
    /// Both ends.
    pub fn new() -> (Rc<Self>, Filler<T>) {
        let slot = Rc::new(Self(RefCell::new(State { value: None, waiting: None, closed: false })));
        (Rc::clone(&slot), Filler(slot))
    }

    /// What was left, or `None` when whoever should have left it is dead.
    pub async fn wait(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if let Some(value) = state.value.take() {
                return Poll::Ready(Some(value));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            state.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Filler<T> {
    /// Leaves it.
    pub fn fill(self, value: T) {
        self.0.0.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.closed = true;
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }
}

/// Never goes on: what is left of a crashed request until it is buried.
pub async fn never<T>() -> T {
    std::future::pending().await
}
