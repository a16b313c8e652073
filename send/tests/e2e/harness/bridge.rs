//! A bridge: the ends and what they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;
use tunnel_common::keys;
use tunnel_common::telemetry::Telemetry;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_send::args::ServeArgs as SendArgs;

use super::caller::{Caller, get};
use super::end::End;
use super::mappings::Mappings;
use super::memory::Wire;
use super::origin::Origin;
use super::place::Place;
use super::relay::Relay;
use super::reply::Reply;
use super::stock::{Dial, Program, Sshd};
use super::transport::{TUNNEL_PORT, Transport};
use super::wait::until;

/// A bridge to be.
pub struct Bridge {
    transport: Transport,
    mappings: Mappings,
    sends: usize,
    receives: usize,
    send_flags: Vec<String>,
    client: Client,
}

/// How to start a stock client.
type Client = Box<dyn Fn(&Dial) -> Command>;

impl Bridge {
    /// One `tunnel-send`, one `tunnel-receive`, no mappings.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            mappings: Mappings::new(),
            sends: 1,
            receives: 1,
            send_flags: Vec::new(),
            client: Box::new(Dial::ssh),
        }
    }

    /// Maps the next port to `origin`.
    pub fn route(self, name: &str, origin: &Origin) -> Self {
        self.target(name, &format!("http://{}", origin.address()), &json!({}))
    }

    /// Maps the next port to any target; `more` are further fields of the mapping.
    pub fn target(mut self, name: &str, target: &str, more: &Value) -> Self {
        self.mappings.add(name, target, more, false);
        self
    }

    /// A mapping that only `tunnel-send` has.
    pub fn only_in_send(mut self, name: &str) -> Self {
        self.mappings.add(name, "http://nowhere.invalid", &json!({}), true);
        self
    }

    pub fn sends(mut self, count: usize) -> Self {
        self.sends = count;
        self
    }

    pub fn receives(mut self, count: usize) -> Self {
        self.receives = count;
        self
    }

    /// A further flag for `tunnel-send`.
    pub fn send_flag(mut self, flag: &str) -> Self {
        self.send_flags.push(flag.to_owned());
        self
    }

    /// What dials where a stock client does.
    pub fn client(mut self, client: impl Fn(&Dial) -> Command + 'static) -> Self {
        self.client = Box::new(client);
        self
    }

    /// Returns once all tunnels are up.
    pub fn start(self) -> Running {
        let places: Vec<_> = (0..self.sends).map(|_| Place::take()).collect();
        let keys = tempfile::tempdir().unwrap();
        let names: Vec<_> = places.iter().map(|place| place.address.to_string()).collect();
        keys::generate(&keys.path().join("keys"), &names, "b").unwrap();
        self.mappings.write();
        let mut bridge = Running {
            transport: self.transport,
            mappings: self.mappings,
            send_flags: self.send_flags,
            client: self.client,
            wires: places.iter().map(|_| Wire::default()).collect(),
            relays: places.iter().filter_map(|place| self.transport.relay(place)).collect(),
            places,
            receive_places: (0..self.receives).map(|_| Place::take()).collect(),
            keys,
            sends: Vec::new(),
            receives: Vec::new(),
            sshds: Vec::new(),
            dialling: (0..self.sends).map(|_| Vec::new()).collect(),
        };
        let sshds = bridge.places.iter().map(|place| bridge.transport.sshd(place, &bridge.keys()));
        bridge.sshds = sshds.collect();
        bridge.sends = (0..self.sends).map(|index| bridge.start_send(index)).collect();
        bridge.receives = (0..self.receives).map(|index| bridge.start_receive(index)).collect();
        (0..self.sends).for_each(|index| bridge.dial(index));
        bridge.until_up();
        bridge
    }
}

/// A bridge at work. Dropping it stops it, and fails if anything is left in flight.
pub struct Running {
    pub mappings: Mappings,
    pub sends: Vec<End>,
    pub receives: Vec<End>,
    pub relays: Vec<Relay>,
    transport: Transport,
    send_flags: Vec<String>,
    client: Client,
    places: Vec<Place>,
    wires: Vec<Wire>,
    keys: TempDir,
    receive_places: Vec<Place>,
    sshds: Vec<Option<Sshd>>,
    /// The programs that dial each `tunnel-send`.
    dialling: Vec<Vec<Program>>,
}

impl Running {
    /// Where the mapping is reached.
    pub fn at(&self, mapping: &str) -> SocketAddr {
        self.at_send(0, mapping)
    }

    /// Where the mapping is reached through one `tunnel-send` of several.
    pub fn at_send(&self, index: usize, mapping: &str) -> SocketAddr {
        self.places[index].port(self.mappings.port(mapping))
    }

