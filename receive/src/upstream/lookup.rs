//! Names of targets, and who else asks for the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tunnel_common::drain::Drain;

/// The addresses of a name, or why there are none.
pub(super) type Found = Result<Vec<IpAddr>, String>;

/// Asks the resolver for each new connection, as a Service may have moved; connections that ask for the
/// same name at the same time share the answer. A lookup keeps one of the runtime's threads, for as
/// long as the resolver is silent: with one for each request, a name whose resolver does not answer
/// would leave no thread for the others.
pub(super) struct Lookups {
    underway: RefCell<HashMap<String, watch::Receiver<Option<Found>>>>,
    drain: Drain,
}

impl Lookups {
    pub(super) fn new(drain: Drain) -> Rc<Self> {
        Rc::new(Self { underway: RefCell::default(), drain })
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
        let underway = self.underway.borrow().get(host).cloned();
        let mut answer = underway.unwrap_or_else(|| self.begin(host, look_up(host.to_owned())));
        let found = answer.wait_for(Option::is_some).await;
        let ended = || Err("the process ends".to_owned());
        found.map_or_else(|_| ended(), |found| found.clone().unwrap_or_else(ended))
    }

    fn begin(
        self: &Rc<Self>,
        host: &str,
        look_up: impl Future<Output = Found> + 'static,
    ) -> watch::Receiver<Option<Found>> {
        let (tell, answer) = watch::channel(None);
        self.underway.borrow_mut().insert(host.to_owned(), answer.clone());
        let (lookups, host) = (Rc::clone(self), host.to_owned());
        self.drain.spawn_until_asked(async move {
            let found = look_up.await;
            lookups.underway.borrow_mut().remove(&host);
            tell.send_replace(Some(found));
        });
        answer
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
    use std::net::Ipv4Addr;

    use tokio::sync::Notify;

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
        assert!(lookups.underway.borrow().is_empty());
    }
}
