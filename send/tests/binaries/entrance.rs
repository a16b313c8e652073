//! The plain entrance of `tunnel-receive`, which takes requests without another end.

use std::io::Write;
use std::net::TcpStream;

use crate::ends::Ends;
use crate::harness::caller::Caller;
use crate::harness::wait::until;
use crate::process::{Process, command};
use crate::target::target;

#[test]
fn a_request_brings_its_condition() {
    let target = target(|stream| {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.get_ref().write_all(answer).unwrap();
    });
    let ends = Ends::new(target);
    let address = ends.place.port(8080);
    let mut receive = command("tunnel-receive");
    receive.arg("--config").arg(ends.config()).arg(format!("--listen={address}"));
    let _receive = Process::start(receive);
    until("the entrance", || TcpStream::connect(address).ok());
    let ask = |fields: &str| {
        let mut caller = Caller::connect(address);
        caller.send_get("/", fields);
        caller.reply()
    };
    ask("X-Proxy-Condition: 8050\r\n").assert_ok("ok");
    ask("X-Proxy-Condition: 1\r\n").assert_error(404, "destination_not_found");
    ask("").assert_error(400, "http_request_error");
}
