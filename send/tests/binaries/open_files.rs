//! A config that asks for more ports than files may be open.

use std::io::Write;
use std::process::Command;

use serde_json::json;

use crate::ends::Ends;
use crate::harness::caller::get;
use crate::harness::wait::until;
use crate::process::Process;
use crate::target::target;

/// So many may be open; the process itself may not change that.
const LIMIT: &str = "--nofile=200:200";

#[test]
fn too_many_mappings_leave_room_for_the_others() {
    let ends = Ends::new(target(|stream| {
        stream.get_ref().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    let good = std::fs::read_to_string(ends.config()).unwrap();
    let send = ends.send();
    let mut limited = Command::new("prlimit");
    limited.arg(LIMIT).arg(send.get_program()).args(send.get_args());
    let _send = Process::start(limited);
    let _receive = Process::start(ends.receive());
    ends.until_sending();
    until("the tunnel", || (ends.receive_admin("/readyz")?.status == 200).then_some(()));

    let mut config: serde_json::Value = serde_json::from_str(&good).unwrap();
    let target = config["data"][0]["remoteIP"].clone();
    let more = (20_000..20_400).map(|port| json!({ "port": port, "remoteIP": target }));
    config["data"].as_array_mut().unwrap().extend(more);
    ends.write_config(&config.to_string());
    let advice = "raise the limit of open files";
    until(advice, || ends.send_admin("/readyz")?.text().contains(advice).then_some(()));
    get(ends.mapped(), "/").assert_ok("ok");
    assert_eq!(ends.send_admin("/livez").map(|page| page.status), Some(200));

    ends.write_config(&good);
    until("the good config", || {
        (!ends.send_admin("/readyz")?.text().contains(advice)).then_some(())
    });
    get(ends.mapped(), "/").assert_ok("ok");
}
