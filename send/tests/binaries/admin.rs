//! The admin pages of both processes.

use std::io::Write;

use crate::ends::Ends;
use crate::harness::caller::get;
use crate::harness::reply::Reply;
use crate::harness::wait::until;
use crate::process::Process;
use crate::target::target;

#[test]
fn readiness_follows_the_tunnel_and_metrics_count() {
    let ends = Ends::new(target(|stream| {
        stream.get_ref().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    let receive = Process::start(ends.receive());
    ends.until_receiving();
    let waiting = until("the reason", || {
        ends.receive_admin("/readyz").filter(|page| page.text().contains("tunnel"))
    });
    assert_eq!(waiting.status, 503, "{}", waiting.text());
    let send = Process::start(ends.send());
    ends.until_sending();
    until("the tunnel", || (ends.receive_admin("/readyz")?.status == 200).then_some(()));

    for _ in 0..3 {
        get(ends.mapped(), "/").assert_ok("ok");
    }
    for (page, counted) in [
        (ends.send_admin("/metrics"), "isthmus_requests_total{mapping=\"8050\",code=\"2xx\"} 3"),
        (ends.receive_admin("/metrics"), "isthmus_requests_total{code=\"2xx\"} 3"),
    ] {
        let text = page.unwrap().text();
        let lines: Vec<_> = text.lines().collect();
        for line in [counted, "isthmus_sessions 1", "isthmus_sessions_begun_total 1", "# EOF"] {
            assert!(lines.contains(&line), "no {line} in\n{text}");
        }
        assert!(text.contains("isthmus_build_info{version=\""), "{text}");
    }
    for page in [ends.send_admin("/livez"), ends.receive_admin("/livez")] {
        assert_eq!(page.map(|page| (page.status, page.text())), Some((200, "ok".to_owned())));
    }

    drop(send);
    let without = |page: &Reply| page.status == 503;
    until("the lost tunnel", || ends.receive_admin("/readyz").filter(without));
    drop(receive);
}