    /// A connection to the mapping.
    pub fn call(&self, mapping: &str) -> Caller {
        Caller::connect(self.at(mapping))
    }

    /// The answer to a GET.
    pub fn get(&self, mapping: &str, path: &str) -> Reply {
        get(self.at(mapping), path)
    }

    /// Starts that `tunnel-send` again, after it was stopped.
    pub fn restart_send(&mut self, index: usize) {
        self.sends[index] = self.start_send(index);
        self.dial(index);
    }

    /// Starts that `tunnel-receive` again, after it was stopped.
    pub fn restart_receive(&mut self, index: usize) {
        self.receives[index] = self.start_receive(index);
    }

    /// Waits until each end has a tunnel to each of the other side.
    pub fn until_up(&self) {
        let (sends, receives) = (self.sends.len(), self.receives.len());
        until("the tunnels", || {
            let up = self.sends.iter().all(|send| send.tunnels() == receives)
                && self.receives.iter().all(|receive| receive.tunnels() == sends);
            up.then_some(())
        });
    }

    /// Waits until no request is in a tunnel, nor known to `tunnel-send`.
    pub fn until_idle(&self) {
        until("the end of all requests", || {
            let ends = || self.sends.iter().chain(&self.receives).filter(|end| end.is_running());
            let sends = self.sends.iter().filter(|send| send.is_running());
            let idle = ends().all(|end| end.in_flight() == 0 && end.buffered() == 0)
                && sends.map(|send| send.metric("isthmus_requests_in_flight")).sum::<u64>() == 0;
            idle.then_some(())
        });
    }

    fn start_send(&self, index: usize) -> End {
        let (place, transport) = (&self.places[index], self.transport);
        let mut flags = vec![
            "tunnel-send".to_owned(),
            format!("--bind={}", place.address),
            format!("--admin={}", place.port(0)),
        ];
        flags.extend(transport.send_flags(place, self.receive_places.len()));
        flags.extend(common_flags(&self.mappings.send_file(), &self.keys().join("send")));
        // What the test says comes in place of what is usual.
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        flags.retain(|flag| self.send_flags.iter().all(|own| name(own) != name(flag)));
        flags.extend(self.send_flags.iter().cloned());
        let args = SendArgs::try_parse_from(flags).unwrap();
        log(&args);
        let wire = self.wires[index].clone();
        let name = format!("send {}", place.address);
        End::start(&name, async move || transport.send(&args, &wire).await).unwrap()
    }

    fn start_receive(&self, index: usize) -> End {
        let transport = self.transport;
        let mut flags = vec!["tunnel-receive".to_owned(), "--admin=127.0.0.1:0".to_owned()];
        let place = &self.receive_places[index];
        flags.extend(transport.receive_flags(index, place, &self.places));
        flags.extend(common_flags(&self.mappings.receive_file(), &self.keys().join("receive")));
        let args = ReceiveArgs::try_parse_from(flags).unwrap();
        let wires = self.wires.clone();
        let name = format!("receive {index} of {}", self.places[0].address);
        End::start(&name, async move || transport.receive(&args, wires).await).unwrap()
    }

    /// Starts anew what dials that `tunnel-send` if the apps do not.
    fn dial(&mut self, index: usize) {
        self.dialling[index].clear();
        let (send, keys) = (&self.places[index], self.keys());
        let receives = self.receive_places.iter().enumerate();
        self.dialling[index] = receives
            .filter_map(|(number, place)| self.transport.dial(send, number, place, &keys))
            .map(|dial| Program::start(&mut (self.client)(&dial)))
            .collect();
    }

    /// Where the first `tunnel-send`, or the `sshd` beside it, waits for tunnels.
    pub fn tunnel_address(&self) -> SocketAddr {
        self.places[0].port(TUNNEL_PORT)
    }

    /// The folder of all keys.
    pub fn keys(&self) -> PathBuf {
        self.keys.path().join("keys")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.until_idle();
        self.sends.iter_mut().chain(&mut self.receives).for_each(End::stop);
    }
}

/// What takes longer to drain than the harness waits is stuck.
fn common_flags(config: &Path, keys: &Path) -> [String; 3] {
    [
        format!("--config={}", config.display()),
        format!("--keys={}", keys.display()),
        "--drain-timeout=1m".to_owned(),
    ]
}

/// The log of the whole test goes to stderr, which the test runner shows for a test that fails.
pub fn log(args: &SendArgs) {
    static LOG: Mutex<Option<Telemetry>> = Mutex::new(None);
    LOG.lock().unwrap().get_or_insert_with(|| Telemetry::start(args.base.log.clone()).unwrap());
}
