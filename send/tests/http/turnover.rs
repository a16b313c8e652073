//! A target that ends its connections while requests are under way.

use crate::bridge::Bridge;
use crate::foreign::{output, program};
use crate::origins::Origin;

const REQUESTS: usize = 2000;

#[test]
fn no_request_is_lost_with_a_connection_of_http2() {
    let origin = Origin::start("nginx-http2");
    let bridge = Bridge::to(&[format!("h2c://{}", origin.server.address)]);
    let mut curl = program("curl");
    curl.args(["-sS", "--parallel", "--parallel-immediate", "--parallel-max", "100"]);
    curl.args(["-d", "body", "-o", "/dev/null", "-w", "%{response_code}\n"]);
    curl.arg(format!("http://{}/[1-{REQUESTS}]", bridge.mapping(0)));
    let said = String::from_utf8(output(&mut curl)).unwrap();
    let answered = said.lines().filter(|line| *line == "200").count();
    assert_eq!((answered, said.lines().count()), (REQUESTS, REQUESTS));
}
