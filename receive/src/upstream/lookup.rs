//! Names of targets, and who else asks for the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::Instant;
use tunnel_common::drain::Drain;

/// The addresses of a name, or why there are none.
pub(super) type Found = Result<Vec<IpAddr>, String>;

/// A lookup is shared with those that ask for the same name so soon after its begin: one that takes
/// longer may have lost a packet, which resolvers wait seconds for.
const SHARED: Duration = Duration::from_secs(1);

/// Lookups of one name at a time, when none is young; then the youngest is shared all the same.
const MOST: usize = 4;

/// Asks the resolver for each new connection, as a Service may have moved; connections that ask for the
/// same name at the same time share the answer. A lookup keeps one of the runtime's threads, for as
/// long as the resolver is silent: with one for each request, a name whose resolver does not answer
/// would leave no thread for the others.
pub(super) struct Lookups {
    names: RefCell<HashMap<String, Underway>>,
    drain: Drain,
}

/// What is being asked for one name.
struct Underway {
    count: usize,
    youngest: watch::Receiver<Option<Found>>,
    begun: Instant,
}

impl Lookups {
    pub(super) fn new(drain: Drain) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), drain })
    }

    /// Looks a name up. Cancel safe: others that wait for the same still get their answer.
    pub(super) async fn find(self: &Rc<Self>, host: &str) -> Found {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        self.share(host, look_up).await
    }

    async fn share<F>(self: &Rc<Self>, host: &str, look_up: impl FnOnce(String) -> F) -> Found
    where
        F: Future<Output = Found> + 'static,
    {
        let shared = self.names.borrow().get(host).and_then(Underway::to_be_shared);
        let mut answer = shared.unwrap_or_else(|| self.begin(host, look_up(host.to_owned())));
        let found = answer.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Err("the process ends".to_owned()))
    }

    fn begin(
        self: &Rc<Self>,
        host: &str,
        look_up: impl Future<Output = Found> + 'static,
    ) -> watch::Receiver<Option<Found>> {
        let (tell, answer) = watch::channel(None);
        let mut names = self.names.borrow_mut();
        let count = names.get(host).map_or(0, |underway| underway.count) + 1;
        let underway = Underway { count, youngest: answer.clone(), begun: Instant::now() };
        names.insert(host.to_owned(), underway);
        let (lookups, host) = (Rc::clone(self), host.to_owned());
        self.drain.spawn_until_asked(async move {
            let found = look_up.await;
            lookups.ended(&host);
            tell.send_replace(Some(found));
        });
        answer
    }

    fn ended(&self, host: &str) {
        let mut names = self.names.borrow_mut();
        if let Some(underway) = names.get_mut(host) {
            underway.count -= 1;
            if underway.count == 0 {
                names.remove(host);
            }
        }
    }
}

impl Underway {
    /// The answer to wait for, unless it is time to ask again.
    fn to_be_shared(&self) -> Option<watch::Receiver<Option<Found>>> {
        let is_answered = self.youngest.borrow().is_some();
        let is_young = !is_answered && self.begun.elapsed() < SHARED;
        (is_young || self.count >= MOST).then(|| self.youngest.clone())
    }
}

async fn look_up(host: String) -> Found {
    let found = lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
    let addresses: Vec<_> = found.map(|address| address.ip()).collect();
    match addresses.is_empty() {
        true => Err("the name has no address".to_owned()),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::net::Ipv4Addr;

    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn one_lookup_serves_all_that_wait_for_it() {
        let lookups = Lookups::new(Drain::new());
        let (asked, answer) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
        let look_up = |host: String| {
            let (asked, answer) = (Rc::clone(&asked), Rc::clone(&answer));
            async move {
                asked.update(|count| count + 1);
                answer.notified().await;
                Err(host)
            }
        };
        let both = async {
            let others = async {
                // Both wait by now, and a name of its own is looked up meanwhile.
                while asked.get() == 0 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(lookups.find("127.0.0.1").await, Ok(vec![Ipv4Addr::LOCALHOST.into()]));
                answer.notify_one();
            };
            tokio::join!(lookups.share("a", look_up), lookups.share("a", look_up), others)
        };
        let (first, second, ()) = both.await;
        assert_eq!((first, second, asked.get()), (Err("a".to_owned()), Err("a".to_owned()), 1));

        answer.notify_one();
        assert_eq!(lookups.share("a", look_up).await, Err("a".to_owned()));
        assert_eq!(asked.get(), 2, "it is asked anew");
        assert!(lookups.names.borrow().is_empty());
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn one_that_takes_long_is_repeated_a_few_times() {
        let lookups = Lookups::new(Drain::new());
        let asked = Rc::new(Cell::new(0));
        let look_up = |_| {
            asked.update(|count| count + 1);
            pending::<Found>()
        };
        for _ in 0..2 * MOST {
            // Both share one.
            let both =
                async { tokio::join!(lookups.share("a", look_up), lookups.share("a", look_up)) };
            assert!(timeout(SHARED, both).await.is_err());
        }
        assert_eq!(asked.get(), MOST);
    }
}
