//! New keys under load.

use http::{Request, Response};
use tokio::task::JoinSet;

use crate::harness::{Bridge, Http1, Origin, Transport, boxed, filled, full, run};

/// Both directions are busy all the time, and keys change some hundred times.
#[test]
fn many_bodies_at_a_time_stay_whole() {
    const CALLERS: usize = 24;
    const EACH: usize = 4;

    let origin = Origin::http(async |request| Response::new(boxed(request.into_body())));
    let bridge = Bridge::new(Transport::SshRekey).route("echo", &origin).start();
    run(async {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let address = bridge.at("echo");
            callers.spawn_local(async move {
                let mut connection = Http1::connect(address).await;
                for number in caller * EACH..(caller + 1) * EACH {
                    let data = filled("echo", number);
                    let request = Request::post("/").header("host", "a").body(full(data.clone()));
                    let response = connection.send(request.unwrap()).await.unwrap();
                    assert!(response.into_body() == data, "{number}");
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
    });
    assert_eq!(bridge.sends[0].metric("isthmus_sessions_begun_total"), 1);
}
