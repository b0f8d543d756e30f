//! Many tasks, one thread, simulated time: when nobody can go on, the clock jumps to the next timer.

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use model::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The time, and who waits for it.
pub struct Clock {
    now: Cell<i64>,
    sleepers: RefCell<BTreeMap<(i64, u64), Waker>>,
    next_sleeper: Cell<u64>,
}

impl Clock {
    pub fn new(now: Timestamp) -> Rc<Self> {
        Rc::new(Self { now: Cell::new(now.0), sleepers: RefCell::default(), next_sleeper: Cell::new(0) })
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now.get())
    }

    /// Time passes without anybody doing anything.
    pub fn advance_secs(&self, secs: i64) {
        self.now.set(self.now.get() + secs * 1_000);
    }

    pub fn sleep(self: &Rc<Self>, ms: u64) -> Sleep {
        let id = self.next_sleeper.get();
        self.next_sleeper.set(id + 1);
        Sleep { clock: Rc::clone(self), key: (self.now.get() + i64::try_from(ms).unwrap(), id) }
    }

    /// Jumps to the next timer. False: there is none.
    fn jump(&self) -> bool {
        let Some((key, waker)) = self.sleepers.borrow_mut().pop_first() else { return false };
        self.now.set(self.now.get().max(key.0));
        waker.wake();
        true
    }
}

pub struct Sleep {
    clock: Rc<Clock>,
    key: (i64, u64),
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleepers = self.clock.sleepers.borrow_mut();
        if self.clock.now.get() >= self.key.0 {
            sleepers.remove(&self.key);
            return Poll::Ready(());
        }
        sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.sleepers.borrow_mut().remove(&self.key);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Task = LocalBoxFuture<'static, ()>;
type Tasks = FuturesUnordered<Task>;

/// Tasks handed in, by group.
pub type Arrivals = Rc<RefCell<Vec<(u32, Task)>>>;

/// Runs tasks in groups, so that one group can be killed.
pub struct Executor {
    clock: Rc<Clock>,
    groups: RefCell<BTreeMap<u32, Tasks>>,
    arrivals: Arrivals,
}

impl Executor {
    pub fn new(clock: &Rc<Clock>) -> Self {
        Self { clock: Rc::clone(clock), groups: RefCell::default(), arrivals: Rc::default() }
    }

    /// Where tasks are handed in from inside of tasks.
    pub fn arrivals(&self) -> Arrivals {
        Rc::clone(&self.arrivals)
    }

    pub fn spawn(&self, group: u32, task: impl Future<Output = ()> + 'static) {
        self.arrivals.borrow_mut().push((group, Box::pin(task)));
    }

    /// Everything of the group ends where it stands.
    pub fn kill(&self, group: u32) {
        self.arrivals.borrow_mut().retain(|(of, _)| *of != group);
        self.groups.borrow_mut().remove(&group);
    }

    /// Runs until `done` says so, or nobody has anything left to do.
    pub fn run_until(&self, done: impl Fn() -> bool) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        loop {
            let arrived = std::mem::take(&mut *self.arrivals.borrow_mut());
            let idle = arrived.is_empty() && !flag.0.swap(false, Ordering::SeqCst);
            for (group, task) in arrived {
                self.groups.borrow_mut().entry(group).or_default().push(task);
                flag.0.store(true, Ordering::SeqCst);
            }
            if done() || idle && !self.clock.jump() {
                return;
            }
            for tasks in self.groups.borrow_mut().values_mut() {
                while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut cx) {}
            }
        }
    }

    /// Runs until nobody has anything left to do.
    pub fn run(&self) {
        self.run_until(|| false);
    }
}
