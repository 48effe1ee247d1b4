//! Streams that the libraries of kubectl and the API server wrote, see `golden/write.go`.

use super::*;

fn golden(name: &str) -> Vec<(Way, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tap/tests/golden/");
    let text = std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    text.lines()
        .map(|line| {
            let (way, bytes) = line.split_once(' ').unwrap();
            let way = if way == "up" { UP } else { DOWN };
            (way, hex(bytes))
        })
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_command_that_spdystream_wrote_is_read() {
    let version = Version::V4;
    let told = told(Protocol::SpdyCommand { version }, &golden("spdy_command.txt"));
    let output = format!("cat\r\n{}", "0123456789".repeat(1000));
    assert_eq!(
        told,
        [
            opened(Channel::Status),
            opened(Channel::Stdin),
            opened(Channel::Stdout),
            opened(Channel::Resize),
            data(UP, Channel::Resize, "{\"Width\":80,\"Height\":24}\n"),
            data(DOWN, Channel::Stdout, "$ "),
            data(UP, Channel::Stdin, "cat\r"),
            data(DOWN, Channel::Stdout, output),
            closed(UP, Channel::Stdin),
            data(DOWN, Channel::Status, "{\"status\":\"Success\"}"),
            closed(DOWN, Channel::Status),
            closed(DOWN, Channel::Stdout),
            reset(UP, Channel::Resize),
        ]
    );
}

/// Two connections one after another.
fn two_connections() -> Vec<Told> {
    let connection = |number, port: u16| {
        [
            opened(forward_error(number, port)),
            closed(UP, forward_error(number, port)),
            opened(forward(number, port)),
            data(UP, forward(number, port), format!("GET {port}")),
            data(DOWN, forward(number, port), format!("OK {port}")),
            closed(DOWN, forward(number, port)),
            closed(DOWN, forward_error(number, port)),
            closed(UP, forward(number, port)),
        ]
    };
    connection(0, 80).into_iter().chain(connection(1, 443)).collect()
}

#[test]
fn a_port_forward_that_spdystream_wrote_is_read() {
    let told = told(Protocol::SpdyForward, &golden("spdy_forward.txt"));
    let expected: Vec<Told> = two_connections().into_iter().chain([left(UP)]).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_tunnel_that_client_go_wrote_is_read() {
    let told = told(Protocol::WebSocketTunnel, &golden("tunnel.txt"));
    assert_eq!(told[..16], two_connections());
    assert!(told[16..].contains(&left(UP)), "{:?}", &told[16..]);
}

#[test]
fn channels_that_the_api_servers_library_wrote_are_read() {
    let command = |base64, version| Protocol::WebSocketCommand { base64, version };
    let files = "file\r\n".repeat(2_000);
    let v5 = told(command(false, Version::V5), &golden("channels_v5.txt"));
    assert_eq!(
        v5,
        [
            data(UP, Channel::Resize, "{}"),
            data(UP, Channel::Stdin, "ls\r"),
            data(DOWN, Channel::Stdout, &files),
            data(DOWN, Channel::Stderr, "oops"),
            closed(UP, Channel::Stdin),
            data(DOWN, Channel::Status, "{\"status\":\"Success\"}"),
            left(DOWN),
            left(UP),
        ]
    );
    let v4 = told(command(true, Version::V4), &golden("channels_v4_base64.txt"));
    assert_eq!(
        v4,
        [
            data(UP, Channel::Resize, "{}"),
            data(UP, Channel::Stdin, "ls\r"),
            data(DOWN, Channel::Stdout, &files),
            data(DOWN, Channel::Stderr, "oops"),
            data(DOWN, Channel::Status, "{\"status\":\"Success\"}"),
            left(DOWN),
            left(UP),
        ]
    );
}
